"""The sets of ``mining/`` with a model's vectors, and known pairs from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bitext.text import data_folder, open_lines
from encoders.encoder import Encoder
from retrieval.evaluation.mining_files import read_corpus, read_gold_pairs
from retrieval.evaluation.recall import encode_all
from retrieval.vectors.encoding import space_of
from retrieval.vectors.files import Rows

NAMES = {
    **{"de": "deu", "fr": "fra", "es": "spa", "cs": "ces"},
    **{"ru": "rus", "ro": "ron", "zh": "cmn", "ja": "jpn"},
}


class MiningSet(NamedTuple):
    """Vectors of two corpora, and which of their rows are known to be translations."""

    name: str
    language: str
    source: Rows
    target: Rows
    gold: list[tuple[int, int]]

    def thinned(self, keep: float) -> MiningSet:
        """The same with the targets of all but a share of the gold pairs taken out."""
        random = np.random.default_rng(0)
        lost = random.permutation(len(self.gold))[round(keep * len(self.gold)) :]
        gone = {self.gold[number][1] for number in lost}
        left = np.array([row for row in range(len(self.target)) if row not in gone])
        place = {row: new for new, row in enumerate(left.tolist())}
        gold = [(s, place[t]) for s, t in self.gold if t in place]
        return self._replace(target=self.target[left], gold=gold)


def read_sets(encoder: Encoder, layer: int | None = None) -> Iterator[MiningSet]:
    """Every set; the source is not English."""
    folder = data_folder() / "mining"
    for path in sorted(folder.glob("*.gold")):
        name = path.name.removesuffix(".gold")
        language = name.split(".")[1].split("-")[0]
        source, target = (read_corpus(str(folder / f"{name}.{x}")) for x in (language, "en"))
        gold = read_gold_pairs(str(path), source, target)
        vectors = [vectors_of(encoder, list(side.texts), layer) for side in (source, target)]
        yield MiningSet(name, language, vectors[0], vectors[1], gold)


def vectors_of(encoder: Encoder, texts: list[str], layer: int | None = None) -> Rows:
    return encode_all(encoder, texts, space_of(encoder, layer, None), too_long="windows")


def read_known(corpus: str, language: str, count: int) -> list[tuple[str, str]]:
    """Known pairs with English, of ``ntrex``, ``tatoeba`` or ``wmt-news``; may be none."""
    data = data_folder()
    three = NAMES[language]
    if corpus == "ntrex":
        name = "zho-CN" if language == "zh" else three
        pairs = _zipped(data / f"retrieval/ntrex/{name}.txt", data / "retrieval/ntrex/eng.txt")
    elif corpus == "tatoeba":
        folder = data / "retrieval/tatoeba"
        pairs = _zipped(folder / f"{three}.txt", folder / f"{three}.eng.txt")
    else:
        path = data / f"parallel/wmt-news/train.en-{language}.tsv.gz"
        rows = [line.split("\t") for line in open_lines(path)] if path.exists() else []
        pairs = [(other, english) for english, other in rows]
    order: NDArray[np.int64] = np.random.default_rng(0).permutation(len(pairs))
    return [pairs[number] for number in order[:count]]


def _zipped(source: Path, target: Path) -> list[tuple[str, str]]:
    return list(zip(open_lines(source), open_lines(target), strict=True))
