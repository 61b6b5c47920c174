"""Beads: which sentences of one document translate which of the other."""

from __future__ import annotations

from typing import NamedTuple


class Bead(NamedTuple):
    """Sentences that translate each other; where a side is empty, a sentence that is left out."""

    source: tuple[int, ...]
    """Numbers of sentences, from 0, one after the other."""
    target: tuple[int, ...]
    score: float
    """1 for equal vectors, 0 for what is no more alike than any two spans of the documents, and
    0 for a sentence left out."""
