"""How fast bitext is mined, beside LASER, sentence-transformers' example and plain FAISS.

    python benchmarks/bench_mine.py
    python benchmarks/bench_mine.py --python PYTHON --laser LASER/source \\
        --example bitext_mining_utils.py --size 50000 --dims 256 768 1024 --threads 1 2

See mining_peers.py for what the peers need. All miners read the same float32 files, take the ratio
margin with k = 4 and the greedy one-to-one mode, and write their pairs. Each runs in a process of
its own, whose start and imports count. The ratios are of processor seconds, so that other work on
the machine matters little: of LASER's, else of FAISS's, else of our own in float32.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from mining_peers import (
    Corpora,
    Pairs,
    Peers,
    Run,
    make_corpora,
    run_example,
    run_faiss,
    run_laser,
    run_ours,
)


def main() -> None:
    options = parse_arguments()
    peers = Peers(options.python, options.laser, options.example)
    print("| dim | threads | miner | CPU s | times as fast | wall s | peak MB | pairs |")
    print("|---|---|---|---|---|---|---|---|")
    for dim in options.dims:
        with tempfile.TemporaryDirectory() as folder:
            corpora = make_corpora(Path(folder), options.size, dim)
            for threads in options.threads:
                compare(corpora, threads, peers, options.without)


def compare(corpora: Corpora, threads: int, peers: Peers, without: list[str]) -> None:
    """Print a line a miner; ours come first, and are compared with what comes later."""
    runs: dict[str, Run] = {}
    for name, work in miners(corpora, threads, peers).items():
        if name in without:
            continue
        runs[name] = work()
        print(f"{name}: {runs[name].cpu:.1f} s {runs[name].error}", file=sys.stderr, flush=True)
    reference = runs.get("LASER") or runs.get("faiss.knn, both ways") or runs["ours, float32"]
    for name, run in runs.items():
        speed = f"{reference.cpu / run.cpu:.2f}"
        cells = [corpora.dim, threads, name, f"{run.cpu:.1f}", speed, f"{run.wall:.1f}"]
        cells += [f"{run.peak / 1e6:.0f}", run.error or describe(run.pairs, reference.pairs)]
        print(f"| {' | '.join(map(str, cells))} |", flush=True)


def miners(corpora: Corpora, threads: int, peers: Peers) -> dict[str, Callable[[], Run]]:
    found: dict[str, Callable[[], Run]] = {
        "ours, bfloat16": lambda: run_ours(corpora, threads, "bfloat16"),
        "ours, float32": lambda: run_ours(corpora, threads, "float32"),
    }
    if peers.laser is not None:
        found["LASER"] = lambda: run_laser(corpora, threads, peers)
        found["LASER, no torch"] = lambda: run_laser(corpora, threads, peers, torch=False)
    if peers.example is not None:
        found["sentence-transformers' example"] = lambda: run_example(corpora, threads, peers)
    found["faiss.knn, both ways"] = lambda: run_faiss(corpora, threads, peers.python)
    return found


def describe(pairs: Pairs, reference: Pairs) -> str:
    """How many pairs, and how many of them the reference has not, or has and these have not."""
    if not pairs:
        return "-"
    return f"{len(pairs)}" + (
        f", {len(pairs.keys() ^ reference.keys())} others" if reference else ""
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=50_000, help="sentences a side")
    parser.add_argument("--dims", type=int, nargs="+", default=[256, 768, 1024])
    parser.add_argument("--without", nargs="*", default=[], help="miners to leave out, by name")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--python", default=sys.executable, help="what runs the peers")
    parser.add_argument("--laser", type=Path, help="the folder source of LASER's repository")
    parser.add_argument("--example", type=Path, help="bitext_mining_utils.py")
    return parser.parse_args()


if __name__ == "__main__":
    main()
