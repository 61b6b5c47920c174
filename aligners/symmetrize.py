"""One alignment from two directed ones: forward chose by source words, backward by target words.

All methods keep what both directions have; they differ in what they add of the rest. "Grow-diag"
is three different algorithms, so each has a name here (Koehn, Och & Marcu, 2003, gave the idea;
a *neighbour* is one of the eight links around a link):

===========================  =======================================================================
``grow-diag``                as ``atools`` of fast_align: go through the candidates, the links of
                             one direction only; take one that is a neighbour of a taken link and
                             has a word without a link, either; again until none is taken
``grow-diag-moses``          as ``symal`` of Moses: the same rule, but go through the taken links
                             and look at the neighbours of each, so that where candidates exclude
                             one another, another one may win
``grow-diag-lilt``           as Lilt's ``combine_bidirectional_alignments.py``: both words must be
                             without a link, which leaves only the diagonal neighbours
``...-final``                then each direction's links that have a word without a link, either
                             (Lilt: both)
``...-final-and``            then each direction's links of which both words have none
===========================  =======================================================================

In the final step ``atools`` and Lilt begin with their first file, here forward, ``symal`` with the
backward links.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Collection, Iterable

from bitext.errors import UnknownNameError, choose_from
from bitext.types import Alignment, Link

Links = frozenset[Link]
Symmetrizer = Callable[[Links, Links], Links]
"""From the links of the forward and of the backward direction to those of both."""

# Where candidates exclude one another the order decides, so it is that of the programs: of symal,
# which counts (target, source), and of the set that Lilt's program walks through in CPython.
_MOSES = ((-1, 0), (0, -1), (1, 0), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
_LILT = ((-1, -1), (-1, 1), (1, 1), (1, -1))


def symmetrize(forward: Alignment, backward: Alignment, method: str = "grow-diag") -> Alignment:
    """The links that ``method`` makes of two directions, scored by the mean of both.

    A direction that lacks a link gives it 0: what only one direction found scores half of what
    that one said, and never more than what the two agree on with the same scores.

    :raises UnknownNameError: if there is no such method.
    """
    chosen = SYMMETRIZERS.get(method)
    if chosen is None:
        raise UnknownNameError(choose_from("symmetrisation", method, SYMMETRIZERS))
    links = chosen(frozenset(forward.links), frozenset(backward.links))
    first = dict(zip(forward.links, forward.scores, strict=True))
    second = dict(zip(backward.links, backward.scores, strict=True))
    return Alignment.of((k, (first.get(k, 0.0) + second.get(k, 0.0)) / 2) for k in links)


def union(forward: Links, backward: Links) -> Links:
    return forward | backward


def intersection(forward: Links, backward: Links) -> Links:
    return forward & backward


def grow_diag(forward: Links, backward: Links) -> Links:
    return frozenset(_grown(forward, backward).links)


def grow_diag_final(forward: Links, backward: Links) -> Links:
    growing = _grown(forward, backward)
    growing.finish(forward, growing.one_free)
    growing.finish(backward, growing.one_free)
    return frozenset(growing.links)


def grow_diag_final_and(forward: Links, backward: Links) -> Links:
    growing = _grown(forward, backward)
    growing.finish(forward, growing.both_free)
    growing.finish(backward, growing.both_free)
    return frozenset(growing.links)


def grow_diag_moses(forward: Links, backward: Links) -> Links:
    return _transposed(_grown_moses(forward, backward).links)


def grow_diag_final_moses(forward: Links, backward: Links) -> Links:
    growing = _grown_moses(forward, backward)
    growing.finish(_transposed(backward - forward), growing.one_free)
    growing.finish(_transposed(forward - backward), growing.one_free)
    return _transposed(growing.links)


def grow_diag_final_and_moses(forward: Links, backward: Links) -> Links:
    growing = _grown_moses(forward, backward)
    growing.finish(_transposed(backward - forward), growing.both_free)
    growing.finish(_transposed(forward - backward), growing.both_free)
    return _transposed(growing.links)


def grow_diag_lilt(forward: Links, backward: Links) -> Links:
    return frozenset(_grown_lilt(forward, backward).links)


def grow_diag_final_lilt(forward: Links, backward: Links) -> Links:
    growing = _grown_lilt(forward, backward)
    growing.finish(forward, growing.both_free)
    growing.finish(backward, growing.both_free)
    return frozenset(growing.links)


SYMMETRIZERS: dict[str, Symmetrizer] = {
    "union": union,
    "intersection": intersection,
    "grow-diag": grow_diag,
    "grow-diag-final": grow_diag_final,
    "grow-diag-final-and": grow_diag_final_and,
    "grow-diag-moses": grow_diag_moses,
    "grow-diag-final-moses": grow_diag_final_moses,
    "grow-diag-final-and-moses": grow_diag_final_and_moses,
    "grow-diag-lilt": grow_diag_lilt,
    "grow-diag-final-lilt": grow_diag_final_lilt,
}


class _Growing:
    """Links taken so far, and which words they touch."""

    def __init__(self, links: Iterable[Link]) -> None:
        self.links = set(links)
        self.rows = {i for i, _ in self.links}
        self.columns = {j for _, j in self.links}

    def take(self, link: Link) -> None:
        self.links.add(link)
        self.rows.add(link[0])
        self.columns.add(link[1])

    def one_free(self, link: Link) -> bool:
        return link[0] not in self.rows or link[1] not in self.columns

    def both_free(self, link: Link) -> bool:
        return link[0] not in self.rows and link[1] not in self.columns

    def has_neighbour(self, link: Link) -> bool:
        i, j = link
        return any((i + di, j + dj) in self.links for di, dj in _MOSES)

    def through_candidates(self, candidates: Iterable[Link], free: Callable[[Link], bool]) -> None:
        """Take free neighbours, going through the candidates in order until none is left."""
        left = sorted(candidates)
        grown = True
        while grown:
            before = len(left)
            left = [c for c in left if not self._taken(c, free)]
            grown = len(left) < before

    def _taken(self, candidate: Link, free: Callable[[Link], bool]) -> bool:
        if not free(candidate) or not self.has_neighbour(candidate):
            return False
        self.take(candidate)
        return True

    def through_links(
        self, allowed: Collection[Link], around: Iterable[Link], free: Callable[[Link], bool]
    ) -> None:
        """Take free neighbours, going through the links in order; new ones join the walk."""
        walk = sorted(self.links)
        size = -1
        while size < len(walk):
            size, at = len(walk), 0
            while at < len(walk):
                i, j = walk[at]
                for di, dj in around:
                    new = (i + di, j + dj)
                    if new in allowed and free(new):
                        self.take(new)
                        insort(walk, new)
                at = bisect_right(walk, (i, j))  # new links before it wait for the next round

    def finish(self, links: Iterable[Link], free: Callable[[Link], bool]) -> None:
        for link in sorted(links):
            if free(link):
                self.take(link)


def _grown(forward: Links, backward: Links) -> _Growing:
    growing = _Growing(forward & backward)
    growing.through_candidates(forward ^ backward, growing.one_free)
    return growing


def _grown_moses(forward: Links, backward: Links) -> _Growing:
    """The links as (target, source), the order in which ``symal`` sorts them."""
    growing = _Growing(_transposed(forward & backward))
    growing.through_links(_transposed(forward | backward), _MOSES, growing.one_free)
    return growing


def _grown_lilt(forward: Links, backward: Links) -> _Growing:
    growing = _Growing(forward & backward)
    growing.through_links(forward | backward, _LILT, growing.both_free)
    return growing


def _transposed(links: Iterable[Link]) -> Links:
    return frozenset((j, i) for i, j in links)
