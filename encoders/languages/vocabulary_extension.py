"""More pieces for a language that a vocabulary cuts too small or reads as ``<unk>``.

The new pieces are ordinary ones, which the tokenizer's own model (Unigram, WordPiece, BPE) weighs
against its old ones; the old ids do not move. The embedding of a new piece starts as the mean of
those of its old pieces. The result is an ordinary checkpoint, larger by the new rows.

Appending pieces for a language that was not trained on: Chau et al. (2020), "Parsing with
multilingual BERT, a small corpus, and a small treebank", and Wang et al. (2020), "Extending
multilingual BERT to low-resource languages".
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models
from tokenizers.trainers import UnigramTrainer
from torch import nn

from bitext.errors import InputError, MismatchError
from encoders.checkpoint import quietly
from encoders.languages.piece_models import (
    NewPiece,
    PieceModel,
    Unigram,
    first_free,
    number_pieces,
    read_piece_model,
)

logger = logging.getLogger(__name__)

COVERAGE = 0.9995
"""Share of the text's characters that shall be pieces; rarer new ones stay unknown."""
LONGEST_PIECE = 16  # characters
SCORE_DIGITS = 5
BYTES_A_CHARACTER = 3  # of most scripts that are not Latin, for vocabularies of bytes


def new_pieces(tokenizer: Any, sentences: Iterable[str], count: int) -> list[NewPiece]:
    """Pieces of ``sentences`` that the tokenizer's vocabulary lacks, the most useful first.

    First come the characters that it lacks, then the likeliest pieces of a unigram model (Kudo,
    2018) that is trained on the text as the tokenizer normalises and pre-tokenises it.

    :param count: how many there may be at most; short text may have fewer.
    :raises InputError: if the text is empty, or the tokenizer is of a kind that cannot be extended.
    """
    kind, state = read_piece_model(tokenizer)
    words = _pre_tokens(tokenizer.backend_tokenizer, sentences)
    if not words:
        raise InputError("there is no text to learn new pieces from")
    byte_level = "ByteLevel" in json.dumps(state["pre_tokenizer"])
    longest = LONGEST_PIECE * (BYTES_A_CHARACTER if byte_level else 1)
    learnt = _learn(kind, words, count, longest)
    lowest = min(learnt.values())
    if isinstance(kind, Unigram):
        shift = _score_shift(kind.scores, learnt)
        learnt = {text: score + shift for text, score in learnt.items()}
        lowest += shift
    lacking = [text for text in learnt if text not in kind.vocabulary]
    ordered = dict.fromkeys([*_lacking_characters(kind, words), *lacking])
    found = [NewPiece(text, learnt.get(text, lowest)) for text in ordered][:count]
    logger.info("%d new pieces of %d asked for", len(found), count)
    return found


def extend_vocabulary(
    model: Any, tokenizer: Any, sentences: Iterable[str], count: int, *, seed: int = 1
) -> Any:
    """Give ``model`` the rows, and the returned tokenizer the pieces, of a new language.

    :param model: a masked language model or an encoder of ``transformers``; it is changed.
    :param seed: of the rows of pieces none of whose old pieces is known.
    :return: a new tokenizer. Save it beside the model, and plain ``transformers`` loads both.
    :raises MismatchError: if the tokenizer has ids that the model has no row for.
    """
    extended, parts = append_pieces(tokenizer, new_pieces(tokenizer, sentences, count), limit=count)
    add_rows(model, parts, first=first_free(tokenizer.get_vocab()), seed=seed)
    return extended


def append_pieces(
    tokenizer: Any, pieces: Sequence[NewPiece], *, limit: int
) -> tuple[Any, list[list[int]]]:
    """A tokenizer with more pieces, and the old ids that each new piece was made of before.

    :param limit: how many ids there may be at most: BPE needs some for the pieces between.
    :return: the lists are in the order of the new ids, which follow the old ones.
    """
    kind, state = read_piece_model(tokenizer)
    added = kind.append(pieces, limit)
    extended = _reload(tokenizer, state)
    expected = kind.vocabulary | number_pieces(added, kind.vocabulary)
    if not expected.items() <= extended.get_vocab().items():
        raise InputError(
            f"{type(tokenizer).__name__} does not keep its ids when its vocabulary is extended"
        )
    return extended, [kind.split(text) for text in added]


def add_rows(model: Any, parts: Sequence[Sequence[int]], *, first: int, seed: int = 1) -> None:
    """Rows for new ids, each the mean of its parts' rows: embeddings, output matrix and its bias.

    A row without parts is drawn, coordinate by coordinate, with the mean and the standard deviation
    of all old rows.

    :param first: the first new id. Spare rows of the model (some are padded to a round number)
        are used before new ones are made.
    """
    table = model.get_input_embeddings().weight
    if first > len(table):
        raise MismatchError(f"the tokenizer has {first} ids, and the model rows for {len(table)}")
    before = [tensor.detach().clone() for tensor in _vocabulary_tensors(model)]
    rows = max(len(table), first + len(parts))
    with quietly():
        model.resize_token_embeddings(rows, mean_resizing=False)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for old, new in zip(before, _vocabulary_tensors(model), strict=True):
            new[: len(old)] = old
            new[first : first + len(parts)] = _means(old[:first], parts, generator).to(new)


def _pre_tokens(backend: Tokenizer, sentences: Iterable[str]) -> Counter[str]:
    """The strings that the tokenizer's model is given, with their numbers."""
    counts: Counter[str] = Counter()
    for sentence in sentences:
        text = backend.normalizer.normalize_str(sentence) if backend.normalizer else sentence
        if backend.pre_tokenizer:
            counts.update(word for word, _ in backend.pre_tokenizer.pre_tokenize_str(text))
        else:
            counts[text] += 1
    counts.pop("", None)
    return counts


def _learn(kind: PieceModel, words: Counter[str], count: int, longest: int) -> dict[str, float]:
    """Pieces of a unigram model and their log-probabilities, best first.

    The model grows until enough of its pieces are new, or the text has no more.
    """
    characters = len({character for word in words for character in kind.learnable(word)})
    size = characters + 2 * count
    while True:
        trained = Tokenizer(models.Unigram())
        trainer = UnigramTrainer(vocab_size=size, max_piece_length=longest, show_progress=False)
        trained.train_from_iterator(_repeated(kind, words), trainer)
        vocabulary = json.loads(trained.to_str())["model"]["vocab"]
        # the trainer adds up in an order of its own each time, which the last digits show
        named = {kind.piece(text): round(score, SCORE_DIGITS) for text, score in vocabulary}
        learnt = {text: score for text, score in named.items() if text}
        found = sum(text not in kind.vocabulary for text in learnt)
        if found >= count or len(vocabulary) < size:
            return dict(sorted(learnt.items(), key=lambda item: (-item[1], item[0])))
        size *= 2


def _repeated(kind: PieceModel, words: Counter[str]) -> Iterator[str]:
    for word, number in sorted(words.items()):
        yield from repeat(kind.learnable(word), number)


def _lacking_characters(kind: PieceModel, words: Counter[str]) -> list[str]:
    """Characters that are no pieces, the most frequent first, as far as ``COVERAGE`` wants."""
    counts: Counter[str] = Counter()
    for word, number in words.items():
        for piece in kind.characters(word):
            counts[piece] += number
    lacking = {piece: number for piece, number in counts.items() if piece not in kind.vocabulary}
    uncovered, allowed = sum(lacking.values()), (1 - COVERAGE) * counts.total()
    chosen = []
    for piece, number in sorted(lacking.items(), key=lambda item: (-item[1], item[0])):
        if uncovered <= allowed:
            break
        chosen.append(piece)
        uncovered -= number
    return chosen


def _score_shift(old: dict[str, float], new: dict[str, float]) -> float:
    """What makes the scores of the pieces that both know equal on average, weighted by use.

    The old scores are those of a mixture of languages; a model of one language is surer of all its
    pieces, and would beat the old pieces in the other languages too.
    """
    shared = [(math.exp(score), old[text] - score) for text, score in new.items() if text in old]
    if not shared:
        return 0.0
    return sum(weight * gap for weight, gap in shared) / sum(weight for weight, _ in shared)


def _reload(tokenizer: Any, state: dict[str, Any]) -> Any:
    """The tokenizer that ``transformers`` loads from an edited ``tokenizer.json``."""
    with tempfile.TemporaryDirectory() as name, quietly():
        tokenizer.save_pretrained(name)
        (Path(name) / "tokenizer.json").write_text(json.dumps(state), encoding="utf-8")
        loaded: Any = transformers.AutoTokenizer.from_pretrained(name, local_files_only=True)
    loaded.name_or_path = tokenizer.name_or_path
    for how_it_was_loaded in ("is_local", "local_files_only", "name_or_path"):
        loaded.init_kwargs.pop(how_it_was_loaded, None)  # else they are saved with it
    return loaded


def _vocabulary_tensors(model: Any) -> list[torch.Tensor]:
    """Everything with one row a piece: embeddings, an output matrix of its own, and its bias."""
    table = model.get_input_embeddings().weight
    output: nn.Module | None = model.get_output_embeddings()
    own = [] if output is None else list(output.parameters())
    return [table, *(tensor for tensor in own if tensor.data_ptr() != table.data_ptr())]


def _means(
    table: torch.Tensor, parts: Sequence[Sequence[int]], generator: torch.Generator
) -> torch.Tensor:
    """Shape (new pieces, *the shape of one row*)."""
    table = table.float().cpu()
    mean, deviation = table.mean(0), table.std(0)
    rows = [
        table[list(ids)].mean(0)
        if ids
        else mean + deviation * torch.randn(mean.shape, generator=generator)
        for ids in parts
    ]
    return torch.stack(rows) if rows else table[:0]
