"""Kinds of index: how they are spelt and chosen, and that each keeps what Index promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitext.errors import InputError, UnknownNameError
from retrieval.index.index import Index
from retrieval.index.kinds import Kind, choose_kind

Rows = NDArray[np.float32]

# One of each way to search, small enough for 400 vectors. The lists are all looked into.
ALL_LISTS = "ivf:lists=8,probes=8"
KINDS = ["flat", ALL_LISTS, "ivf:lists=8,probes=1", "hnsw", "SQ8", "IVF8,SQ8", "PCAR8,SQ8"]
BYTES = ["pq:bytes=4,lists=4,probes=4", "opq:bytes=4,lists=4,probes=4", "OPQ4,IVF4,PQ4"]


def unit_rows(seed: int, count: int, dim: int = 16) -> Rows:
    rows = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    lengths: Rows = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


VECTORS, QUERIES = unit_rows(0, 400), unit_rows(1, 30)
IDS = np.arange(400)[::-1] * 3


def cosines(ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Of the queries and the vectors that :data:`IDS` calls so."""
    near = VECTORS[399 - ids // 3].astype(np.float64)
    products: NDArray[np.float64] = (near * QUERIES[:, None]).sum(axis=2)
    return products


# --- spelling


@pytest.mark.parametrize(
    ("text", "dim", "factory"),
    [
        ("flat", 256, "Flat"),
        ("ivf", 256, "IVF400,Flat"),  # 4 · √10,000
        ("ivf:lists=64,probes=4", 256, "IVF64,Flat"),
        ("hnsw:links=16", 256, "HNSW16,Flat"),
        ("pq", 256, "IVF400,PQ64"),  # 256 / 4
        ("opq", 1024, "OPQ64,IVF400,PQ64"),  # 64 at most
        ("opq", 100, "OPQ25,IVF400,PQ25"),  # 100 / 4
        ("pq", 30, "IVF400,PQ6"),  # of 1, 2, 3, 5, 6, 10, 15 the largest up to 7.5
        ("pq:bytes=10", 30, "IVF400,PQ10"),
        ("OPQ64,IVF1024,PQ64", 256, "OPQ64,IVF1024,PQ64"),
    ],
)
def test_what_faiss_is_asked_for(text: str, dim: int, factory: str) -> None:
    kind = Kind.parse(text)
    assert kind.faiss(10_000, dim) == factory
    assert str(kind) == text


def test_defaults_are_not_spelt() -> None:
    assert str(Kind.parse("ivf:probes=32,lists=5")) == "ivf:lists=5"
    assert Index(16, "ivf:probes=32").kind == "ivf"


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("ifv", "unknown kind of index 'ifv'; choose one of: auto, flat, hnsw, ivf, opq, pq, or a"),
        ("", "unknown kind of index ''"),
        ("ivf:list=3", "unknown setting of ivf 'list'; choose one of: lists, probes, spare"),
        ("flat:probes=3", "kind flat has no settings, and no 'probes'"),
    ],
)
def test_unknown_kind_or_setting(kind: str, sentence: str) -> None:
    with pytest.raises(UnknownNameError, match=sentence):
        Index(16, kind)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("ivf:probes", "expected 'kind:setting=value,...', got 'ivf:probes'"),
        ("ivf:probes=0", "ivf: probes=0: input should be greater than 0"),
        ("ivf:probes=many", "ivf: probes=many: input should be a valid integer"),
        ("pq:bytes=3", "pq:bytes=3: bytes=3 must divide the dim of the vectors, 16"),
        ("IVF16,Nonsense", "FAISS makes no index from 'IVF16,Nonsense' for vectors of dim 16"),
        ("OPQ3,IVF16,PQ3", "FAISS makes no index from 'OPQ3,IVF16,PQ3' for vectors of dim 16"),
        ("PQ4", "'PQ4' cannot be searched among chosen ids"),
        ("IDMap,Flat", "'IDMap,Flat' cannot be searched among chosen ids"),
    ],
)
def test_wrong_setting_or_factory_string(kind: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence.replace("(", r"\(")):
        Index(16, kind)


# --- choice


@pytest.mark.parametrize(
    ("count", "memory", "kind", "reason"),
    [
        (50_000, 10**9, "flat", "50,000 vectors of dim 256 take 51.2 MB, and up to 200,000 an"),
        (900_000, 10**9, "ivf", "900,000 vectors of dim 256 take 922 MB, and beyond 200,000 an"),
        # 64 bytes and 24 for the ids: 88 MB
        (10**6, 10**9, "opq", "take 1.02 GB, more than the 1 GB there are for it; as bytes 88 MB"),
        (10**9, 10**10, "opq", "as bytes 88 GB, also more: split them"),
        (0, 10**9, "flat", "0 vectors of dim 256 take 0 bytes"),
    ],
)
def test_choice_by_size_and_memory(count: int, memory: int, kind: str, reason: str) -> None:
    choice = choose_kind(count, 256, memory)
    assert choice.kind == kind
    assert reason in choice.reason


def test_auto_is_what_is_chosen() -> None:
    assert Index.build(VECTORS, kind="auto").kind == "flat"
    assert choose_kind(10, 4).kind == "flat"  # by the memory of this machine


# --- promises


@pytest.mark.parametrize("kind", KINDS + BYTES)
def test_as_many_hits_as_asked_for_and_no_others(kind: str) -> None:
    index = Index.build(VECTORS, IDS, kind)
    for k in (1, 5, 399, 1000):
        scores, ids = index.search(QUERIES, k)
        assert ids.shape == scores.shape == (30, min(k, 400))
        assert np.isin(ids, IDS).all()
        assert all(len(set(row)) == len(row) for row in ids.tolist())
        assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("kind", [ALL_LISTS, "ivf:lists=8,probes=1", "hnsw"])
def test_scores_are_cosines(kind: str) -> None:
    scores, ids = Index.build(VECTORS, IDS, kind).search(QUERIES, 5)
    np.testing.assert_allclose(scores, cosines(ids), atol=1e-6)


@pytest.mark.parametrize("kind", ["SQ8", *BYTES])
def test_bytes_give_cosines_where_the_caller_has_the_vectors(kind: str) -> None:
    asked: list[int] = []

    def rows(ids: NDArray[np.int64]) -> Rows:
        asked.extend(ids.tolist())
        return VECTORS[399 - ids // 3]

    index = Index.build(VECTORS, IDS, kind, rows=rows)
    scores, ids = index.search(QUERIES, 5)
    np.testing.assert_allclose(scores, cosines(ids), atol=1e-6)
    assert set(ids.ravel().tolist()) <= set(asked) <= set(IDS.tolist())
    # Without, they are near.
    rough = Index.build(VECTORS, IDS, kind).search(QUERIES, 1)
    assert 0 < abs(rough.scores - cosines(rough.ids)).max() < 0.5


def test_rows_of_another_shape_are_refused() -> None:
    index = Index.build(VECTORS, kind="SQ8", rows=lambda ids: VECTORS[:1])
    with pytest.raises(InputError, match=r"the caller gave \(1, 16\)"):
        index.search(QUERIES, 3)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**16), st.integers(20, 200), st.integers(1, 12))
def test_all_lists_looked_into_is_exact(seed: int, count: int, k: int) -> None:
    vectors, queries = unit_rows(seed, count), unit_rows(seed + 1, 4)
    exact = Index.build(vectors).search(queries, k)
    found = Index.build(vectors, kind=ALL_LISTS).search(queries, k)
    np.testing.assert_array_equal(found.ids, exact.ids)
    np.testing.assert_array_equal(found.scores, exact.scores)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**16),
    st.sampled_from(["flat", ALL_LISTS, "hnsw:width=400"]),
    st.integers(1, 20),
    st.booleans(),
)
def test_among_and_removed_are_as_if_only_those_were_there(
    seed: int, kind: str, k: int, filtered: bool
) -> None:
    random = np.random.default_rng(seed)
    gone, among = (random.choice(IDS, random.integers(1, 100), replace=False) for _ in range(2))
    index = Index.build(VECTORS, IDS, kind)
    assert index.remove(np.append(gone, 10**6)) == len(gone)
    assert index.remove(gone) == 0
    there = np.setdiff1d(IDS, gone)
    left = np.intersect1d(there, among) if filtered else there
    expected = Index.build(VECTORS[399 - left // 3], left).search(QUERIES, k)
    found = index.search(QUERIES, k, among=np.append(among, 10**6) if filtered else None)
    assert len(index) == len(there)
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS + BYTES)
def test_removed_ids_are_free_again(kind: str) -> None:
    """An upsert is a removal and an addition: id 0 now is the opposite of what it was."""
    index = Index.build(VECTORS, kind=kind)
    assert index.remove(np.array([0])) == 1
    index.add(-VECTORS[:1], np.array([0]))
    assert len(index) == 400
    assert 0 in index.search(-VECTORS[:1], 5).ids
    assert 0 not in index.search(VECTORS[:1], 5).ids
    # Half of it away, and nearly all: lists are packed then.
    assert index.remove(np.arange(0, 400, 2)) == 200
    assert index.remove(np.arange(390)) == 195
    assert sorted(index.search(QUERIES[:1], 9).ids[0]) == [391, 393, 395, 397, 399]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_to_search_among(kind: str) -> None:
    index = Index.build(VECTORS, kind=kind)
    assert index.search(QUERIES, 3, among=np.array([], np.int64)).ids.shape == (30, 0)
    assert index.search(QUERIES, 3, among=np.array([-1, 400])).ids.shape == (30, 0)
    index.remove(np.arange(400))
    assert len(index) == 0
    assert index.search(QUERIES, 3).ids.shape == (30, 0)


def test_few_vectors_are_searched_exactly_until_there_are_enough_to_train() -> None:
    index = Index(16, "ivf:lists=32,probes=1")
    index.add(VECTORS[:31], np.arange(31))
    exact = Index.build(VECTORS[:31]).search(QUERIES, 5)
    np.testing.assert_array_equal(index.search(QUERIES, 5).ids, exact.ids)
    index.add(VECTORS[31:], np.arange(31, 400))
    # One list of 32: another list has nearer ones for some query.
    exact = Index.build(VECTORS).search(QUERIES, 5)
    found = index.search(QUERIES, 5)
    assert (found.ids != exact.ids).any()
    assert (found.ids[:, 0] == exact.ids[:, 0]).any()


def test_when_to_build_again() -> None:
    index = Index.build(VECTORS[:8], kind="ivf:lists=4")
    fresh = index.rebuild_due
    assert fresh is None
    index.add(VECTORS[8:], np.arange(8, 400))
    assert index.rebuild_due == "it was trained for 8 vectors and holds 400"
    graph = Index.build(VECTORS, kind="hnsw")
    graph.remove(np.arange(50))  # one of eight, not more
    still = graph.rebuild_due
    assert still is None
    graph.remove(np.array([60]))
    assert graph.rebuild_due == "51 of 400 vectors are removed ones"


def test_training_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """FAISS's own warning about few vectors would stand on stderr."""
    for kind in (ALL_LISTS, *BYTES):
        Index.build(VECTORS[:300], kind=kind)
    assert capfd.readouterr() == ("", "")


# --- files


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", KINDS + BYTES)
def test_saved_and_loaded_the_same(kind: str, mapped: bool, tmp_path: Path) -> None:
    index = Index.build(VECTORS, IDS, kind)
    index.remove(IDS[5:15])
    index.save(tmp_path / "index")
    loaded = Index.load(tmp_path / "index", mapped=mapped)
    assert (loaded.kind, len(loaded), loaded.dim) == (index.kind, 390, 16)
    for among in (None, IDS[:40]):
        before, after = (one.search(QUERIES, 7, among) for one in (index, loaded))
        np.testing.assert_array_equal(before.ids, after.ids)
        np.testing.assert_array_equal(before.scores, after.scores)
    if mapped:
        with pytest.raises(InputError, match="mapped from its file cannot be changed"):
            loaded.add(VECTORS[5:6], IDS[5:6])
        with pytest.raises(InputError, match="mapped from its file cannot be changed"):
            loaded.remove(IDS[:1])
    else:
        loaded.add(VECTORS[5:15], IDS[5:15])
        loaded.remove(IDS[300:])
        assert len(loaded) == 300


def test_damaged_ids(tmp_path: Path) -> None:
    Index.build(VECTORS, kind="hnsw").save(tmp_path)
    path = tmp_path / "ids.i64"
    whole = path.read_bytes()
    path.write_bytes(b"\1" + whole[1:])
    with pytest.raises(InputError, match=r"ids\.i64 is damaged"):
        Index.load(tmp_path)
    path.write_bytes(whole[:-8])
    with pytest.raises(InputError, match=r"ids\.i64 is truncated: 3192 bytes, .* says 3200"):
        Index.load(tmp_path)


# --- devices


def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"device 'cuda:99' is not there: torch .* sees \d+ GPUs"):
        Index(16, device="cuda:99")
    with pytest.raises(InputError, match=r"FAISS .* sees \d+ GPUs; .* `make run GPU=1` installs"):
        Index(16, "ivf", device="cuda:99")


def test_a_copy_on_the_gpu_follows_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's copy of the lists is played by a copy of them in memory."""
    copies: list[int] = []

    def copied(resources: object, number: int, index: Any) -> Any:
        copies.append(number)
        return faiss.clone_index(index)

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 2, raising=False)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: None, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", copied, raising=False)
    for kind in (ALL_LISTS, BYTES[1]):
        there, here = (Index(16, kind, device=device) for device in ("cuda:1", "cpu"))
        copies.clear()
        for part in (slice(0, 300), slice(300, 400)):
            for index in (there, here):
                index.add(VECTORS[part], IDS[part])
                index.remove(IDS[10:160:3])  # of 300 vectors 50: the lists are packed
            for among in (None, IDS[:200]):
                found, expected = (index.search(QUERIES, 5, among) for index in (there, here))
                np.testing.assert_array_equal(found.ids, expected.ids)
                np.testing.assert_array_equal(found.scores, expected.scores)
        # Searches among chosen ids are not made there.
        assert copies == [1, 1]


def test_devices_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="unknown device 'gpu'; choose one of: cpu, torch, cuda"):
        Index(16, device="gpu")
    with pytest.raises(InputError, match="kind 'hnsw' searches on the cpu only, not on 'cuda'"):
        Index(16, "hnsw", device="cuda")
    with pytest.raises(InputError, match="searches on cpu, cuda or cuda:1, ..., not on 'torch'"):
        Index(16, "ivf", device="torch")
