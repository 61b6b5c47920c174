"""What travels between the parts of bitext: small frozen values, checked where they are made."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from bitext.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Side = str | Sequence[str]
"""One side of a sentence pair: raw text, or the words it has been split into."""

Link = tuple[int, int]

# At most nine digits: no line has more words, and Python refuses to read numbers without end.
_LINK = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")
_GOLD_LINK = re.compile(r"([0-9]{1,9})([-p])([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class SentencePair:
    """Two sentences that are or may be translations of each other."""

    source: Side
    target: Side


@dataclass(frozen=True, slots=True)
class Alignment:
    """Word links of one sentence pair, sorted and without repeats, each with its score.

    The link ``(i, j)`` joins source word ``i`` to target word ``j``; words count from 0. Scores lie
    in [0, 1], larger is surer. ``str()`` is the Pharaoh line and :meth:`parse` its inverse (but for
    the scores, which Pharaoh does not carry: a parsed link scores 1).

    Example: ``Alignment.parse("1-0 0-1").links`` -> ``((0, 1), (1, 0))``
    """

    links: tuple[Link, ...] = ()
    scores: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        assert len(self.links) == len(self.scores), "one score a link"
        assert all(a < b for a, b in pairwise(self.links)), "links sorted and unique"

    @classmethod
    def of(cls, scored: Iterable[tuple[Link, float]]) -> Alignment:
        """Sort ``scored`` links; of a repeated link the highest score is kept."""
        best: dict[Link, float] = {}
        for link, score in scored:
            best[link] = max(score, best.get(link, score))
        links = tuple(sorted(best))
        return cls(links, tuple(best[link] for link in links))

    @classmethod
    def parse(cls, line: str) -> Alignment:
        """Read a Pharaoh line such as ``0-0 1-2``.

        :raises InputError: if a link is not two numbers joined by a hyphen.
        """
        links = []
        for item in line.split():
            match = _LINK.fullmatch(item)
            if match is None:
                raise InputError(f"expected links such as '0-0 1-2', got '{item}'")
            links.append(((int(match[1]), int(match[2])), 1.0))
        return cls.of(links)

    def above(self, threshold: float) -> Alignment:
        """The links that score at least ``threshold``."""
        scored = zip(self.links, self.scores, strict=True)
        return Alignment.of(item for item in scored if item[1] >= threshold)

    def __str__(self) -> str:
        return " ".join(f"{i}-{j}" for i, j in self.links)


@dataclass(frozen=True, slots=True)
class GoldAlignment:
    """The links annotators made: sure ones, and possible ones (which include every sure one).

    In the text form ``i-j`` is sure and ``ipj`` possible only (Och & Ney, 2003).

    Example: ``GoldAlignment.parse("0-0 1p2").possible`` -> ``frozenset({(0, 0), (1, 2)})``
    """

    sure: frozenset[Link]
    possible: frozenset[Link]

    def __post_init__(self) -> None:
        assert self.sure <= self.possible, "a sure link is also possible"

    @classmethod
    def parse(cls, line: str) -> GoldAlignment:
        """Read a line such as ``0-0 1p2``.

        :raises InputError: if a link has neither form.
        """
        sure, possible = set(), set()
        for item in line.split():
            match = _GOLD_LINK.fullmatch(item)
            if match is None:
                raise InputError(f"expected gold links such as '0-0 1p2', got '{item}'")
            link = (int(match[1]), int(match[3]))
            possible.add(link)
            if match[2] == "-":
                sure.add(link)
        return cls(frozenset(sure), frozenset(possible))

    def __str__(self) -> str:
        return " ".join(
            f"{i}{'-' if (i, j) in self.sure else 'p'}{j}" for i, j in sorted(self.possible)
        )


class Match(NamedTuple):
    """A mined pair: positions in the two corpora, from 0, and the margin between them."""

    source: int
    target: int
    score: float


class Neighbours(NamedTuple):
    """The nearest sentences of each query, best first.

    Both arrays have shape (queries, k): cosines, and the ids that the index gave its sentences. An
    index of fewer than ``k`` sentences answers with as many columns as it has.
    """

    scores: NDArray[np.float32]
    ids: NDArray[np.int64]


class Hypothesis(NamedTuple):
    """One translation with its length-normalised log-probability."""

    text: str
    score: float
    truncated: bool = False
    """Whether it stopped at the limit of its length, and not at an end."""
