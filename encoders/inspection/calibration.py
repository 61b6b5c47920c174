"""The method of alignment that suits one layer of a model, with its threshold, measured on gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bitext.types import Alignment, GoldAlignment, SentencePair
from encoders.encoder import Encoder
from encoders.inspection.probes import align_layers
from encoders.inspection.thresholds import alignment_threshold

TEMPERATURES = (0.02, 0.05, 0.1)
"""Of the softmax over cosines, which depends on how far apart a model's vectors lie."""


class BestMethod(NamedTuple):
    """How links are best chosen from one layer's similarities, and the AER that it gives."""

    method: str
    threshold: float  # of link scores; the threshold of probabilities is part of the method
    aer: float


def best_method(
    argmax: Sequence[Alignment],
    softmax: Mapping[float, Sequence[Alignment]],
    gold: Sequence[GoldAlignment],
) -> BestMethod:
    """Argmax or softmax, each with its best threshold; argmax if they are equally good.

    :param argmax: mutual-argmax links, scored by similarity.
    :param softmax: by temperature, all links, scored by probability.
    """
    threshold, aer = alignment_threshold(argmax, gold)
    best = BestMethod("argmax", threshold, aer)
    for temperature, alignments in softmax.items():
        threshold, aer = alignment_threshold(alignments, gold)
        if aer < best.aer:
            # half a step lower: the method keeps what is above its threshold, not what equals it
            method = f"softmax:temperature={temperature:g},threshold={threshold - 0.0005:g}"
            best = BestMethod(method, 0.0, aer)
    return best


def calibrate(
    encoder: Encoder,
    pairs: Sequence[SentencePair],
    gold: Sequence[GoldAlignment],
    *,
    layer: int,
    unit: str = "word",
    distortion: float = 0.0,
    too_long: str = "error",
) -> BestMethod:
    """The method, with its threshold, that aligns best with one layer.

    :param pairs: both sides lists of words.
    """

    def links(temperature: float | None) -> list[Alignment]:
        return align_layers(
            encoder,
            pairs,
            layers=(layer,),
            units=(unit,),
            distortion=distortion,
            temperature=temperature,
            too_long=too_long,
        )[layer, unit]

    return best_method(links(None), {t: links(t) for t in TEMPERATURES}, gold)
