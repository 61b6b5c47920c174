"""Do we mine LASER's pairs, and those of sentence-transformers' example?

    python benchmarks/mining_equality.py --python PYTHON --laser LASER/source \\
        --example bitext_mining_utils.py

See mining_peers.py for what the peers need. For each margin and each mode that a peer has, both
mine the same vectors; a line says how many pairs are different and how far the scores of equal ones
are apart. It ends with 1 if anything differs by more than rounding.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from itertools import product
from pathlib import Path

from mining_peers import Pairs, Peers, Run, make_corpora, run_example, run_laser, run_ours

MARGINS = ("absolute", "distance", "ratio")
LASER_MODES = {"max": "max", "intersection": "intersect", "forward": "fwd", "backward": "bwd"}
EXAMPLE_MODES = ("max", "forward", "backward")
TOLERANCE = 1e-5


def main() -> None:
    options = parse_arguments()
    peers = Peers(options.python, options.laser, options.example)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        corpora = make_corpora(Path(folder), options.size, options.dim)
        for margin, (mode, theirs) in product(MARGINS, LASER_MODES.items()):
            ours = run_ours(corpora, 1, options.dtype, margin=margin, mode=mode)
            if peers.laser is not None:
                run = run_laser(corpora, 1, peers, margin=margin, retrieval=theirs, torch=False)
                wrong += report(f"LASER, {margin}, {mode}", ours, run)
            if peers.example is not None and mode in EXAMPLE_MODES:
                run = run_example(corpora, 1, peers, margin=margin, mode=mode)
                wrong += report(f"sentence-transformers, {margin}, {mode}", ours, run)
        for margin in MARGINS if peers.laser is not None else ():
            ours = run_ours(corpora, 1, options.dtype, margin=margin, mode="score")
            run = run_laser(corpora, 1, peers, margin=margin, mode="score", torch=False)
            wrong += report(f"LASER, {margin}, given pairs", ours, run)
    sys.exit(bool(wrong))


def report(what: str, ours: Run, theirs: Run) -> bool:
    """Print how two runs compare; whether they differ."""
    if ours.error or theirs.error:
        print(f"{what}: {'ours' if ours.error else 'theirs'} fails: {ours.error or theirs.error}")
        return bool(ours.error)
    different = len(ours.pairs.keys() ^ theirs.pairs.keys())
    apart = farthest(ours.pairs, theirs.pairs)
    print(
        f"{what}: {len(ours.pairs)} pairs, {different} different, scores at most {apart:.1e} apart",
        flush=True,
    )
    return bool(different) or apart > TOLERANCE


def farthest(ours: Pairs, theirs: Pairs) -> float:
    return max((abs(ours[pair] - theirs[pair]) for pair in ours.keys() & theirs.keys()), default=0)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=5_000, help="sentences a side")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--dtype", default="bfloat16", help="of our product")
    parser.add_argument("--python", default=sys.executable, help="what runs the peers")
    parser.add_argument("--laser", type=Path, help="the folder source of LASER's repository")
    parser.add_argument("--example", type=Path, help="bitext_mining_utils.py")
    return parser.parse_args()


if __name__ == "__main__":
    main()
