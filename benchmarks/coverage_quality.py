"""What the filter ``coverage`` drops of translations, and of pairs that are none.

German, French, Spanish, Russian, Chinese, Hindi and Japanese with English, of NTREX and Tatoeba:
some pairs of each, and the same sources with the target of the next line; for each least coverage
the share dropped, in percent.

    python benchmarks/coverage_quality.py --pairs 200
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bitext.bridges import Coverage, coverage_by
from bitext.text import data_folder, open_lines
from bitext.types import SentencePair
from encoders.registry import default_registry

# as Tatoeba and as NTREX call them
NAMES = {
    "deu": "deu",
    "fra": "fra",
    "spa": "spa",
    "rus": "rus",
    "cmn": "zho-CN",
    "hin": "hin",
    "jpn": "jpn",
}
LEAST = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100, help="of each language")
    wanted = parser.parse_args()
    encoder = default_registry().encoder("bundled")
    coverage = coverage_by(encoder)
    print("set", "languages", "pairs", *(f"{least:g}" for least in LEAST), sep="\t")
    for name, files in sets().items():
        scores = [scored(coverage, pair, wanted.pairs) for pair in files]
        for what, found in zip(("right", "wrong"), zip(*scores, strict=True), strict=True):
            flat = np.concatenate(found)
            shares = (f"{100 * (flat < least).mean():.2f}" for least in LEAST)
            print(f"{name} {what}", len(files), len(flat), *shares, sep="\t")


def sets() -> dict[str, list[tuple[Path, Path]]]:
    """The files of each pair of languages: another one, and English."""
    retrieval = data_folder() / "retrieval"
    ntrex, tatoeba = retrieval / "ntrex", retrieval / "tatoeba"
    return {
        "NTREX": [(ntrex / f"{name}.txt", ntrex / "eng.txt") for name in NAMES.values()],
        "Tatoeba": [(tatoeba / f"{n}.txt", tatoeba / f"{n}.eng.txt") for n in NAMES],
    }


def scored(
    coverage: Coverage, files: tuple[Path, Path], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of ``count`` translations, and of the same sources with their neighbours' targets."""
    sources, targets = (list(head(path, count)) for path in files)
    others = targets[1:] + targets[:1]
    return tuple(  # type: ignore[return-value]
        np.array(coverage([SentencePair(*pair) for pair in zip(sources, some, strict=True)]))
        for some in (targets, others)
    )


def head(path: Path, count: int) -> Iterator[str]:
    for _, line in zip(range(count), open_lines(path), strict=False):
        yield line


if __name__ == "__main__":
    main()
