"""Exact search through torch: the code that runs on a GPU, here on the processor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitext.errors import InputError
from retrieval.index.index import Index
from retrieval.index.torch_search import TorchSearch, torch_device

Rows = NDArray[np.float32]

# Four directions in the plane: east, north, north-east (0.6, 0.8) and west.
PLANE = np.array([[1, 0], [0, 1], [0.6, 0.8], [-1, 0]], np.float32)


def unit_rows(seed: int, count: int, dim: int, kinds: int) -> Rows:
    random = np.random.default_rng(seed)
    rows: Rows = random.standard_normal((kinds, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[random.integers(kinds, size=count)]


@pytest.mark.parametrize("tile", [1, 3, 100])
def test_best_of_all_tiles(tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.index.torch_search.TILE_ROWS", tile)
    search = TorchSearch("torch")
    search.take(PLANE)
    query = np.array([[0.8, 0.6], [0, -1]], np.float32)
    # cosines with (0.8, 0.6): 0.8, 0.6, 0.96, -0.8; with south: 0, -1, -0.8, 0
    scores, rows = search.nearest(query, 3)
    assert rows[0].tolist() == [2, 0, 1]
    np.testing.assert_allclose(scores, [[0.96, 0.8, 0.6], [0, 0, -0.8]], atol=1e-6)
    allowed = np.array([True, False, False, True])
    assert search.nearest(query[:1], 2, allowed)[1].tolist() == [[0, 3]]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**16),
    st.integers(1, 120),
    st.integers(1, 12),
    st.integers(1, 30),
    st.booleans(),
)
def test_the_same_as_faiss_whatever_changes(
    seed: int, count: int, kinds: int, k: int, filtered: bool
) -> None:
    """Few kinds of vectors make ties of any length; adding, removing and filters in between."""
    vectors, queries = unit_rows(seed, count, 6, kinds), unit_rows(seed + 1, 5, 6, 5)
    ids = np.random.default_rng(seed).permutation(count)
    among = ids[::2] if filtered else None
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("retrieval.index.torch_search.TILE_ROWS", 32)
        ours, faiss = Index(6, device="torch"), Index(6)
        for index in (ours, faiss):
            index.add(vectors[: count // 2], ids[: count // 2])
            index.add(vectors[count // 2 :], ids[count // 2 :])
            index.remove(ids[1::5])
        found, expected = (index.search(queries, k, among) for index in (ours, faiss))
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_loaded_for_torch(tmp_path: Path) -> None:
    Index.build(PLANE).save(tmp_path)
    for mapped in (False, True):
        loaded = Index.load(tmp_path, device="torch", mapped=mapped)
        assert loaded.search(PLANE[:1], 4).ids.tolist() == [[0, 2, 1, 3]]


def test_an_empty_index_on_torch() -> None:
    assert Index(2, device="torch").search(PLANE, 3).ids.shape == (4, 0)


def test_unknown_device() -> None:
    with pytest.raises(InputError, match="unknown device 'tpu9'"):
        torch_device("tpu9")
    assert torch_device("torch").type == "cpu"
