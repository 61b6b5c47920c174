"""Seconds and memory of document alignment by vectors alone, beside vecalign, as a Markdown table.

VECALIGN_PYTHON=/path/to/python python benchmarks/bench_documents.py    # without it, ours alone

The documents are made: 80 % of the beads are 1-1, 8 % 1-2, 6 % 2-1, the others sentences left out.
Vectors of runs of sentences are the normalised sums of their sentences' with noise, and a direction
of each language. Both aligners get the same vectors from a file, in a process of its own with one
thread; loading them is not counted, what the process holds at most is.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZES = (2000, 8000, 20000)
DIM = 256
MOST = 4
NOISE = 0.6
RUNS = 3

Units = list[list[int]]
Pair = tuple[tuple[int, ...], tuple[int, ...]]


def main() -> None:
    vecalign = os.environ.get("VECALIGN_PYTHON")
    print("| source sentences | | CPU s | peak MiB | beads right |\n|--:|---|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            source, target, gold = documents(size)
            file = Path(folder) / f"{size}.npz"
            np.savez(file, source=source, target=target)
            peer = [vecalign, str(Path(__file__).with_name("align_vecalign.py")), str(MOST)]
            workers = {"bitext": [sys.executable, __file__, "--worker"]}
            if vecalign:
                workers["vecalign"] = [str(part) for part in peer]
            for name, command in workers.items():
                runs = [run(command, file) for _ in range(RUNS)]
                seconds = sorted(r["seconds"] for r in runs)[RUNS // 2]
                found = {(tuple(x), tuple(y)) for x, y in runs[0]["beads"]}
                right = 100 * len(found & set(gold)) / len(gold)
                print(f"| {size:,} | {name} | {seconds:.2f} | {runs[0]['mib']} | {right:.1f} % |")
    print(f"\ndim {DIM}, beads of up to {MOST} sentences, one thread, median of {RUNS} runs")


def run(command: list[str], file: Path) -> dict[str, Any]:
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    here = {"PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(
        [*command, str(file)],
        env={**os.environ, **threads, **(here if "--worker" in command else {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
        text=True,
    )
    record: dict[str, Any] = json.loads(done.stdout)
    return record


def worker(file: str) -> None:
    from retrieval.documents.vectors import DocumentSettings, align_vectors

    loaded = np.load(file)
    source, target = loaded["source"], loaded["target"]
    began = time.process_time()
    beads = align_vectors(source, target, DocumentSettings(most=MOST))
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    pairs = [[list(bead.source), list(bead.target)] for bead in beads]
    print(json.dumps({"beads": pairs, "seconds": seconds, "mib": peak}))


def documents(
    size: int, seed: int = 0
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[Pair]]:
    """Spans of both sides, shape (MOST - 1, sentences, DIM), and the beads between them."""
    random = np.random.default_rng(seed)
    sources, targets, gold = plan(size, random)
    meanings = random.standard_normal((2 * size, DIM))
    return spans(meanings, sources, random), spans(meanings, targets, random), gold


def plan(size: int, random: np.random.Generator) -> tuple[Units, Units, list[Pair]]:
    """Which units of meaning each sentence has, on both sides."""
    shapes = [(1, 1), (1, 2), (2, 1), (1, 0), (0, 1)]
    sources: Units = []
    targets: Units = []
    gold: list[Pair] = []
    unit = 0
    for kind in random.choice(5, 2 * size, p=[0.8, 0.08, 0.06, 0.03, 0.03]):
        if len(sources) >= size:
            break
        p, q = shapes[kind]
        i, j, units = len(sources), len(targets), list(range(unit, unit + max(p, q)))
        gold.append((tuple(range(i, i + p)), tuple(range(j, j + q))))
        sources += [[u] for u in units] if p > 1 else [units] * p
        targets += [[u] for u in units] if q > 1 else [units] * q
        unit += len(units)
    return sources, targets, gold


def spans(
    meanings: NDArray[np.float64], sentences: Units, random: np.random.Generator
) -> NDArray[np.float32]:
    single = np.stack([meanings[units].sum(axis=0) for units in sentences])
    before = np.concatenate([np.zeros((1, DIM)), np.cumsum(single, axis=0)])
    language = random.standard_normal(DIM) * 0.5 / np.sqrt(DIM)
    vectors = np.zeros((MOST - 1, len(sentences), DIM), np.float32)
    for k in range(1, MOST):
        rows = unit_rows(before[k:] - before[:-k])
        noise = random.standard_normal(rows.shape) * NOISE / np.sqrt(DIM)
        vectors[k - 1, k - 1 :] = unit_rows(rows + noise + language)
    return vectors


def unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    normed: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return normed


if __name__ == "__main__":
    worker(sys.argv[2]) if sys.argv[1:2] == ["--worker"] else main()
