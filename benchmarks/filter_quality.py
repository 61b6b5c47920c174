"""What each default filter drops of translations, and of pairs that are none, in percent.

    python benchmarks/filter_quality.py

So many pairs of each language with English, of NTREX and Tatoeba; the pairs that are none have the
target of the next line. ``language`` needs the extra ``langid``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from retrieval_quality import NOT_IN_NTREX, read_sides

from bitext.types import SentencePair
from retrieval.filters.filters import PairFilter, parse_filter

CODES = {
    **{"deu": "de", "fra": "fr", "spa": "es", "ron": "ro", "ces": "cs", "rus": "ru", "cmn": "zh"},
    **{"jpn": "ja", "hin": "hi", "ita": "it", "por": "pt", "nld": "nl", "swe": "sv", "dan": "da"},
    **{"fin": "fi", "hun": "hu", "tur": "tr", "ara": "ar", "bul": "bg", "pol": "pl", "ukr": "uk"},
    **{"est": "et", "kor": "ko", "vie": "vi", "ind": "id"},
}
FILTERS = ("short", "long", "copies", "length_ratio", "numbers", "language")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=500, help="of each language")
    options = parser.parse_args()
    print("| set | languages | filter | right | wrong |\n|---|--:|---|--:|--:|")
    for corpus in ("ntrex", "tatoeba"):
        languages = [x for x in CODES if corpus == "tatoeba" or x not in NOT_IN_NTREX]
        sides = {x: [side[: options.pairs] for side in read_sides(corpus, x)] for x in languages}
        for name in FILTERS:
            shares = []
            for language, (sources, targets) in sides.items():
                given = f":source={CODES[language]},target=en" if name == "language" else ""
                chosen = parse_filter(name + given)
                both = (targets, targets[1:] + targets[:1])
                shares.append([dropped(chosen, sources, some) for some in both])
            right, wrong = np.mean(shares, axis=0)
            print(f"| {corpus} | {len(languages)} | {name} | {right:.2f} | {wrong:.2f} |")


def dropped(chosen: PairFilter, sources: Sequence[str], targets: Sequence[str]) -> float:
    pairs = [SentencePair(*pair) for pair in zip(sources, targets, strict=True)]
    return 100 * float(np.mean([not chosen.accept(score) for score in chosen.score(pairs)]))


if __name__ == "__main__":
    main()
