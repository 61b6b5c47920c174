"""AER of the guiding links that pretraining counts from its text, as a Markdown table.

python benchmarks/lexicon_quality.py                          # the dev sets
python benchmarks/lexicon_quality.py --sets enfr deen         # as statistical_aligners.py has them

The text is that of ``benchmarks/statistical_aligners.py``, to the word: the corpora of a recipe,
lower-cased, and the set's own pairs behind them. So the two tables can be compared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from statistical_aligners import (
    RECIPE,
    Pair,
    languages_of,
    read_patterns,
    read_test,
    training_text,
)

from bitext.scoring import evaluate
from bitext.text import data_folder, read_gold
from bitext.types import Alignment
from encoders.statistics.cells import UnitBitext
from encoders.statistics.lexicon import UnitLinks, align_units, stems_of
from encoders.training.corpus import find_corpora

DEV_SETS = [
    *(f"xlwa_{pair}_dev" for pair in ("enes", "ennl", "enpt", "enru", "enda")),
    "deen_bicici",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="its `corpora` are read")
    parser.add_argument("--sets", nargs="+", default=DEV_SETS)
    parser.add_argument("--cache", type=Path, help="a folder that keeps the tokenised corpora")
    options = parser.parse_args()
    corpora = find_corpora(read_patterns(options.recipe), data_folder())
    print("| set | pairs of text | AER (P / R) | CPU s |\n|---|--:|---|--:|")
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary)
        for name in options.sets:
            text, _ = training_text(corpora, languages_of(name), cache)
            test = read_test(data_folder() / "alignment", name)
            began = time.process_time()
            links = align([*text, *test])
            seconds = time.process_time() - began
            gold = read_gold(data_folder() / "alignment" / f"{name}.gold", pairs=len(test))
            score = evaluate(last(links, len(test)), gold)
            cells = (
                f"{100 * score.aer:.1f} ({100 * score.precision:.1f} / {100 * score.recall:.1f})"
            )
            print(f"| {name} | {len(text):,} | {cells} | {seconds:.0f} |", flush=True)


def align(pairs: Sequence[Pair]) -> UnitLinks:
    """The links of all pairs, of whose words equal ones have one number in both languages."""
    numbers: dict[str, int] = {}

    def numbered(side: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        sentences = [pair[side].split(" ") for pair in pairs]
        ids = [numbers.setdefault(word, len(numbers)) for words in sentences for word in words]
        return np.array(ids, dtype=np.int32), np.cumsum([0, *map(len, sentences)], dtype=np.int64)

    bitext = UnitBitext(*numbered(0), *numbered(1))
    return align_units(bitext, stems=stems_of(list(numbers)))


def last(links: UnitLinks, count: int) -> list[Alignment]:
    """The alignments of the last ``count`` pairs."""
    found = []
    for start, end in zip(links.offsets[-count - 1 : -1], links.offsets[-count:], strict=True):
        span = slice(start, end)
        pairs = zip(links.source[span].tolist(), links.target[span].tolist(), strict=True)
        weights = links.weight[span].astype(np.float64).clip(0, 1).tolist()
        found.append(Alignment.of(zip(pairs, weights, strict=True)))
    return found


if __name__ == "__main__":
    main()
