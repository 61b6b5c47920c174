"""Where to cut: the link similarity and the sentence cosine from which on to believe a model.

Thresholds are whole thousandths: finer ones would fit the sample, not the model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bitext.types import Alignment, GoldAlignment
from encoders.inspection.probes import Neighbourhood

Curve = NDArray[np.float64]


def alignment_threshold(
    alignments: Sequence[Alignment], gold: Sequence[GoldAlignment]
) -> tuple[float, float]:
    """The link score with the lowest AER if all links below it are dropped, and that AER.

    0 if dropping links makes nothing better; of equally good ones the lowest.

    :param alignments: one a gold alignment, with their scores.
    """
    grid = np.arange(1001) / 1000
    scores, sure, possible = _scored_links(alignments, gold)
    dropped = np.searchsorted(scores, grid, side="left")
    links = len(scores) - dropped
    in_sure, in_possible = _after(sure, dropped), _after(possible, dropped)
    total = links + sum(len(g.sure) for g in gold)
    # bitext.scoring has the measure; no links and no sure links make no error
    aer = 1 - np.divide(in_sure + in_possible, total, out=np.ones(len(grid)), where=total > 0)
    best = int(aer.argmin())
    return float(grid[best]), float(aer[best])


def retrieval_threshold(found: Neighbourhood) -> tuple[float, float]:
    """The cosine that best tells true pairs from the best wrong neighbours, and its F1.

    Both directions count: every sentence brings its translation and its best wrong neighbour. If
    several thresholds in a row have the highest F1, the middle one is taken.
    """
    grid = np.arange(-1000, 1001) / 1000
    true = np.sort(np.concatenate([found.true, found.true]).astype(np.float64))
    wrong = np.sort(np.concatenate([found.wrong_forward, found.wrong_backward]).astype(np.float64))
    kept = len(true) - np.searchsorted(true, grid, side="left")
    false = len(wrong) - np.searchsorted(wrong, grid, side="left")
    f1: Curve = 2 * kept / (kept + false + len(true))
    first = int(f1.argmax())
    run = np.flatnonzero(f1[first:] != f1[first])
    last = first + (int(run[0]) - 1 if len(run) else len(f1) - first - 1)
    return float(grid[(first + last) // 2]), float(f1[first])


def _scored_links(
    alignments: Sequence[Alignment], gold: Sequence[GoldAlignment]
) -> tuple[Curve, Curve, Curve]:
    """The scores of all links, ascending, and 1 where a link is sure, and possible."""
    rows = [
        (score, link in g.sure, link in g.possible)
        for alignment, g in zip(alignments, gold, strict=True)
        for link, score in zip(alignment.links, alignment.scores, strict=True)
    ]
    table = np.array(sorted(rows), dtype=np.float64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def _after(marks: Curve, dropped: NDArray[np.intp]) -> Curve:
    """How many marks are left when the first ``dropped`` ones are not counted."""
    sums = np.concatenate([[0.0], np.cumsum(marks)])
    left: Curve = sums[-1] - sums[dropped]
    return left
