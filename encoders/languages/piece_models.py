"""How each kind of tokenizer model is given more pieces, its old ids unmoved.

A tokenizer first normalises text and cuts it into pre-tokens (words, mostly); its model then splits
these into pieces. Of the three kinds of model, each splits in its own way and each writes its
pieces down in its own way (the ``model`` part of ``tokenizer.json``). What they share:

- ``learnable(word)``: the form of a pre-token from which pieces are learnt;
- ``piece(learnt)``: the vocabulary's form of a learnt piece, or nothing if it is none;
- ``characters(word)``: the pieces that spell a pre-token, one a character;
- ``split(piece)``: the ids of its old pieces, unknown ones left out;
- ``append(pieces, limit)``: add them to the ``model`` part; gives what was added, in order of id.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from tokenizers import Tokenizer

from bitext.errors import InputError

MARK = "▁"
"""Stands for the start of a word in sentencepiece's vocabularies, and while pieces are learnt."""


class NewPiece(NamedTuple):
    """A piece that a vocabulary lacks."""

    text: str
    score: float  # log-probability, on the scale of the old vocabulary where that has one


class PieceModel(Protocol):
    """One kind of tokenizer model; see the module."""

    vocabulary: dict[str, int]

    def learnable(self, word: str) -> str: ...
    def piece(self, learnt: str) -> str | None: ...
    def characters(self, word: str) -> list[str]: ...
    def split(self, piece: str) -> list[int]: ...
    def append(self, pieces: Sequence[NewPiece], limit: int) -> list[str]: ...


class _AsWritten:
    """Pieces that are written as they stand in the text, wherever in a word."""

    def learnable(self, word: str) -> str:
        return word

    def piece(self, learnt: str) -> str | None:
        return None if MARK in learnt[1:] else learnt

    def characters(self, word: str) -> list[str]:
        return list(word)


class Unigram(_AsWritten):
    """The likeliest split; a piece is written with its log-probability, at the place of its id."""

    def __init__(self, state: dict[str, Any], backend: Tokenizer) -> None:
        self._state = state
        self._backend = backend
        self.vocabulary = backend.get_vocab(with_added_tokens=True)
        self.scores: dict[str, float] = dict(state["vocab"])

    def split(self, piece: str) -> list[int]:
        unknown = self._state["unk_id"]
        tokens = self._backend.model.tokenize(piece)
        return telling([(t.value, None if t.id == unknown else t.id) for t in tokens])

    def append(self, pieces: Sequence[NewPiece], limit: int) -> list[str]:
        self._fill_gap()
        added = pieces[:limit]
        self._state["vocab"] += [[piece.text, piece.score] for piece in added]
        return [piece.text for piece in added]

    def _fill_gap(self) -> None:
        """An id is a place in the list: special pieces that stand behind it are put into it."""
        listed = self._state["vocab"]
        lowest = min(score for _, score in listed)
        by_id = {number: text for text, number in self.vocabulary.items()}
        for number in range(len(listed), first_free(self.vocabulary)):
            listed.append([by_id[number], lowest])


class WordPiece:
    """The longest match from the left; pieces inside a word bear a prefix (``##``)."""

    def __init__(self, state: dict[str, Any], backend: Tokenizer) -> None:
        self._state = state
        self.vocabulary = backend.get_vocab(with_added_tokens=True)
        self._prefix: str = state["continuing_subword_prefix"]

    def learnable(self, word: str) -> str:
        return MARK + word

    def piece(self, learnt: str) -> str | None:
        if learnt.startswith(MARK):
            return learnt[1:] or None
        return self._prefix + learnt

    def characters(self, word: str) -> list[str]:
        return [word[:1], *(self._prefix + character for character in word[1:])]

    def split(self, piece: str) -> list[int]:
        """Example: ``##ouse`` -> the ids of ``##ou`` and ``##se``, if these are the longest."""
        inside = piece.startswith(self._prefix) and piece != self._prefix
        text = piece[len(self._prefix) :] if inside else piece
        ids, start = [], 0
        while start < len(text):
            prefix = self._prefix if inside or start else ""
            ends = range(len(text), start, -1)
            end = next((e for e in ends if prefix + text[start:e] in self.vocabulary), None)
            if end is not None:
                ids.append(self.vocabulary[prefix + text[start:end]])
            start = end or start + 1
        return ids

    def append(self, pieces: Sequence[NewPiece], limit: int) -> list[str]:
        added = [piece.text for piece in pieces[:limit]]
        self._state["vocab"] |= number_pieces(added, self.vocabulary)
        return added


class BytePair(_AsWritten):
    """Merges by rank; a piece needs merges that build it, and these need the pieces between.

    The new merges come after all old ones, so that a word's old pieces are joined and no old merge
    is undone. A piece of ``k`` old pieces takes ``k - 1`` merges and up to as many ids.
    """

    def __init__(self, state: dict[str, Any], backend: Tokenizer) -> None:
        for affix in ("continuing_subword_prefix", "end_of_word_suffix"):
            if state.get(affix):
                raise InputError(
                    f"a BPE vocabulary that marks words by '{state[affix]}' cannot be extended; "
                    "it can where they are marked by a space or '▁'"
                )
        self._state = state
        self.vocabulary = backend.get_vocab(with_added_tokens=True)
        merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in state["merges"]]
        self._ranks: dict[tuple[str, str], int] = {(a, b): i for i, (a, b) in enumerate(merges)}

    def split(self, piece: str) -> list[int]:
        parts = merge_by_rank(list(piece), self._ranks)
        return telling([(part, self.vocabulary.get(part)) for part in parts])

    def append(self, pieces: Sequence[NewPiece], limit: int) -> list[str]:
        ranks, added = dict(self._ranks), dict[str, None]()
        for piece, _ in pieces:
            parts = merge_by_rank(list(piece), ranks)
            built = ["".join(parts[:end]) for end in range(1, len(parts) + 1)]
            lacking = [p for p in dict.fromkeys([*parts, *built]) if p not in self.vocabulary]
            lacking = [p for p in lacking if p not in added]
            if len(added) + len(lacking) > limit:
                continue  # a later piece may need fewer
            added |= dict.fromkeys(lacking)
            for left, right in zip(built, parts[1:], strict=False):
                ranks.setdefault((left, right), len(ranks))
        self._state["vocab"] |= number_pieces(list(added), self.vocabulary)
        self._state["merges"] = [list(pair) for pair in ranks]
        return list(added)


PIECE_MODELS: dict[str, type[Unigram] | type[WordPiece] | type[BytePair]] = {
    "Unigram": Unigram,
    "WordPiece": WordPiece,
    "BPE": BytePair,
}


def read_piece_model(tokenizer: Any) -> tuple[PieceModel, dict[str, Any]]:
    """The tokenizer's model, and the whole ``tokenizer.json`` whose part it appends to.

    :raises InputError: if the tokenizer has no fast form, or is of another kind.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(
            f"{type(tokenizer).__name__} has no fast form (tokenizer.json), and only a fast "
            "tokenizer can be extended"
        )
    state: dict[str, Any] = json.loads(backend.to_str())
    kind = state["model"]["type"]
    if kind not in PIECE_MODELS:
        raise InputError(
            f"a {kind} vocabulary cannot be extended; it can be if it is one of: "
            f"{', '.join(sorted(PIECE_MODELS))}"
        )
    return PIECE_MODELS[kind](state["model"], backend), state


def telling(parts: Sequence[tuple[str, int | None]]) -> list[int]:
    """The known ids of a piece's parts; none, if all that is known is that it starts a word.

    Else every unknown word's first piece would be given the same embedding.
    """
    known = [(text, number) for text, number in parts if number is not None]
    if len(known) < len(parts) and all(text == MARK for text, _ in known):
        return []
    return [number for _, number in known]


def first_free(vocabulary: dict[str, int]) -> int:
    """The id behind all that there are; the ids need not be without gaps."""
    return max(vocabulary.values()) + 1


def number_pieces(added: Sequence[str], vocabulary: dict[str, int]) -> dict[str, int]:
    """Ids for new pieces."""
    first = first_free(vocabulary)
    return {piece: first + place for place, piece in enumerate(added)}


def merge_by_rank(parts: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding (Sennrich et al., 2016): the pair of lowest rank is joined, and again.

    Example: ``merge_by_rank(["a", "b", "c"], {("b", "c"): 0, ("a", "b"): 1})`` -> ``["a", "bc"]``
    """
    while len(parts) > 1:
        pairs = list(pairwise(parts))
        best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        joined: list[str] = []
        for part in parts:
            # a joined part is longer than the left one of the pair, so it is not joined again
            if joined and (joined[-1], part) == best:
                joined[-1] += part
            else:
                joined.append(part)
        parts = joined
    return parts
