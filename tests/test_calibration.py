"""The method that suits a model, measured on gold."""

from __future__ import annotations

import pytest

from aligners.aligner import Aligner
from bitext.scoring import evaluate
from bitext.types import Alignment, GoldAlignment, SentencePair
from encoders.encoder import Encoder
from encoders.inspection.calibration import best_method, calibrate
from encoders.inspection.probes import align_layers

GOLD = [GoldAlignment.parse("0-0 1-1")]


def scored(*links: tuple[int, int, float]) -> Alignment:
    return Alignment.of(((i, j), score) for i, j, score in links)


def test_softmax_is_taken_where_it_is_better() -> None:
    # Argmax lacks 1-1; softmax has it, above a wrong link that a threshold of .4 to .6 drops.
    found = best_method(
        [scored((0, 0, 0.9))], {0.1: [scored((0, 0, 0.8), (1, 1, 0.6), (0, 1, 0.4))]}, GOLD
    )
    assert found.method == "softmax:temperature=0.1,threshold=0.4005"
    assert (found.threshold, found.aer) == (0.0, 0.0)


def test_argmax_is_taken_where_both_are_as_good() -> None:
    # The wrong link goes at the first threshold above its score.
    links = [scored((0, 0, 0.9), (1, 1, 0.8), (0, 1, 0.5))]
    assert best_method(links, {0.1: links}, GOLD) == ("argmax", 0.501, 0.0)


@pytest.mark.parametrize("unit", ["piece", "word"])
def test_probable_links_are_those_of_the_aligner(encoder: Encoder, unit: str) -> None:
    pairs = [SentencePair(["the", "old", "house"], ["das", "alte", "haus"]), SentencePair([], [])]
    found = align_layers(encoder, pairs, layers=(1,), units=(unit,), temperature=0.1)[1, unit]
    method = "softmax:temperature=0.1,threshold=0.05"
    aligned = Aligner(encoder, method=method, layer=1, unit=unit).align(pairs)
    assert [one.links for one in found] == [one.links for one in aligned]


def test_what_calibration_promises_the_aligner_keeps(encoder: Encoder) -> None:
    pairs = [SentencePair(["the", "old", "house"], ["das", "alte", "haus"])] * 2
    gold = [GoldAlignment.parse("0-0 1-1 2-2"), GoldAlignment.parse("0-0 1p1 2-2")]
    found = calibrate(encoder, pairs, gold, layer=2)
    aligner = Aligner(
        encoder, method=found.method, layer=2, unit="word", distortion=0, threshold=found.threshold
    )
    assert evaluate(aligner.align(pairs), gold).aer == pytest.approx(found.aer)
