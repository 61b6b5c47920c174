"""TextIndex: sentences replaced and deleted, metadata, filters, compaction, snapshots, writers."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from test_text_index import HALVES, LETTERS, OTHER_HALVES

from bitext.errors import BusyError, InputError, MismatchError, TooLargeError
from retrieval.store import compaction, sentences
from retrieval.store.addition import Entry
from retrieval.store.metadata import MAX_BYTES, Value
from retrieval.store.selection import Condition, Filter
from retrieval.store.tables import Sentence
from retrieval.store.text_index import TextIndex

BOOKS = [
    Entry("de", "a", 7, {"year": 1990, "kind": "prose"}),
    Entry("de", "ab", 3, {"year": 2001, "kind": "verse", "draft": True}),
    Entry("fr", "b", 11, {"year": 2001.5}),
    Entry("fr", "bc", None, None),
]


@pytest.fixture
def index(tmp_path: Path) -> TextIndex:
    made = TextIndex.create(tmp_path / "index", LETTERS)
    assert made.add_mixed(BOOKS, encoder=LETTERS) == [7, 3, 11, 12]
    return made


def found(index: TextIndex, query: str = "a", **options: Any) -> list[int]:
    """The ids of all hits, in order."""
    [hits] = index.retrieve([query], k=1000, encoder=LETTERS, **options)
    return [hit.id for hit in hits]


def rows_of(index: TextIndex) -> int:
    """Rows in its vector file, three numbers of four bytes each."""
    [path] = index.folder.glob("vectors-*.f32")
    return path.stat().st_size // 12


# --- ids, replacing, deleting


def test_ids_of_ones_choice(index: TextIndex) -> None:
    # Of (1, 0, 0), (1, 1, 0) / sqrt 2, (0, 1, 0), (0, 1, 1) / sqrt 2: the last two have cosine 0.
    assert found(index) == [7, 3, 11, 12]
    assert index.get([12, 5, 3]) == [
        Sentence(12, "fr", "bc", None),
        Sentence(3, "de", "ab", {"year": 2001, "kind": "verse", "draft": True}),
    ]
    with pytest.raises(InputError, match="id 3 is in the index already"):
        index.add(["c", "c"], language="de", encoder=LETTERS, ids=[1, 3])
    assert index.get([1]) == []
    assert index.add(["c"], language="de", encoder=LETTERS) == [13]


def test_a_sentence_takes_the_place_of_its_id(index: TextIndex) -> None:
    for _ in range(2):  # to do it twice is to do it once
        assert index.upsert(["c", "cc"], language="fr", encoder=LETTERS, ids=[7, 20]) == [7, 20]
        assert found(index, "c")[:2] == [7, 20]
        assert found(TextIndex.load(index.folder), "c")[:2] == [7, 20]
        assert index.get([7]) == [Sentence(7, "fr", "c", None)]
        assert dict(index.languages) == {"de": 1, "fr": 4}


def test_deleted_sentences_are_gone_and_their_ids_not_given_again(index: TextIndex) -> None:
    assert index.delete(ids=[12, 7, 99]) == 2
    assert index.delete(ids=[12, 7, 99]) == 0
    assert found(index) == found(TextIndex.load(index.folder)) == [3, 11]
    assert dict(index.languages) == {"de": 1, "fr": 1}
    assert index.add(["a"], language="de", encoder=LETTERS) == [13]
    assert index.delete(where=Filter(languages=("fr",))) == 1
    assert found(index) == [13, 3]
    assert index.delete(where=Filter()) == 2
    assert (found(index), index.count(), dict(index.languages)) == ([], 0, {})


def test_what_cannot_be_changed(index: TextIndex) -> None:
    add: Any = index.add_mixed
    for rows, sentence in [
        ([("de", "a", 5), ("de", "b", 5)], "id 5 is given twice"),
        ([("de", "a", 5)] * 1030, "id 5 is given twice"),  # in two chunks
        ([("de", "a", -1)], "sentence 1: an id is a number from 0 up, got -1"),
        ([("de", "a", 2**63)], "sentence 1: an id is a number from 0 up"),
        ([("de", "a"), ("de", "\ud800a")], "sentence 2 holds half a surrogate pair at character 1"),
    ]:
        with pytest.raises(InputError, match=sentence):
            add(rows, encoder=LETTERS)
    with pytest.raises(InputError, match="id 5 is given twice"):
        add([("de", "a", 5)] * 1030, encoder=LETTERS, replace=True)
    with pytest.raises(InputError, match="sentence 2 has no id"):
        add([("de", "a", 5), ("de", "a")], encoder=LETTERS, replace=True)
    for ids in ([1], [1, 2, 4]):
        with pytest.raises(InputError, match="as many ids, and metadata, as sentences"):
            index.add(["a", "b"], language="de", encoder=LETTERS, ids=ids)
    with pytest.raises(InputError, match="say which sentences to delete"):
        index.delete()
    with pytest.raises(TooLargeError, match="may hold 4 sentences"):
        index.upsert(["a", "b"], language="de", encoder=LETTERS, ids=[3, 4], limit=4)
    assert index.upsert(["a"], language="de", encoder=LETTERS, ids=[3], limit=4) == [3]
    assert sorted(found(index)) == [3, 7, 11, 12]


# --- metadata and filters


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        (Filter(), [7, 3, 11, 12]),
        (Filter(languages=("fr",)), [11, 12]),
        (Filter(languages=("fr", "de")), [7, 3, 11, 12]),
        (Filter(languages=()), []),
        (Filter(must=(Condition("year", any_of=(1990, 2001.5)),)), [7, 11]),
        (Filter(must=(Condition("year", any_of=(2001.0,)),)), [3]),
        (Filter(must=(Condition("year", any_of=("2001",)),)), []),
        (Filter(must=(Condition("year", gte=2001),)), [3, 11]),
        (Filter(must=(Condition("year", gte=1990, lte=2001),)), [7, 3]),
        (Filter(must=(Condition("year", gte="1990"),)), []),
        (Filter(must=(Condition("kind", gte="prose"),)), [7, 3]),
        (Filter(must=(Condition("kind", gte="q"),)), [3]),
        (Filter(must=(Condition("draft", any_of=(True,)),)), [3]),
        (Filter(must=(Condition("draft", any_of=(1,)),)), []),
        (Filter(must_not=(Condition("draft", any_of=(True,)),)), [7, 11, 12]),
        (Filter(must=(Condition("kind", any_of=("' OR 1=1 --",)),)), []),
        (Filter(languages=("de",), must=(Condition("year", lte=1995),)), [7]),
    ],
)
def test_filters(index: TextIndex, where: Filter, ids: list[int]) -> None:
    assert found(index, where=where) == ids
    assert index.count(where) == len(ids)
    assert [s.id for s in index.scroll(where=where)] == sorted(ids)
    assert [s.id for s in index.sentences(where)] == sorted(ids)


def test_best_of_those_that_a_filter_means(index: TextIndex) -> None:
    [hits] = index.retrieve(["a"], k=1, encoder=LETTERS, where=Filter(languages=("fr",)))
    assert [(hit.id, hit.language, hit.metadata) for hit in hits] == [(11, "fr", {"year": 2001.5})]


def test_scrolling(index: TextIndex) -> None:
    assert [s.id for s in index.scroll(limit=3)] == [3, 7, 11]
    assert [s.id for s in index.scroll(after=11, limit=3)] == [12]
    assert index.scroll(after=12) == []


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({"a b": 1}, "sentence 1: a metadata key has 1 to 64 letters, .*, got 'a b'"),
        ({'x".y': 1}, "a metadata key has"),
        ({"x": [1]}, "'x' must be a string, a number, true, false or null, got list"),
        ({"x": math.nan}, "'x' must be a finite number, got nan"),
        ({"x": 2**63}, "'x' has a number beyond 64 bits"),
        ({"x": "\ud800"}, "'x' holds half a surrogate pair"),
        ({"x": "\0"}, "'x' holds a NUL"),
        ({f"k{n}": n for n in range(65)}, "may have 64 keys, got 65"),
        ({"x": "y" * MAX_BYTES}, "may be 16384 bytes of JSON, got 16392"),
        ([("x", 1)], "must be an object, got list"),
    ],
)
def test_metadata_that_cannot_be(index: TextIndex, metadata: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        index.add(["a"], language="de", encoder=LETTERS, metadata=[metadata])


def test_metadata_come_back(index: TextIndex) -> None:
    kept: dict[str, Value] = {
        "s": "größer\n\U0001f600",
        "i": 2**63 - 1,
        "f": 0.1,
        "t": True,
        "n": None,
        "a-b.c": "",
    }
    [number] = index.add(["a"], language="de", encoder=LETTERS, metadata=[kept])
    assert index.get([number])[0].metadata == kept
    for key, value in kept.items():
        assert index.count(Filter(must=(Condition(key, any_of=(value,)),))) == 1, key


# --- disk space


def test_compaction(index: TextIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    other = TextIndex.load(index.folder)
    late = TextIndex.load(index.folder)
    index.delete(ids=[7])
    index.upsert(["c"], language="de", encoder=LETTERS, ids=[3])
    assert rows_of(index) == 5
    assert found(other, "c") == [3, 12, 11]
    index.compact()
    assert [path.name for path in index.folder.glob("vectors-*")] == ["vectors-1.f32"]
    assert rows_of(index) == 3
    # Those who saw all changes, those who saw none, and one that comes now.
    for reader in (index, other, late, TextIndex.load(index.folder)):
        assert found(reader, "c") == [3, 12, 11]
    monkeypatch.setattr(compaction, "DEAD_ROWS", 1)
    index.upsert(["b"], language="de", encoder=LETTERS, ids=[3])
    assert rows_of(index) == 4  # one dead row of four may be
    late.upsert(["a"], language="de", encoder=LETTERS, ids=[3])
    assert rows_of(index) == 3
    assert found(other) == [3, 11, 12]


def test_deleting_gives_disk_space_back(index: TextIndex) -> None:
    index.add(["a" * 20] * 20_000, language="de", encoder=LETTERS)

    def size() -> int:
        return sum(path.stat().st_size for path in index.folder.iterdir())

    before = size()
    index.delete(where=Filter(languages=("de",)))
    assert size() < before / 20


# --- snapshots


def test_snapshot_is_what_was(index: TextIndex, tmp_path: Path) -> None:
    taken = index.snapshot(tmp_path / "snapshot")
    assert (taken.count, sorted(taken.files)) == (
        4, ["manifest.json", "sentences.db", "vectors-0.f32"],
    )  # fmt: skip
    index.delete(ids=[3, 7])
    restored = TextIndex.restore(tmp_path / "snapshot", tmp_path / "restored")
    assert found(restored) == [7, 3, 11, 12]
    assert restored.get([3])[0].metadata == {"year": 2001, "kind": "verse", "draft": True}
    assert restored.add(["c"], language="de", encoder=LETTERS) == [13]
    assert found(index) == [11, 12]


def test_snapshot_of_a_centred_index(tmp_path: Path) -> None:
    index = TextIndex.create(tmp_path / "index", LETTERS, centring=True)
    index.add(HALVES, language="de", encoder=LETTERS)
    index.snapshot(tmp_path / "snapshot")
    index.add(OTHER_HALVES, language="fr", encoder=LETTERS)
    restored = TextIndex.restore(tmp_path / "snapshot", tmp_path / "restored")
    assert list(restored.means) == ["de"]
    assert len(found(restored, language="de")) == 10


def test_restoring_over_an_index(index: TextIndex, tmp_path: Path) -> None:
    index.snapshot(tmp_path / "snapshot")
    index.delete(ids=[3])
    for function, path in [
        (index.snapshot, tmp_path / "snapshot"),
        (lambda to: TextIndex.restore(tmp_path / "snapshot", to), index.folder),
    ]:
        with pytest.raises(InputError, match=f"{path} exists already"):
            function(path)
    restored = TextIndex.restore(tmp_path / "snapshot", index.folder, overwrite=True)
    assert found(restored) == [7, 3, 11, 12]
    with pytest.raises(MismatchError, match="was removed or replaced since it was loaded"):
        found(index)
    with pytest.raises(MismatchError, match="was removed or replaced since it was loaded"):
        index.delete(ids=[7])


@pytest.mark.parametrize("name", ["manifest.json", "sentences.db", "vectors-0.f32"])
def test_damaged_snapshot(index: TextIndex, tmp_path: Path, name: str) -> None:
    index.snapshot(tmp_path / "snapshot")
    path = tmp_path / "snapshot" / "index" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=f"{name} is damaged"):
        TextIndex.restore(tmp_path / "snapshot", tmp_path / "restored")
    path.unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        TextIndex.restore(tmp_path / "snapshot", tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_snapshot_names_no_file_elsewhere(index: TextIndex, tmp_path: Path) -> None:
    from retrieval.store.snapshots import SnapshotManifest
    from retrieval.vectors.manifest import read_manifest, write_manifest

    taken = index.snapshot(tmp_path / "snapshot")
    files = {"../index/manifest.json": taken.files["manifest.json"]}
    write_manifest(tmp_path / "snapshot", taken.model_copy(update={"files": files}))
    assert read_manifest(tmp_path / "snapshot", SnapshotManifest).files == files
    with pytest.raises(InputError, match="names a file outside it"):
        TextIndex.restore(tmp_path / "snapshot", tmp_path / "restored")


# --- several writers


def test_many_writers_and_readers(index: TextIndex) -> None:
    """Each reader sees what is there whole: text "a" * n only ever under the id n."""
    done = threading.Event()
    wrong: list[Any] = []

    def write(first: int) -> list[int]:
        ids = [n for n in range(20) if n % 4 == first]
        for n in ids:
            index.upsert(["a" * n + "b"], language="de", encoder=LETTERS, ids=[1000 + n])
            if n % 3 == 0:
                index.delete(ids=[1000 + n])
        return [1000 + n for n in ids if n % 3]

    def read(mine: TextIndex) -> None:
        while not done.is_set():
            [hits] = mine.retrieve(["ab"], k=50, encoder=LETTERS)
            wrong.extend(h for h in hits if h.id >= 1000 and h.text != "a" * (h.id - 1000) + "b")

    readers = [
        threading.Thread(target=read, args=[i]) for i in (index, TextIndex.load(index.folder))
    ]
    for reader in readers:
        reader.start()
    with ThreadPoolExecutor(4) as pool:
        written = sorted(number for ids in pool.map(write, range(4)) for number in ids)
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong
    assert written == [number for number in sorted(found(index)) if number >= 1000]
    assert [s.id for s in TextIndex.load(index.folder).sentences()] == [3, 7, 11, 12, *written]


def test_a_slow_model_does_not_hold_other_writers_up(index: TextIndex) -> None:
    class Slow(type(LETTERS)):  # type: ignore[misc]
        def sentences(self, texts: Any, **options: Any) -> Any:
            encoding.set()
            assert written.wait(10)
            return super().sentences(texts, **options)

    encoding, written = threading.Event(), threading.Event()
    slow = threading.Thread(
        target=index.add, args=[["c"]], kwargs={"language": "de", "encoder": Slow()}
    )
    slow.start()
    assert encoding.wait(10)
    assert index.add(["b"], language="de", encoder=LETTERS) == [13]
    written.set()
    slow.join()
    assert [s.text for s in index.get([13, 14])] == ["b", "c"]


def test_a_language_that_two_writers_bring(tmp_path: Path) -> None:
    """The mean is that of whoever is first to write; the other's sentences are centred by it."""
    first = TextIndex.create(tmp_path / "index", LETTERS, centring=True)
    second = TextIndex.load(first.folder)

    class Late(type(LETTERS)):  # type: ignore[misc]
        def sentences(self, texts: Any, **options: Any) -> Any:
            if first.count() == 0:
                first.add(HALVES, language="de", encoder=LETTERS)
            return super().sentences(texts, **options)

    second.add(OTHER_HALVES, language="de", encoder=Late())
    # The mean of HALVES is (1/2, 1/2, 0), as in test_text_index.
    assert second.means["de"].tolist() == pytest.approx([0.5, 0.5, 0])
    assert (first.count(), len(found(first, language="de"))) == (20, 20)


def test_a_writer_that_never_ends(index: TextIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentences, "WAIT_SECONDS", 0.01)
    waiting = TextIndex.load(index.folder)
    with (
        index._store.writing(),
        pytest.raises(BusyError, match=r"is being written .* for more than 0\.01 seconds"),
    ):
        waiting.delete(ids=[3])
    assert waiting.delete(ids=[3]) == 1


def test_another_process(index: TextIndex) -> None:
    """It adds and deletes; what is loaded here sees both, without being told."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_text_index import LETTERS, TextIndex\n"
        "index = TextIndex.load(sys.argv[2])\n"
        "index.add(['c'], language='de', encoder=LETTERS)\n"
        "print(index.delete(ids=[3, 7]))\n"
    )
    tests = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", program, tests, index.folder],
        cwd=tests.parent, capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert run.stdout == "2\n"
    assert found(index, "c") == [13, 12, 11]


# --- against a dict


class Model(RuleBasedStateMachine):
    """Whatever is done to an index, it holds what a dict would, for all who look."""

    ids = st.integers(0, 12)
    texts = st.sampled_from(["a", "b", "c", "ab", "bc", "abc", "aab"])

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.index = TextIndex.create(self.folder / "index", LETTERS)
        self.reader = TextIndex.load(self.folder / "index")
        self.held: dict[int, tuple[str, str]] = {}
        self.next = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule(rows=st.dictionaries(ids, texts, max_size=4), language=st.sampled_from(["de", "fr"]))
    def upsert(self, rows: dict[int, str], language: str) -> None:
        self.index.upsert(rows.values(), language=language, encoder=LETTERS, ids=rows.keys())
        self.held |= {number: (language, text) for number, text in rows.items()}
        self.next = max([self.next, *(number + 1 for number in rows)])

    @rule(text=texts)
    def add(self, text: str) -> None:
        assert self.index.add([text], language="de", encoder=LETTERS) == [self.next]
        self.held[self.next] = ("de", text)
        self.next += 1

    @rule(ids=st.lists(ids, max_size=4))
    def delete(self, ids: list[int]) -> None:
        there = set(ids) & set(self.held)
        assert self.index.delete(ids=ids) == len(there)
        for number in there:
            del self.held[number]

    @rule()
    def delete_french(self) -> None:
        french = [number for number, (language, _) in self.held.items() if language == "fr"]
        assert self.index.delete(where=Filter(languages=("fr",))) == len(french)
        for number in french:
            del self.held[number]

    @rule()
    def compact(self) -> None:
        self.index.compact()
        assert rows_of(self.index) == len(self.held)

    @rule()
    def load_again(self) -> None:
        self.index = TextIndex.load(self.index.folder)

    @rule(query=texts, k=st.integers(1, 5))
    def search(self, query: str, k: int) -> None:
        def cosine(text: str) -> float:
            one, other = (LETTERS.sentences([some])[0].astype(float) for some in (query, text))
            return round(float(one @ other), 5)

        ranked = sorted(self.held, key=lambda n: (-cosine(self.held[n][1]), n))
        for index in (self.index, self.reader):
            [hits] = index.retrieve([query], k=k, encoder=LETTERS)
            assert [hit.id for hit in hits] == ranked[:k]
            assert all((hit.language, hit.text) == self.held[hit.id] for hit in hits)

    @invariant()
    def holds_the_same(self) -> None:
        held = {number: (language, text) for number, language, text, _ in self.index.sentences()}
        assert held == self.held
        counts: dict[str, int] = {}
        for language, _ in held.values():
            counts[language] = counts.get(language, 0) + 1
        assert dict(self.reader.languages) == counts


Model.TestCase.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
TestAgainstADict = Model.TestCase
