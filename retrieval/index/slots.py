"""Slots: which id stands at which place of an index; places count from 0 without gaps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
"""One truth value a slot."""

BURIED = -1


class Slots:
    """The id of each slot. A buried slot has none: its vector is there but is not to be found."""

    def __init__(self, ids: Ids | None = None) -> None:
        self.ids: Ids = np.empty(0, np.int64) if ids is None else ids
        self.buried = 0
        self._increasing = True
        self._settle()
        self._largest = int(self.ids.max(initial=BURIED))  # there ever was

    def __len__(self) -> int:
        """How many have an id."""
        return len(self.ids) - self.buried

    def check_new(self, ids: Ids) -> None:
        """:raises InputError: if one of ``ids`` is negative, given twice or there already."""
        if len(ids) and ids.min() < 0:
            raise InputError(f"ids must not be negative, got {ids.min()}")
        unique, counts = np.unique(ids, return_counts=True)
        if len(unique) < len(ids):
            raise InputError(f"id {unique[counts > 1][0]} is given twice")
        if len(ids) and unique[0] > self._largest:
            return  # ids that only ever grow need no search for themselves among the old ones
        there = unique[np.isin(unique, self.ids)]
        if len(there):
            raise InputError(f"id {there[0]} is in the index already")

    def append(self, ids: Ids) -> None:
        """Put ``ids`` at new slots behind the others."""
        ordered = self._increasing and (not len(ids) or ids[0] > self._largest)
        self._increasing = ordered and bool((np.diff(ids) > 0).all())
        self.ids = np.concatenate([self.ids, ids])
        self._largest = max(self._largest, int(ids.max(initial=BURIED)))

    def find(self, ids: Ids) -> Ids:
        """The slots of those of ``ids`` that are there, in order."""
        ids = np.unique(ids[ids >= 0])
        if not self._increasing:
            return np.flatnonzero(np.isin(self.ids, ids))
        places = np.searchsorted(self.ids, ids)
        inside = places < len(self.ids)
        places, ids = places[inside], ids[inside]
        found: Ids = places[self.ids[places] == ids]
        return found

    def allowed(self, among: Ids | None) -> Mask | None:
        """Where a search may find something: the slots of ``among``; ``None`` for everywhere."""
        if among is None:
            return self.ids != BURIED if self.buried else None
        mask = np.zeros(len(self.ids), np.bool_)
        mask[self.find(np.asarray(among, np.int64).ravel())] = True
        return mask

    def bury(self, slots: Ids) -> None:
        """Take the ids of ``slots`` away; nothing moves."""
        self.ids[slots] = BURIED
        self._settle()

    def keep(self, slots: Ids) -> None:
        """Slot ``i`` becomes what ``slots[i]`` was; others are gone."""
        self.ids = self.ids[slots]
        self._settle()

    def _settle(self) -> None:
        self.buried = int((self.ids == BURIED).sum())
        self._increasing = bool((np.diff(self.ids) > 0).all())
