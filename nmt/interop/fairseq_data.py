"""Folders of binarised bitext, as ``fairseq-preprocess`` writes and ``fairseq-train`` reads them.

A folder holds ``dict.en.txt`` and ``dict.de.txt``, and for each split (``train``, ``valid``,
``test``, and ``valid1`` and so on where there are several) ``train.en-de.en.bin``, ``.idx`` and the
same for ``de``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from numpy.typing import ArrayLike

from bitext.errors import InputError, MismatchError, UnknownNameError, choose_from
from bitext.text import atomic_folder, name_of, open_lines
from nmt.interop.fairseq_binary import BinarySentences, Ids, SentenceWriter
from nmt.interop.fairseq_dictionary import (
    UNKNOWN,
    Dictionary,
    build_dictionary,
    read_dictionary,
    write_dictionary,
)

_INDEX = re.compile(r"(?P<split>[^.]+)\.(?P<source>[^.-]+)-(?P<target>[^.-]+)\.(?P=source)\.idx")
_SPLIT = re.compile(r"train|valid\d*|test\d*")
_LANGUAGE = re.compile(r"[^\s./-]+")


# --- reading


@dataclass(frozen=True)
class FairseqData:
    """An opened folder; sentences are mapped, and read when they are looked at."""

    folder: Path
    source: str
    target: str
    source_dictionary: Dictionary
    target_dictionary: Dictionary
    splits: Mapping[str, tuple[BinarySentences, BinarySentences]]

    def ids(self, split: str) -> Iterator[tuple[Ids, Ids]]:
        """Source and target ids of each pair of a split, ``</s>`` included.

        :raises UnknownNameError: if there is no such split.
        """
        if split not in self.splits:
            raise UnknownNameError(choose_from("split", split, self.splits))
        return zip(*self.splits[split], strict=True)

    def text(self, split: str) -> Iterator[tuple[str, str]]:
        """Source and target symbols of each pair, parted by spaces.

        :raises MismatchError: if an id is not in its dictionary.
        """
        for number, (source, target) in enumerate(self.ids(split), start=1):
            where = f"{self.folder}, {split}, sentence {number}"
            yield (
                _text(source, self.source_dictionary, f"{where}, {self.source}"),
                _text(target, self.target_dictionary, f"{where}, {self.target}"),
            )


def _text(ids: Ids, dictionary: Dictionary, where: str) -> str:
    if len(ids) and not 0 <= ids.min() <= ids.max() < len(dictionary):
        raise MismatchError(
            f"{where}: id {ids.max()} is not in the dictionary of {len(dictionary)} symbols;"
            " they do not belong together"
        )
    return dictionary.text(ids.tolist())


def open_data(
    folder: str | Path, source: str | None = None, target: str | None = None
) -> FairseqData:
    """Open a folder of binarised bitext.

    :param source: the languages, where the folder holds more than one pair.
    :raises InputError: if there is no such pair, a file is damaged, or the sides of a split are
        not equally long.
    """
    place = Path(folder)
    source, target = _languages(place, source, target)
    splits = {}
    for index in sorted(place.glob(f"*.{source}-{target}.{source}.idx")):
        split = index.name.split(".")[0]
        start = f"{place / split}.{source}-{target}"
        splits[split] = _both_sides(f"{start}.{source}", f"{start}.{target}")
    first, second = (read_dictionary(place / f"dict.{side}.txt") for side in (source, target))
    return FairseqData(place, source, target, first, second, splits)


def _languages(folder: Path, source: str | None, target: str | None) -> tuple[str, str]:
    names = [path.name for path in folder.glob("*.idx")] if folder.is_dir() else []
    found = {(m["source"], m["target"]) for m in map(_INDEX.fullmatch, names) if m}
    chosen = {pair for pair in found if source in (None, pair[0]) and target in (None, pair[1])}
    if len(chosen) == 1:
        return chosen.pop()
    if not found:
        raise InputError(
            f"{folder} holds no binarised bitext: there is no file such as train.en-de.en.idx"
        )
    there = ", ".join(sorted("-".join(pair) for pair in found))
    asked = "more than one pair" if chosen else f"no pair {source or '*'}-{target or '*'}"
    raise InputError(f"{folder} holds {asked}; it has {there}: name source and target")


def _both_sides(source: str, target: str) -> tuple[BinarySentences, BinarySentences]:
    sides = BinarySentences(source), BinarySentences(target)
    if len(sides[0]) != len(sides[1]):
        raise InputError(
            f"{source}.idx has {len(sides[0])} sentences, {target}.idx has {len(sides[1])};"
            " they must have as many"
        )
    return sides


# --- writing

Encode = Callable[[str], ArrayLike]
"""A line of text -> its ids, ``</s>`` included."""


class Written(NamedTuple):
    """What was written of one side of one split."""

    split: str
    language: str
    sentences: int
    ids: int
    unknown: int

    def __str__(self) -> str:
        share = 100 * self.unknown / max(1, self.ids)
        return (f"{self.split}.{self.language}: {self.sentences} sentences, {self.ids} ids,"
                f" {share:.3g}% <unk>")  # fmt: skip


@dataclass(frozen=True)
class Side:
    """A language of the bitext: its dictionary, and how a line becomes ids of it.

    Without ``encode``, a line holds the dictionary's symbols, parted by spaces.
    """

    language: str
    dictionary: Dictionary
    encode: Encode | None = None


def text_lines(path: str | Path) -> Iterator[str]:
    """The lines of a text file as fairseq reads them.

    :raises InputError: if a line has a carriage return inside, which would end it for fairseq.
    """
    for number, line in enumerate(open_lines(path), start=1):
        if "\r" in line:
            raise InputError(f"{name_of(path)}, line {number}: a carriage return inside a line,"
                             " which fairseq would read as its end")  # fmt: skip
        yield line


def dictionaries_of(
    source: str | Path,
    target: str | Path,
    *,
    joined: bool = False,
    least: int = 0,
    size: int | None = None,
    multiple: int = 8,
) -> tuple[Dictionary, Dictionary]:
    """The dictionaries that fairseq builds of two training files, or one of both.

    :param least: see :func:`~nmt.interop.fairseq_dictionary.build_dictionary`, like the others.
    """

    def build(lines: Iterable[str]) -> Dictionary:
        return build_dictionary(lines, least=least, size=size, multiple=multiple)

    if not joined:
        return build(text_lines(source)), build(text_lines(target))
    both = build(line for path in (source, target) for line in text_lines(path))
    return both, both


def write_data(
    folder: str | Path,
    source: Side,
    target: Side,
    files: Mapping[str, tuple[str | Path, str | Path]],
    progress: Callable[[int], None] = lambda more: None,
) -> list[Written]:
    """Write a folder of binarised bitext; it appears when it is whole.

    :param files: for each split, such as ``train``, the files of source and target text.
    :param progress: is told how many more pairs are written.
    :raises InputError: if the sides of a split are not equally long, or a name is not one that
        fairseq finds.
    """
    _check_names(source.language, target.language, files)
    written = []
    with atomic_folder(folder, marker=f"dict.{source.language}.txt") as new:
        for side in (source, target):
            write_dictionary(side.dictionary, new / f"dict.{side.language}.txt")
        for split, paths in files.items():
            start = new / f"{split}.{source.language}-{target.language}"
            written += _write_split(start, split, (source, target), paths, progress)
    return written


def _check_names(source: str, target: str, splits: Iterable[str]) -> None:
    for language in (source, target):
        if not _LANGUAGE.fullmatch(language):
            raise InputError(f"'{language}' cannot name a language: file names join it by . and -")
    if source == target:
        raise InputError(f"source and target are both '{source}'; fairseq tells them by their name")
    for split in splits:
        if not _SPLIT.fullmatch(split):
            raise InputError(
                f"unknown split '{split}'; fairseq finds train, valid, valid1, test, …"
            )


def _write_split(
    start: Path,
    split: str,
    sides: tuple[Side, Side],
    paths: tuple[str | Path, str | Path],
    progress: Callable[[int], None],
) -> list[Written]:
    counts = [[0, 0, 0], [0, 0, 0]]  # sentences, ids, unknown
    with ExitStack() as stack:
        outs = [
            stack.enter_context(
                SentenceWriter(f"{start}.{side.language}", vocabulary=len(side.dictionary))
            )
            for side in sides
        ]
        for lines in _zipped(paths):
            for line, side, out, count in zip(lines, sides, outs, counts, strict=True):
                row = (side.encode or side.dictionary.encode)(line)
                out.add(row)
                known = list(row)  # type: ignore[arg-type]  # a list or an array
                for i, more in enumerate((1, len(known), known.count(UNKNOWN))):
                    count[i] += more
            progress(1)
    return [
        Written(split, side.language, *count) for side, count in zip(sides, counts, strict=True)
    ]


def _zipped(paths: tuple[str | Path, str | Path]) -> Iterator[tuple[str, str]]:
    """The lines of two files side by side."""
    sources, targets = map(text_lines, paths)
    both = 0
    for source in sources:
        target = next(targets, None)
        if target is None:
            raise _unequal(paths, both + 1 + sum(1 for _ in sources), both)
        yield source, target
        both += 1
    if more := sum(1 for _ in targets):
        raise _unequal(paths, both, both + more)


def _unequal(paths: tuple[str | Path, str | Path], sources: int, targets: int) -> InputError:
    return InputError(
        f"{name_of(paths[0])} has {sources} lines, {name_of(paths[1])} has {targets};"
        " they must have as many, as line n of one translates line n of the other"
    )
