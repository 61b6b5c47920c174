"""Figures of a model in training on development data: loss, BLEU, chrF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitext.errors import InputError
from bitext.segmentation import segment
from nmt.pieces.hub_codec import HubCodec
from nmt.pieces.tokenization import Codec, TaggedCodec
from nmt.search.search import SearchSettings
from nmt.training.batches import BitextBatches
from nmt.training.config import Bitext, DataSettings, TrainConfig
from nmt.training.data import EncodedBitext, Pieces, name_of_bitext, read_pairs
from nmt.training.keeping import Measure
from nmt.training.loss import loss_of
from nmt.training.online import copied, translate_ahead

_TOKENS = 4096  # padded pieces of a batch


@dataclass(frozen=True, slots=True)
class _DevSet:
    texts: list[str]
    sources: list[list[int]]
    references: list[str]
    bitext: EncodedBitext


def dev_measure(config: TrainConfig, codec: TaggedCodec | HubCodec, data: Path) -> Measure | None:
    """A function that measures a model as it then is; ``None`` without dev data.

    Its figures: ``dev loss`` (nats a piece, no smoothing), ``bleu`` and ``chrf`` where one of them
    decides, and ``dev``, which decides: larger is better.

    :raises InputError: if dev data cannot be read, or have a sentence the model cannot take.
    """
    if config.data.dev_monolingual:
        from nmt.training.unsupervised_validation import monolingual_measure

        return monolingual_measure(config, codec, data)
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
    texts, references = map(list, zip(*pairs, strict=True))
    return _DevSet(texts, sources, references, encoded)


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
    """The means over the dev sets; of several, what each has, and which words it copies."""
    from nmt.evaluation.evaluate import translation_score

    scores, figures = [], {}
    for one in sets:
        hypotheses = _translate(model, one, codec, beam_size)
        score = translation_score(hypotheses, one.references, metrics=("bleu", "chrf"))
        scores.append(score)
        if len(sets) > 1:
            way = f"{one.bitext.source_lang}-{one.bitext.target_lang}"
            figures[f"bleu {way}"] = score.bleu
            figures[f"copied {way}"] = copied_share(one.texts, hypotheses)
    figures["bleu"] = float(np.mean([score.bleu for score in scores]))
    figures["chrf"] = float(np.mean([score.chrf for score in scores]))
    return figures


def _translate(model: Any, dev: _DevSet, codec: Codec, beam_size: int) -> list[str]:
    given = codec.prefix(dev.bitext.target_lang)
    return translate_texts(model, dev.sources, given, codec, beam_size)


def translate_texts(
    model: Any, sources: Sequence[Sequence[int]], given: list[int], codec: Codec, beam_size: int
) -> list[str]:
    """The best translation of each source."""
    limits = [min(codec.max_target - len(given), 2 * len(one) + 20) for one in sources]
    how = SearchSettings(beam_size=beam_size)
    found = translate_ahead(model, sources, [given] * len(sources), limits, how, codec=codec)
    return [codec.text(ids) for ids in found]


def copied_share(sources: Sequence[str], translations: Sequence[str]) -> float:
    """Of the translations' words, those that stand in the source, numbers and signs left out."""
    pairs = [(_words(a), _words(b)) for a, b in zip(sources, translations, strict=True)]
    written = sum(len(made) for _, made in pairs)
    return sum(copied(given, made) for given, made in pairs) / max(1, written)


def _words(text: str) -> list[str]:
    return [word.text.lower() for word in segment(text) if word.text.isalpha()]
