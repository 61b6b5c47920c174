"""Beads in files: vecalign's lines, texts in columns, JSON lines."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bitext.errors import InputError
from bitext.text import name_of, open_lines
from retrieval.documents.beads import Bead

_SIDE = r"\[\s*((?:[0-9]{1,9}(?:\s*,\s*[0-9]{1,9})*)?)\s*\]"
_LINE = re.compile(rf"\s*{_SIDE}\s*:\s*{_SIDE}\s*(?::.*)?")

Pair = tuple[tuple[int, ...], tuple[int, ...]]
Line = Callable[[Bead, Sequence[str], Sequence[str]], str]


def read_beads(path: str | Path) -> list[Pair]:
    """The beads of a file of lines such as ``[0, 1]:[0]``, with or without a cost behind.

    :raises InputError: if the file is empty or a line is something else.
    """
    beads = [_parse(line, name_of(path), n) for n, line in enumerate(open_lines(path), start=1)]
    if not beads:
        raise InputError(f"{name_of(path)} is empty; expected beads such as '[0, 1]:[0]'")
    return beads


def _parse(line: str, name: str, number: int) -> Pair:
    match = _LINE.fullmatch(line)
    if match is None:
        raise InputError(
            f"{name}, line {number}: expected a bead such as '[0, 1]:[0]', got '{line[:80]}'"
        )
    source, target = (tuple(map(int, re.findall("[0-9]+", side))) for side in match.groups())
    return source, target


def beads_line(bead: Bead, sources: Sequence[str], targets: Sequence[str]) -> str:
    """A line as vecalign writes it, with a cost: 0 of a sentence left out, else 1 - score.

    Example: ``[0, 1]:[0]:0.239411``
    """
    cost = max(0.0, 1 - bead.score) if bead.source and bead.target else 0.0
    return f"{list(bead.source)}:{list(bead.target)}:{cost:.6f}"


def tsv_line(bead: Bead, sources: Sequence[str], targets: Sequence[str]) -> str:
    """``score TAB source TAB target``; the sentences of a side have a space between.

    :raises InputError: if a sentence has a tab.
    """
    texts = [joined(bead.source, sources), joined(bead.target, targets)]
    for side, text in zip(("source", "target"), texts, strict=True):
        if "\t" in text:
            raise InputError(
                f"a {side} sentence has a tab ({text[:40]!r}); choose another format, such as json"
            )
    return "\t".join([f"{bead.score:.6f}", *texts])


def json_line(bead: Bead, sources: Sequence[str], targets: Sequence[str]) -> str:
    """An object with the score, the numbers of the sentences from 0, and their texts."""
    record = {
        "score": round(bead.score, 6),
        "source_ids": list(bead.source),
        "target_ids": list(bead.target),
        "source": joined(bead.source, sources),
        "target": joined(bead.target, targets),
    }
    return json.dumps(record, ensure_ascii=False)


def joined(numbers: Iterable[int], sentences: Sequence[str]) -> str:
    """The text of some sentences, a space between, as it is encoded."""
    return " ".join(sentences[number].strip() for number in numbers).strip()


FORMATS: dict[str, Line] = {"beads": beads_line, "tsv": tsv_line, "json": json_line}
ENDINGS = {"beads": ".beads", "tsv": ".tsv", "json": ".jsonl"}


def like_named(source: Path, target: Path) -> Iterator[tuple[str, Path, Path]]:
    """The documents of two folders that have the same name but for its last ending.

    Example: ``de/one.de`` and ``fr/one.fr`` -> ``("one", de/one.de, fr/one.fr)``
    :raises InputError: if a file has no partner, or several.
    """
    sources, targets = _by_name(source), _by_name(target)
    for own, other, where in ((sources, targets, target), (targets, sources, source)):
        if alone := sorted(set(own) - set(other)):
            raise InputError(f"{own[alone[0]]} has no partner '{alone[0]}' in {where}")
    if not sources:
        raise InputError(f"{source} and {target} have no documents")
    yield from ((name, sources[name], targets[name]) for name in sorted(sources))


def _by_name(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.is_file():
            continue
        name = document_name(path)
        if name in found:
            raise InputError(f"{found[name]} and {path} are both called '{name}'")
        found[name] = path
    return found


def document_name(path: Path) -> str:
    """A file's name without its last ending, and without what compressed it.

    Example: ``test0.de.gz`` -> ``test0``
    """
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    return Path(name).stem
