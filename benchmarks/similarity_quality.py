"""What retrieval's score says of right pairs and of wrong ones: Multi30k val, as a Markdown table.

python benchmarks/similarity_quality.py

A wrong pair has the first half of its target's words alone, or the target of another line (drawn,
seed 0). The columns are percentiles of the scores.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bitext.bridges import similarity_by
from bitext.text import data_folder, open_lines
from bitext.types import SentencePair
from encoders.registry import default_registry

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--margin", default="absolute")
    options = parser.parse_args()
    score = similarity_by(default_registry().encoder(options.model), options.margin)
    english = list(open_lines(options.data / "mt" / "multi30k_val.en"))
    print("| | |", *(f" {one} % |" for one in PERCENTILES), sep="")
    print("|---|---|" + "--:|" * len(PERCENTILES))
    for language in ("de", "fr", "cs"):
        lines = list(open_lines(options.data / "mt" / f"multi30k_val.{language}"))
        for name, targets in kinds(lines).items():
            found = score([SentencePair(*pair) for pair in zip(english, targets, strict=True)])
            cells = " | ".join(f"{one:.2f}" for one in np.percentile(found, PERCENTILES))
            print(f"| en-{language} | {name} | {cells} |", flush=True)


def kinds(lines: Sequence[str]) -> dict[str, Sequence[str]]:
    return {
        "pairs": lines,
        "first half": [" ".join(line.split()[: len(line.split()) // 2]) for line in lines],
        "another line": random.Random(0).sample(lines, len(lines)),
    }


if __name__ == "__main__":
    main()
