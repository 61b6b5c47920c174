"""What each kind of centring does to retrieval and mining, as a Markdown table.

python benchmarks/centring_quality.py                   # the bundled model, its preset's layer

Every kind is learnt from the sentences that are searched, all languages of a corpus together and
not knowing what translates what; ``NTREX to Tatoeba`` is learnt from NTREX. Retrieval is the share
of sentences whose translation is nearest, mean of both directions and of the languages. Mining is
F1 of the pairs that are each other's best by the margin (Artetxe & Schwenk, 2019; 4 neighbours),
above the threshold that gives the best mean F1 on the other sets.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.text import data_folder, open_lines
from encoders.encoder import Encoder
from encoders.registry import default_registry
from retrieval.vectors.centring import Centring, fit_centring
from retrieval.vectors.encoding import chunks, encode, space_of
from retrieval.vectors.files import Rows
from retrieval.vectors.manifest import Space

KINDS = [
    *("raw", "mean", "components:1", "components:2", "components:4", "subspace:1", "subspace:4"),
    *("own:1", "own:2", "whitening"),
]
LANGUAGES = {
    "de": ("deu", "deu"),
    "fr": ("fra", "fra"),
    "es": ("spa", "spa"),
    "ru": ("rus", "rus"),
    "zh": ("cmn", "zho-CN"),
    "hi": ("hin", "hin"),
    "ja": ("jpn", "jpn"),
}
NEIGHBOURS = 4


class Pair(NamedTuple):
    """Both sides of a corpus of translations, row by row."""

    language: str
    source: Rows
    target: Rows  # English


class Mined(NamedTuple):
    """The rows of a mining set, and which are known to translate which."""

    pair: Pair
    gold: NDArray[np.int64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled", help="a hub name or folder")
    parser.add_argument("--layer", type=int)
    parser.add_argument("--kinds", nargs="+", default=KINDS)
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    space = space_of(encoder, options.layer, None)
    ntrex, tatoeba = read_ntrex(encoder, space), read_tatoeba(encoder, space)
    mining = read_mining(encoder, space)
    print("| kind | NTREX | Tatoeba | NTREX to Tatoeba | mining, ratio | mining, distance |")
    print("|---" + "|--:" * 5 + "|")
    for kind in options.kinds:
        own = [learn(kind, pairs, space) for pairs in (ntrex, tatoeba, [m.pair for m in mining])]
        cells = [accuracy(ntrex, own[0]), accuracy(tatoeba, own[1]), accuracy(tatoeba, own[0])]
        cells += [mining_f1(mining, own[2], margin) for margin in ("ratio", "distance")]
        print(f"| {kind} | " + " | ".join(f"{cell:.1f}" for cell in cells) + " |", flush=True)
    print(
        f"\nIn %; model {encoder.name}@{encoder.fingerprint} | layer {space.layer} | pooling "
        f"{space.pooling}; {', '.join(LANGUAGES)} with en; mining "
        f"{', '.join(m.pair.language for m in mining)} with en"
    )


def read_ntrex(encoder: Encoder, space: Space) -> list[Pair]:
    folder = data_folder() / "retrieval" / "ntrex"
    english = vectors(encoder, space, list(open_lines(folder / "eng.txt")))
    return [
        Pair(language, vectors(encoder, space, list(open_lines(folder / f"{name}.txt"))), english)
        for language, (_, name) in LANGUAGES.items()
    ]


def read_tatoeba(encoder: Encoder, space: Space) -> list[Pair]:
    folder = data_folder() / "retrieval" / "tatoeba"
    return [
        Pair(
            language,
            vectors(encoder, space, list(open_lines(folder / f"{name}.txt"))),
            vectors(encoder, space, list(open_lines(folder / f"{name}.eng.txt"))),
        )
        for language, (name, _) in LANGUAGES.items()
    ]


def read_mining(encoder: Encoder, space: Space) -> list[Mined]:
    folder = data_folder() / "mining"
    found = []
    for path in sorted(folder.glob("*.gold")):
        language = path.suffixes[-2][1:].removesuffix("-en")
        sides = [
            dict(line.split("\t") for line in open_lines(path.with_suffix(f".{side}")))
            for side in (language, "en")
        ]
        places = [{name: place for place, name in enumerate(side)} for side in sides]
        gold = [line.split("\t") for line in open_lines(path)]
        keys = np.array([[places[0][i], places[1][j]] for i, j in gold])
        rows = [vectors(encoder, space, list(side.values())) for side in sides]
        found.append(Mined(Pair(language, rows[0], rows[1]), keys))
    return found


def vectors(encoder: Encoder, space: Space, texts: list[str]) -> Rows:
    return np.concatenate([encode(encoder, chunk, space) for chunk in chunks(texts)])


def learn(kind: str, pairs: list[Pair], space: Space) -> Centring | None:
    if kind == "raw":
        return None
    blocks: Mapping[str, list[Rows]] = {
        **{pair.language: [pair.source] for pair in pairs},
        "en": [pair.target for pair in pairs],
    }
    return fit_centring(kind, blocks, space, dim=pairs[0].source.shape[1])


def centred(pair: Pair, centring: Centring | None) -> tuple[Rows, Rows]:
    if centring is None:
        return pair.source, pair.target
    return centring.apply(pair.source, pair.language), centring.apply(pair.target, "en")


def accuracy(pairs: list[Pair], centring: Centring | None) -> float:
    shares = []
    for pair in pairs:
        source, target = centred(pair, centring)
        cosines = source @ target.T
        right = np.arange(len(source))
        shares += [np.mean(cosines.argmax(axis=axis) == right) for axis in (0, 1)]
    return 100 * float(np.mean(shares))


class Candidates(NamedTuple):
    """Pairs that are each other's best, and which of them are known pairs."""

    margins: NDArray[np.float32]
    right: NDArray[np.bool_]
    gold: int


def mining_f1(sets: list[Mined], centring: Centring | None, margin: str) -> float:
    """Mean F1, each set's threshold being that of the others."""
    found = [candidates(one, centring, margin) for one in sets]
    scores = []
    for place, one in enumerate(found):
        others = found[:place] + found[place + 1 :]
        thresholds = np.unique(np.concatenate([other.margins for other in others]))[::10]
        best = max(thresholds, key=lambda t: sum(f1(other, t) for other in others))
        scores.append(f1(one, best))
    return float(np.mean(scores))


def candidates(one: Mined, centring: Centring | None, margin: str) -> Candidates:
    source, target = centred(one.pair, centring)
    cosines = source @ target.T
    near = [
        np.sort(cosines, axis=axis).take(range(-NEIGHBOURS, 0), axis=axis).mean(axis=axis)
        for axis in (1, 0)
    ]
    middle = (near[0][:, None] + near[1]) / 2
    margins = cosines / np.maximum(middle, 1e-3) if margin == "ratio" else cosines - middle
    best = margins.argmax(axis=1)
    mutual = np.flatnonzero(margins.argmax(axis=0)[best] == np.arange(len(best)))
    known = np.zeros(cosines.shape, dtype=np.bool_)
    known[one.gold[:, 0], one.gold[:, 1]] = True
    pairs = mutual, best[mutual]
    return Candidates(margins[pairs], known[pairs], len(one.gold))


def f1(found: Candidates, threshold: float) -> float:
    kept = found.right[found.margins >= threshold]
    return 200 * float(kept.sum()) / (len(kept) + found.gold)


if __name__ == "__main__":
    main()
