"""TextIndex with a trained search: as exact as it may be, saved, followed, renewed, on disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from test_text_index import HALVES, LETTERS, LetterEncoder

from bitext.errors import InputError, UnknownNameError
from retrieval.index.index import Index
from retrieval.store import mirror, renewal
from retrieval.store.renewal import choose, is_due
from retrieval.store.selection import Filter
from retrieval.store.tables import State
from retrieval.store.text_index import TextIndex

ALL_LISTS = "ivf:lists=2,probes=2"
"""Two lists, both looked into: trained, and yet exact."""


class WideEncoder(LetterEncoder):
    """A text "7" has the seventh of some unit vectors of dim 16."""

    dim = 16

    def sentences(self, texts: Any, **options: Any) -> Any:
        return np.stack([vector(int(text)) for text in texts]) if texts else np.empty((0, 16))


def vector(seed: int) -> Any:
    drawn = np.random.default_rng(seed).standard_normal(16)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


WIDE: Any = WideEncoder()
BYTES = "pq:bytes=4,lists=2,probes=2"  # of the 64 bytes a vector has; takes 256 to train


def hits_of(index: TextIndex, query: str, encoder: Any = LETTERS, **options: Any) -> list[Any]:
    [hits] = index.retrieve([query], k=10, encoder=encoder, **options)
    return [(hit.id, hit.score) for hit in hits]


def folders(index: TextIndex) -> list[str]:
    return sorted(path.name for path in index.folder.iterdir() if path.is_dir())


def in_memory(index: TextIndex) -> Index:
    """What the index keeps there, after taking in what is new."""
    index.refresh()
    return index._mirror.index


# --- what is chosen, and when


@pytest.mark.parametrize(
    ("kind", "count", "chosen", "reason"),
    [
        ("flat", 10**6, "flat", "it was asked for"),
        ("ivf", 999, "flat", "'ivf' takes 1,000 vectors to train, and there are 999"),
        ("ivf:probes=32", 1000, "ivf", "it was asked for"),
        ("hnsw", 999, "flat", "'hnsw' takes 1,000"),
        ("hnsw", 1000, "hnsw", "it was asked for"),
        ("ivf:lists=2", 2, "ivf:lists=2", "it was asked for"),
        ("pq:lists=2", 255, "flat", "takes 256"),  # the values of a byte
        ("IVF300,SQ8", 300, "IVF300,SQ8", "it was asked for"),
        ("Flat", 10**6, "flat", "it was asked for"),
        ("auto", 1000, "flat", "1,000 vectors of dim 4 take 16 kB, and up to 200,000"),
        ("auto", 300_000, "ivf", "300,000 vectors of dim 4 take 4.8 MB, and beyond 200,000"),
    ],
)
def test_what_is_chosen(kind: str, count: int, chosen: str, reason: str) -> None:
    choice = choose(kind, count, 4)
    assert choice.kind == chosen
    assert reason in choice.reason


@pytest.mark.parametrize(
    ("state", "count", "due"),
    [
        (State(kind="flat", rows=10**6), 10**6, False),
        (State(kind="ivf", rows=999), 999, False),
        (State(kind="ivf", rows=1000), 1000, True),
        (State(kind="auto", rows=4096), 4096, False),
        (State(kind="auto", rows=4097), 4097, True),
        (State(kind="auto", rows=9096, search_rows=5000), 9096, False),  # 4096 more
        (State(kind="auto", rows=9097, search_rows=5000), 9097, True),
        (State(kind="ivf", chosen="ivf", rows=125_000, search_rows=100_000), 10**5, False),
        (State(kind="ivf", chosen="ivf", rows=125_001, search_rows=100_000), 10**5, True),
    ],
)
def test_when_it_is_decided_anew(state: State, count: int, due: bool) -> None:
    assert is_due(state, count) is due


def test_a_kind_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown kind of index 'ifv'"):
        TextIndex.create(tmp_path / "index", LETTERS, kind="ifv")
    with pytest.raises(InputError, match="bytes=2 must divide the dim of the vectors, 3"):
        TextIndex.create(tmp_path / "index", LETTERS, kind="pq:bytes=2")
    assert not (tmp_path / "index").exists()
    index = TextIndex.create(tmp_path / "index", LETTERS)
    with pytest.raises(UnknownNameError, match="unknown setting of ivf 'list'"):
        index.reindex("ivf:list=2")
    assert index.kind == "auto"


# --- trained, saved and followed


def test_trained_when_there_are_enough(tmp_path: Path) -> None:
    index = TextIndex.create(tmp_path / "index", LETTERS, kind=ALL_LISTS)
    reader = TextIndex.load(index.folder)
    index.add(["a"], language="de", encoder=LETTERS)
    assert (index.kind, index.choice.kind, folders(index)) == (ALL_LISTS, "flat", [])
    index.add(["b", "ab"], language="de", encoder=LETTERS)
    assert (index.choice, folders(index)) == ((ALL_LISTS, "it was asked for"), ["search-1"])
    for one in (index, reader, TextIndex.load(index.folder)):
        assert in_memory(one).kind == ALL_LISTS
        # Of a: (1, 0, 0), ab: (1, 1, 0) / sqrt 2, b: (0, 1, 0).
        assert hits_of(one, "a") == [(0, 1), (2, pytest.approx(0.5**0.5)), (1, 0)]


def test_what_came_and_went_since_is_taken_in(tmp_path: Path) -> None:
    index = TextIndex.create(tmp_path / "index", LETTERS, kind=ALL_LISTS)
    index.add(HALVES, language="de", encoder=LETTERS)
    saved = (index.folder / "search-1" / "index.faiss").read_bytes()
    index.delete(ids=[0, 1])
    index.upsert(["c"], language="de", encoder=LETTERS, ids=[2])
    assert (index.folder / "search-1" / "index.faiss").read_bytes() == saved
    for one in (index, TextIndex.load(index.folder)):
        assert [number for number, _ in hits_of(one, "c")][:1] == [2]
        assert sorted(number for number, _ in hits_of(one, "a")) == list(range(2, 10))
    index.compact()  # writes it anew, so that the record of changes can be shortened
    assert folders(index) == ["search-2"]
    for one in (index, TextIndex.load(index.folder)):
        assert sorted(number for number, _ in hits_of(one, "a")) == list(range(2, 10))
    index.compact()  # nothing has changed: it stays
    assert folders(index) == ["search-2"]


def test_written_anew_as_it_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "RENEW_ROWS", 2)
    monkeypatch.setattr("retrieval.index.index.GROWN", 4)
    index = TextIndex.create(tmp_path / "index", LETTERS, kind=ALL_LISTS)
    seen = []
    for _ in range(10):
        index.add(["a", "b"], language="de", encoder=LETTERS)
        seen.append((folders(index), in_memory(index)._trained))
    # Trained on 2 rows. Of 6 and 10 rows, 4 are new each time, which is more than 2 and than a
    # quarter; at 10 rows, more than 4 times the 2, it is trained again. 14, 18: 4 more each time.
    folder_of = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    trained_on = [2, 2, 2, 2, 10, 10, 10, 10, 10, 10]
    assert seen == [([f"search-{n}"], size) for n, size in zip(folder_of, trained_on, strict=True)]


def test_another_kind(tmp_path: Path) -> None:
    index = TextIndex.create(tmp_path / "index", LETTERS)
    index.add(HALVES, language="de", encoder=LETTERS)
    reader = TextIndex.load(index.folder)
    expected = hits_of(index, "aab")
    assert index.reindex(ALL_LISTS) == (ALL_LISTS, "it was asked for")
    assert (in_memory(reader).kind, hits_of(reader, "aab")) == (ALL_LISTS, expected)
    assert index.reindex().kind == ALL_LISTS
    assert (folders(index), in_memory(reader).kind) == (["search-2"], ALL_LISTS)
    assert index.reindex("flat") == ("flat", "it was asked for")
    assert (folders(index), in_memory(reader).kind, index.kind) == ([], "flat", "flat")
    assert hits_of(reader, "aab") == expected
    index.reindex("auto")
    assert (index.choice.kind, index.kind) == ("flat", "auto")


def test_training_is_overtaken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes while it is trained is taken in; another training goes first."""
    index = TextIndex.create(tmp_path / "index", LETTERS)
    index.add(HALVES, language="de", encoder=LETTERS)
    other = TextIndex.load(index.folder)
    put, times = renewal._name, []

    def meanwhile(*args: Any) -> bool:
        times.append(1)
        if len(times) == 1:
            other.add(["c"], language="de", encoder=LETTERS)
        if len(times) == 3:
            other.reindex("ivf:lists=3,probes=3")
        return put(*args)

    monkeypatch.setattr(renewal, "_name", meanwhile)
    index.reindex(ALL_LISTS)
    assert hits_of(index, "c")[0] == (10, 1)
    assert hits_of(TextIndex.load(index.folder), "c")[0] == (10, 1)
    times.append(1)
    assert index.reindex("ivf:lists=4,probes=4").kind == "ivf:lists=4,probes=4"
    assert folders(index) == ["search-3"]
    # One that was counted above, one of the first call, then: its own, the others, its own again.
    assert len(times) == 5


def test_snapshot_holds_what_was_trained(tmp_path: Path) -> None:
    index = TextIndex.create(tmp_path / "index", LETTERS, kind=ALL_LISTS)
    index.add(HALVES, language="de", encoder=LETTERS)
    index.add(["c"], language="de", encoder=LETTERS)
    taken = index.snapshot(tmp_path / "snapshot")
    assert {"search-1/index.faiss", "search-1/ids.i64"} < set(taken.files)
    index.reindex("flat")
    restored = TextIndex.restore(tmp_path / "snapshot", tmp_path / "restored")
    assert in_memory(restored).kind == ALL_LISTS
    assert hits_of(restored, "c") == hits_of(index, "c")


@pytest.mark.parametrize("name", ["index.faiss", "ids.i64", "manifest.json"])
def test_damaged_and_made_again(tmp_path: Path, name: str) -> None:
    index = TextIndex.create(tmp_path / "index", LETTERS, kind=ALL_LISTS)
    index.add(HALVES, language="de", encoder=LETTERS)
    expected = hits_of(index, "aab")
    path = index.folder / "search-1" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"search-1/{name}.*; 'bitext reindex' makes it again"):
        TextIndex.load(index.folder)
    shutil.rmtree(path.parent)
    with pytest.raises(InputError, match="search-1 is missing; 'bitext reindex' makes it again"):
        TextIndex.load(index.folder)
    TextIndex.load(index.folder, at_once=False).reindex()
    assert hits_of(TextIndex.load(index.folder), "aab") == expected


# --- bytes


def test_bytes_are_in_memory_and_vectors_are_not(tmp_path: Path) -> None:
    texts = [str(number) for number in range(300)]
    exact = TextIndex.create(tmp_path / "exact", WIDE)
    index = TextIndex.create(tmp_path / "index", WIDE, kind=BYTES)
    for one in (exact, index):
        one.add(texts, language="de", encoder=WIDE)
    for _ in range(2):
        for query in ("7", "1007"):
            # 128 of 300 candidates are compared with the vectors in the file: true cosines.
            found = hits_of(index, query, WIDE)
            assert found == hits_of(exact, query, WIDE)[: len(found)]
        kept = in_memory(index)
        # Four bytes a vector, and nowhere sixteen numbers: neither in FAISS nor beside it.
        assert kept._searcher._core.code_size == 4  # type: ignore[union-attr]
        assert not kept.keeps_vectors
        assert kept._rows is None
        for one in (exact, index):
            one.upsert(["1000"], language="de", encoder=WIDE, ids=[7])
            one.delete(ids=[8, 9])
            one.compact()  # the rows are in another file now
        assert hits_of(index, "1000", WIDE)[0] == (7, 1)
    filtered = hits_of(index, "7", WIDE, where=Filter(languages=("fr",)))
    assert filtered == []


def test_rows_are_checked_when_they_are_looked_up(tmp_path: Path) -> None:
    index = TextIndex.create(tmp_path / "index", WIDE, kind=BYTES)
    index.add([str(number) for number in range(300)], language="de", encoder=WIDE)
    index = TextIndex.load(index.folder)
    [path] = index.folder.glob("vectors-*.f32")
    data = bytearray(path.read_bytes())
    data[7 * 64] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="row 7 is not as it was written"):
        hits_of(TextIndex.load(index.folder), "7", WIDE)


def test_large_files_are_mapped_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "MAPPED_BYTES", 1)
    index = TextIndex.create(tmp_path / "index", LETTERS, kind=ALL_LISTS)
    index.add(HALVES, language="de", encoder=LETTERS)
    expected = hits_of(index, "aab")
    assert in_memory(index).mapped
    index.upsert(["c"], language="de", encoder=LETTERS, ids=[77])
    assert hits_of(index, "c")[0] == (77, 1)
    assert not in_memory(index).mapped
    index.delete(ids=[77])
    assert hits_of(index, "aab") == expected
    index.compact()
    assert (in_memory(TextIndex.load(index.folder)).mapped, folders(index)) == (True, ["search-2"])


# --- whatever happens, as exact search


class Twins(RuleBasedStateMachine):
    """Two lists, both looked into, find what the comparison with every vector finds."""

    texts = st.sampled_from(["a", "b", "c", "ab", "bc", "abc", "aab", "abbc"])
    ids = st.integers(0, 12)

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.exact = TextIndex.create(self.folder / "exact", LETTERS, kind="flat")
        self.index = TextIndex.create(self.folder / "index", LETTERS, kind=ALL_LISTS)
        self.reader = TextIndex.load(self.folder / "index")

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(rows=st.dictionaries(ids, texts, min_size=1, max_size=5))
    def upsert(self, rows: dict[int, str]) -> None:
        for one in (self.exact, self.index):
            one.upsert(rows.values(), language="de", encoder=LETTERS, ids=rows.keys())

    @rule(ids=st.lists(ids, max_size=4))
    def delete(self, ids: list[int]) -> None:
        assert self.exact.delete(ids=ids) == self.index.delete(ids=ids)

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule(kind=st.sampled_from([None, ALL_LISTS, "ivf:lists=3,probes=3", "IVF2,Flat", "flat"]))
    def reindex(self, kind: str | None) -> None:
        self.index.reindex(kind)

    @rule()
    def load_again(self) -> None:
        self.index = TextIndex.load(self.index.folder)

    @precondition(lambda self: self.exact.count())
    @rule(query=texts, k=st.integers(1, 5))
    def search(self, query: str, k: int) -> None:
        [expected] = self.exact.retrieve([query], k=k, encoder=LETTERS)
        for one in (self.index, self.reader):
            [found] = one.retrieve([query], k=k, encoder=LETTERS)
            assert found == expected

    @invariant()
    def has_one_folder_at_most(self) -> None:
        assert folders(self.index) == [path.name for path in self.index.folder.glob("search-*")]
        assert len(folders(self.index)) == (self.index.choice.kind != "flat")


Twins.TestCase.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
TestAgainstExactSearch = Twins.TestCase
