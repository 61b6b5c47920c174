"""What the service adds to the bare library when it has as much to do as it can.

    python benchmarks/service/library_overhead.py

The same pairs of Multi30k, raw text, the bundled model with its own settings: by ``segment`` and
``Aligner.align``, all of them in one call, in one process; and over /align, in requests of 1, 8, 32
and 128 pairs, by as many clients as are enough. In turn, in rounds; medians of pairs a second and
of processor seconds, the clients' own not counted.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path

from servers import HERE, bitext_server, multi30k, put_load, write_bodies

SIZES = {1: 64, 8: 16, 32: 8, 128: 4}
"""Pairs of a request, and how many clients send such ones."""
LIBRARY = """
import sys, time
import torch
from aligners.aligner import Aligner
from bitext.segmentation import segment
from bitext.types import SentencePair
from encoders.registry import default_registry
from servers import multi30k

def words(text):
    return [word.text for word in segment(text)]

torch.set_num_threads(int(sys.argv[1]))
aligner = Aligner(default_registry().encoder(device=sys.argv[2]))
raw = multi30k()
aligner.align([SentencePair(words(a), words(b)) for a, b in raw[:64]])
began, cpu = time.perf_counter(), time.process_time()
for _ in range(3):
    aligner.align([SentencePair(words(a), words(b)) for a, b in raw])
pairs = 3 * len(raw)
print(pairs / (time.perf_counter() - began), 1000 * (time.process_time() - cpu) / pairs)
"""

Figures = dict[str, list[tuple[float, float]]]


def library(threads: int, device: str) -> tuple[float, float]:
    """Pairs a second, and processor milliseconds a pair."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\n{LIBRARY}",
         str(threads), device],
        check=True, stdout=subprocess.PIPE, text=True, cwd=HERE.parents[1],
    )  # fmt: skip
    rate, cpu = map(float, done.stdout.split())
    return rate, cpu


def service(folder: Path, size: int, seconds: float, device: str) -> tuple[float, float]:
    """The same of the service, in requests of ``size`` pairs."""
    left = iter([{"source": source, "target": target} for source, target in multi30k()])
    bodies = []
    while len(pairs := list(islice(left, size))) == size:
        bodies.append({"pairs": pairs})
    path = write_bodies(folder / f"{size}.jsonl", bodies)
    with bitext_server(folder / "data", BITEXT_DEVICE=device) as server:
        put_load(server, "/align", path, clients=4, seconds=2)
        found = put_load(server, "/align", path, clients=SIZES[size], seconds=seconds)
    if set(found["statuses"]) != {"200"}:
        sys.exit(f"answers of {found['statuses']}")
    pairs_done = found["statuses"]["200"] * size
    return pairs_done / found["seconds"], 1000 * found["server_cpu"] / pairs_done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--threads", type=int, default=2, help="of the library")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for threads in {1, options.threads}:
                name = f"library, {threads} threads"
                figures.setdefault(name, []).append(library(threads, options.device))
            for size in options.sizes:
                found = service(Path(folder), size, options.seconds, options.device)
                figures.setdefault(f"/align, {size} pairs a request", []).append(found)
    for name, rounds in figures.items():
        rate, cpu = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"{name:28} {rate:7.1f} pairs/s  {cpu:6.2f} CPU ms a pair")


if __name__ == "__main__":
    main()
