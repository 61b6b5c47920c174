"""Figures of a model in training on development data: loss, BLEU, chrF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitext.errors import InputError
from nmt.batches import BitextBatches, cut
from nmt.config import Bitext, DataSettings, TrainConfig
from nmt.data import EncodedBitext, Pieces, name_of_bitext, read_pairs
from nmt.loss import loss_of
from nmt.tokenization import Codec
from nmt.trainer import Measure

_TOKENS = 4096  # padded pieces of a batch


@dataclass(frozen=True, slots=True)
class _DevSet:
    sources: list[list[int]]
    references: list[str]
    bitext: EncodedBitext


def dev_measure(config: TrainConfig, codec: Codec, data: Path) -> Measure | None:
    """A function that measures a model as it then is; ``None`` without dev data.

    Its figures: ``dev loss`` (nats a piece, no smoothing), ``bleu`` and ``chrf`` where one of them
    decides, and ``dev``, which decides: larger is better.

    :raises InputError: if dev data cannot be read, or have a sentence the model cannot take.
    """
    if not config.data.dev:
        return None
    sets = [_read(one, config.data, codec, data) for one in config.data.dev]
    wanted = config.validation.measure

    def measure(model: Any) -> dict[str, float]:
        model.eval()
        figures = {"dev loss": _loss(model, sets, codec)}
        if wanted != "loss":
            figures |= _translation_figures(model, sets, codec, config.validation.beam_size)
        deciding = -figures["dev loss"] if wanted == "loss" else figures[wanted]
        return {**figures, "dev": deciding}

    return measure


def _read(bitext: Bitext, settings: DataSettings, codec: Codec, data: Path) -> _DevSet:
    pairs = list(read_pairs(bitext, data))
    source_lang = bitext.source_lang or settings.source_lang
    target_lang = bitext.target_lang or settings.target_lang
    sources = codec.source([source for source, _ in pairs], source_lang, target_lang)
    frame = codec.frame(target_lang)
    targets = [
        [*frame.before, *one, *frame.after]
        for one in codec.target([target for _, target in pairs], target_lang)
    ]
    for number, (source, target) in enumerate(zip(sources, targets, strict=True), start=1):
        if len(source) > codec.max_source or len(target) > codec.max_target:
            raise InputError(
                f"{name_of_bitext(bitext)}, line {number}: {len(source)} and {len(target)} pieces, "
                f"and the model takes {codec.max_source} and {codec.max_target}"
            )
    if not pairs:
        raise InputError(f"{name_of_bitext(bitext)} has no pairs to measure on")
    encoded = EncodedBitext(
        Pieces.of(sources), Pieces.of(targets), frame.given, source_lang, target_lang
    )
    return _DevSet(sources, [target for _, target in pairs], encoded)


def _loss(model: Any, sets: Sequence[_DevSet], codec: Codec) -> float:
    loss, predicted = 0.0, 0
    with torch.inference_mode():
        for one in sets:
            batches = BitextBatches([one.bitext], pad=codec.pad, seed=0)
            for batch in batches.once(_TOKENS):
                total, count = loss_of(model, batch.to(model.device))
                loss, predicted = loss + float(total), predicted + count
    return loss / predicted


def _translation_figures(
    model: Any, sets: Sequence[_DevSet], codec: Codec, beam_size: int
) -> dict[str, float]:
    """The means over the dev sets."""
    from nmt.evaluate import translation_score

    scores = []
    for one in sets:
        hypotheses = _translate(model, one, codec, beam_size)
        scores.append(translation_score(hypotheses, one.references, metrics=("bleu", "chrf")))
    return {
        "bleu": float(np.mean([score.bleu for score in scores])),
        "chrf": float(np.mean([score.chrf for score in scores])),
    }


def _translate(model: Any, dev: _DevSet, codec: Codec, beam_size: int) -> list[str]:
    lengths = np.array([[len(one), len(one)] for one in dev.sources])
    prefix = codec.prefix(dev.bitext.target_lang)
    found = [""] * len(dev.sources)
    with torch.inference_mode():
        for numbers in cut(lengths, _TOKENS, np.random.default_rng(0)):
            width = int(lengths[numbers, 0].max())
            ids = torch.full((len(numbers), width), codec.pad)
            for row, number in enumerate(numbers):
                ids[row, : len(dev.sources[number])] = torch.tensor(dev.sources[number])
            given = torch.tensor([prefix] * len(numbers))
            output = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=(ids != codec.pad).long().to(model.device),
                decoder_input_ids=given.to(model.device),
                decoder_start_token_id=prefix[0],  # else it may put its own before
                num_beams=beam_size,
                do_sample=False,
                max_length=min(codec.max_target, 2 * width + 20),
            )
            for number, row in zip(numbers, output.tolist(), strict=True):
                found[number] = codec.text(row)
    return found
