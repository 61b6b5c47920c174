"""A corpus's own evidence, beside the model's."""

from __future__ import annotations

import numpy as np
import pytest

from aligners.aligner import Aligner
from aligners.prior import CorpusPrior
from bitext.errors import InputError, MismatchError
from bitext.types import SentencePair
from encoders.encoder import Encoder

CORPUS = [
    SentencePair(["red", "Fish"], ["roter", "fisch"]),
    SentencePair(["red", "dog"], ["roter", "Hund"]),
    SentencePair(["old", "fish"], ["alter", "fisch"]),
    SentencePair(["Old", "dog"], ["alter", "hund"]),
] * 500
TURNED = SentencePair(["fish", "old"], ["alter", "fisch"])


def test_words_that_meet_again_and_again_are_probable_links() -> None:
    # In the last pair the words stand crosswise: there places speak against what words say.
    prior = CorpusPrior.learn([*CORPUS, TURNED])
    assert prior.of(0, (2, 2)) == pytest.approx(np.eye(2), abs=0.05)
    turned = prior.of(2000, (2, 2))
    assert turned[0, 1] > 0.1
    assert turned[1, 0] > 0.1
    assert turned[0, 0] == turned[1, 1] == 0


def test_sides_without_words_have_no_links() -> None:
    prior = CorpusPrior.learn([*CORPUS, SentencePair([], ["hund"]), SentencePair([], [])])
    assert prior.of(2000, (0, 1)).shape == (0, 1)
    assert prior.of(2001, (0, 0)).size == 0


def test_a_pair_that_was_not_there_has_no_prior() -> None:
    with pytest.raises(InputError, match="learnt from 2000 pairs; there is no 2001"):
        CorpusPrior.learn(CORPUS).of(2000, (2, 2))


@pytest.mark.parametrize("unit", ["piece", "word"])
def test_a_strong_prior_decides_the_links(encoder: Encoder, unit: str) -> None:
    pair = SentencePair(["the", "old", "house"], ["haus", "das", "alt"])
    crossed = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=np.float32)
    aligner = Aligner(encoder, method="argmax", unit=unit, prior_weight=1.0)
    assert str(aligner.align([pair], priors=[crossed])[0]) == "0-1 1-2 2-0"


def test_scores_stay_those_of_the_model(encoder: Encoder) -> None:
    pair = SentencePair(["the", "old"], ["alt", "das"])
    prior = np.eye(2, dtype=np.float32)
    aligner = Aligner(encoder, method="argmax", unit="word", prior_weight=1.0)
    found = aligner.align([pair], priors=[prior])[0]
    assert str(found) == "0-0 1-1"
    similar = aligner.details([pair])[0].similarity
    assert found.scores == pytest.approx([similar[0, 0], similar[1, 1]])


def test_a_weight_of_nothing_changes_nothing(encoder: Encoder) -> None:
    priors = [np.ones((2, 2), dtype=np.float32)] * 4
    aligner = Aligner(encoder)
    assert aligner.align(CORPUS[:4], priors=priors) == aligner.align(CORPUS[:4])


def test_a_prior_of_another_shape_is_refused(encoder: Encoder) -> None:
    with pytest.raises(MismatchError, match=r"a pair of \(2, 2\) words has a prior of shape"):
        Aligner(encoder, prior_weight=0.1).align(
            CORPUS[:1], priors=[np.ones((2, 3), dtype=np.float32)]
        )
