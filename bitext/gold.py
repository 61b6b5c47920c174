"""Gold alignments from files, counted from 0 whatever they count from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bitext.errors import InputError
from bitext.formats.files import FORMATS, AlignedFile, check_first_word
from bitext.formats.records import Numbering
from bitext.scoring import from_one, looks_one_based
from bitext.text import name_of
from bitext.types import Alignment, GoldAlignment, SentencePair


def read_gold_of(
    path: str | Path,
    gold_index: int | None,
    pairs: Sequence[SentencePair],
    gold_format: str | None = None,
) -> list[GoldAlignment]:
    """Gold counted from 0; refused before any work is done if it is not gold of ``pairs``.

    :param gold_index: the number of the first word in the file; ``None`` for what its format says
        or, where that leaves it open, for 0, if it looks so.
    :param gold_format: a name in ``FORMATS``; ``None`` to see it by the file.
    :raises InputError: if it has not one alignment a pair, or seems to count from 1 unsaid.
    """
    file = AlignedFile(path, gold_format, gold=True)
    found = file.pairs(Numbering(pairs=len(pairs)))
    gold = gold_from_zero(path, [pair.gold for pair in found], gold_index, file.format)
    if len(gold) != len(pairs):
        unit = "alignment" if file.format == "a3" else "line"
        found_units = f"{len(gold)} {unit}{'' if len(gold) == 1 else 's'}"
        count = f"{found_units} for {len(pairs)} sentence pairs"
        raise InputError(f"{name_of(path)} has {count}; it must have one {unit} a pair")
    if FORMATS[file.format].free:
        lengths = [(len(pair.source), len(pair.target)) for pair in pairs]
        check_gold_index(path, gold, gold_index, lengths=lengths)
    return gold


def gold_from_zero(
    path: str | Path,
    gold: list[GoldAlignment],
    gold_index: int | None,
    gold_format: str = "talp",
) -> list[GoldAlignment]:
    """``gold``, as a file was read that counts from what its format says, counted from 0.

    :raises InputError: if it is said to count from 1 and has a word 0, or to count from what its
        format does not.
    """
    if not FORMATS[gold_format].free:
        check_first_word(gold_format, gold_index)
        return gold
    if gold_index != 1:
        return gold
    try:
        return from_one(gold)
    except InputError as error:
        raise InputError(f"{name_of(path)}: {error}") from None


def check_gold_index(
    path: str | Path,
    gold: Sequence[GoldAlignment],
    gold_index: int | None,
    *,
    lengths: Sequence[tuple[int, int]] | None = None,
    hypotheses: Sequence[Alignment] | None = None,
) -> None:
    """:raises InputError: if gold looks as if it counted from 1, and nobody has said so."""
    if gold_index is None and looks_one_based(gold, lengths=lengths, hypotheses=hypotheses):
        raise InputError(
            f"{name_of(path)} looks as if its words counted from 1: none is 0 and the links fit "
            "better one lower; say --gold-index 1 if so, --gold-index 0 if not"
        )
