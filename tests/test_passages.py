"""Sentences of two texts paired in order, and their links put together."""

from __future__ import annotations

import numpy as np
import pytest

from aligners.aligner import Aligner
from aligners.passages import Passage, align_passages, pair_sentences
from bitext.errors import TooLongError
from bitext.segmentation import sentences
from bitext.types import Alignment, SentencePair
from encoders.encoder import Encoder


def test_sentences_cover_the_text_in_code_points() -> None:
    assert sentences("Hi! 😀 you? Yes") == [(0, 4), (4, 11), (11, 14)]
    assert sentences("我来。你去。") == [(0, 3), (3, 6)]
    assert sentences("") == []


def test_a_passage_counts_the_words_of_each_sentence() -> None:
    passage = Passage.of("Hi there! Go.")
    assert [word.text for word in passage.words] == ["Hi", "there", "!", "Go", "."]
    assert (passage.lengths, passage.texts) == ([3, 2], ["Hi there! ", "Go."])


# Unit vectors of sentences: x, y, z at right angles.
X, Y, Z = np.eye(3, dtype=np.float32)
XY = (X + Y) / np.float32(np.sqrt(2))


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ([X, Y], [X, Y], [((0, 1), (0, 1)), ((1, 2), (1, 2))]),
        # one sentence of the target says what two of the source say
        ([X, Y, Z], [XY, Z], [((0, 2), (0, 1)), ((2, 3), (1, 2))]),
        ([XY, Z], [X, Y, Z], [((0, 1), (0, 2)), ((1, 2), (2, 3))]),
        # Y has no partner
        ([X, Y, Z], [X, Z], [((0, 1), (0, 1)), ((2, 3), (1, 2))]),
        # one sentence each belong together, however unlike
        ([X], [Y], [((0, 1), (0, 1))]),
        ([], [X], []),
    ],
)
def test_sentences_are_paired_as_worked_by_hand(
    source: list[np.ndarray], target: list[np.ndarray], expected: list[object]
) -> None:
    sides = [np.array(side, np.float32).reshape(len(side), 3) for side in (source, target)]
    assert pair_sentences(sides[0], sides[1], [1] * len(source), [1] * len(target)) == expected


def test_one_sentence_each_is_aligned_as_it_is(encoder: Encoder) -> None:
    aligner = Aligner(encoder)
    texts = [("the house is small", "das haus ist klein"), ("", "haus"), ("a cat", "eine katze")]
    found = align_passages(aligner, [(Passage.of(s), Passage.of(t)) for s, t in texts])
    expected = aligner.align([SentencePair(s.split(), t.split()) for s, t in texts])
    assert [one.links for one in found] == [one.links for one in expected]
    # their batches are others, and a product's last bit depends on its batch on some processors
    for one, other in zip(found, expected, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-5)


def test_links_count_from_the_start_of_the_text(encoder: Encoder) -> None:
    aligner = Aligner(encoder)
    text = "the house is small. a cat sleeps."
    [found] = align_passages(aligner, [(Passage.of(text), Passage.of(text))])
    # a text and itself: sentences pair with themselves, and so does each word
    assert found.links == tuple((n, n) for n in range(9))
    assert isinstance(found, Alignment)


def test_too_long_a_sentence_is_named_by_its_pair(encoder: Encoder) -> None:
    fine, long = Passage.of("a cat"), Passage.of("house " * 100)
    for pairs in ([(fine, fine), (fine, long)], [(fine, fine), (Passage.of("Hi. You."), long)]):
        with pytest.raises(TooLongError) as error:
            align_passages(Aligner(encoder), pairs)
        assert error.value.sentence == 1
        assert str(error.value).startswith("pair 2, target has ")
