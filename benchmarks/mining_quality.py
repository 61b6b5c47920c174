"""F1 of a model at finding translations hidden among other sentences, as Markdown tables.

python benchmarks/mining_quality.py                    # the bundled model, its preset's layer

Each set of ``mining/`` has some hundred known pairs among sentences of the same news stories. The
candidates are the project's own (:mod:`retrieval.mining.miner`), and those at or above a threshold
are mined. The threshold of a language is the one with the best mean F1 on the other languages'
sets, so that no set chooses its own. The first table has every margin, mode and centring, as means
over the sets; the second has the sets, by ``--margin`` and ``--mode``.
"""

from __future__ import annotations

import argparse
from itertools import product

import numpy as np
from mining_sets import MiningSet, read_sets

from bitext.types import Match
from encoders.registry import default_registry
from retrieval.evaluation.folders import centred_sides
from retrieval.evaluation.mining import Counts, Judged, count_at, judge, shared_threshold
from retrieval.evaluation.recall import CENTRED, RAW
from retrieval.mining.margin import MARGINS
from retrieval.mining.miner import MODES, candidates
from retrieval.mining.neighbours import nearest_both_ways
from retrieval.vectors.encoding import space_of
from retrieval.vectors.manifest import Space

NEIGHBOURS = 4
EVERY = 10
"""One in so many scores is tried as a threshold."""

Ways = dict[tuple[str, str, str], dict[str, Judged]]
"""(centring, margin, mode) -> set -> what was mined."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled", help="a hub name or folder")
    parser.add_argument("--layer", type=int)
    parser.add_argument("--margin", default="ratio")
    parser.add_argument("--mode", default="intersection")
    parser.add_argument(
        "--centring", nargs="+", default=[RAW, CENTRED, "components:1", "whitening"]
    )
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    space = space_of(encoder, options.layer, None)
    ways: Ways = {}
    for one in read_sets(encoder, options.layer):
        for kind in options.centring:
            mine(one, kind, space, ways)
    print("| centring | margin | " + " | ".join(MODES) + " |\n|---|---" + "|--:" * len(MODES) + "|")
    for kind, margin in product(options.centring, MARGINS):
        cells = [f"{mean_f1(ways[kind, margin, mode]):.1f}" for mode in MODES]
        print("| " + " | ".join([kind, margin, *cells]) + " |")
    print(f"\nMean F1 of the sets, in %. By {options.margin} and {options.mode}:\n")
    print("| set " + "".join(f"| F1 {kind} | P / R " for kind in options.centring) + "|")
    print("|---" + "|--:|---" * len(options.centring) + "|")
    chosen = [ways[kind, options.margin, options.mode] for kind in options.centring]
    for name in chosen[0]:
        print(f"| {name} | " + " | ".join(cell(found, name) for found in chosen) + " |")
    print(
        f"\nIn %; model {encoder.name}@{encoder.fingerprint} | layer {space.layer} | "
        f"pooling {space.pooling} | k {NEIGHBOURS} | threshold from the other sets"
    )


def mine(one: MiningSet, kind: str, space: Space, ways: Ways) -> None:
    """Add what every margin and mode finds in a set, from one search."""
    sides = centred_sides({"source": one.source, "target": one.target}, kind, space)
    both = nearest_both_ways(sides["source"], sides["target"], NEIGHBOURS)
    for margin, mode in product(MARGINS, MODES):
        columns = (column.tolist() for column in candidates(both, margin, mode))
        judged = judge(map(Match, *columns), one.gold)
        ways.setdefault((kind, margin, mode), {})[one.name] = judged


def score(found: dict[str, Judged], name: str) -> Counts:
    """The counts of one set at the threshold that the others choose."""
    others = [judged for other, judged in found.items() if other != name]
    return count_at(found[name], shared_threshold(others, every=EVERY))


def mean_f1(found: dict[str, Judged]) -> float:
    return 100 * float(np.mean([score(found, name).f1 for name in found]))


def cell(found: dict[str, Judged], name: str) -> str:
    counts = score(found, name)
    return f"{100 * counts.f1:.1f} | {100 * counts.precision:.1f} / {100 * counts.recall:.1f}"


if __name__ == "__main__":
    main()
