"""Pairs as they are written, and the text that a mining reads: from the stages to lines."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bitext.types import SentencePair
from retrieval.command_input import packed_file
from retrieval.mining.corpus import EMPTY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from retrieval.filters.filters import FilterChain
    from retrieval.mining.choices import MinedSide
    from retrieval.mining.miner import Candidates
    from retrieval.mining.neighbours import BothWays
    from retrieval.mining.rules import Chosen, Own, Rules
    from retrieval.mining.run import MiningRun
    from retrieval.vectors.files import Vectors


class Line(NamedTuple):
    """A pair as it is written."""

    score: float | None
    source_id: int
    target_id: int
    source: str
    target: str


def to_tsv(line: Line) -> str:
    score = "" if line.score is None else f"{line.score:.6f}"
    return f"{score}\t{line.source}\t{line.target}\n"


def to_json(line: Line) -> str:
    score = None if line.score is None else round(line.score, 6)
    return json.dumps({**line._asdict(), "score": score}, ensure_ascii=False) + "\n"


def mined(
    run: MiningRun,
    both: BothWays,
    rules: Rules,
    own: Own,
    filters: FilterChain | None,
    top: int | None,
) -> Iterator[Line]:
    """The pairs that the rules choose and no filter drops."""
    from bitext.bridges import coverage_by
    from retrieval.filters.commands import report_dropped
    from retrieval.mining.rules import choose

    def evidence(found: Candidates) -> NDArray[np.float64]:
        return run.coverage(found, coverage_by(run.making.encoder))

    chosen = choose(both, rules, own, evidence)
    _tell(chosen, rules)
    lines = (
        _line(run, *pair) for pair in zip(*(part.tolist() for part in chosen.pairs), strict=True)
    )
    yield from islice(lines if filters is None else _filtered(lines, filters), top)
    if filters is not None:
        report_dropped(filters, as_json=False)


def _filtered(lines: Iterable[Line], filters: FilterChain) -> Iterator[Line]:
    from retrieval.vectors.encoding import chunks

    for some in chunks(lines):
        pairs = [SentencePair(line.source, line.target) for line in some]
        for line, verdict in zip(some, filters.judge(pairs), strict=True):
            if verdict.filter is None:
                yield line


def scored(
    run: MiningRun, vectors: Sequence[Vectors], both: BothWays, rules: Rules
) -> Iterator[Line]:
    """All lines in order, each with the margin of its own two sentences."""
    from retrieval.mining.miner import score_pairs
    from retrieval.mining.run import UnitRows

    rows = np.stack([corpus.rows for corpus in run.corpora], axis=1)  # as many: checked before
    there = (rows != EMPTY).all(axis=1)
    scores = np.full(len(rows), np.nan)
    source, target = map(UnitRows, vectors)
    scores[there] = score_pairs(source, target, rows[there], margin=rules.margin, both=both)
    for number, (pair, score) in enumerate(zip(rows.tolist(), scores.tolist(), strict=True)):
        texts = (
            "" if row == EMPTY else corpus[row]
            for row, corpus in zip(pair, run.corpora, strict=True)
        )
        yield Line(None if math.isnan(score) else score, number, number, *texts)


def own_rows(run: MiningRun, sides: Sequence[MinedSide], planted: int) -> Own:
    """How many sentences are the user's, and the rows of the known pairs.

    A pair of which just one side is in the text already stays out of the estimate.
    """
    from retrieval.mining.rules import Own

    counts, rows = [], []
    for side, corpus in zip(sides, run.corpora, strict=True):
        counts.append(int(np.searchsorted(corpus.numbers, side.count)))
        rows.append(corpus.rows[len(corpus.rows) - planted :])
    known = np.unique(np.stack(rows, axis=1), axis=0)
    theirs = known >= counts
    own = known[(known != EMPTY).all(axis=1) & (theirs[:, 0] == theirs[:, 1])]
    return Own(counts[0], counts[1], own)


def _line(run: MiningRun, source: int, target: int, score: float) -> Line:
    return Line(score, *run.lines(source, target), *run.texts(source, target))


def _tell(chosen: Chosen, rules: Rules) -> None:
    """What was found, on stderr."""
    found = f"{len(chosen.pairs.score):,} of {chosen.considered:,} pairs"
    if chosen.threshold is None:
        print(f"{found}: no threshold was given", file=sys.stderr)
    else:
        least = "above" if chosen.calibration is None else "at least"
        print(f"{found} score {least} {chosen.threshold:.4f}", file=sys.stderr)
    if chosen.silent:
        print(f"{chosen.silent:,} pairs have a side with nothing to compare", file=sys.stderr)
    if chosen.calibration is not None:
        print(chosen.calibration.table(), file=sys.stderr)


def write(output: Path | None, lines: Iterable[str]) -> None:
    """All at once to a file, which appears when it is whole; as they come to stdout."""
    from retrieval.vectors.encoding import chunks

    if output is None:
        sys.stdout.writelines(lines)
        return
    with packed_file(output) as write:
        for some in chunks(lines):
            write("".join(some))
