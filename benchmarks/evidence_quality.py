"""What word alignment adds to mining: F1 by the weight of its evidence, as a Markdown table.

python benchmarks/evidence_quality.py

The sets of ``mining/``, ratio margin over 4 neighbours, one to one (mode ``max``). The score of a
pair is its margin and so much of how far its words translate each other. The threshold of a set is
the one with the best mean F1 on the other sets, so that no set chooses its own.
"""

from __future__ import annotations

import argparse

import numpy as np
from mining_quality import NEIGHBOURS, mean_f1, score
from mining_sets import read_sets

from bitext.bridges import coverage_by
from bitext.text import data_folder
from bitext.types import Match, SentencePair
from encoders.registry import default_registry
from retrieval.evaluation.mining import Judged, judge
from retrieval.evaluation.mining_files import read_corpus
from retrieval.mining.miner import candidates
from retrieval.mining.neighbours import nearest_both_ways


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled", help="a hub name or folder")
    parser.add_argument("--weights", type=float, nargs="+", default=[0, 0.25, 0.5, 1, 2])
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    coverage = coverage_by(encoder)
    found: dict[float, dict[str, Judged]] = {weight: {} for weight in options.weights}
    for one in read_sets(encoder):
        both = nearest_both_ways(one.source, one.target, NEIGHBOURS)
        pairs = candidates(both, "ratio", "max")
        paths = [data_folder() / "mining" / f"{one.name}.{side}" for side in (one.language, "en")]
        sources, targets = (read_corpus(str(path)).texts for path in paths)
        texts = [SentencePair(sources[i], targets[j]) for i, j, _ in zip(*pairs, strict=True)]
        evidence = np.array(coverage(texts))
        for weight in options.weights:
            scored = pairs._replace(score=pairs.score + weight * evidence)
            matches = map(Match, *(column.tolist() for column in scored))
            found[weight][one.name] = judge(matches, one.gold)
    names = list(found[options.weights[0]])
    print("| weight | " + " | ".join(names) + " | mean |\n|--:" + "|--:" * len(names) + "|--:|")
    for weight, judged in found.items():
        cells = [f"{100 * score(judged, name).f1:.1f}" for name in names]
        print(f"| {weight:g} | " + " | ".join(cells) + f" | {mean_f1(judged):.1f} |")
    print(f"\nF1 in %; model {encoder.name}@{encoder.fingerprint}, threshold from the other sets")


if __name__ == "__main__":
    main()
