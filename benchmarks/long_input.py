"""Long pairs: gold pairs joined n by n, their links shifted, aligned in windows (AER, in %).

python benchmarks/long_input.py                    # zhen, deen, enfr; n = 1 5 10 20 50
python benchmarks/long_input.py --sets deen_bicici --joined 1 10

The test is that of OmniAlign's report (2026, table 8), for which awesome-align fails at 20 joined
pairs of zh-en and rises from 13.3 to 24.8 at 10. Where the model can take the pairs whole, their
AER without windows stands beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import islice

from alignment_quality import read_pairs

from aligners.aligner import Aligner
from bitext.errors import TooLongError
from bitext.scoring import evaluate
from bitext.text import data_folder, read_gold
from bitext.types import GoldAlignment, Link, SentencePair
from encoders.registry import default_registry


def join(
    pairs: Sequence[SentencePair], gold: Sequence[GoldAlignment]
) -> tuple[SentencePair, GoldAlignment]:
    """One pair of several, one behind the other."""
    source: list[str] = []
    target: list[str] = []
    sure: set[Link] = set()
    possible: set[Link] = set()
    for pair, links in zip(pairs, gold, strict=True):
        sure |= {(i + len(source), j + len(target)) for i, j in links.sure}
        possible |= {(i + len(source), j + len(target)) for i, j in links.possible}
        source += pair.source
        target += pair.target
    return SentencePair(source, target), GoldAlignment(frozenset(sure), frozenset(possible))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--sets", nargs="+", default=["zhen", "deen", "enfr"])
    parser.add_argument("--joined", nargs="+", type=int, default=[1, 5, 10, 20, 50])
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    aligner, whole = Aligner(encoder, too_long="windows"), Aligner(encoder)
    print("| set | joined | words a side | windows | whole |\n|---|--:|--:|--:|--:|")
    for name in options.sets:
        pairs = read_pairs(data_folder() / "alignment", name)
        gold = read_gold(data_folder() / f"alignment/{name}.gold", pairs=len(pairs))
        for count in options.joined:
            items = iter(zip(pairs, gold, strict=True))
            joined = []
            while some := list(islice(items, count)):
                joined.append(join([pair for pair, _ in some], [links for _, links in some]))
            links = [one for _, one in joined]
            found = list(aligner.align_stream(pair for pair, _ in joined))
            words = sum(len(pair.source) for pair, _ in joined) / len(joined)
            row = [name, str(count), f"{words:.0f}", f"{100 * evaluate(found, links).aer:.1f}"]
            try:
                found = list(whole.align_stream(pair for pair, _ in joined))
                row.append(f"{100 * evaluate(found, links).aer:.1f}")
            except TooLongError:
                row.append("too long")
            print("| " + " | ".join(row) + " |", flush=True)
    print(f"\n{aligner.signature}")


if __name__ == "__main__":
    main()
