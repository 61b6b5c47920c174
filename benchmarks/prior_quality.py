"""What a corpus's own evidence adds to the model's: AER in %, with and without --corpus-prior.

python benchmarks/prior_quality.py                     # all ten test sets
python benchmarks/prior_quality.py --sets xlwa_ennl_dev --weights 0 0.05 0.1 0.2

The corpus is the training text of the language pair (segmented by ICU) and the test text. Only the
test text is aligned; the lexicon alone is on the last column.
"""

from __future__ import annotations

import argparse
import gzip
from collections.abc import Iterator

from alignment_quality import TEST_SETS, read_pairs

from aligners.aligner import Aligner
from aligners.methods import Method
from aligners.prior import CorpusPrior
from bitext.scoring import evaluate
from bitext.segmentation import segment
from bitext.text import data_folder, read_gold
from bitext.types import Alignment, SentencePair
from encoders.registry import default_registry

LEFT_OUT = ("multi30k",)  # not in the bundled model's text either


def training_text(name: str) -> Iterator[SentencePair]:
    """The text of the languages of a set, in its direction."""
    source, target = name.removeprefix("xlwa_")[:2], name.removeprefix("xlwa_")[2:4]
    turned = target == "en"
    language = source if turned else target
    for path in sorted(data_folder().glob(f"parallel/*/train.en-{language}.tsv.gz")):
        if path.parent.name not in LEFT_OUT:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for line in file:
                    sides = line.rstrip("\n").split("\t")
                    words = [[word.text for word in segment(one)] for one in sides]
                    yield SentencePair(*(reversed(words) if turned else words))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--sets", nargs="+", default=TEST_SETS)
    parser.add_argument("--weights", nargs="+", type=float, default=[0.0, 0.1])
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    heads = [f"weight {weight:g}" for weight in options.weights]
    print("| set | pairs of text | " + " | ".join(heads) + " | lexicon's argmax |")
    print("|---|--:|" + "--:|" * (len(heads) + 1))
    for name in options.sets:
        pairs = read_pairs(data_folder() / "alignment", name)
        gold = read_gold(data_folder() / f"alignment/{name}.gold", pairs=len(pairs))
        text = [*pairs, *training_text(name)]
        prior = CorpusPrior.learn(text)
        priors = [
            prior.of(number, (len(pair.source), len(pair.target)))
            for number, pair in enumerate(pairs)
        ]
        row = []
        for weight in options.weights:
            aligner = Aligner(encoder, prior_weight=weight, too_long="windows")
            found = aligner.align(pairs, priors=priors if weight else None)
            row.append(f"{100 * evaluate(found, gold).aer:.1f}")
        lexicon = [
            Alignment.of(
                ((int(i), int(j)), 1.0) for i, j in zip(*(links & (one > 0)).nonzero(), strict=True)
            )
            for links, one in zip(Method.parse("argmax").match(priors), priors, strict=True)
        ]
        row.append(f"{100 * evaluate(lexicon, gold).aer:.1f}")
        print(f"| {name} | {len(text):,} | " + " | ".join(row) + " |", flush=True)
    print(f"\n{aligner.signature}")


if __name__ == "__main__":
    main()
