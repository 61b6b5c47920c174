"""Is expected precision the true one? Thresholds chosen without gold, then judged by it.

python benchmarks/calibration_quality.py

For each set of ``mining/`` a threshold is chosen by :mod:`retrieval.mining.calibration` for a
precision of 80, 90 and 95 %, with 300 known pairs planted from near (NTREX: news, never trained
on), from far (Tatoeba: short sentences of daily life), from what the model was trained on (WMT news
of other years), and without any. The gold of the set is looked at only afterwards. ``--keep``
leaves a share of the gold pairs in, so that fewer sentences have a translation.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from mining_sets import MiningSet, read_known, read_sets, vectors_of

from bitext.errors import InputError
from bitext.types import Match
from encoders.registry import default_registry
from retrieval.evaluation.mining import Judged, count_at, judge
from retrieval.mining.calibration import SPARE, Calibration, calibrate
from retrieval.mining.miner import candidates
from retrieval.mining.neighbours import nearest_both_ways
from retrieval.mining.planting import first_neighbours, without_planted
from retrieval.vectors.files import Rows

EVIDENCE = {"ntrex": "near", "tatoeba": "far", "wmt-news": "seen", "": "none"}
TARGETS = (0.8, 0.9, 0.95)
K = 4


class Outcome(NamedTuple):
    threshold: float
    expected_recall: float
    precision: float  # true ones
    recall: float
    precision_held: bool  # whether the interval holds the true one
    recall_held: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled", help="a hub name or folder")
    parser.add_argument("--margin", default="ratio")
    parser.add_argument("--modes", nargs="+", default=["max", "intersection"])
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--keep", type=float, nargs="+", default=[1.0, 0.2])
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    sets = list(read_sets(encoder))
    planted: dict[tuple[str, str], tuple[Rows, Rows]] = {}
    for corpus in filter(None, EVIDENCE):
        for one in sets:
            if known := read_known(corpus, one.language, options.pairs):
                sides = [vectors_of(encoder, [pair[side] for pair in known]) for side in (0, 1)]
                planted[corpus, one.language] = sides[0], sides[1]
    for keep in options.keep:
        thinned = [one.thinned(keep) for one in sets]
        for mode in options.modes:
            print(f"\n{options.margin} margin, k {K}, {mode}, {100 * keep:.0f} % of gold kept\n")
            report(thinned, planted, options.margin, mode)
    print(f"\n{options.pairs} known pairs; model {encoder.name}@{encoder.fingerprint}")


def report(
    sets: list[MiningSet],
    planted: dict[tuple[str, str], tuple[Rows, Rows]],
    margin: str,
    mode: str,
) -> None:
    """A table of all sets at 90 %, and one of the errors."""
    print("| set | " + " | ".join(f"{name}: P | R expected / true" for name in EVIDENCE.values()))
    print("|---" * (1 + 2 * len(EVIDENCE)) + "|")
    outcomes: dict[tuple[str, float], list[Outcome]] = {}
    for one in sets:
        cells = [one.name]
        for corpus, name in EVIDENCE.items():
            if corpus and (corpus, one.language) not in planted:
                cells += ["", ""]
                continue
            sides = planted.get((corpus, one.language))
            found, judged = estimate(one, sides, margin, mode)
            for wanted in TARGETS:
                try:
                    outcome = compare(found, judged, wanted)
                except InputError:  # the precision is not reachable
                    outcome = None
                if outcome:
                    outcomes.setdefault((name, wanted), []).append(outcome)
                if wanted == 0.9 and outcome is None:
                    cells += ["–", "–"]
                elif wanted == 0.9 and outcome:
                    recall = f"{100 * outcome.expected_recall:.0f} / {100 * outcome.recall:.0f}"
                    cells += [f"{100 * outcome.precision:.1f}", recall]
        print("| " + " | ".join(cells) + " |", flush=True)
    columns = ["known pairs", "wanted P", "sets", "true P, mean", "mean error", "in interval"]
    print("\n| " + " | ".join([*columns, "recall error", "in interval"]) + " |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
    for (known, wanted), found_all in outcomes.items():
        precision = np.array([o.precision for o in found_all])
        errors = np.array([o.expected_recall - o.recall for o in found_all])
        held = [sum(o.precision_held for o in found_all), sum(o.recall_held for o in found_all)]
        print(
            f"| {known} | {100 * wanted:.0f} | {len(found_all)} | {100 * precision.mean():.1f} | "
            f"{100 * abs(precision - wanted).mean():.1f} | {held[0]} | "
            f"{100 * abs(errors).mean():.1f} | {held[1]} |"
        )


def estimate(
    one: MiningSet, sides: tuple[Rows, Rows] | None, margin: str, mode: str
) -> tuple[Calibration, Judged]:
    source, target = one.source, one.target
    known = None
    if sides:
        count = np.arange(len(sides[0]))
        known = np.stack([len(source) + count, len(target) + count], axis=1)
        source, target = np.concatenate([source, sides[0]]), np.concatenate([target, sides[1]])
    both = nearest_both_ways(source, target, K + SPARE)
    found = calibrate(
        both,
        k=K,
        sources=len(one.source),
        targets=len(one.target),
        margin=margin,
        mode=mode,
        known=known,
    )
    mined = candidates(first_neighbours(both, K), margin, mode)
    own = without_planted(mined, len(one.source), len(one.target))
    return found, judge(map(Match, *(column.tolist() for column in own)), one.gold)


def compare(found: Calibration, judged: Judged, wanted: float) -> Outcome:
    threshold = found.at_precision(wanted)
    counts, row = count_at(judged, threshold), found.at(threshold)
    return Outcome(
        threshold,
        row["recall"],
        counts.precision,
        counts.recall,
        row["precision_low"] <= counts.precision <= row["precision_high"],
        row["recall_low"] <= counts.recall <= row["recall_high"],
    )


if __name__ == "__main__":
    main()
