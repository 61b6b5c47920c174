"""Sentences a second of the bundled model in float32 and bfloat16, and how near the vectors are.

The German side of NTREX (BITEXT_DATA), the median of three runs.
"""

from __future__ import annotations

import statistics
import sys
import time

import torch

from bitext.text import data_folder, open_lines
from encoders.registry import default_registry

RUNS = 3


def main() -> None:
    path = data_folder() / "retrieval" / "ntrex" / "deu.txt"
    if not path.is_file():
        sys.exit(f"no data: {path} is not there (set BITEXT_DATA)")
    sentences = list(open_lines(path))
    rates, vectors = {}, {}
    for dtype in ("float32", "bfloat16"):
        encoder = default_registry().encoder(dtype=dtype)
        encoder.sentences(sentences[:200])  # the first pass sets much up
        times = []
        for _ in range(RUNS):
            began = time.perf_counter()
            vectors[dtype] = encoder.sentences(sentences)
            times.append(time.perf_counter() - began)
        rates[dtype] = len(sentences) / statistics.median(times)
        print(f"{dtype:9} {rates[dtype]:7.1f} sentences/s, {torch.get_num_threads()} threads")
    cosine = (vectors["float32"] * vectors["bfloat16"]).sum(axis=1).mean()
    print(
        f"bfloat16 is {rates['bfloat16'] / rates['float32']:.1f} times as fast, cosine {cosine:.5f}"
    )


if __name__ == "__main__":
    main()
