"""Whether another device or precision gives the links and vectors of the CPU, and how fast.

    python benchmarks/device_equality.py --device cuda
    python benchmarks/device_equality.py --device cpu --dtype bfloat16

Pairs of Multi30k's training text (BITEXT_DATA), the bundled model with its own settings, words at
spaces. The CPU computes in float32 with all its cores. The first calls are left out of the times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np

from aligners.aligner import Aligner
from bitext.text import data_folder, read_bitext
from bitext.types import SentencePair
from encoders.options import load_encoder


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def run(pairs: list[Any], device: str, dtype: str) -> tuple[Any, Any]:
    """Links and sentence vectors; prints the rates."""
    encoder = load_encoder("bundled", None, dtype, device, allow_download=False)
    aligner = Aligner(encoder)
    words = [SentencePair(one.source.split(), one.target.split()) for one in pairs]
    sources = [one.source for one in pairs]
    aligner.align(words[:256])
    encoder.sentences(sources[:256])
    links, links_s = timed(lambda: aligner.align(words))
    vectors, vectors_s = timed(lambda: encoder.sentences(sources))
    rates = f"{len(pairs) / links_s:,.0f} pairs/s, {len(pairs) / vectors_s:,.0f} sentences/s"
    print(f"{device} {dtype}: {rates}", flush=True)
    return [one.links for one in links], vectors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--first", type=int, default=2000, help="pairs")
    given = parser.parse_args()
    file = data_folder() / "parallel" / "multi30k" / "train.en-de.tsv.gz"
    pairs = list(islice(read_bitext(file), given.first))
    links, vectors = run(pairs, "cpu", "float32")
    others, found = run(pairs, given.device, given.dtype)
    same = sum(a == b for a, b in zip(links, others, strict=True))
    print(f"the same links: {same:,} of {len(pairs):,}")
    print(f"largest difference of vectors: {np.abs(vectors - found).max():.2g}")


if __name__ == "__main__":
    main()
