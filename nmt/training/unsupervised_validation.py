"""Figures of a model in training where there is text to measure on, and no bitext."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitext.errors import InputError
from nmt.pieces.hub_codec import HubCodec
from nmt.pieces.tokenization import TaggedCodec
from nmt.training.config import Denoise, Monolingual, TrainConfig
from nmt.training.keeping import Measure
from nmt.training.loss import loss_of
from nmt.training.monolingual import EncodedText, encode_text, read_text
from nmt.training.tasks import Learned, denoising
from nmt.training.validation import copied_share, translate_texts

_TOKENS = 4096  # padded pieces of a batch


@dataclass(frozen=True, slots=True)
class _DevText:
    lang: str
    sentences: list[str]
    encoded: EncodedText


def monolingual_measure(config: TrainConfig, codec: TaggedCodec | HubCodec, data: Path) -> Measure:
    """A function that measures a model on text alone.

    Its figures: ``denoising loss``, nats a piece, under XLM's noise, always the same; where round
    trips decide, ``round trip``, the BLEU of text that went into another language and back (Lample
    et al., 2018), the mean over all ways, and ``copied``, the share of words that the way there
    left as they were. A model that copies everything gets a round trip of 100: read both.

    :raises InputError: if dev text cannot be read, or has a sentence the model cannot take.
    """
    texts = [
        _DevText(
            one.lang, list(read_text(one, data)), _encoded(one.model_dump(), config, codec, data)
        )
        for one in config.data.dev_monolingual
    ]
    langs = codec.settings.target_langs
    trips = [(text, lang) for text in texts for lang in langs if lang != text.lang]
    if config.validation.measure == "round_trip" and not trips:
        raise InputError("validation.measure 'round_trip' needs a second language to go to")

    def measure(model: Any) -> dict[str, float]:
        model.eval()
        figures = {"denoising loss": _denoising_loss(model, texts, config, codec)}
        if config.validation.measure == "denoising":
            return {**figures, "dev": -figures["denoising loss"]}
        found = [_round_trip(model, *trip, codec, config.validation.beam_size) for trip in trips]
        for (text, lang), (bleu, copied) in zip(trips, found, strict=True):
            figures[f"round trip {text.lang}-{lang}"] = bleu
            figures[f"copied {text.lang}-{lang}"] = copied
        mean = float(np.mean([bleu for bleu, _ in found]))
        return {**figures, "round trip": mean, "dev": mean}

    return measure


def _encoded(
    text: dict[str, Any], config: TrainConfig, codec: TaggedCodec | HubCodec, data: Path
) -> EncodedText:
    settings = config.data.model_copy(
        update={"unique": False, "max_pieces": min(codec.max_source, codec.max_target)}
    )
    encoded, said = encode_text(Monolingual(**text), settings, codec, data)
    if said.kept < said.pairs:
        raise InputError(f"{said.sentence()}; dev text must be left whole")
    return encoded


def _denoising_loss(
    model: Any, texts: Sequence[_DevText], config: TrainConfig, codec: TaggedCodec | HubCodec
) -> float:
    learned = Learned(codec, [], [], [text.encoded for text in texts], [])
    batches = denoising(Denoise(), learned, config)
    loss, predicted = 0.0, 0
    with torch.inference_mode():
        for batch in batches.once(_TOKENS):
            total, count = loss_of(model, batch.to(model.device))
            loss, predicted = loss + float(total), predicted + count
    return loss / predicted


def _round_trip(
    model: Any, text: _DevText, lang: str, codec: TaggedCodec | HubCodec, beam_size: int
) -> tuple[float, float]:
    from nmt.evaluation.evaluate import translation_score

    way = codec.source(text.sentences, text.lang, lang)
    there = translate_texts(model, way, codec.prefix(lang), codec, beam_size)
    way = [one[: codec.max_source] for one in codec.source(there, lang, text.lang)]
    back = translate_texts(model, way, codec.prefix(text.lang), codec, beam_size)
    return translation_score(back, text.sentences).bleu, copied_share(text.sentences, there)
