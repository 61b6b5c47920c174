"""Training and encoding against plain loops of ``transformers`` with the same model, in one run.

The bundled model and pairs of Tatoeba en-de (BITEXT_DATA), on the CPU. Prints

- pieces a second of training by the loop of ``bitext adapt``, and of ``transformers.Trainer`` on
  the same sentences: padded in random order, masked by ``DataCollatorForLanguageModeling``;
- sentences and pieces a second of ``Encoder.sentences``, and of ``AutoModel`` on padded batches of
  32 in the order given, with all hidden states;
- both as shares of what matrix products reach on this machine.

Counted are pieces of text: neither padding nor special ones. Operations are those that the
objective needs, forward and twice as many backward: a loop that also computes the scores of pieces
that were not masked, or padding, wins nothing by it. Variants take turns; figures are medians.

What is done once for a whole run (pieces of the text, plans of the batches, checkpoints) is left
out on both sides; masking, padding and the optimizer's steps are not.
"""

from __future__ import annotations

import argparse
import logging
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import transformers
from machine import large_product, product_rate, seconds_in_rounds

from bitext.text import data_folder, read_bitext
from encoders.checkpoint import load_for_training, quietly
from encoders.encoder import Encoder
from encoders.hub import find_folder
from encoders.layers import find_blocks
from encoders.objectives.network import Network
from encoders.registry import default_registry
from encoders.training import trainer as trainer_module
from encoders.training.adaptation import Adaptation
from encoders.training.batches import Batch
from encoders.training.preparation import Streams, prepare_streams
from encoders.training.run import RunFolder, Tensors
from encoders.training.trainer import Trainer

MODEL = "bundled"
CORPUS = "bench.en-de.tsv"
MASKED = 0.15
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "mlm": {"mlm": {}},
    # what runs at every step of the bundled model's recipe
    "mix": {"words": {"layer": 3}, "sentences": {"layer": 4, "weight": 0.2, "temperature": 0.05}},
    "words": {"words": {"layer": 3}},  # leaves the fourth block out
}
JOINED = 64
"""Pieces that pairs are joined up to for ``words`` and the mix, as in the recipe."""


@dataclass(frozen=True, slots=True)
class Size:
    """What the model's operations are counted from."""

    dim: int
    feed_forward: int
    layers: int
    vocabulary: int

    def block_shapes(self, rows: int) -> list[tuple[int, int, int]]:
        """One block's matrix products for so many pieces."""
        square = [(rows, self.dim, self.dim)] * 4
        return [*square, (rows, self.dim, self.feed_forward), (rows, self.feed_forward, self.dim)]

    def blocks(self, lengths: Sequence[int], layers: int) -> float:
        """Operations of a forward pass over sentences of so many pieces, special ones included."""
        weights = 4 * self.dim**2 + 2 * self.dim * self.feed_forward
        attention = 2 * self.dim  # multiply-adds for each two pieces: scores, and sums of values
        return layers * sum(2.0 * (weights * n + attention * n * n) for n in lengths)

    def head(self, pieces: float) -> float:
        """Operations of predicting so many pieces."""
        return 2.0 * pieces * (self.dim**2 + self.dim * self.vocabulary)


class DrawnBatches:
    """Batches whose plans are drawn beforehand; counts the pieces of those that are built."""

    def __init__(self, corpus: Any, plans: list[Any]) -> None:
        self.corpus, self.drawn = corpus, plans
        self.pieces = 0

    def plans(self, *, start: int, **how: Any) -> Iterator[Any]:
        return iter(self.drawn[start:])

    def build(self, plan: Any) -> Batch:
        batch: Batch = self.corpus.build(plan)
        self.pieces += int((batch.source >= 0).sum() + (batch.target >= 0).sum())
        return batch

    def sentences(self) -> list[list[int]]:
        """The pieces of every sentence of the batches."""
        batches = [self.corpus.build(plan) for plan in self.drawn]
        sides = [side for batch in batches for side in (batch.source, batch.target)]
        return [row[row >= 0].tolist() for side in sides for row in side]


class RunWithoutCheckpoints(RunFolder):
    """Writes the log alone."""

    def save(self, place: Any, state: Tensors) -> None:
        pass


class OwnTraining:
    """Some steps of ``bitext adapt``."""

    def __init__(
        self, folder: Path, kind: str, precision: str, args: argparse.Namespace, attention: str = ""
    ) -> None:
        self.attention = attention
        join = 0 if kind == "mlm" else JOINED
        stage = {
            "name": "bench",
            "steps": args.steps,
            "batch_tokens": args.batch_tokens,
            "join_pieces": join,
            "learning_rate": 1e-5,
            "precision": precision,
            "objectives": OBJECTIVES[kind],
        }
        self.training = Adaptation.model_validate({"corpora": [CORPUS], "stages": [stage]})
        model, tokenizer, _ = load_for_training(MODEL)
        self.network = Network(model, tokenizer)
        self.run = RunWithoutCheckpoints(folder / f"{kind}-{precision}{attention}", self.training)
        corpus = prepare_streams(self.training, tokenizer, folder, folder).pairs
        assert corpus is not None
        how = {"alpha": 0.5, "tokens": args.batch_tokens, "join": join, "order": "random"}
        plans = corpus.plans(stage=0, start=0, **how)
        self.batches = DrawnBatches(corpus, list(islice(plans, args.steps)))
        top = self.network.layers
        self.layers = max(said.get("layer", top) for said in OBJECTIVES[kind].values())
        self.predicts = "mlm" in OBJECTIVES[kind]

    def __call__(self) -> None:
        self.batches.pieces = 0
        self.network.model.set_attn_implementation(self.attention or "sdpa")
        streams = Streams(pairs=self.batches, text=None, gold=None)
        loop = Trainer(self.network, streams, self.training, self.run, progress=False)
        if not self.attention:
            loop.fit()
            return
        with patch.object(trainer_module, "choose_attention", lambda network, stage: None):
            loop.fit()

    def operations(self, size: Size) -> float:
        """What the objective needs, forward and backward."""
        lengths = [len(ids) + 2 for ids in self.batches.sentences()]
        head = size.head(MASKED * self.batches.pieces) if self.predicts else 0.0
        return 3 * (size.blocks(lengths, self.layers) + head)


class PlainTraining:
    """``transformers.Trainer`` on the same sentences."""

    def __init__(
        self, folder: Path, sentences: list[list[int]], batch: int, precision: str
    ) -> None:
        model, self.tokenizer, _ = load_for_training(MODEL)
        self.model = model
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        framed = [[begin, *ids, end] for ids in sentences]
        self.rows = [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in framed]
        self.pieces = sum(map(len, sentences))
        self.arguments = transformers.TrainingArguments(
            output_dir=str(folder / "plain"),
            per_device_train_batch_size=batch,
            num_train_epochs=1,
            learning_rate=1e-5,
            bf16=precision == "bfloat16",
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )

    def __call__(self) -> None:
        from accelerate.state import AcceleratorState

        # it remembers, for the whole process, the precision that was asked for first
        AcceleratorState._reset_state(reset_partial_state=True)
        collator = transformers.DataCollatorForLanguageModeling(
            self.tokenizer, mlm_probability=MASKED
        )
        loop = transformers.Trainer(
            self.model, self.arguments, data_collator=collator, train_dataset=self.rows
        )
        loop.remove_callback(transformers.PrinterCallback)
        loop.train()

    def operations(self, size: Size) -> float:
        lengths = [len(row["input_ids"]) for row in self.rows]
        return 3 * (size.blocks(lengths, size.layers) + size.head(MASKED * self.pieces))


def encode_plainly(model: Any, tokenizer: Any, texts: list[str]) -> torch.Tensor:
    """Mean-pooled sentences as one would write it at first."""
    vectors = []
    for start in range(0, len(texts), 32):
        inputs = tokenizer(texts[start : start + 32], padding=True, return_tensors="pt")
        with torch.no_grad():
            states = model(**inputs, output_hidden_states=True).hidden_states[-1]
        mask = inputs["attention_mask"][..., None]
        vectors.append((states * mask).sum(1) / mask.sum(1))
    return torch.cat(vectors)


def measure_training(folder: Path, args: argparse.Namespace, size: Size, best: Best) -> None:
    own = partial(OwnTraining, folder, args=args)
    works: dict[str, Any] = {
        "mlm, float32": own("mlm", "float32"),
        "mlm, float32, eager": own("mlm", "float32", attention="eager"),
        "mlm, bfloat16": own("mlm", "bfloat16"),
        "mlm, bfloat16, sdpa": own("mlm", "bfloat16", attention="sdpa"),
    }
    sentences = works["mlm, float32"].batches.sentences()
    batch = round(len(sentences) / args.steps)
    for precision in DTYPES:
        works[f"plain, {precision}"] = PlainTraining(folder, sentences, batch, precision)
    # its default is many small steps; an eighth of the sentences tells how fast they are
    works["plain, float32, 8 a batch"] = PlainTraining(folder, sentences[::8], 8, "float32")
    for kind in ("mix", "words"):
        for precision in DTYPES:
            works[f"{kind}, {precision}"] = own(kind, precision)
    times = seconds_in_rounds(works, args.rounds)
    rates = {}
    print(f"training: {args.steps} steps of {batch} sentences (mlm), {args.rounds} rounds")
    for name, work in works.items():
        pieces = work.pieces if isinstance(work, PlainTraining) else work.batches.pieces
        rates[name] = pieces / times[name]
        share = best.describe(work.operations(size) / times[name], name)
        print(f"  {name:26} {rates[name]:8.0f} pieces/s  {share}")
    for first, second in [
        ("mlm, float32", "plain, float32"),
        ("mlm, bfloat16", "plain, bfloat16"),
        ("mlm, bfloat16", "plain, float32"),
        ("mlm, float32", "plain, float32, 8 a batch"),
        ("mlm, bfloat16", "mlm, float32"),
        ("mlm, bfloat16", "mlm, bfloat16, sdpa"),
        ("mlm, float32, eager", "mlm, float32"),
        ("mix, bfloat16", "mix, float32"),
    ]:
        print(f"  {first} is {rates[first] / rates[second]:.2f} times as fast as {second}")


def measure_encoding(texts: list[str], args: argparse.Namespace, size: Size, best: Best) -> None:
    encoder: Encoder = default_registry().encoder()
    with quietly():
        plain = transformers.AutoModel.from_pretrained(find_folder(MODEL), add_pooling_layer=False)
        tokenizer = transformers.AutoTokenizer.from_pretrained(find_folder(MODEL))
    plain.eval()
    works: dict[str, Callable[[], object]] = {
        "Encoder.sentences": partial(encoder.sentences, texts),
        "plain, float32": partial(encode_plainly, plain, tokenizer, texts),
    }
    times = seconds_in_rounds(works, args.rounds)
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    pieces = sum(lengths) - 2 * len(lengths)
    layers = {"Encoder.sentences": encoder.check_layer(None, "retrieval")}
    print(f"encoding: {len(texts)} sentences, float32, {args.rounds} rounds")
    for name, took in times.items():
        done = size.blocks(lengths, layers.get(name, size.layers)) / took
        rates = f"{len(texts) / took:8.1f} sentences/s {pieces / took:8.0f} pieces/s"
        print(f"  {name:18} {rates}  {best.describe(done, 'float32')}")
    ratio = times["plain, float32"] / times["Encoder.sentences"]
    print(f"  Encoder.sentences is {ratio:.2f} times as fast")


class Best:
    """What matrix products reach here, large ones and those of the model's shapes."""

    def __init__(self, size: Size, rows: int) -> None:
        head = (round(MASKED * rows), size.dim, size.vocabulary)
        shapes = {"large": large_product(), "blocks": size.block_shapes(rows), "head": [head]}
        self.rates = {
            dtype: {name: product_rate(own, DTYPES[dtype]) for name, own in shapes.items()}
            for dtype in DTYPES
        }
        for dtype, rates in self.rates.items():
            said = ", ".join(f"{name} {1e-9 * rate:.0f}" for name, rate in rates.items())
            print(f"matrix products, {dtype}: GFLOP/s {said}")

    def describe(self, rate: float, name: str) -> str:
        """A rate of operations beside those of matrix products in the precision of ``name``."""
        rates = self.rates["bfloat16" if "bfloat16" in name else "float32"]
        return (
            f"{1e-9 * rate:6.1f} GFLOP/s: {100 * rate / rates['large']:3.0f} % of a large product,"
            f" {100 * rate / rates['blocks']:3.0f} % of the blocks'"
        )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=4000, help="of Tatoeba to draw from")
    parser.add_argument("--steps", type=int, default=4, help="in one timed run")
    parser.add_argument("--batch-tokens", type=int, default=1024, help="padded, of both sides")
    parser.add_argument("--sentences", type=int, default=1000, help="to encode")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def size_of(model: Any) -> Size:
    config = model.config
    layers = len(find_blocks(model, config.num_hidden_layers))
    return Size(config.hidden_size, config.intermediate_size, layers, config.vocab_size)


def main() -> None:
    args = read_options()
    path = data_folder() / "parallel" / "tatoeba" / "train.en-de.tsv.gz"
    if not path.is_file():
        print(f"no data: {path} is not there (set BITEXT_DATA)")
        return
    if find_spec("accelerate") is None:
        print("transformers.Trainer needs accelerate: pip install 'bitext[bench]'")
        return
    transformers.utils.logging.set_verbosity_error()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")  # of the plain loop
    pairs = list(read_bitext(path))
    pairs = random.Random(1).sample(pairs, min(args.pairs, len(pairs)))  # the file is in order
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, ", end="")
    print(f"{torch.get_num_threads()} threads, {len(pairs)} pairs of {path.name}")
    size = size_of(load_for_training(MODEL)[0])
    best = Best(size, args.batch_tokens)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lines = (f"{pair.source}\t{pair.target}\n" for pair in pairs)
        (folder / CORPUS).write_text("".join(lines), encoding="utf-8")
        measure_training(folder, args, size, best)
    texts = [str(side) for pair in pairs for side in (pair.source, pair.target)]
    measure_encoding(texts[: args.sentences], args, size, best)


if __name__ == "__main__":
    main()
