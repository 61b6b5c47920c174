"""Probes: the links of the aligner and the accuracy of retrieval, of many layers at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aligners.aligner import Aligner
from bitext.errors import InputError, MismatchError, TooLongError, UnknownNameError
from bitext.scoring import evaluate
from bitext.types import Alignment, GoldAlignment, SentencePair
from encoders.encoder import Encoder
from encoders.inspection.probes import (
    align_layers,
    alignment_score,
    encoder_retrieval,
    retrieval_accuracy,
)
from encoders.links import distort, mutual_argmax, similarities
from encoders.pooling import normalise
from retrieval.evaluation.recall import score_vectors

PAIRS = [
    SentencePair(source.split(" "), target.split(" "))
    for source, target in [
        ("the house is small and the garden is big", "das haus ist klein und der garten groß"),
        ("a cat  sleeps", "eine katze schläft im alten haus"),  # an empty word has no pieces
        ("the", "das haus"),
    ]
] + [SentencePair([], ["haus"]), SentencePair([], [])]
GOLD = [GoldAlignment.parse(line) for line in ("0-0 1-1 2-2 3p3", "0-0 1-1", "0-0", "", "")]


def masks(*lengths: tuple[int, int], size: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """The masks of pairs of these lengths, padded to ``size``."""
    rows, columns = (torch.zeros(len(lengths), side, dtype=torch.bool) for side in size)
    for pair, (m, n) in enumerate(lengths):
        rows[pair, :m] = columns[pair, :n] = True
    return rows, columns


# --- links


def test_units_are_linked_where_both_prefer_each_other() -> None:
    # Rows prefer columns 0, 0, 1; columns prefer rows 0, 2: row 1 is refused by column 0.
    similarity = torch.tensor([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.4]]])
    links = mutual_argmax(similarity, *masks((3, 2), size=(3, 2)))
    assert links.int().tolist() == [[[1, 0], [0, 0], [0, 1]]]


def test_ties_go_to_the_smaller_index() -> None:
    links = mutual_argmax(torch.ones(1, 3, 3), *masks((3, 3), size=(3, 3)))
    assert links.nonzero().tolist() == [[0, 0, 0]]


def test_padding_is_never_linked_however_similar() -> None:
    # The second pair has one row and two columns; all else would be preferred if it were there.
    similarity = torch.tensor([[[0.1, 0.2], [0.9, 0.9]], [[0.1, 0.2], [0.9, 0.9]]])
    links = mutual_argmax(similarity, *masks((0, 2), (1, 2), size=(2, 2)))
    assert links.nonzero().tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("size", [(0, 3), (3, 0), (0, 0)])
def test_a_side_without_units_has_no_links(size: tuple[int, int]) -> None:
    links = mutual_argmax(torch.zeros(2, *size), *masks(size, size, size=size))
    assert links.shape == (2, *size)
    assert not links.any()


def test_similarities_are_moved_cosines() -> None:
    source = torch.tensor([[[2.0, 0.0], [0.0, 0.0]]])
    target = torch.tensor([[[3.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    # cosines 1, 0, -1; a row of zeros has cosine 0 with all
    assert similarities(source, target).tolist() == [[[1.0, 0.5, 0.0], [0.5, 0.5, 0.5]]]


def test_distortion_takes_each_pairs_own_length() -> None:
    # Positions of the first pair: rows 0, 1; columns 0, 1/2, 1. With 0.5 the far corners lose
    # half, the middle column 0.5 * 1/4. The second pair has one row: nothing changes.
    similarity = torch.ones(2, 2, 3)
    distorted = distort(similarity, *masks((2, 3), (1, 2), size=(2, 3)), 0.5)
    assert distorted[0].tolist() == [[1.0, 0.875, 0.5], [0.5, 0.875, 1.0]]
    assert distorted[1, :1, :2].tolist() == [[1.0, 1.0]]


# --- alignment


@pytest.mark.parametrize("distortion", [0.0, 0.5])
@pytest.mark.parametrize("unit", ["piece", "word"])
def test_links_are_those_of_the_aligner(encoder: Encoder, unit: str, distortion: float) -> None:
    found = align_layers(encoder, PAIRS, layers=range(3), units=[unit], distortion=distortion)
    for layer in range(3):
        aligner = Aligner(encoder, method="argmax", layer=layer, unit=unit, distortion=distortion)
        expected = aligner.align(PAIRS)
        assert [a.links for a in found[layer, unit]] == [a.links for a in expected]
        assert all(a.links for a in expected[:3])
        for mine, theirs in zip(found[layer, unit], expected, strict=True):
            assert mine.scores == pytest.approx(theirs.scores, abs=1e-6)


def test_chunks_change_nothing(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = align_layers(encoder, PAIRS, layers=[1])
    monkeypatch.setattr("encoders.inspection.probes.CHUNK", 2)
    for key, alignments in align_layers(encoder, PAIRS, layers=[1]).items():
        assert [a.links for a in alignments] == [a.links for a in whole[key]]


def test_the_score_is_that_of_the_aligners_links(encoder: Encoder) -> None:
    expected = evaluate(Aligner(encoder, method="argmax", layer=2, unit="word").align(PAIRS), GOLD)
    score = alignment_score(encoder, PAIRS, GOLD, layer=2)
    assert score.aer == expected.aer
    assert "layer 2 | unit word | method argmax | distortion 0" in score.signature
    assert "threshold" not in score.signature


def test_a_threshold_drops_links(encoder: Encoder) -> None:
    links = [a for a in align_layers(encoder, PAIRS, layers=[2])[2, "word"] if a.links]
    middle = sorted(score for a in links for score in a.scores)[2]
    score = alignment_score(encoder, PAIRS, GOLD, layer=2, threshold=middle)
    assert score.links == sum(len(a.links) for a in links) - 2
    assert f"threshold {middle:g}" in score.signature


def test_links_at_the_threshold_are_kept() -> None:
    alignment = Alignment(((0, 0), (1, 1), (2, 2)), (0.4, 0.5, 0.6))
    assert alignment.above(0.5) == Alignment(((1, 1), (2, 2)), (0.5, 0.6))


def test_what_cannot_be_aligned_is_named(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="pair 2 is raw text"):
        align_layers(encoder, [PAIRS[0], SentencePair("a cat", "eine katze")], layers=[1])
    with pytest.raises(TooLongError, match="pair 2, target has 80 pieces"):
        align_layers(encoder, [PAIRS[0], SentencePair(["a"], ["a"] * 80)], layers=[1])
    with pytest.raises(UnknownNameError, match="unknown unit 'letter'"):
        align_layers(encoder, PAIRS, layers=[1], units=["letter"])
    with pytest.raises(UnknownNameError, match="no layer 3"):
        align_layers(encoder, PAIRS, layers=[3])
    with pytest.raises(InputError, match="5 alignments cannot be scored by 1"):
        alignment_score(encoder, PAIRS, GOLD[:1])


# --- retrieval


def test_accuracy_of_a_case_by_hand() -> None:
    # Cosines:  1.0  0.60    Both sources find target 0, and both targets find source 0: one of
    #           0.6 -0.28    two is right in either direction.
    source = np.array([[1, 0], [0.6, 0.8]], np.float32)
    target = np.array([[1, 0], [0.6, -0.8]], np.float32)
    found = retrieval_accuracy(source, target)
    assert (found.raw_forward, found.raw_backward, found.raw) == (0.5, 0.5, 0.5)
    # Less their means the sources are (.2, -.4) and (-.2, .4), the targets (.2, .4) and
    # (-.2, -.4): cosines -.6 on the diagonal, .6 off it.
    assert (found.centred_forward, found.centred_backward, found.centred) == (0, 0, 0)


def test_accuracy_is_that_of_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "encoders.inspection.probes.ROWS", 7
    )  # several blocks, the last one shorter
    random = np.random.default_rng(0)
    source = normalise(random.normal(size=(40, 6)).astype(np.float32) + 1)
    target = normalise(source + 0.4 * random.normal(size=(40, 6)).astype(np.float32))
    found = retrieval_accuracy(source, target)
    for centred, pair in (
        (False, (found.raw_forward, found.raw_backward)),
        (True, (found.centred_forward, found.centred_backward)),
    ):
        recall = score_vectors(source, target, centred=centred).recall
        assert pair == pytest.approx((recall["forward"][1], recall["backward"][1]))
        assert 0.2 < pair[0] < 1


def test_of_equal_cosines_the_earlier_row_is_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    same = np.tile(np.array([[0.6, 0.8]], np.float32), (4, 1))
    for rows in (1, 4):
        monkeypatch.setattr("encoders.inspection.probes.ROWS", rows)
        found = retrieval_accuracy(same, same)
        assert (found.raw_forward, found.raw_backward) == (0.25, 0.25)


def test_an_encoder_finds_a_sentence_by_itself(encoder: Encoder) -> None:
    texts = ["the house is small", "a cat sleeps", "das haus ist klein"]
    found = encoder_retrieval(encoder, texts, texts, layer=1)
    assert (found.pairs, found.raw, found.centred) == (3, 1, 1)


def test_sides_must_be_equally_many() -> None:
    with pytest.raises(MismatchError, match="2 source sentences cannot be compared with 1"):
        retrieval_accuracy(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32)[:1])


# --- several layers from one pass


def test_one_pass_gives_every_layer_and_pooling(encoder: Encoder) -> None:
    texts = ["the house is small", "", "a cat", "the house is big " * 20]
    found = encoder.sentences_of_layers(
        texts, layers=[0, 2], poolings=["mean", "cls", "max"], too_long="windows"
    )
    assert sorted(found) == [(n, p) for n in (0, 2) for p in ("cls", "max", "mean")]
    for (layer, pooling), vectors in found.items():
        alone = encoder.sentences(texts, layer=layer, pooling=pooling, too_long="windows")
        np.testing.assert_array_equal(vectors, alone)


def test_one_pass_gives_the_pieces_of_every_layer(encoder: Encoder) -> None:
    sentences = [["the", "house"], [], ["das", "haus", "ist", "klein"]]
    found = encoder.pieces_of_layers(sentences, layers=[0, 1, 2])
    for layer, pieces in found.items():
        for one, alone in zip(pieces, encoder.pieces(sentences, layer=layer), strict=True):
            np.testing.assert_array_equal(one.vectors, alone.vectors)
            np.testing.assert_array_equal(one.word_of, alone.word_of)
