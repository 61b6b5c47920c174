"""Which parameters of a matcher suit a model: the mean AER on dev sets over a grid.

python benchmarks/matcher_sweep.py --method softmax
python benchmarks/matcher_sweep.py --method unbalanced --grid tau=0.02,0.05 regularisation=0.04
python benchmarks/matcher_sweep.py --method argmax --null 0.95     # with null words by entropy

Only dev sets belong here: what was chosen on a test set says nothing on it. The sentences are
encoded once.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from alignment_quality import read_pairs
from numpy.typing import NDArray

from aligners import matching, probability, transport
from aligners.aligner import UNITS, Aligner
from aligners.matching import Links
from aligners.null import calibrate, keep_decided
from aligners.similarity import Similarity, distort, similarity
from bitext.scoring import evaluate
from bitext.text import data_folder, read_gold
from bitext.types import Alignment, GoldAlignment
from encoders.encoder import Encoder
from encoders.registry import default_registry

DEV_SETS = [*(f"xlwa_en{code}_dev" for code in ("es", "nl", "pt", "ru", "da")), "deen_bicici"]
ONE_BY_ONE: dict[str, Callable[..., Links]] = {
    "argmax": matching.argmax,
    "itermax": matching.itermax,
    "mwmf": matching.mwmf,
    "softmax": probability.softmax,
    "intersection": probability.intersection,
    "entmax": probability.entmax,
}
TOGETHER: dict[str, Callable[..., list[Links]]] = {
    "transport": transport.transport,
    "partial": transport.partial,
    "unbalanced": transport.unbalanced,
}
_TEMPERATURES = [0.03, 0.04, 0.05, 0.06, 0.08, 0.1]
_SHARP = [0.025, 0.03, 0.04, 0.05, 0.06]
GRIDS: dict[str, dict[str, list[Any]]] = {  # a method without a grid is tried as it is
    "softmax": {"temperature": _TEMPERATURES, "threshold": [0.3, 0.35, 0.4, 0.45]},
    "intersection": {"temperature": _TEMPERATURES, "threshold": [0.1, 0.15, 0.2, 0.25, 0.3]},
    "entmax": {"temperature": [0.03, 0.05, 0.1, 0.15, 0.2], "threshold": [0.0, 0.2, 0.3, 0.4]},
    "transport": {"regularisation": [*_SHARP, 0.08], "threshold": [0.35, 0.4, 0.45, 0.5, 0.55]},
    "partial": {"regularisation": _SHARP, "mass": [0.8, 0.9], "threshold": [0.35, 0.4, 0.45, 0.5]},
    "unbalanced": {
        "regularisation": _SHARP,
        "tau": [0.02, 0.03, 0.05, 0.08],
        "threshold": [0.4, 0.45, 0.5, 0.55],
    },
}


class DevSet(NamedTuple):
    """What the matchers see of one set, and what is right."""

    similarities: list[Similarity]
    words: list[tuple[NDArray[np.int64], NDArray[np.int64]]]  # the word of each unit, both sides
    gold: list[GoldAlignment]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--sets", nargs="+", default=DEV_SETS)
    parser.add_argument("--method", choices=[*ONE_BY_ONE, *TOGETHER], default="softmax")
    parser.add_argument("--grid", nargs="+", default=[], help="name=value,value; default: built in")
    parser.add_argument("--layer", type=int, help="default: the model's preset")
    parser.add_argument("--unit", choices=UNITS, help="default: the model's preset")
    parser.add_argument("--distortion", type=float, help="default: the model's preset")
    parser.add_argument("--null", type=float, help="keep this share of links, by entropy")
    parser.add_argument("--best", type=int, default=10, help="how many rows to print")
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    aligner = Aligner(
        encoder, layer=options.layer, unit=options.unit, distortion=options.distortion
    )
    sets = [read_set(name, encoder, aligner) for name in options.sets]
    grid = parse_grid(options.grid) or GRIDS.get(options.method, {})
    rows = []
    for values in product(*grid.values()):
        parameters = dict(zip(grid, values, strict=True))
        scores = score(sets, options.method, parameters, options.null)
        rows.append((float(np.mean(scores)), parameters, scores))
    print("| mean AER | parameters | " + " | ".join(options.sets) + " |")
    print("|--:|---" + "|--:" * len(sets) + "|")
    for mean, parameters, scores in sorted(rows, key=lambda row: row[0])[: options.best]:
        named = ", ".join(f"{name}={value}" for name, value in parameters.items()) or "default"
        cells = " | ".join(f"{each:.1f}" for each in scores)
        print(f"| {mean:.2f} | {named} | {cells} |")
    print(f"\nAER in %; {aligner.signature_of(options.method)}; null {options.null}")


def parse_grid(given: Sequence[str]) -> dict[str, list[Any]]:
    """``["tau=0.1,1"]`` -> ``{"tau": [0.1, 1.0]}``; what is no number stays a word."""
    return {
        name: [_number_or_word(value) for value in values.split(",")]
        for name, _, values in (each.partition("=") for each in given)
    }


def read_set(name: str, encoder: Encoder, aligner: Aligner) -> DevSet:
    folder = data_folder() / "alignment"
    pairs = read_pairs(folder, name)
    sides = []
    for side in ([pair.source for pair in pairs], [pair.target for pair in pairs]):
        sides.append(list(_units([list(words) for words in side], encoder, aligner)))
    similarities = [
        distort(similarity(source, target), aligner.distortion)
        for (source, _), (target, _) in zip(*sides, strict=True)
    ]
    words = [(i, j) for (_, i), (_, j) in zip(*sides, strict=True)]
    return DevSet(similarities, words, read_gold(folder / f"{name}.gold", pairs=len(pairs)))


def score(
    sets: Sequence[DevSet], method: str, parameters: dict[str, Any], null: float | None
) -> list[float]:
    """The AER of each set, in %; tau of null words is found on all sets together."""
    similarities = [each for one in sets for each in one.similarities]
    links = match(method, similarities, parameters)
    if null is not None:
        tau = calibrate(links, similarities, null)
        links = [
            keep_decided(linked, compared, tau)
            for linked, compared in zip(links, similarities, strict=True)
        ]
    found = iter(links)
    return [
        100 * evaluate([_join(next(found), *words) for words in one.words], one.gold).aer
        for one in sets
    ]


def match(method: str, similarities: list[Similarity], parameters: dict[str, Any]) -> list[Links]:
    function = TOGETHER.get(method) or ONE_BY_ONE[method]
    unknown = parameters.keys() - inspect.signature(function).parameters.keys()
    if unknown:
        raise SystemExit(f"{method} has no parameter {', '.join(sorted(unknown))}")
    if method in TOGETHER:
        return TOGETHER[method](similarities, **parameters)
    return [ONE_BY_ONE[method](each, **parameters) for each in similarities]


def _units(
    sentences: list[list[str]], encoder: Encoder, aligner: Aligner
) -> Iterator[tuple[Any, NDArray[np.int64]]]:
    """The vectors that are matched, and the word of each."""
    if aligner.unit == "piece":
        for pieces in encoder.pieces(sentences, layer=aligner.layer):
            yield pieces.vectors, pieces.word_of
    else:
        for vectors in encoder.words(sentences, layer=aligner.layer):
            present = np.flatnonzero(vectors.any(axis=1))
            yield vectors[present], present


def _join(links: Links, source: NDArray[np.int64], target: NDArray[np.int64]) -> Alignment:
    rows, columns = np.nonzero(links)
    pairs = sorted(set(zip(source[rows].tolist(), target[columns].tolist(), strict=True)))
    return Alignment(tuple(pairs), tuple(1.0 for _ in pairs))


def _number_or_word(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value


if __name__ == "__main__":
    main()
