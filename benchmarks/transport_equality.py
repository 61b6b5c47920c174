"""Are our transport plans POT's? Solves the same cost matrices with both, and compares.

POT is not among this project's dependencies, and its answers may come from an environment of its
own, in three steps:

    python benchmarks/transport_equality.py costs costs.npz --sets enfr deen    # here
    OTHER/bin/python benchmarks/transport_equality.py pot costs.npz plans.npz   # where POT is
    python benchmarks/transport_equality.py compare costs.npz plans.npz         # here

Costs are ``1 - similarity``, scaled to 0 .. 1 in each pair, as OTAlign has them (Arase, Bao &
Yokoi, 2023). The second step imports nothing of this project.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
PROBLEMS: dict[str, tuple[str, dict[str, Any]]] = {  # name -> kind, parameters
    "balanced eps .1": ("balanced", {"regularisation": 0.1}),
    "balanced eps .05": ("balanced", {"regularisation": 0.05}),
    "partial eps .1 mass .7": ("partial", {"regularisation": 0.1, "mass": 0.7}),
    "unbalanced eps .1 tau .2": ("unbalanced", {"regularisation": 0.1, "tau": 0.2}),
    "unbalanced eps .05 tau 1": ("unbalanced", {"regularisation": 0.05, "tau": 1.0}),
}
STEPS = 10_000
ALLOWED = 1e-6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=["costs", "pot", "compare"])
    parser.add_argument("costs", type=Path)
    parser.add_argument("plans", type=Path, nargs="?")
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--sets", nargs="+", default=["enfr", "deen", "zhen"])
    parser.add_argument("--limit", type=int, help="pairs in all; default: every pair")
    options = parser.parse_args()
    if options.step == "costs":
        made = islice(make_costs(options.model, options.sets), options.limit)
        save(options.costs, {str(number): cost for number, cost in enumerate(made)})
        return 0
    if options.plans is None:
        parser.error(f"{options.step} needs the file of plans too")
    costs = load(options.costs)
    if options.step == "pot":
        save(options.plans, solve_with_pot(costs))
        return 0
    return compare(costs, load(options.plans))


def make_costs(model: str, sets: list[str]) -> Iterator[Matrix]:
    from alignment_quality import read_pairs

    from aligners.aligner import Aligner
    from aligners.similarity import similarity
    from aligners.transport import scaled_to_pair
    from bitext.text import data_folder
    from encoders.registry import default_registry

    encoder = default_registry().encoder(model)
    layer = Aligner(encoder).layer
    for name in sets:
        pairs = read_pairs(data_folder() / "alignment", name)
        sources = encoder.words([pair.source for pair in pairs], layer=layer)
        targets = encoder.words([pair.target for pair in pairs], layer=layer)
        for source, target in zip(sources, targets, strict=True):
            if len(source) and len(target):
                yield 1 - scaled_to_pair(similarity(source, target).astype(np.float64))


def solve_with_pot(costs: Mapping[str, Matrix]) -> dict[str, Matrix]:
    """POT's plans: weights of each side sum to 1 if balanced, else every unit weighs 1.

    Steps are as many as ours at most: partial transport may need more to come to rest, but ours
    are the same steps.
    """
    import ot  # type: ignore[import-not-found]

    solvers: dict[str, Any] = {
        "balanced": lambda a, b, cost, p: ot.sinkhorn(
            a / a.sum(), b / b.sum(), cost, p["regularisation"],
            method="sinkhorn_log", numItermax=STEPS, stopThr=1e-9,
        ),
        "partial": lambda a, b, cost, p: ot.partial.entropic_partial_wasserstein(
            a, b, cost, p["regularisation"], m=p["mass"] * min(a.sum(), b.sum()),
            numItermax=STEPS, stopThr=1e-9,
        ),
        "unbalanced": lambda a, b, cost, p: ot.unbalanced.sinkhorn_unbalanced(
            a, b, cost, p["regularisation"], p["tau"], reg_type="kl",
            numItermax=STEPS, stopThr=1e-9,
        ),
    }  # fmt: skip
    plans = {}
    for problem, (kind, parameters) in PROBLEMS.items():
        start = time.process_time()
        for number, cost in costs.items():
            rows, columns = np.ones(cost.shape[0]), np.ones(cost.shape[1])
            plans[f"{problem}/{number}"] = solvers[kind](rows, columns, cost, parameters)
        _report(f"POT {ot.__version__}, {problem}", start, len(costs))
    return plans


def compare(costs: Mapping[str, Matrix], theirs: Mapping[str, Matrix]) -> int:
    from aligners.transport import plans

    worst = 0.0
    for problem, (kind, parameters) in PROBLEMS.items():
        start = time.process_time()
        ours = plans(kind, list(costs.values()), tolerance=1e-9, most_steps=STEPS, **parameters)
        _report(problem, start, len(costs))
        differences = [
            float(np.abs(plan - theirs[f"{problem}/{number}"]).max())
            for number, plan in zip(costs, ours, strict=True)
        ]
        print(f"{problem}: greatest difference {max(differences):.1e} of {len(differences)} pairs")
        worst = max(worst, *differences)
    return 1 if worst > ALLOWED else 0


def save(path: Path, matrices: Mapping[str, Matrix]) -> None:
    named: dict[str, Any] = dict(matrices)
    np.savez(path, **named)


def load(path: Path) -> dict[str, Matrix]:
    with np.load(path) as stored:
        return dict(stored)


def _report(what: str, start: float, pairs: int) -> None:
    spent = time.process_time() - start
    print(f"{what}: {1000 * spent / pairs:.3f} ms of CPU a pair", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
