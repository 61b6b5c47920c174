"""F1 of a model at finding translations hidden among other sentences, as a Markdown table.

python benchmarks/mining_quality.py                    # the bundled model, its preset's layer

Each set of ``mining/`` has some hundred known pairs among sentences of the same news stories. Every
sentence pair that is each other's best by the ratio margin over 4 neighbours (Artetxe & Schwenk,
2019) is a candidate; those above a threshold are mined. The threshold of a language is the one with
the best mean F1 on the other languages' sets, so that no set chooses its own.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.text import data_folder, open_lines
from encoders.pooling import Vectors, centre
from encoders.registry import default_registry

NEIGHBOURS = 4


class Candidates(NamedTuple):
    """Pairs that are each other's best, and which of them are known pairs."""

    margins: NDArray[np.float32]
    right: NDArray[np.bool_]
    gold: int  # known pairs in all


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled", help="a hub name or folder")
    parser.add_argument("--layer", type=int)
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    folder = data_folder() / "mining"
    names = sorted(path.name.removesuffix(".gold") for path in folder.glob("*.gold"))
    found: dict[bool, dict[str, Candidates]] = {False: {}, True: {}}
    for name in names:
        other, english, gold = read_set(folder, name)
        sides = [encoder.sentences(list(s.values()), layer=options.layer) for s in (other, english)]
        keys = np.array([[list(other).index(i), list(english).index(j)] for i, j in gold])
        for centred in found:
            vectors = [centre(v, v.mean(axis=0)) if centred else v for v in sides]
            found[centred][name] = candidates(vectors[0], vectors[1], keys)
    print("| set | F1 raw | P / R | F1 centred | P / R |\n|---|--:|---|--:|---|")
    for name in names:
        cells = [cell(found[centred], name) for centred in found]
        print(f"| {name} | " + " | ".join(cells) + " |")
    layer = encoder.check_layer(options.layer, "retrieval")
    print(
        f"\nIn %; model {encoder.name}@{encoder.fingerprint} | layer {layer} | pooling mean | ",
        end="",
    )
    print(f"ratio margin, k {NEIGHBOURS}, mutual best, threshold from the other sets")


def read_set(
    folder: Path, name: str
) -> tuple[dict[str, str], dict[str, str], list[tuple[str, str]]]:
    """Sentences of both sides by their ids, and the known pairs of ids."""
    language = name.split(".")[1].split("-")[0]
    sides = []
    for side in (language, "en"):
        lines = (line.split("\t") for line in open_lines(folder / f"{name}.{side}"))
        sides.append(dict(lines))
    pairs = (line.split("\t") for line in open_lines(folder / f"{name}.gold"))
    return sides[0], sides[1], [(i, j) for i, j in pairs]


def candidates(source: Vectors, target: Vectors, gold: NDArray[np.int64]) -> Candidates:
    """The mutually best pairs by the ratio margin."""
    cosines = source @ target.T
    near = [
        np.sort(cosines, axis=axis).take(range(-NEIGHBOURS, 0), axis=axis).mean(axis=axis)
        for axis in (1, 0)
    ]
    margins = cosines / ((near[0][:, None] + near[1]) / 2)
    best = margins.argmax(axis=1)
    mutual = np.flatnonzero(margins.argmax(axis=0)[best] == np.arange(len(best)))
    known = np.zeros(cosines.shape, dtype=np.bool_)
    known[gold[:, 0], gold[:, 1]] = True
    pairs = mutual, best[mutual]
    return Candidates(margins[pairs], known[pairs], len(gold))


def score(found: Candidates, threshold: float) -> tuple[float, float, float]:
    """F1, precision and recall of the candidates above ``threshold``, in %."""
    kept = found.right[found.margins >= threshold]
    precision = float(kept.mean()) if len(kept) else 1.0
    recall = float(kept.sum() / found.gold)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return 100 * f1, 100 * precision, 100 * recall


def cell(found: dict[str, Candidates], name: str) -> str:
    others = [one for key, one in found.items() if key != name]
    thresholds = np.unique(np.concatenate([one.margins for one in others]))[::10]
    best = max(thresholds, key=lambda t: sum(score(one, t)[0] for one in others))
    f1, precision, recall = score(found[name], best)
    return f"{f1:.1f} | {precision:.1f} / {recall:.1f}"


if __name__ == "__main__":
    main()
