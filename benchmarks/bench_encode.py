"""Sentences a second of the bundled model in float32 and bfloat16, and how near the vectors are.

The German side of NTREX (BITEXT_DATA), the median of three runs.
"""

from __future__ import annotations

import sys
from functools import partial

import torch
from machine import seconds_in_rounds

from bitext.text import data_folder, open_lines
from encoders.registry import default_registry

RUNS = 3


def main() -> None:
    path = data_folder() / "retrieval" / "ntrex" / "deu.txt"
    if not path.is_file():
        sys.exit(f"no data: {path} is not there (set BITEXT_DATA)")
    sentences = list(open_lines(path))
    encoders = {name: default_registry().encoder(dtype=name) for name in ("float32", "bfloat16")}
    works = {name: partial(encoder.sentences, sentences) for name, encoder in encoders.items()}
    times = seconds_in_rounds(works, RUNS)
    for name, took in times.items():
        rate = len(sentences) / took
        print(f"{name:9} {rate:7.1f} sentences/s, {torch.get_num_threads()} threads")
    vectors = {name: work() for name, work in works.items()}
    cosine = (vectors["float32"] * vectors["bfloat16"]).sum(axis=1).mean()
    ratio = times["float32"] / times["bfloat16"]
    print(f"bfloat16 is {ratio:.1f} times as fast, cosine {cosine:.5f}")


if __name__ == "__main__":
    main()
