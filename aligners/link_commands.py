"""Links in, links out, without a model: ``bitext symmetrize``, ``remap`` and ``convert``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from aligners.symmetrize import SYMMETRIZERS
from aligners.symmetrize import symmetrize as symmetrized
from bitext.errors import InputError, MismatchError, UnknownNameError, choose_from
from bitext.formats.files import FORMATS, AlignedFile, check_first_word
from bitext.formats.records import AlignedPair, Numbering, check_links
from bitext.remapping import MARKERS, NORMAL_FORMS, remap
from bitext.text import STDIN, atomic_write, name_of, open_lines, read_parallel, words
from bitext.types import Alignment, Side

_FORMATS = ", ".join(sorted(FORMATS))
Words = tuple[list[str], list[str]]
One = TypeVar("One")
Other = TypeVar("Other")

From = Annotated[
    str | None,
    typer.Option("--from", help=f"Format read: {_FORMATS}; default: seen by the first line."),
]
To = Annotated[str, typer.Option("--to", help=f"Format written: {_FORMATS}.")]
FromIndex = Annotated[
    int | None, typer.Option(min=0, max=1, help="The number of the first word, as read.")
]
ToIndex = Annotated[
    int | None, typer.Option(min=0, max=1, help="The number of the first word, as written.")
]
FirstPair = Annotated[int, typer.Option(min=0, help="The number of the first pair, in naacl, a3.")]
SourceWords = Annotated[
    str | None, typer.Option("--source", help="The source sentences, as they were split.")
]
TargetWords = Annotated[
    str | None, typer.Option("--target", help="The target sentences, as they were split.")
]
Output = Annotated[Path | None, typer.Option(help="Write here, all or nothing.")]
Marker = Annotated[str, typer.Option(help=f"How pieces are marked: {', '.join(MARKERS)}.")]


def symmetrize(
    forward: Annotated[str, typer.Argument(help="Links of source words, each to a target word.")],
    backward: Annotated[str, typer.Argument(help="Links of target words, each to a source word.")],
    method: Annotated[
        str, typer.Option(help=f"One of: {', '.join(sorted(SYMMETRIZERS))}.")
    ] = "grow-diag",
    turn: Annotated[
        bool, typer.Option("--turn", help="BACKWARD has its links as target-source.")
    ] = False,
    from_format: From = None,
    to_format: To = "pharaoh",
    from_index: FromIndex = None,
    to_index: ToIndex = None,
    first_pair: FirstPair = 1,
    source: SourceWords = None,
    target: TargetWords = None,
    output: Output = None,
) -> None:
    """Make one alignment of two directed ones; both have source-target links, or say --turn."""
    if method not in SYMMETRIZERS:
        raise UnknownNameError(choose_from("symmetrisation", method, SYMMETRIZERS))
    if forward == backward == STDIN:
        raise InputError("forward and backward cannot both be standard input")
    ones = _read(forward, from_format, from_index, first_pair, source)
    others = _read(backward, from_format, from_index, first_pair, source)
    if turn:
        others = map(_turned, others)
    both = _together(forward, ones, backward, others)
    pairs = (_symmetrized(one, other, method) for one, other in both)
    _write(_with_words(forward, pairs, source, target), to_format, to_index, first_pair, output)


def remap_links(
    links: Annotated[str, typer.Argument(help="Links between the old words.")],
    old_source: Annotated[str, typer.Argument(help="Source sentences, as they were split.")],
    old_target: Annotated[str, typer.Argument(help="Target sentences, as they were split.")],
    new_source: Annotated[str, typer.Argument(help="Source sentences, split anew.")],
    new_target: Annotated[str, typer.Argument(help="Target sentences, split anew.")],
    normal_form: Annotated[
        str, typer.Option(help=f"What may differ, one of: {', '.join(NORMAL_FORMS)}.")
    ] = "none",
    old_marker: Marker = "none",
    new_marker: Marker = "none",
    from_format: From = None,
    to_format: To = "pharaoh",
    from_index: FromIndex = None,
    to_index: ToIndex = None,
    first_pair: FirstPair = 1,
    output: Output = None,
) -> None:
    """Carry links to another tokenisation of the same sentences, by the characters words share."""
    pairs = _read(links, from_format, from_index, first_pair, old_source)
    old, new = _words(old_source, old_target), _words(new_source, new_target)
    texts = _together(old_source, old, new_source, new)
    options = {"normal_form": normal_form, "old_marker": old_marker, "new_marker": new_marker}
    both = enumerate(_together(links, pairs, old_source, texts), start=first_pair)
    carried = (
        _remapped(f"{name_of(links)}, pair {number}", pair, *before_and_after, options)
        for number, (pair, before_and_after) in both
    )
    _write(carried, to_format, to_index, first_pair, output)


def convert(
    links: Annotated[str, typer.Argument(help="Links in any format; - is stdin.")],
    from_format: From = None,
    to_format: To = "pharaoh",
    from_index: FromIndex = None,
    to_index: ToIndex = None,
    first_pair: FirstPair = 1,
    source: SourceWords = None,
    target: TargetWords = None,
    output: Output = None,
) -> None:
    """Write alignments in another format."""
    pairs = _read(links, from_format, from_index, first_pair, source)
    _write(_with_words(links, pairs, source, target), to_format, to_index, first_pair, output)


# --- reading


def _read(
    path: str, format: str | None, index: int | None, first_pair: int, source: str | None
) -> Iterator[AlignedPair]:
    """The pairs of a file; where its format skips some, the source sentences tell how many."""
    file = AlignedFile(path, format)
    count = None
    if FORMATS[file.format].skips_pairs and source is not None:
        count = sum(1 for _ in open_lines(source))
    return file.pairs(Numbering(index, first_pair, count))


def _words(source: str, target: str) -> Iterator[Words]:
    for pair in read_parallel(source, target):
        yield words(_text(pair.source)), words(_text(pair.target))


def _text(side: Side) -> str:
    assert isinstance(side, str), "files hold raw text"
    return side


def _together(
    name: str, ones: Iterable[One], other_name: str, others: Iterable[Other]
) -> Iterator[tuple[One, Other]]:
    """Pair two streams that must be of the same length."""
    end = object()
    for count, (one, other) in enumerate(zip_longest(ones, others, fillvalue=end)):
        if one is end or other is end:
            short, long = (name, other_name) if one is end else (other_name, name)
            raise MismatchError(
                f"{name_of(short)} ends after {count} pairs, but {name_of(long)} has more; "
                "they must have as many"
            )
        yield one, other  # type: ignore[misc]  # neither is the end


def _with_words(
    name: str, pairs: Iterable[AlignedPair], source: str | None, target: str | None
) -> Iterator[AlignedPair]:
    """Put the words of the sentences to their links.

    :raises InputError: if only one side is given, or a link points past the words.
    """
    if source is None and target is None:
        yield from pairs
        return
    if source is None or target is None:
        raise InputError("--source and --target go together")
    both = _together(name, pairs, source, _words(source, target))
    for number, (pair, texts) in enumerate(both, start=1):
        placed = pair._replace(words=texts)
        try:
            check_links(placed)
        except InputError as error:
            raise InputError(f"{name_of(name)}, pair {number}: {error}") from None
        yield placed


# --- what is done to a pair


def _turned(pair: AlignedPair) -> AlignedPair:
    scored = zip(pair.alignment.links, pair.alignment.scores, strict=True)
    return AlignedPair(
        Alignment.of(((j, i), score) for (i, j), score in scored),
        pair.words and (pair.words[1], pair.words[0]),
        frozenset((j, i) for i, j in pair.possible),
        pair.offsets and (pair.offsets[1], pair.offsets[0]),
    )


def _symmetrized(one: AlignedPair, other: AlignedPair, method: str) -> AlignedPair:
    if one.words and other.words and one.words != other.words:
        raise MismatchError("the two files have other words; does one want --turn?")
    alignment = symmetrized(one.alignment, other.alignment, method)
    possible = frozenset(alignment.links) - one.gold.sure - other.gold.sure
    return AlignedPair(alignment, one.words or other.words, possible, one.offsets or other.offsets)


def _remapped(
    name: str, pair: AlignedPair, old: Words, new: Words, options: dict[str, str]
) -> AlignedPair:
    """A new link is possible only if all that it comes from are."""
    sure = Alignment.of((link, 1.0) for link in pair.gold.sure)
    try:
        alignment = remap(pair.alignment, old, new, **options)
        sure = remap(sure, old, new, **options) if pair.possible else alignment
    except MismatchError as error:
        raise MismatchError(f"{name}, {error}") from None
    return AlignedPair(alignment, new, frozenset(alignment.links) - frozenset(sure.links))


# --- writing


def _write(
    pairs: Iterable[AlignedPair],
    name: str,
    index: int | None,
    first_pair: int,
    output: Path | None,
) -> None:
    first_word = check_first_word(name, index)
    format = FORMATS[name]
    with nullcontext(sys.stdout) if output is None else atomic_write(output) as out:
        for number, pair in enumerate(pairs, start=first_pair):
            if pair.words is None and format.needs_words:
                raise InputError(f"{name} holds the words of each pair; give --source and --target")
            try:
                out.write(format.write(pair, number, first_word))
            except InputError as error:
                raise InputError(f"pair {number}: {error}") from None
