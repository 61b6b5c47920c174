"""Alignment of documents by vectors, and by an encoder."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitext.errors import InputError, TooLongError, UnknownNameError
from encoders.encoder import Encoder
from retrieval.documents import coarse
from retrieval.documents.aligner import DocumentAligner, run_count
from retrieval.documents.beads import Bead
from retrieval.documents.costs import (
    SKIPS,
    SpanCosts,
    Weights,
    bead_shapes,
    compared,
    span_lengths,
)
from retrieval.documents.search import around, cheapest, whole
from retrieval.documents.vectors import DocumentSettings, align_vectors

Spans = NDArray[np.float32]
Pair = tuple[tuple[int, ...], tuple[int, ...]]

MEANINGS = np.eye(12, dtype=np.float32)


def spans_of(sentences: Sequence[Sequence[int]], most: int = 3) -> Spans:
    """Vectors of sentences that say some of twelve things; a run's is the unit sum of its own."""
    dim = MEANINGS.shape[1]
    single = np.array([MEANINGS[list(said)].sum(axis=0) for said in sentences]).reshape(-1, dim)
    spans = np.zeros((most, len(sentences), dim), np.float32)
    for k in range(1, most + 1):
        for i in range(k - 1, len(sentences)):
            total = single[i - k + 1 : i + 1].sum(axis=0)
            spans[k - 1, i] = total / max(float(np.linalg.norm(total)), 1e-9)
    return spans


def random_spans(count: int, most: int, seed: int, dim: int = 8) -> Spans:
    rows = np.random.default_rng(seed).standard_normal((most, count, dim))
    return np.asarray(rows / np.linalg.norm(rows, axis=2, keepdims=True), np.float32)


def pairs(beads: Sequence[Bead]) -> list[Pair]:
    return [(bead.source, bead.target) for bead in beads]


SMALL: list[tuple[list[list[int]], list[list[int]], list[Pair]]] = [
    # What each sentence says; the beads are those that say the same on both sides.
    ([[0]], [[0]], [((0,), (0,))]),
    ([[0], [1], [2]], [[0], [1], [2]], [((0,), (0,)), ((1,), (1,)), ((2,), (2,))]),
    ([[0], [1, 2], [3]], [[0], [1], [2], [3]], [((0,), (0,)), ((1,), (1, 2)), ((2,), (3,))]),
    ([[0], [1], [2], [3]], [[0], [1, 2], [3]], [((0,), (0,)), ((1, 2), (1,)), ((3,), (2,))]),
    ([[0], [1], [9], [2]], [[0], [1], [2]], [((0,), (0,)), ((1,), (1,)), ((2,), ()), ((3,), (2,))]),
    ([[0], [1]], [[8], [0], [1]], [((), (0,)), ((0,), (1,)), ((1,), (2,))]),
    # The same is told in two sentences, divided elsewhere: one by one, cosines are 1/2.
    (
        [[7], [0, 1, 2, 3], [4], [8]],
        [[7], [0], [1, 2, 3, 4], [8]],
        [((0,), (0,)), ((1, 2), (1, 2)), ((3,), (3,))],
    ),
]


@pytest.mark.parametrize(("source", "target", "expected"), SMALL)
def test_beads_of_small_documents(
    source: list[list[int]], target: list[list[int]], expected: list[Pair]
) -> None:
    beads = align_vectors(spans_of(source), spans_of(target), DocumentSettings(most=4))
    assert pairs(beads) == expected


def test_a_side_without_sentences_leaves_the_other_out() -> None:
    none, two = spans_of([]), spans_of([[0], [1]])
    settings = DocumentSettings(most=4)
    assert align_vectors(none, two, settings) == [Bead((), (0,), 0.0), Bead((), (1,), 0.0)]
    assert align_vectors(two, none, settings) == [Bead((0,), (), 0.0), Bead((1,), (), 0.0)]
    assert align_vectors(none, none, settings) == []


def test_scores_say_how_much_more_alike_than_chance() -> None:
    # Two sentences on each side, spans of one sentence only. The mean of each side's vectors is
    # (1/2, 1/2), so 1 - cos with it is 1/2 for each. Equal vectors cost 0, the score is 1.
    equal = spans_of([[0], [1]], most=1)
    beads = align_vectors(equal, equal, DocumentSettings(most=2))
    assert [bead.score for bead in beads] == [1, 1]
    # Where no cosine is above 0, the mean of the other side is no more like than the partner.
    other = spans_of([[2], [3]], most=1)
    beads = align_vectors(equal, other, DocumentSettings(most=2))
    assert [bead.score for bead in beads] == pytest.approx([0, 0], abs=1e-5)


def test_a_bead_costs_what_the_formula_says() -> None:
    source, target = spans_of([[0], [1]], most=2), spans_of([[0, 1]], most=1)
    lengths = span_lengths(np.array([10.0, 15.0]), 2), span_lengths(np.array([35.0]), 1)
    weights = Weights(join=0.3, skip=0.7, length=0.4)
    shapes = [(1, 1), (2, 1), *SKIPS]
    plane = SpanCosts(*compared(source, target), shapes, weights, lengths)
    block = plane.block(range(3), range(2))
    # Rows count down: row 0 is the node after source sentence 2. Both source sentences and the
    # target say the same things, so the cosine is 1 and c is 0; joining two costs 0.3; of 25 and
    # 35 characters, each with 5 more, the unequal share is 1 - 30/40, at 0.4.
    assert block[1, 0, 1] == pytest.approx(0.3 + 0.4 * 0.25, abs=1e-5)
    # Source sentence 1 alone: the cosine is 1/sqrt(2). The target's mean is the target, 1 - cos
    # is 1 - 0.70711; the source's mean of e0, e1 and their unit sum is (0.5690, 0.5690), and
    # 1 - cos with the target 1 - 0.80474. Twice 0.29289 over 0.29289 + 0.19526 is 1.2.
    # Lengths 10 and 35: 1 - 15/40.
    assert block[0, 1, 1] == pytest.approx(1.2 + 0.4 * 0.625, abs=1e-4)
    assert block[2, 0, 1] == block[3, 0, 1] == np.float32(0.7)


def cheapest_by_hand(plane: SpanCosts) -> float:
    """The cost of the cheapest way, node by node over the whole plane."""
    n, m = plane.sources, plane.targets
    costs = plane.block(range(n + 1), range(m + 1))[:, ::-1].astype(np.float64)
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0
    for i in range(n + 1):
        for j in range(m + 1):
            for number, (p, q) in enumerate(plane.shapes):
                if i >= p and j >= q:
                    total[i, j] = min(total[i, j], total[i - p, j - q] + costs[number, i, j])
    return float(total[n, m])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9), st.integers(0, 9), st.integers(2, 6), st.integers(0, 99))
def test_the_search_is_exact_in_a_band_that_holds_all(n: int, m: int, most: int, seed: int) -> None:
    documents = compared(random_spans(n, most - 1, seed), random_spans(m, most - 1, seed + 1))
    lengths = tuple(span_lengths(np.arange(1.0, size + 1), most - 1) for size in (n, m))
    plane = SpanCosts(*documents, bead_shapes(most), Weights(), (lengths[0], lengths[1]))
    costs = plane.block(range(n + 1), range(m + 1))[:, ::-1]
    for band in (whole(n, m), around([(0, 0), (n, m)], n + m + 1)):
        steps = cheapest(plane, band)
        found = sum(float(costs[plane.shapes.index(s.shape), s.i, s.j]) for s in steps)
        assert found == pytest.approx(cheapest_by_hand(plane))


def check_covered(beads: Sequence[Bead], n: int, m: int) -> None:
    assert [i for bead in beads for i in bead.source] == list(range(n))
    assert [j for bead in beads for j in bead.target] == list(range(m))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 99), st.booleans())
def test_every_sentence_is_in_one_bead_in_order(n: int, m: int, seed: int, many: bool) -> None:
    how = DocumentSettings(most=4, one_to_many=many)
    beads = align_vectors(
        random_spans(n, 3, seed),
        random_spans(m, 3, seed + 1),
        how,
        lengths=(np.arange(n), np.arange(m)),
    )
    check_covered(beads, n, m)
    for bead in beads:
        assert (len(bead.source), len(bead.target)) in how.shapes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([(1, 0), (0, 1), (3, 2), (0, 40), (17, 0)])), st.integers(1, 4))
def test_a_band_holds_its_path_and_moves_by_one_at_most(
    moves: list[tuple[int, int]], radius: int
) -> None:
    path = [(0, 0)]
    for i, j in moves:
        path.append((path[-1][0] + i, path[-1][1] + j))
    band = around(path, radius)
    assert len(band.first) == sum(path[-1]) + 1
    assert all(b - a in (0, 1) for a, b in pairwise(band.first.tolist()))
    assert all(band.first[i + j] + radius == j for i, j in path)


def planted(
    size: int, inserted: int, seed: int = 0, dim: int = 32
) -> tuple[Spans, Spans, list[Pair]]:
    """Documents whose sentences translate each other, but for a run in the middle of one side."""
    random = np.random.default_rng(seed)
    meanings = random.standard_normal((size + inserted, dim))
    half = size // 2
    kept = [*range(half), *range(half + inserted, size + inserted)]
    sides = []
    for rows in (meanings[kept], meanings):
        noisy = rows + 0.2 * random.standard_normal(rows.shape)
        sums = np.stack([noisy, noisy, noisy])
        sums[1, 1:] += noisy[:-1]
        sums[2, 2:] += noisy[1:-1] + noisy[:-2]
        sides.append((sums / np.linalg.norm(sums, axis=2, keepdims=True)).astype(np.float32))
    gold: list[Pair] = [((i,), (j,)) for i, j in enumerate(kept)]
    return sides[0], sides[1], gold


@pytest.mark.parametrize("cells", [2**13, 2**10])
def test_long_documents_are_searched_along_a_band(
    cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 300 and 380 sentences: with 2^13 cells one coarse search is made, with 2^10 there are two.
    source, target, gold = planted(300, 80)
    exact = align_vectors(source, target, DocumentSettings(most=4))
    monkeypatch.setattr(coarse, "MAX_CELLS", cells)
    found = align_vectors(source, target, DocumentSettings(most=4))
    check_covered(found, 300, 380)
    assert found == exact
    right = set(gold) & set(pairs(found))
    assert len(right) >= 295  # a neighbour of the inserted run may be joined with part of it


def test_memory_grows_with_the_sum_of_the_lengths() -> None:
    # Costs of all nodes would take 3000 * 3000 * 8 * 4 bytes, 275 MiB.
    source, target, _ = planted(3000, 0, dim=8)
    tracemalloc.start()
    beads = align_vectors(source, target, DocumentSettings(most=4))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    check_covered(beads, 3000, 3000)
    assert peak < 80 * 2**20


def test_float16_and_repeats_give_the_same_beads() -> None:
    source, target, _ = planted(60, 7)
    how = DocumentSettings(most=4)
    beads = align_vectors(source, target, how)
    assert align_vectors(source, target, how) == beads
    half = align_vectors(source.astype(np.float16), target.astype(np.float16), how)
    assert pairs(half) == pairs(beads)


def test_a_sentence_with_nothing_in_it_only_stays_within_a_bead() -> None:
    # The empty target sentence lies between two that one source sentence translates.
    source, target = spans_of([[0], [1, 2]]), spans_of([[0], [1], [], [2]])
    beads = align_vectors(source, target, DocumentSettings(most=4))
    assert pairs(beads) == [((0,), (0,)), ((1,), (1, 2, 3))]
    source, target = spans_of([[0], []]), spans_of([[0], [1], []])
    beads = align_vectors(source, target, DocumentSettings(most=4))
    assert pairs(beads)[0] == ((0,), (0,))
    assert ((1,), (1,)) not in pairs(beads)
    assert ((1,), (2,)) not in pairs(beads)


def test_lengths_decide_between_equal_vectors() -> None:
    # Source sentence 1 may translate either target sentence that says 1: that of its length wins,
    # though a text of 500 characters without a translation belies the ratio of the totals.
    source = spans_of([[0], [1], [2], [9]])
    target = spans_of([[0], [1], [1], [2]])
    for lengths, expected in (([20, 90, 10, 40], 1), ([20, 10, 90, 40], 2)):
        beads = align_vectors(
            source,
            target,
            DocumentSettings(most=2),
            lengths=([20, 90, 40, 500], lengths),
        )
        assert ((1,), (expected,)) in pairs(beads)


@pytest.mark.parametrize(
    ("source", "target", "most", "lengths", "said"),
    [
        ((2, 5, 8), (3, 5, 8), 4, None, r"source spans must have the shape \(at least 3"),
        ((3, 5, 8), (3, 5, 9), 4, None, "must have one dim, got 8 and 9"),
        ((3, 5, 8), (3, 4, 8), 4, ([1] * 5, [1] * 5), "5 and 4 sentences need as many lengths"),
        ((3, 5, 8), (3, 5, 8), 17, None, "2 to 16 sentences"),
    ],
)
def test_arrays_that_do_not_fit(
    source: tuple[int, ...],
    target: tuple[int, ...],
    most: int,
    lengths: tuple[list[int], list[int]] | None,
    said: str,
) -> None:
    arrays = np.zeros(source, np.float32), np.zeros(target, np.float32)
    with pytest.raises(InputError, match=said):
        align_vectors(*arrays, DocumentSettings(most=most), lengths=lengths)


def test_weights_are_numbers_from_0_up() -> None:
    with pytest.raises(InputError, match="skip must be a number from 0 up, got -1"):
        Weights(skip=-1)
    with pytest.raises(InputError, match="join must be a number from 0 up, got nan"):
        Weights(join=float("nan"))


# --- with an encoder

GERMAN = [
    "das haus ist klein",
    "eine katze schläft im alten haus",
    "",
    "der garten ist groß",
    "don't stop, 3.14!",
]


@pytest.mark.parametrize("runs", ["encoded", "summed"])
def test_a_document_is_aligned_with_itself(encoder: Encoder, runs: str) -> None:
    told: list[int] = []
    aligner = DocumentAligner(encoder, DocumentSettings(most=4), runs=runs)
    beads = aligner.align(GERMAN, GERMAN, progress=told.append)
    check_covered(beads, 5, 5)
    whole_sentences = [((i,), (i,)) for i in (0, 1, 3, 4)]
    assert set(whole_sentences) <= set(pairs(beads))
    assert sum(told) == aligner.texts(5, 5)


def test_runs_are_encoded_as_one_text(encoder: Encoder) -> None:
    aligner = DocumentAligner(encoder, centred=False)
    spans = aligner.spans("source", GERMAN, 3)
    expected = encoder.sentences(
        ["das haus ist klein eine katze schläft im alten haus", "der garten ist groß"]
    )
    np.testing.assert_allclose(spans[1, 1], expected[0], atol=1e-5)
    np.testing.assert_allclose(spans[1, 3], expected[1], atol=1e-5)  # the empty one adds nothing
    assert not spans[0, 2].any()
    assert not spans[2, :2].any()


def test_summed_runs_are_unit_sums(encoder: Encoder) -> None:
    spans = DocumentAligner(encoder, runs="summed", centred=False).spans("source", GERMAN, 3)
    total = spans[0, 0] + spans[0, 1]
    np.testing.assert_allclose(spans[1, 1], total / np.linalg.norm(total), atol=1e-6)
    total = spans[0, 1] + spans[0, 2] + spans[0, 3]
    np.testing.assert_allclose(spans[2, 3], total / np.linalg.norm(total), atol=1e-6)


def test_a_mean_is_taken_from_ten_sentences_or_more(encoder: Encoder) -> None:
    many = [f"das haus {n} ist klein" for n in range(10)]
    raw, centred = (
        DocumentAligner(encoder, centred=wanted).spans("source", many, 1)[0]
        for wanted in (False, True)
    )
    moved = raw - raw.mean(axis=0)
    np.testing.assert_allclose(
        centred, moved / np.linalg.norm(moved, axis=1, keepdims=True), atol=1e-4
    )
    few = DocumentAligner(encoder, centred=True).spans("source", many[:9], 1)[0]
    np.testing.assert_allclose(few, raw[:9], atol=1e-5)


def test_too_long_a_run_is_an_error_where_asked_for(encoder: Encoder) -> None:
    long = ["das haus ist klein und der garten ist groß"] * 12
    aligner = DocumentAligner(encoder, too_long="error")
    with pytest.raises(TooLongError, match=r"run of \d source sentences 1 has"):
        aligner.align(long, long)
    check_covered(DocumentAligner(encoder).align(long, long), 12, 12)


def test_unknown_runs(encoder: Encoder) -> None:
    with pytest.raises(UnknownNameError, match="unknown runs 'averaged'"):
        DocumentAligner(encoder, runs="averaged")


def test_run_count() -> None:
    assert run_count(3, 2) == 5  # three sentences, two runs of two
    assert run_count(1, 7) == 1
    assert run_count(0, 7) == 0
