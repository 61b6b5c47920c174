"""Index: exact search with stated ties, safe files, threads and forks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitext.errors import InputError
from retrieval.index.index import Index

Rows = NDArray[np.float32]

# Four directions in the plane: east, north, north-east (0.6, 0.8) and east once more.
PLANE = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0]], np.float32)


def unit_rows(seed: int, count: int, dim: int, kinds: int | None = None) -> Rows:
    """Random directions; with ``kinds``, each row is a copy of one of so many."""
    random = np.random.default_rng(seed)
    rows: Rows = random.standard_normal((kinds or count, dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows[random.integers(kinds, size=count)] if kinds else rows


def by_hand(vectors: Rows, ids: NDArray[np.int64], queries: Rows, k: int) -> NDArray[np.int64]:
    """Sort everything: by score, then by id."""
    scores = (queries.astype(np.float64) @ vectors.T.astype(np.float64)).astype(np.float32)
    order = [np.lexsort((ids, -row))[:k] for row in scores]
    return np.array([ids[best] for best in order])


def test_nearest_first_with_cosines() -> None:
    index = Index.build(PLANE[:3], np.array([10, 20, 30]))
    scores, ids = index.search(np.array([[0.8, 0.6]], np.float32), 3)
    # cosines with (0.8, 0.6): east 0.8; north 0.6; (0.6, 0.8) 0.48 + 0.48 = 0.96
    assert ids.tolist() == [[30, 10, 20]]
    np.testing.assert_allclose(scores, [[0.96, 0.8, 0.6]], atol=1e-6)


def test_equal_scores_smaller_id_first() -> None:
    index = Index.build(PLANE, np.array([9, 1, 2, 4]))
    # East is there under the ids 9 and 4.
    assert index.search(PLANE[:1], 2).ids.tolist() == [[4, 9]]
    assert index.search(PLANE[:1], 1).ids.tolist() == [[4]]


def test_k_beyond_the_index_gives_what_there_is() -> None:
    scores, ids = Index.build(PLANE).search(PLANE[:2], 9)
    assert scores.shape == ids.shape == (2, 4)
    assert ids.tolist() == [[0, 3, 2, 1], [1, 2, 0, 3]]


def test_empty_index_and_no_queries() -> None:
    assert Index(2).search(PLANE, 3).ids.shape == (4, 0)
    assert Index.build(PLANE).search(PLANE[:0], 3).ids.shape == (0, 3)


def test_zeros_resemble_everything_equally() -> None:
    # Of 50 vectors with cosine 0 the three smallest ids, though FAISS fetches only some of them.
    index = Index.build(unit_rows(0, 50, 8), np.arange(50)[::-1].copy())
    scores, ids = index.search(np.zeros((1, 8), np.float32), 3)
    assert (scores.tolist(), ids.tolist()) == ([[0, 0, 0]], [[0, 1, 2]])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 120), st.integers(1, 12), st.integers(1, 30))
def test_equal_to_sorting_everything(seed: int, count: int, kinds: int, k: int) -> None:
    """Few kinds of vectors make ties of any length, across the last place too."""
    vectors = unit_rows(seed, count, 6, kinds)
    ids = np.random.default_rng(seed).permutation(count)
    queries = np.vstack([vectors[:3], unit_rows(seed + 1, 3, 6)])
    found = Index.build(vectors, ids).search(queries, k).ids
    np.testing.assert_array_equal(found, by_hand(vectors, ids, queries, k))


def test_score_does_not_depend_on_company() -> None:
    # FAISS itself multiplies 20 and more queries by another routine, which rounds otherwise.
    index = Index.build(unit_rows(0, 300, 64))
    queries = unit_rows(1, 40, 64)
    together = index.search(queries, 5)
    alone = [index.search(queries[i : i + 1], 5) for i in range(40)]
    np.testing.assert_array_equal(together.scores, np.vstack([found.scores for found in alone]))
    np.testing.assert_array_equal(together.ids, np.vstack([found.ids for found in alone]))


def test_many_queries_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    index, queries = Index.build(unit_rows(0, 50, 4)), unit_rows(1, 33, 4)
    whole = index.search(queries, 3)
    monkeypatch.setattr("retrieval.index.index.WORK_BYTES", 8 * 4 * 11 * 5)  # batches of 5
    parts = index.search(queries, 3)
    np.testing.assert_array_equal(parts.ids, whole.ids)
    np.testing.assert_array_equal(parts.scores, whole.scores)


def test_adding_in_pieces_is_adding_at_once() -> None:
    index = Index(2)
    index.add(PLANE[:2], np.array([5, 1]))
    index.add(PLANE[2:], np.array([3, 0]))
    assert len(index) == 4
    assert index.search(PLANE[:1], 4).ids.tolist() == [[0, 5, 3, 1]]


@pytest.mark.parametrize(
    ("vectors", "ids", "sentence"),
    [
        (PLANE, [0, 1, 2], r"4 vectors need as many ids, got shape \(3,\)"),
        (PLANE, [0, 1, 2, -1], "ids must not be negative, got -1"),
        (PLANE, [0, 1, 2, 1], "id 1 is given twice"),
        (PLANE, [0, 1, 2, 7], "id 7 is in the index already"),
        (PLANE * 2, [0, 1, 2, 3], "row 0 of the vectors has length 2; each must have length 1"),
        (np.full((1, 2), np.nan), [0], "row 0 of the vectors has length nan"),
        (np.zeros((1, 3)), [0], r"expected vectors of dim 2, got an array of \(1, 3\)"),
        (np.zeros(2), [0], r"expected vectors of dim 2, got an array of \(2,\)"),
    ],
)
def test_what_cannot_be_added(vectors: Rows, ids: list[int], sentence: str) -> None:
    index = Index.build(PLANE[:1], np.array([7]))
    with pytest.raises(InputError, match=sentence):
        index.add(vectors, np.array(ids))
    assert len(index) == 1


def test_what_cannot_be_searched() -> None:
    index = Index.build(PLANE)
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        index.search(PLANE, 0)
    with pytest.raises(InputError, match="expected vectors of dim 2"):
        index.search(np.eye(3, dtype=np.float32), 1)


# --- files


def test_save_then_load_gives_the_same_answers(tmp_path: Path) -> None:
    index = Index.build(unit_rows(0, 200, 16, kinds=40), np.arange(200)[::-1] * 3)
    queries = unit_rows(1, 25, 16)
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index")
    before, after = index.search(queries, 7), loaded.search(queries, 7)
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.scores, after.scores)
    with pytest.raises(InputError, match="id 597 is in the index already"):
        loaded.add(queries[:1], np.array([597]))


def test_failing_save_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Index.build(PLANE[:1]).save(tmp_path / "index")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched, pytest.raises(InputError, match="No space left"):
        patched.setattr(os, "fsync", full)
        Index.build(PLANE).save(tmp_path / "index")
    assert len(Index.load(tmp_path / "index")) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_save_does_not_replace_somebodys_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="will not replace"):
        Index.build(PLANE).save(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_truncated_damaged_and_missing_index(tmp_path: Path) -> None:
    Index.build(PLANE).save(tmp_path / "index")
    path = tmp_path / "index" / "index.faiss"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=rf"index\.faiss is truncated: {len(whole) - 1} bytes"):
        Index.load(tmp_path / "index")
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    with pytest.raises(InputError, match=r"index\.faiss is damaged"):
        Index.load(tmp_path / "index")
    path.unlink()
    with pytest.raises(InputError, match=r"index\.faiss is missing"):
        Index.load(tmp_path / "index")
    with pytest.raises(InputError, match="there is no folder"):
        Index.load(tmp_path / "nowhere")


def test_edited_manifest_of_an_index(tmp_path: Path) -> None:
    Index.build(PLANE).save(tmp_path)
    path = tmp_path / "manifest.json"
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "dim": 3}))
    with pytest.raises(InputError, match="field 'digest'"):
        Index.load(tmp_path)
    path.write_text(json.dumps({**fields, "nprobe": 3}))
    with pytest.raises(InputError, match="field 'nprobe': there is no such field"):
        Index.load(tmp_path)


# --- threads and forks


def test_searching_while_adding() -> None:
    """Whatever the moment, the answer is that of an index of some number of whole additions."""
    vectors = unit_rows(0, 400, 8)
    index = Index.build(vectors[:1])
    found: list[int] = []
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            found.append(index.search(vectors[:1], 1000).ids.shape[1])

    readers = [threading.Thread(target=search) for _ in range(3)]
    for reader in readers:
        reader.start()
    for start in range(1, 400, 7):
        index.add(vectors[start : start + 7], np.arange(start, start + 7))
    done.set()
    for reader in readers:
        reader.join()
    assert len(index) == 400
    assert all((count - 1) % 7 == 0 for count in found)


FORKING = """
import os, sys
import numpy as np
from retrieval.index.index import Index

rows = np.eye(32, dtype=np.float32)
index = Index.build(rows)
before = index.search(rows, 3).ids  # 32 queries: enough for FAISS to use its threads
child = os.fork()
if child == 0:
    os._exit(0 if (index.search(rows, 3).ids == before).all() else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_search_after_a_fork() -> None:
    """FAISS's threads are lost in a fork; waiting for them would never end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    run = subprocess.run([sys.executable, "-c", FORKING], env=environment, timeout=60, check=False)
    assert run.returncode == 0
