"""``bitext train`` as a worker of bench_train_translation.py."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import transformers
from train_turns import Turns

from bitext.memory import keep_freed_memory
from encoders.training.run import Tensors
from nmt.network.model import Shape, build_network
from nmt.pieces.tokenization import TaggedCodec, read_settings
from nmt.training.batches import IGNORED, Batch, BitextBatches
from nmt.training.config import Corpus, DataSettings, TrainConfig
from nmt.training.data import EncodedBitext, Pieces
from nmt.training.run import TrainingFolder
from nmt.training.trainer import Trainer


class CountedBatches(BitextBatches):
    """Says how many pieces there were in each update, when the next one begins."""

    turns: Turns
    _built: Batch | None = None

    def prepare(self, model: Any, *, stage: int, step: int) -> dict[str, float]:
        if self._built is not None:
            counts = self._built.source_mask.sum(), (self._built.labels != IGNORED).sum()
            self.turns.updated(*map(int, counts))
        return {}

    def build(self, plan: Any) -> Batch:
        self._built = super().build(plan)
        return self._built


class RunWithoutCheckpoints(TrainingFolder):
    """Writes the log alone."""

    def save(self, place: Any, state: Tensors) -> None:
        pass


def read_ids(path: Path) -> Iterator[list[int]]:
    """The pieces of each line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield [int(piece) for piece in line.split()]


def main() -> None:
    turns = Turns()
    keep_freed_memory()  # as the command does
    folder, size = Path(turns.job["folder"]), turns.job["size"]
    settings = read_settings(folder)
    assert settings is not None
    codec = TaggedCodec(transformers.AutoTokenizer.from_pretrained(folder), settings)
    start, end = codec.frame("de").before, codec.frame("de").after
    corpus = EncodedBitext(
        Pieces.of(read_ids(folder / "train.en")),
        Pieces.of([*start, *ids, *end] for ids in read_ids(folder / "train.de")),
        len(start),
        "en",
        "de",
    )
    batches = CountedBatches([corpus], pad=codec.pad, seed=1)
    batches.turns = turns
    config = TrainConfig(
        data=DataSettings(source_lang="en", target_lang="de", corpora=[Corpus(file="train")]),
        stages=[{"steps": 1_000_000, "precision": turns.job["dtype"], "batch_tokens": 4096}],
    )
    shape = Shape(
        pieces=len(codec.tokenizer),
        dim=size["dim"],
        heads=size["heads"],
        feed_forward=size["feed_forward"],
        encoder_layers=size["layers"],
        decoder_layers=size["layers"],
        dropout=0.1,
    )
    model = build_network(shape, codec, seed=1)
    with tempfile.TemporaryDirectory() as temporary:
        run = RunWithoutCheckpoints(Path(temporary), config)
        Trainer(model, batches, config, run, progress=False).fit()


if __name__ == "__main__":
    main()
