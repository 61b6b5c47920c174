"""Links between the words of one tokenisation, carried to those of another of the same text.

An aligner, an annotator and a translation model seldom split a sentence alike, but they agree on
its characters. So words are laid over one another by the characters they hold, spaces aside: old
and new words that share a character correspond, and a link between two old words joins all new
words that correspond to them. ::

    old   don't   stop        old links   0-0
    new   do  n't stop        new links   0-0 1-0   (of the source side alone)

Nothing is guessed: two tokenisations that differ in a character are refused, with the place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from unicodedata import normalize

from bitext.errors import MismatchError, UnknownNameError, choose_from
from bitext.types import Alignment, Link

Overlap = list[list[int]]
"""For each old word, the new ones it shares a character with, in order."""


def _folded(text: str) -> str:
    """Without compatible characters and case, as Unicode's NFKC_Casefold, but decomposed."""
    return normalize("NFKD", normalize("NFKD", text).casefold())


# Decomposed, for there what a word becomes does not depend on its neighbours: two tokenisations may
# part a letter from its accent. Equal decomposed is equal composed.
NORMAL_FORMS: dict[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "NFC": partial(normalize, "NFD"),
    "NFKC": partial(normalize, "NFKD"),
    "NFKC_CF": _folded,
}
"""What may differ: nothing; how accents are written; compatible characters too; case too."""


def _without_end(end: str) -> Callable[[str], str]:
    return lambda word: word.removesuffix(end)


def _without_start(start: str) -> Callable[[str], str]:
    return lambda word: word.removeprefix(start) if word != start else ""


MARKERS: dict[str, Callable[[str], str]] = {
    "none": lambda word: word,
    "@@": _without_end("@@"),  # subword-nmt: the word goes on
    "▁": _without_start("▁"),  # SentencePiece: a word begins
    "##": _without_start("##"),  # WordPiece: the word went on before
}
"""From a piece, as a tokenizer marks it, to its characters in the text."""


def remap(
    alignment: Alignment,
    old: tuple[Sequence[str], Sequence[str]],
    new: tuple[Sequence[str], Sequence[str]],
    *,
    normal_form: str = "none",
    old_marker: str = "none",
    new_marker: str = "none",
) -> Alignment:
    """The links of ``old`` (the words of source and target) between the words of ``new``.

    A new link scores as the best of the old ones that it comes from.

    :raises MismatchError: if the two differ in their characters, or a link points past the end.
    :raises UnknownNameError: if there is no such normal form or marker.
    """
    options = {"normal_form": normal_form, "old_marker": old_marker, "new_marker": new_marker}
    sides = []
    for side, before, after in zip(("source", "target"), old, new, strict=True):
        try:
            sides.append(overlap(before, after, **options))
        except MismatchError as error:
            raise MismatchError(f"{side}: {error}") from None
    scored = zip(alignment.links, alignment.scores, strict=True)
    return Alignment.of((new, score) for link, score in scored for new in _carried(link, *sides))


def overlap(
    old: Sequence[str],
    new: Sequence[str],
    *,
    normal_form: str = "none",
    old_marker: str = "none",
    new_marker: str = "none",
) -> Overlap:
    """Which new words each old word shares characters with.

    A word without characters, such as a marker alone, corresponds to none.

    Example: ``overlap(["don't", "go"], ["do", "n't", "go"])`` -> ``[[0, 1], [2]]``

    :raises MismatchError: if they differ in their characters.
    :raises UnknownNameError: if there is no such normal form or marker.
    """
    owners = _owners(old, normal_form, old_marker)
    others = _owners(new, normal_form, new_marker)
    if owners[0] != others[0]:
        raise MismatchError(_first_difference(*owners, *others))
    found: Overlap = [[] for _ in old]
    for before, after in zip(owners[1], others[1], strict=True):
        if found[before][-1:] != [after]:
            found[before].append(after)
    return found


def _owners(words: Sequence[str], normal_form: str, marker: str) -> tuple[str, list[int]]:
    """The characters of all words without spaces, and the number of the word that holds each."""
    if marker not in MARKERS:
        raise UnknownNameError(choose_from("marker", marker, MARKERS))
    if normal_form not in NORMAL_FORMS:
        raise UnknownNameError(choose_from("normal form", normal_form, NORMAL_FORMS))
    unmarked, normalized = MARKERS[marker], NORMAL_FORMS[normal_form]
    texts = ["".join(normalized(unmarked(word)).split()) for word in words]
    owners = [number for number, text in enumerate(texts) for _ in text]
    return "".join(texts), owners


def _first_difference(text: str, owners: Sequence[int], other: str, others: Sequence[int]) -> str:
    """Where two texts part, with words counted from 1, as lines and columns are."""
    shared = zip(text, other, strict=False)
    at = next((k for k, (a, b) in enumerate(shared) if a != b), min(len(text), len(other)))
    return (
        f"the words differ at character {at + 1} (spaces aside): "
        f"{_there(text, owners, at)} before, {_there(other, others, at)} now"
    )


def _there(text: str, owners: Sequence[int], at: int) -> str:
    """The rest of the word that stands there."""
    if at == len(text):
        return "the end"
    rest = text[at : bisect_right(owners, owners[at])]
    return f"'{rest}' from word {owners[at] + 1}"


def _carried(link: Link, source: Overlap, target: Overlap) -> list[Link]:
    i, j = link
    if i >= len(source) or j >= len(target):
        size = f"{len(source)} and {len(target)} words"
        raise MismatchError(f"link {i}-{j} of a pair of {size}; words count from 0")
    return [(a, b) for a in source[i] for b in target[j]]
