"""AER, precision and recall of a model on gold alignments, as a Markdown table.

python benchmarks/alignment_quality.py                       # the preset's layer, all sets
python benchmarks/alignment_quality.py --layers all --sets enfr deen
python benchmarks/alignment_quality.py --model FOLDER --distortion 0
"""

from __future__ import annotations

import argparse
from pathlib import Path

from aligners.aligner import Aligner
from bitext.scoring import evaluate
from bitext.text import data_folder, read_gold, read_parallel, words
from bitext.types import SentencePair
from encoders.registry import default_registry

XLWA = ["enes", "ennl", "enpt", "enru", "enda"]
TEST_SETS = ["enfr", "deen", "zhen", "enhi", "ensv", *(f"xlwa_{pair}_test" for pair in XLWA)]
METHODS = ["argmax", "itermax", "mwmf", "softmax"]


def read_pairs(folder: Path, name: str) -> list[SentencePair]:
    """The pairs of a gold set; ``_`` stands for a space inside a word of XL-WA."""
    return [
        SentencePair(*([w.replace("_", " ") for w in words(str(side))] for side in (s, t)))
        for s, t in (
            (pair.source, pair.target)
            for pair in read_parallel(folder / f"{name}.src", folder / f"{name}.tgt")
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--sets", nargs="+", default=TEST_SETS)
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--layers", default="preset", help="preset, all, or numbers such as 0,3")
    parser.add_argument("--distortion", type=float, help="default: the model's preset")
    parser.add_argument("--unit", help="default: the model's preset")
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    layers: list[int | None] = [None]
    if options.layers == "all":
        layers = list(range(encoder.layers + 1))
    elif options.layers != "preset":
        layers = [int(layer) for layer in options.layers.split(",")]
    folder = data_folder() / "alignment"
    print("| set | layer | unit | distortion | " + " | ".join(options.methods) + " |")
    print("|---|--:|---|--:|" + "---|" * len(options.methods))
    signature = ""
    for name in options.sets:
        pairs = read_pairs(folder, name)
        gold = read_gold(folder / f"{name}.gold", pairs=len(pairs))
        for layer in layers:
            aligner = Aligner(
                encoder, layer=layer, unit=options.unit, distortion=options.distortion
            )
            found = aligner.align_methods(pairs, options.methods)
            scores = [evaluate(alignments, gold) for alignments in found.values()]
            cells = [
                f"{100 * s.aer:.1f} ({100 * s.precision:.1f} / {100 * s.recall:.1f})"
                for s in scores
            ]
            row = [name, str(aligner.layer), aligner.unit, f"{aligner.distortion:g}", *cells]
            print("| " + " | ".join(row) + " |", flush=True)
            signature = aligner.signature_of("as in the column")
    print(f"\nAER (precision / recall), in %; {signature}")


if __name__ == "__main__":
    main()
