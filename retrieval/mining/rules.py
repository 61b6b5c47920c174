"""Which of the neighbours that were found are pairs: margin, mode, evidence of words, threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.errors import InputError, UnknownNameError, choose_from
from retrieval.mining.calibration import SPARE, Calibration, calibrate
from retrieval.mining.margin import MARGINS
from retrieval.mining.miner import MODES, Candidates, candidates
from retrieval.mining.neighbours import BothWays
from retrieval.mining.planting import first_neighbours, without_planted

Ids = NDArray[np.int64]
CoverageOf = Callable[[Candidates], NDArray[np.float64]]


@dataclass(frozen=True)
class Rules:
    """How pairs are chosen.

    :param threshold: scores must be above it.
    :param precision: instead: the expected share of right pairs that sets it; ``surely``: the lower
        end of its interval.
    :param coverage: how much of the evidence of words is added to margins.
    """

    margin: str = "ratio"
    mode: str = "max"
    k: int = 4
    threshold: float | None = None
    precision: float | None = None
    surely: bool = False
    coverage: float = 0.0

    def __post_init__(self) -> None:
        """:raises UnknownNameError: if there is no such margin or mode.
        :raises InputError: if rules contradict one another.
        """
        for what, name, table in (("margin", self.margin, MARGINS), ("mode", self.mode, MODES)):
            if name not in table:
                raise UnknownNameError(choose_from(what, name, table))
        if self.surely and self.precision is None:
            raise InputError("surely is for a precision, of which there is none")
        for what, number in (("threshold", self.threshold), ("coverage", self.coverage)):
            if number is not None and not math.isfinite(number):
                raise InputError(f"{what} must be a finite number, got {number:g}")
        if self.precision is not None:
            if not 0 < self.precision < 1:
                raise InputError(f"precision must be between 0 and 1, got {self.precision:g}")
            if self.threshold is not None:
                raise InputError("give a threshold or a precision, not both")
            if self.coverage:
                raise InputError(
                    "a precision is estimated for margins alone: give coverage a threshold"
                )

    @property
    def neighbours(self) -> int:
        """How many to search for: an estimate of precision looks further than margins do."""
        return self.k if self.precision is None else self.k + SPARE


class Own(NamedTuple):
    """How many rows of both sides are the user's, before those of known pairs planted for an
    estimate, and the rows of all known pairs."""

    sources: int
    targets: int
    known: Ids
    """Shape (pairs, 2)."""


class Chosen(NamedTuple):
    """Pairs, best first, and how they were told from others."""

    pairs: Candidates
    threshold: float | None
    calibration: Calibration | None
    considered: int
    """Pairs of the mode, before the threshold."""
    silent: int
    """Pairs left out as a side has nothing in it to compare."""


def choose(both: BothWays, rules: Rules, own: Own, coverage: CoverageOf) -> Chosen:
    """The pairs of the user's own rows.

    :param both: of each row the ``rules.neighbours`` nearest.
    :param coverage: asked for candidates' evidence of words where the rules want it.
    :raises InputError: if no threshold is expected to reach the precision.
    """
    found = candidates(first_neighbours(both, rules.k), rules.margin, rules.mode)
    found = without_planted(found, own.sources, own.targets)
    mute = _silent(both)
    heard = found.take(~(mute[0][found.source] | mute[1][found.target]))
    silent = len(found.score) - len(heard.score)
    threshold, calibration = rules.threshold, None
    if rules.precision is not None:
        calibration = calibrate(
            both,
            k=rules.k,
            sources=own.sources,
            targets=own.targets,
            margin=rules.margin,
            mode=rules.mode,
            known=own.known,
        )
        threshold = calibration.at_precision(rules.precision, surely=rules.surely)
        pairs = heard.take(heard.score >= threshold)
    elif rules.coverage:
        pairs = _with_coverage(heard, rules, coverage).above(threshold)
    else:
        pairs = heard.above(threshold)
    return Chosen(pairs, threshold, calibration, len(heard.score), silent)


def _with_coverage(found: Candidates, rules: Rules, coverage: CoverageOf) -> Candidates:
    """Add the evidence of words; as it is at most 1, some pairs need not be asked about."""
    if rules.threshold is not None:
        found = found.above(rules.threshold - rules.coverage)
    score = found.score + rules.coverage * coverage(found)
    return found._replace(score=score).best_first()


def _silent(both: BothWays) -> Sequence[NDArray[np.bool_]]:
    """Rows of zeros: of both sides, those whose cosines are all exactly 0."""
    return [(side.scores == 0).all(axis=1) for side in both]
