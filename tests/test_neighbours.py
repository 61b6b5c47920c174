"""The nearest both ways: equal to a table in float64, however the work is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitext.errors import InputError, MismatchError, UnknownNameError
from bitext.types import Neighbours
from retrieval.mining import interruption, tiled_search
from retrieval.mining.best import Best
from retrieval.mining.interruption import discard
from retrieval.mining.neighbours import BothWays, Dtype, nearest_both_ways
from retrieval.mining.sides import Rows

DTYPES: list[Dtype] = ["float32", "bfloat16"]


def unit(rows: NDArray[np.float64]) -> Rows:
    """Rows of length 1, but zeros as they are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths, lengths, 1)).astype(np.float32)


def random_rows(count: int, dim: int, seed: int) -> Rows:
    return unit(np.random.default_rng(seed).standard_normal((count, dim)))


def by_table(source: Rows, target: Rows, k: int) -> BothWays:
    """The same by sorting the whole table, stably: of equal cosines the smaller id first."""
    # Pair by pair, as a product of matrices may sum equal rows in different orders.
    pairs = source[:, None].astype(np.float64), target[None].astype(np.float64)
    table = np.einsum("ijd,ijd->ij", *np.broadcast_arrays(*pairs)).astype(np.float32)
    return BothWays(*(best_of_lines(lines, k) for lines in (table, table.T)))


def best_of_lines(lines: NDArray[np.float32], k: int) -> Neighbours:
    ids = np.argsort(-lines, axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(lines, ids, 1), ids)


def assert_equal(found: BothWays, expected: BothWays) -> None:
    for own, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(own.ids, other.ids)
        np.testing.assert_array_equal(own.scores, other.scores)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_case_worked_by_hand(dtype: Dtype) -> None:
    # Cosines: source 0 with the targets 0.6, 0.8, 0; source 1 with them 0.8, 0.6, 0. The last
    # target has no pieces, so both sources are equally near to it and the smaller id comes first.
    source = np.array([[0, 1], [1, 0]], np.float32)
    target = np.array([[0.8, 0.6], [0.6, 0.8], [0, 0]], np.float32)
    forward, backward = nearest_both_ways(source, target, 2, dtype=dtype)
    assert forward.ids.tolist() == [[1, 0], [0, 1]]
    np.testing.assert_allclose(forward.scores, [[0.8, 0.6], [0.8, 0.6]], rtol=1e-6)
    assert backward.ids.tolist() == [[1, 0], [0, 1], [0, 1]]
    np.testing.assert_allclose(backward.scores, [[0.8, 0.6], [0.8, 0.6], [0.0, 0.0]], rtol=1e-6)


@settings(deadline=None, max_examples=80)
@given(data=st.data(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_equal_to_a_table_with_ties_and_zeros(data: st.DataObject, dtype: Dtype, seed: int) -> None:
    dim = data.draw(st.integers(1, 9))
    # Few different numbers: many equal cosines, rows of zeros, and negative ones.
    rng = np.random.default_rng(seed)
    least = data.draw(st.integers(-2, 0))
    shapes = [(data.draw(st.integers(1, 70)), dim) for _ in range(2)]
    source, target = (unit(rng.integers(least, 3, shape).astype(float)) for shape in shapes)
    k = data.draw(st.integers(1, 80))  # more than there are, at times
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiled_search, "COLUMNS", data.draw(st.integers(1, 40)))
        patch.setattr(tiled_search, "FEWEST", data.draw(st.integers(1, 40)))
        patch.setattr(tiled_search, "WAITING", data.draw(st.integers(0, 300)))
        patch.setattr(tiled_search, "MANY", data.draw(st.sampled_from([0.0, 0.1, 2.0])))
        found = nearest_both_ways(source, target, k, dtype=dtype, memory=0)
    assert_equal(found, by_table(source, target, k))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shift", [0.0, 3.0, 100.0])
def test_equal_to_a_table_in_groups(dtype: Dtype, shift: float) -> None:
    """Enough vectors that groups are passed over; a shift makes all cosines nearly equal."""
    source, target = (
        unit(np.random.default_rng(seed).standard_normal((700, 24)) + shift) for seed in (1, 2)
    )
    found = nearest_both_ways(source, target, 4, dtype=dtype, memory=0)
    assert_equal(found, by_table(source, target, 4))


def test_opposite_sides_have_negative_cosines_only() -> None:
    source = unit(abs(np.random.default_rng(1).standard_normal((300, 8))) + 0.1)
    target = unit(-abs(np.random.default_rng(2).standard_normal((400, 8))) - 0.1)
    assert_equal(nearest_both_ways(source, target, 3), by_table(source, target, 3))


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_thread_and_two_find_the_same(dtype: Dtype) -> None:
    source, target = random_rows(600, 32, 1), random_rows(500, 32, 2)
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(nearest_both_ways(source, target, 4, dtype=dtype))
    finally:
        torch.set_num_threads(before)
    assert_equal(found[0], found[1])


def test_half_precision_files_are_searched_as_float32(tmp_path: Path) -> None:
    source, target = random_rows(50, 16, 1).astype(np.float16), random_rows(60, 16, 2)
    source.tofile(tmp_path / "source")
    mapped = np.memmap(tmp_path / "source", np.float16, "r", shape=(50, 16))
    found = nearest_both_ways(mapped, target, 2)
    assert_equal(found, by_table(source.astype(np.float32), target, 2))


def test_a_side_without_vectors_has_no_neighbours() -> None:
    forward, backward = nearest_both_ways(np.zeros((0, 4), np.float32), random_rows(3, 4, 1), 2)
    assert forward.ids.shape == (0, 2)
    assert backward.ids.shape == (3, 0)


# --- interruption


class Killed(Exception):
    pass


def search_until(checkpoint: Path, stop: int | None = None, identity: str = "1") -> BothWays:
    """A search in strips of 10 sources that ends once ``stop`` of them are done."""
    source, target = random_rows(95, 8, 1), random_rows(80, 8, 2)
    done = 0

    def progress(more: int) -> None:
        nonlocal done
        done += more
        if stop is not None and done > stop:
            raise Killed

    return nearest_both_ways(
        source, target, 3, memory=0, checkpoint=checkpoint, identity=identity, progress=progress
    )


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled_search, "FEWEST", 10)
    monkeypatch.setattr(interruption, "SAVE_SECONDS", 0.0)


def test_an_interrupted_search_goes_on(tmp_path: Path) -> None:
    checkpoint = tmp_path / "search"
    unbroken = search_until(tmp_path / "other")
    for stop in (30, 60):
        with pytest.raises(Killed):
            search_until(checkpoint, stop)
    kept = np.load(checkpoint / "forward.ids.npy")
    assert (kept[:60] >= 0).all()
    assert (kept[60:] == -1).all()  # so what follows is not a search from the start
    assert_equal(search_until(checkpoint), unbroken)
    assert_equal(search_until(checkpoint), unbroken)  # all is done: nothing is left to do
    discard(checkpoint)
    assert not checkpoint.exists()
    discard(checkpoint)


def test_what_another_search_left_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        search_until(tmp_path / "search", 30)
    with pytest.raises(MismatchError, match="among other vectors or for another k"):
        search_until(tmp_path / "search", identity="2")


@pytest.mark.parametrize(
    ("name", "content"),
    [("search.json", b"{"), ("search.json", b"[]"), ("forward.ids.npy", b"junk")],
)
def test_damage_is_said(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(Killed):
        search_until(tmp_path / "search", 30)
    (tmp_path / "search" / name).write_bytes(content)
    with pytest.raises(InputError, match="delete it to begin anew"):
        search_until(tmp_path / "search")


def test_only_a_checkpoint_is_discarded(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("dear")
    with pytest.raises(InputError, match=r"has no search\.json"):
        discard(tmp_path)
    assert (tmp_path / "letter").exists()


# --- what is refused


def test_errors_say_what_is_wrong() -> None:
    rows = random_rows(3, 4, 1)
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        nearest_both_ways(rows, rows, 0)
    with pytest.raises(MismatchError, match="dim 4, target vectors of dim 5"):
        nearest_both_ways(rows, random_rows(3, 5, 1), 1)
    with pytest.raises(InputError, match=r"must be rows of a table, got \(4,\)"):
        nearest_both_ways(rows[0], rows, 1)
    with pytest.raises(InputError, match="row 1 of the target vectors has length 2"):
        nearest_both_ways(rows, rows * np.array([[1], [2], [1]], np.float32), 1)
    with pytest.raises(InputError, match="row 2 of the source vectors has length nan"):
        nearest_both_ways(rows * np.array([[1], [1], [np.nan]], np.float32), rows, 1)
    with pytest.raises(UnknownNameError, match="choose one of: auto, bfloat16, float32"):
        nearest_both_ways(rows, rows, 1, dtype="float16")  # type: ignore[arg-type]


# --- the best so far


def test_the_best_do_not_depend_on_the_order_of_offers() -> None:
    # Query 0 is offered 0.5 (id 7), 0.5 (id 3), 0.9 (id 5) and 0.1 (id 1), some of them twice.
    offers = [(7, 0.5), (3, 0.5), (5, 0.9), (1, 0.1), (3, 0.5), (5, 0.9)]
    for order in ([0, 1, 2, 3, 4, 5], [3, 2, 5, 4, 1, 0]):
        best = Best(2, 2)
        for number in order:
            ids, scores = offers[number]
            best.offer(np.array([0]), np.array([ids]), np.array([scores], np.float32))
        assert best.ids.tolist() == [[5, 3], [-1, -1]]
        np.testing.assert_allclose(best.scores[0], [0.9, 0.5])
