"""Retrieval scores: a case worked by hand, plain numpy, and a tiny model."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitext import __version__
from bitext.errors import InputError, MismatchError, UnknownNameError
from encoders.encoder import Encoder
from retrieval.evaluate import evaluate, recall_at, score_vectors

Rows = NDArray[np.float32]

# Three pairs in the plane; the third target points away from its source. Cosines with the targets:
#   source 0: 1, 0, 0; source 1: 0, 1, -1; source 2: 0.8, 0.6, -0.6
SOURCE = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
TARGET = np.array([[1, 0], [0, 1], [0, -1]], np.float32)


def test_recall_by_hand() -> None:
    # Forward: sources 0 and 1 find theirs first, source 2 finds it third.
    assert recall_at(SOURCE, TARGET, [1, 2, 3]) == pytest.approx({1: 2 / 3, 2: 2 / 3, 3: 1})
    # Backward: target 0 = (1, 0): 1, 0, 0.8 -> right. Target 1 = (0, 1): 0, 1, 0.6 -> right.
    # Target 2 = (0, -1): 0, -1, -0.6 -> source 0, then 2, then 1: right at k = 2.
    assert recall_at(TARGET, SOURCE, [2]) == pytest.approx({1: 2 / 3, 2: 1})


def test_score_by_hand() -> None:
    score = score_vectors(SOURCE, TARGET, ks=[2], signature="made so")
    assert score.error("forward") == pytest.approx(1 / 3)
    assert str(score) == (
        "forward recall@1 66.67 recall@2 66.67 error 33.33  "
        "backward recall@1 66.67 recall@2 100.00 error 33.33  "
        "(3 pairs) | made so | raw | exact cosine"
    )
    assert json.loads(json.dumps(score.as_dict()))["backward"] == {
        "recall@1": pytest.approx(2 / 3),
        "recall@2": 1.0,
        "error": pytest.approx(1 / 3),
    }


def test_centring_by_hand() -> None:
    """A language that points elsewhere as a whole is brought back by taking its mean away."""
    source = np.array([[1, 0, 0], [0.8, 0.6, 0]], np.float32)
    target = np.array([[0.8, 0, 0.6], [0.6, 0.8, 0]], np.float32)
    # Raw, backward: target 0 with the sources: 0.8, 0.64 -> right; target 1: 0.6, 0.96 -> right;
    # forward: source 0: 0.8, 0.6 -> right; source 1: 0.64, 0.96 -> right.
    assert score_vectors(source, target).recall == {"forward": {1: 1.0}, "backward": {1: 1.0}}
    # Centred, two points of a side always lie opposite one another, here in the same order:
    # source 0 - source 1 = (0.2, -0.6, 0) and target 0 - target 1 = (0.2, -0.8, 0.6), cosine > 0.
    centred = score_vectors(source, target, centred=True)
    assert centred.recall == {"forward": {1: 1.0}, "backward": {1: 1.0}}
    assert "| centred |" in centred.signature
    # With one side's lines exchanged, each is nearest to the wrong one.
    exchanged = score_vectors(source, target[::-1].copy(), centred=True)
    assert exchanged.recall == {"forward": {1: 0.0}, "backward": {1: 0.0}}


def test_centring_helps_where_languages_lie_apart() -> None:
    """The same meanings, but for noise, at opposite offsets."""
    random = np.random.default_rng(0)
    meaning = random.standard_normal((200, 16))
    offset = np.zeros(16)
    offset[0] = 3
    source = unit(meaning + offset + 0.1 * random.standard_normal((200, 16)))
    target = unit(meaning * 2 - offset + 0.1 * random.standard_normal((200, 16)))
    raw, centred = (score_vectors(source, target, centred=c) for c in (False, True))
    assert centred.error("forward") < raw.error("forward")


def unit(rows: NDArray[np.float64]) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 60), st.integers(2, 20))
def test_equal_to_plain_numpy(seed: int, pairs: int, dim: int) -> None:
    random = np.random.default_rng(seed)
    source = unit(random.standard_normal((pairs, dim)))
    target = unit(source + random.standard_normal((pairs, dim)))
    found = score_vectors(source, target, ks=[1, 3]).recall
    similarity = source @ target.T
    own = np.diag(similarity)
    assert found["forward"][1] == np.mean(similarity.argmax(1) == np.arange(pairs))
    assert found["backward"][1] == np.mean(similarity.argmax(0) == np.arange(pairs))
    # among the three nearest: fewer than three are nearer
    assert found["forward"][3] == np.mean((similarity > own[:, None]).sum(1) < 3)


def test_copies_count_for_the_earlier_line() -> None:
    twice = np.array([[1, 0], [1, 0]], np.float32)
    assert recall_at(twice, twice, [1, 2]) == {1: 0.5, 2: 1.0}


def test_what_cannot_be_scored() -> None:
    with pytest.raises(MismatchError, match="3 queries need as many candidates, got 2"):
        recall_at(SOURCE, TARGET[:2], [1])
    with pytest.raises(MismatchError, match="0 queries"):
        recall_at(SOURCE[:0], TARGET[:0], [1])
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        recall_at(SOURCE, TARGET, [0])


def test_sentences_find_themselves(encoder: Encoder) -> None:
    sentences = ["the house is small", "eine katze schläft", "नमस्ते दुनिया"]
    done: list[int] = []
    raw, centred = evaluate(encoder, sentences, sentences, layer=1, progress=done.append)
    assert raw.recall == centred.recall == {"forward": {1: 1.0}, "backward": {1: 1.0}}
    assert (raw.centred, centred.centred, raw.layer) == (False, True, 1)
    assert raw.signature == (
        f"bitext {__version__} | model {encoder.name}@{encoder.fingerprint} | float32 | layer 1 "
        "| pooling mean | raw | exact cosine"
    )
    assert sum(done) == 6


def test_scores_follow_from_the_encoder_s_vectors(encoder: Encoder) -> None:
    sources = ["the house is small", "a cat sleeps", "the garden is big"]
    targets = ["das haus ist klein", "eine katze schläft", "der garten ist groß"]
    [score] = evaluate(encoder, sources, targets, layer=2, pooling="max", centring=[False])
    source, target = (encoder.sentences(s, layer=2, pooling="max") for s in (sources, targets))
    assert score.recall == score_vectors(source, target).recall


def test_sentences_that_cannot_be_scored(encoder: Encoder) -> None:
    with pytest.raises(InputError, match=r"target sentence 2 \(' '\) has nothing in it"):
        evaluate(encoder, ["a", "the"], ["a", " "])
    with pytest.raises(UnknownNameError, match="no layer 99"):
        evaluate(encoder, ["a"], ["a"], layer=99)
    with pytest.raises(UnknownNameError, match="unknown pooling 'sum'"):
        evaluate(encoder, ["a"], ["a"], pooling="sum")
