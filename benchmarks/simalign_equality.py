"""Are our links SimAlign's? Aligns the same pairs with both, from one checkpoint, and compares.

SimAlign is not among this project's dependencies; put it beside them:

    pip install --no-deps --target SOMEWHERE \\
        simalign==0.4 networkx scikit-learn joblib threadpoolctl cloudpickle narwhals
    PYTHONPATH=SOMEWHERE python benchmarks/simalign_equality.py deen.src deen.tgt --model bundled

Any checkpoint folder will do for --model. Without one to hand, ``--random bert`` (or ``xlmr``)
makes one of 12 layers of random weights, with a vocabulary learnt from the two files: its
similarities lie close together, so that rules for ties and roundings show.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from random_model import make_random_model

from aligners.aligner import UNITS, Aligner
from bitext.text import read_parallel, words
from bitext.types import Link, SentencePair
from encoders.encoder import Encoder
from encoders.hub import find_folder
from encoders.registry import default_registry

THEIR_METHODS = {  # ours -> the letter that asks for it, the name it comes back under
    "argmax": ("a", "inter"),
    "forward": ("f", "fwd"),
    "backward": ("r", "rev"),
    "itermax": ("i", "itermax"),
    "mwmf": ("m", "mwmf"),
}
THEIR_UNITS = {"piece": "bpe", "word": "word"}


@dataclass
class Comparison:
    """How the two sets of alignments of one method agree."""

    method: str
    pairs: int = 0
    links: int = 0
    different: list[str] = field(default_factory=list)

    def add(self, number: int, ours: Iterable[Link], theirs: Iterable[Link]) -> None:
        mine, other = set(ours), set(theirs)
        self.pairs += 1
        self.links += len(other)
        if mine != other:
            only = f"only ours {sorted(mine - other)}, only theirs {sorted(other - mine)}"
            self.different.append(f"{self.method}, pair {number}: {only}")

    def __str__(self) -> str:
        same = self.pairs - len(self.different)
        return f"{self.method}\tidentical {same} of {self.pairs} pairs\t{self.links} links"


def main() -> int:
    arguments = parse_arguments()
    pairs = list(islice(_read(arguments.source, arguments.target), arguments.limit))
    with tempfile.TemporaryDirectory() as temporary:
        model = arguments.model
        if arguments.random:
            model = temporary
            lines = [" ".join(side) for pair in pairs for side in (pair.source, pair.target)]
            folder = Path(temporary)
            make_random_model(arguments.random, lines, folder, spread=arguments.spread)
        comparisons = compare(pairs, model, arguments)
    print("\n".join(map(str, comparisons)))
    differences = [line for comparison in comparisons for line in comparison.different]
    print("\n".join(differences), file=sys.stderr)
    return 1 if differences else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="one sentence a line, words split by spaces")
    parser.add_argument("target", type=Path)
    checkpoint = parser.add_mutually_exclusive_group(required=True)
    checkpoint.add_argument("--model", help="a checkpoint folder, or 'bundled'")
    checkpoint.add_argument("--random", choices=["bert", "xlmr"], help="make one of random weights")
    parser.add_argument("--spread", type=float, default=0.02, help="their standard deviation")
    parser.add_argument("--layer", type=int, help="default: the model's preset")
    parser.add_argument("--unit", choices=UNITS, default="piece")
    parser.add_argument("--distortion", type=float, default=0.0)
    parser.add_argument("--limit", type=int, help="pairs to compare; default: all")
    parser.add_argument("--batch-tokens", type=int, help="of our encoder; 1: no batches")
    return parser.parse_args()


def compare(
    pairs: list[SentencePair], model: str, arguments: argparse.Namespace
) -> list[Comparison]:
    """Align with both; a pair with an empty side, which SimAlign cannot take, is left out."""
    checkpoint = default_registry().encoder(model).checkpoint
    encoder = Encoder(checkpoint, batch_tokens=arguments.batch_tokens)
    aligner = Aligner(
        encoder, layer=arguments.layer, unit=arguments.unit, distortion=arguments.distortion
    )
    print(aligner.signature_of("all of these"))
    theirs = _simalign(model, aligner)
    ours = aligner.align_methods(pairs, THEIR_METHODS)
    comparisons = {method: Comparison(method) for method in THEIR_METHODS}
    for number, pair in enumerate(pairs):
        if not pair.source or not pair.target:
            continue
        found = theirs.get_word_aligns(list(pair.source), list(pair.target))
        for method, (_, name) in THEIR_METHODS.items():
            comparisons[method].add(number + 1, ours[method][number].links, found[name])
    return list(comparisons.values())


def _read(source: Path, target: Path) -> Iterator[SentencePair]:
    for pair in read_parallel(source, target):
        yield SentencePair(words(str(pair.source)), words(str(pair.target)))


def _simalign(model: str, aligner: Aligner) -> Any:
    try:
        from simalign import SentenceAligner
    except ImportError as error:
        sys.exit(f"simalign is not there ({error}); the head of this file says how to get it")
    logging.getLogger("simalign.simalign").setLevel(logging.WARNING)
    return SentenceAligner(
        model=str(find_folder(model)),
        token_type=THEIR_UNITS[aligner.unit],
        distortion=aligner.distortion,
        matching_methods="".join(letter for letter, _ in THEIR_METHODS.values()),
        layer=aligner.layer,
    )


if __name__ == "__main__":
    sys.exit(main())
