"""``Seq2SeqTrainer`` of transformers as a worker of bench_train_translation.py.

The network is the one of ``bitext train``, or with ``kind`` "bert2bert" an ``EncoderDecoderModel``
of the same size.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import transformers
from train_bitext import read_ids
from train_turns import Turns

from nmt.network.model import Shape, build_network
from nmt.pieces.tokenization import TaggedCodec, read_settings


class CountingCollator:
    """Remembers how many pieces there are in each batch; they are made one ahead of their use."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator
        self.counts: list[list[int]] = []

    def __call__(self, features: Any) -> Any:
        counts = [sum(len(row[side]) for row in features) for side in ("input_ids", "labels")]
        self.counts.append(counts)
        return self.collator(features)


class CountUpdates(transformers.TrainerCallback):
    def __init__(self, turns: Turns, counts: list[list[int]]) -> None:
        self.turns, self.counts = turns, counts

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.turns.updated(*self.counts[state.global_step - 1])


def bert2bert(shape: Shape, codec: TaggedCodec) -> Any:
    own: dict[str, Any] = {
        "vocab_size": shape.pieces,
        "hidden_size": shape.dim,
        "num_hidden_layers": shape.encoder_layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.feed_forward,
        "hidden_dropout_prob": shape.dropout,
        "attention_probs_dropout_prob": 0.0,
    }
    sides = transformers.BertConfig(**own), transformers.BertConfig(**own)
    both = transformers.EncoderDecoderConfig.from_encoder_decoder_configs(*sides)
    both.decoder_start_token_id, both.pad_token_id = codec.end, codec.pad
    return transformers.EncoderDecoderModel(both)


def main() -> None:
    turns = Turns()
    job, size = turns.job, turns.job["size"]
    folder = Path(job["folder"])
    settings = read_settings(folder)
    assert settings is not None
    codec = TaggedCodec(transformers.AutoTokenizer.from_pretrained(folder), settings)
    pairs = zip(read_ids(folder / "train.en"), read_ids(folder / "train.de"), strict=True)
    rows = [
        {"input_ids": source, "attention_mask": [1] * len(source), "labels": [*target, codec.end]}
        for source, target in pairs
    ]
    shape = Shape(
        pieces=len(codec.tokenizer),
        dim=size["dim"],
        heads=size["heads"],
        feed_forward=size["feed_forward"],
        encoder_layers=size["layers"],
        decoder_layers=size["layers"],
        dropout=0.1,
    )
    whole = job["kind"] != "bert2bert"
    model = build_network(shape, codec, seed=1) if whole else bert2bert(shape, codec)
    collator = CountingCollator(transformers.DataCollatorForSeq2Seq(codec.tokenizer, model=model))
    with tempfile.TemporaryDirectory() as temporary:
        arguments = transformers.Seq2SeqTrainingArguments(
            output_dir=temporary,
            per_device_train_batch_size=job["sentences"],
            train_sampling_strategy=job["sampling"],
            num_train_epochs=1000,
            label_smoothing_factor=0.1,
            learning_rate=1e-4,
            max_grad_norm=1.0,
            bf16=job["dtype"] == "bfloat16",
            use_cpu=True,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        trainer = transformers.Seq2SeqTrainer(
            model,
            arguments,
            data_collator=collator,
            train_dataset=rows,
            callbacks=[CountUpdates(turns, collator.counts)],
        )
        trainer.train()


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    main()
