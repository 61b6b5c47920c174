"""How the pieces of one vocabulary are spelt by those of another."""

from __future__ import annotations

from typing import Any

from encoders.subwords import SubwordSplitter


def spell_pieces(tokenizer: Any, other: Any) -> dict[int, list[int]]:
    """The pieces of ``other`` that spell each piece of ``tokenizer``, by their ids.

    Special pieces answer to those of the same role; a byte has no spelling.
    """
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = {int(i): _role(tokenizer, other, int(i)) for i in tokenizer.all_special_ids}
    splitter = SubwordSplitter(other)
    continued = _Continuation(other)
    found: dict[int, list[int]] = {}
    for number, name in enumerate(names):
        if number in special:
            found[number] = special[number]
        elif name.startswith("<0x"):
            found[number] = []
        elif name.startswith("▁"):
            found[number] = splitter.texts([name[1:]])[0].ids if len(name) > 1 else []
        else:
            found[number] = continued.ids(name)
    unknown = other.unk_token_id
    return {number: [i for i in ids if i != unknown] for number, ids in found.items()}


class _Continuation:
    """Pieces of text that stands inside a word."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._tokenizer = tokenizer
        self._splitter = SubwordSplitter(tokenizer)
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()

    def ids(self, text: str) -> list[int]:
        normal = text
        if self._backend is not None and self._backend.normalizer is not None:
            normal = self._backend.normalizer.normalize_str(text)
        normal = normal.removeprefix("▁")
        for name in (f"##{normal}", normal):
            if name in self._vocabulary:
                return [self._vocabulary[name]]
        if not normal or self._backend is None:
            return list(self._splitter.texts([text])[0].ids)
        return [piece.id for piece in self._backend.model.tokenize(normal)]


def _role(tokenizer: Any, other: Any, number: int) -> list[int]:
    """The special piece of ``other`` that does what this one does."""
    for roles in (("bos_token_id", "cls_token_id"), ("eos_token_id", "sep_token_id")):
        if number in {getattr(tokenizer, role) for role in roles}:
            there = [getattr(other, role) for role in roles]
            return [int(one) for one in there if one is not None][:1]
    for role in ("pad_token_id", "unk_token_id", "mask_token_id"):
        if number == getattr(tokenizer, role) and getattr(other, role) is not None:
            return [int(getattr(other, role))]
    return []
