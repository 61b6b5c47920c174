"""TextIndex: sentences found by meaning, adding, centring, refusals, damage, threads."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitext.errors import (
    InputError,
    MismatchError,
    TooLargeError,
    TooLongError,
    UnknownNameError,
)
from encoders.preset import Preset, RetrievalPreset
from retrieval.store.text_index import Hit, TextIndex
from retrieval.vectors.files import Vectors, write_vectors
from retrieval.vectors.manifest import Space

if TYPE_CHECKING:  # the processes that are killed below import this file, and need no transformers
    from encoders.encoder import Encoder


class LetterEncoder:
    """Counts the letters a, b and c: "aab" points to (2, 1, 0), so cosines follow by hand."""

    revision, dtype, device, dim, layers = None, "float32", "cpu", 3, 2
    preset = Preset()

    def __init__(self, name: str = "letters", fingerprint: str = "abc") -> None:
        self.name, self.fingerprint = name, fingerprint

    def check_layer(self, layer: int | None, task: str) -> int:
        if layer is not None and not 0 <= layer <= 2:
            raise UnknownNameError(f"no layer {layer}")
        return 1 if layer is None else layer

    def sentences(
        self,
        texts: Sequence[str],
        *,
        layer: int | None = None,
        pooling: str = "mean",
        prefix: str | None = None,
        too_long: str = "error",
        progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float32]:
        for number, text in enumerate(texts):
            if len(text) > 20 and too_long == "error":
                raise TooLongError(f"has {len(text)} pieces, more than 20", sentence=number)
        if progress is not None:
            progress(len(texts))
        counts = np.array([[text.count(c) for c in "abc"] for text in texts], np.float32)
        counts = counts.reshape(-1, 3)
        lengths = np.linalg.norm(counts, axis=1, keepdims=True)
        return np.asarray(counts / np.where(lengths > 0, lengths, 1), np.float32)


LETTERS: Any = LetterEncoder()

# Five sentences that point to a and five that point to b: their mean is (1/2, 1/2, 0).
HALVES = [letter * n for n in range(1, 6) for letter in "ab"]
# The same of b and c: their mean is (0, 1/2, 1/2).
OTHER_HALVES = [letter * n for n in range(1, 6) for letter in "bc"]


@pytest.fixture
def index(tmp_path: Path) -> TextIndex:
    made = TextIndex.create(tmp_path / "index", LETTERS)
    made.add(["a", "b", "ab"], language="de", encoder=LETTERS)
    return made


@pytest.fixture
def centred(tmp_path: Path) -> TextIndex:
    made = TextIndex.create(tmp_path / "centred", LETTERS, centring=True)
    made.add(HALVES, language="de", encoder=LETTERS)
    return made


def everything(index: TextIndex) -> tuple[Any, ...]:
    """What is in an index, and what it is called together."""
    return list(index.sentences()), dict(index.languages), index.space


def texts(hits: Sequence[Hit]) -> list[str]:
    return [hit.text for hit in hits]


# --- finding


def test_nearest_sentences_with_cosines(index: TextIndex) -> None:
    [hits] = index.retrieve(["aab"], k=3, encoder=LETTERS)
    # (2, 1, 0) / sqrt 5 with (1, 1, 0) / sqrt 2: 3 / sqrt 10; with a: 2 / sqrt 5; with b: half
    assert texts(hits) == ["ab", "a", "b"]
    assert [hit.score for hit in hits] == pytest.approx([0.948683, 0.894427, 0.447214], abs=1e-5)
    assert hits[0] == Hit(2, "ab", hits[0].score, "de")


@pytest.mark.parametrize(
    ("threshold", "found"),
    # cosines .949, .894, .447 as above
    [(None, ["ab", "a", "b"]), (-1.0, ["ab", "a", "b"]), (0.5, ["ab", "a"]), (0.95, [])],
)
def test_hits_below_a_threshold_are_left_out(
    index: TextIndex, threshold: float | None, found: list[str]
) -> None:
    [hits] = index.retrieve(["aab"], k=3, encoder=LETTERS, threshold=threshold)
    assert texts(hits) == found


def test_a_models_threshold_is_for_vectors_made_as_it_says(tmp_path: Path) -> None:
    encoder: Any = LetterEncoder()
    encoder.preset = Preset(retrieval=RetrievalPreset(threshold=0.9))
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, ["ab"]),
        ({"layer": 1, "pooling": "mean"}, ["ab"]),
        ({"layer": 2}, ["ab", "a", "b"]),
        ({"pooling": "max"}, ["ab", "a", "b"]),
    ]
    for number, (settings, found) in enumerate(cases):
        made = TextIndex.create(tmp_path / str(number), encoder, **settings)
        made.add(["a", "b", "ab"], language="de", encoder=encoder)
        assert texts(made.retrieve(["aab"], k=3, encoder=encoder)[0]) == found
        every = made.retrieve(["aab"], k=3, encoder=encoder, threshold=-1)
        assert texts(every[0]) == ["ab", "a", "b"]


def test_a_threshold_of_raw_cosines_is_not_for_centred_ones(centred: TextIndex) -> None:
    encoder: Any = LetterEncoder()
    encoder.preset = Preset(retrieval=RetrievalPreset(threshold=1))
    assert len(centred.retrieve(["a"], k=3, encoder=encoder, language="de")[0]) == 3
    encoder.preset = Preset(retrieval=RetrievalPreset(threshold=0.5, centred=True))
    # Less (1/2, 1/2) all sentences of a have cosine 1 with the query, and all of b -1.
    found = centred.retrieve(["a"], k=10, encoder=encoder, language="de")[0]
    assert texts(found) == [text for text in HALVES if "a" in text]


def test_one_answer_a_query_in_order(index: TextIndex) -> None:
    answers = index.retrieve(["b", "a", "b"], k=1, encoder=LETTERS)
    assert [texts(hits) for hits in answers] == [["b"], ["a"], ["b"]]
    assert index.retrieve([], k=1, encoder=LETTERS) == []


def test_equal_sentences_older_first(index: TextIndex) -> None:
    assert index.add(["a", "aa"], language="fr", encoder=LETTERS) == [3, 4]
    [hits] = index.retrieve(["aaa"], k=3, encoder=LETTERS)
    assert [hit.id for hit in hits] == [0, 3, 4]
    assert [hit.language for hit in hits] == ["de", "fr", "fr"]


def test_k_beyond_the_index(index: TextIndex, tmp_path: Path) -> None:
    [hits] = index.retrieve(["a"], k=100, encoder=LETTERS)
    assert len(hits) == 3
    empty = TextIndex.create(tmp_path / "empty", LETTERS)
    assert empty.retrieve(["a", "b"], k=5, encoder=LETTERS) == [[], []]


def test_what_cannot_be_asked(index: TextIndex) -> None:
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        index.retrieve(["a"], k=0, encoder=LETTERS)
    with pytest.raises(InputError, match=r"query 2 \(' '\) has nothing in it to compare"):
        index.retrieve(["a", " "], k=1, encoder=LETTERS)
    with pytest.raises(InputError, match="query 12 "):
        index.retrieve(["a", " "], k=1, encoder=LETTERS, before=10)
    with pytest.raises(TooLongError, match="query 3 has 30 pieces"):
        index.retrieve(["a", "b", "c" * 30], k=1, encoder=LETTERS)
    assert index.retrieve(["c" * 30], k=1, encoder=LETTERS, too_long="windows")


# --- adding


def test_ids_count_on_and_languages_are_counted(index: TextIndex) -> None:
    rows = [("fr", "aa"), ("de", "bb"), ("zh-Hant", "c")]
    assert index.add_mixed(rows, encoder=LETTERS) == [3, 4, 5]
    assert index.count() == 6
    assert dict(index.languages) == {"de": 4, "fr": 1, "zh-Hant": 1}
    assert [s[:3] for s in index.sentences()][3:] == [
        (3, "fr", "aa"), (4, "de", "bb"), (5, "zh-Hant", "c"),
    ]  # fmt: skip


def test_load_gives_the_same_answers(index: TextIndex) -> None:
    loaded = TextIndex.load(index.folder)
    queries = ["a", "abb", "c"]
    assert loaded.manifest == index.manifest
    assert loaded.retrieve(queries, k=3, encoder=LETTERS) == index.retrieve(
        queries, k=3, encoder=LETTERS
    )
    assert loaded.add(["c"], language="de", encoder=LETTERS) == [3]
    assert TextIndex.load(index.folder).count() == 4


def test_adding_many_in_one_go(index: TextIndex) -> None:
    """More than one chunk and more than one block of rows, from an iterator."""
    done: list[int] = []
    ids = index.add(
        ("abc"[n % 3] for n in range(5000)), language="fr", encoder=LETTERS, progress=done.append
    )
    assert ids == list(range(3, 5003))
    assert sum(done) == 5000
    loaded = TextIndex.load(index.folder)
    [hits] = loaded.retrieve(["c"], k=2, encoder=LETTERS)
    assert [hit.id for hit in hits] == [5, 8]  # the rows 2 and 5 of the 5000


@pytest.mark.parametrize(
    ("rows", "error", "sentence"),
    [
        (["a", "", "b"], InputError, r"sentence 2 \(''\) has nothing in it to compare"),
        (["a"] * 2000 + ["xyz"], InputError, r"sentence 2001 \('xyz'\) has nothing in it"),
        (["a", "b" * 21], TooLongError, "sentence 2 has 21 pieces"),
        (["a"] * 2000 + ["b" * 21], TooLongError, "sentence 2001 has 21 pieces"),
    ],
)
def test_all_or_nothing(
    index: TextIndex, rows: list[str], error: type[Exception], sentence: str
) -> None:
    before = everything(index)
    with pytest.raises(error, match=sentence):
        index.add(rows, language="de", encoder=LETTERS)
    assert everything(index) == everything(TextIndex.load(index.folder)) == before
    assert index.add(["c"], language="de", encoder=LETTERS) == [3]
    assert texts(index.retrieve(["c"], k=1, encoder=LETTERS)[0]) == ["c"]


def test_an_addition_of_a_name_is_made_once(index: TextIndex) -> None:
    rows = [("de", "a"), ("de", "b")]
    before = len(index)
    assert len(index.add_mixed(rows, encoder=LETTERS, once="job 1")) == 2
    with index._store.writing() as (_, writer):  # an index of an earlier version lacks the table
        assert writer.first_time("job 1") is False
    assert TextIndex.load(index.folder).add_mixed(rows, encoder=LETTERS, once="job 1") == []
    assert len(index.add_mixed(rows, encoder=LETTERS, once="job 2")) == 2
    assert len(index) == before + 4


def test_an_addition_that_fails_may_be_made_again(index: TextIndex) -> None:
    rows = [("de", "a"), ("de", "b")]
    with pytest.raises(TooLargeError):
        index.add_mixed(rows, encoder=LETTERS, once="job 1", limit=1)
    assert len(index.add_mixed(rows, encoder=LETTERS, once="job 1")) == 2


def test_reading_that_fails_half_way_adds_nothing(index: TextIndex) -> None:
    def lines() -> Iterator[str]:
        yield from ["c"] * 3000
        raise InputError("file, line 3001: byte 0xff at column 1 is not UTF-8")

    with pytest.raises(InputError, match="line 3001"):
        index.add(lines(), language="de", encoder=LETTERS)
    assert TextIndex.load(index.folder).count() == index.count() == 3


def test_limit(index: TextIndex) -> None:
    with pytest.raises(TooLargeError, match="may hold 4 sentences, not more"):
        index.add(["a", "b"], language="de", encoder=LETTERS, limit=4)
    assert index.add(["a"], language="de", encoder=LETTERS, limit=4) == [3]


@pytest.mark.parametrize("language", ["", "d e", "de\tx", "../de", "-"])
def test_languages_are_names(index: TextIndex, language: str) -> None:
    with pytest.raises(InputError, match="expected a language such as 'de'"):
        index.add(["a"], language=language, encoder=LETTERS)


def test_create_does_not_replace(index: TextIndex, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        TextIndex.create(index.folder, LETTERS)
    with pytest.raises(UnknownNameError, match="unknown pooling 'sum'; choose one of: cls, max"):
        TextIndex.create(tmp_path / "new", LETTERS, pooling="sum")
    assert not (tmp_path / "new").exists()


def test_drop(index: TextIndex, tmp_path: Path) -> None:
    TextIndex.drop(index.folder)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="is not an index"):
        TextIndex.drop(tmp_path)
    assert tmp_path.exists()


# --- centring


def test_centring_by_hand(centred: TextIndex) -> None:
    [hits] = centred.retrieve(["a"], k=10, encoder=LETTERS, language="de")
    # a - mean = (1/2, -1/2, 0) and b - mean = (-1/2, 1/2, 0): opposite, no more at right angles
    assert texts(hits) == ["a", "aa", "aaa", "aaaa", "aaaaa", "b", "bb", "bbb", "bbbb", "bbbbb"]
    assert [hit.score for hit in hits] == pytest.approx([1] * 5 + [-1] * 5)


def test_each_language_has_its_own_mean(centred: TextIndex) -> None:
    centred.add(OTHER_HALVES, language="fr", encoder=LETTERS)
    loaded = TextIndex.load(centred.folder)
    [hits] = loaded.retrieve(["b"], k=20, encoder=LETTERS, language="fr")
    # b - mean(fr) = (0, 1/2, -1/2): cosine 1 with b of fr, -1 with c of fr; with de's
    # a, (1/2, -1/2, 0): -1/2; with de's b, (-1/2, 1/2, 0): 1/2
    scores = {(hit.language, hit.text[0]): hit.score for hit in hits}
    expected = {("fr", "b"): 1, ("de", "b"): 0.5, ("de", "a"): -0.5, ("fr", "c"): -1}
    assert scores == pytest.approx(expected, abs=1e-6)


def test_mean_is_fixed_when_its_language_is_first_added(centred: TextIndex) -> None:
    centre = centred.space.centre
    centred.add(["aab"], language="de", encoder=LETTERS)
    assert centred.space.centre == centre
    # (2, 1, 0) / sqrt 5 - (1/2, 1/2, 0) = (0.3944, -0.0528, 0); with (1, -1, 0) / sqrt 2: 0.7947
    [hits] = centred.retrieve(["a"], k=6, encoder=LETTERS, language="de")
    assert hits[5].text == "aab"
    assert hits[5].score == pytest.approx((0.394427 + 0.052786) / 2**0.5 / 0.397944, abs=1e-4)


def test_mean_given_for_the_language_of_queries(centred: TextIndex) -> None:
    with pytest.raises(UnknownNameError, match="unknown language 'fr'; choose one of: de"):
        centred.retrieve(["b"], k=1, encoder=LETTERS, language="fr")
    with pytest.raises(InputError, match="say which language the queries are in; .* one of: de"):
        centred.retrieve(["b"], k=1, encoder=LETTERS)
    centred.set_mean("fr", OTHER_HALVES, encoder=LETTERS)
    loaded = TextIndex.load(centred.folder)
    assert loaded.count() == 10
    # b of fr is (0, 1/2, -1/2), as above: nearest is de's b
    [hits] = loaded.retrieve(["b"], k=1, encoder=LETTERS, language="fr")
    assert hits[0].text == "b"
    assert hits[0].score == pytest.approx(0.5)
    with pytest.raises(InputError, match="has a mean for language 'fr' already"):
        loaded.set_mean("fr", OTHER_HALVES, encoder=LETTERS)


def test_mean_needs_different_sentences(centred: TextIndex) -> None:
    before = everything(centred)
    with pytest.raises(InputError, match="'fr' needs at least 10 different sentences, got 2"):
        centred.add(["a", "b"] * 9, language="fr", encoder=LETTERS)
    with pytest.raises(InputError, match="'fr' needs at least 10 different sentences, got 1"):
        centred.set_mean("fr", ["a"], encoder=LETTERS)
    assert everything(TextIndex.load(centred.folder)) == everything(centred) == before
    with pytest.raises(UnknownNameError, match="is centred and knows no language yet"):
        fresh = TextIndex.create(centred.folder.with_name("fresh"), LETTERS, centring=True)
        fresh.retrieve(["a"], k=1, encoder=LETTERS, language="de")


def test_without_centring_no_language_is_asked_and_no_mean_taken(index: TextIndex) -> None:
    assert index.space.centre is None
    assert index.retrieve(["a"], k=2, encoder=LETTERS, language="xx")
    with pytest.raises(InputError, match="the index does not centre by means: it takes none"):
        index.set_mean("de", HALVES, encoder=LETTERS)


# --- refusals


@pytest.mark.parametrize(
    ("encoder", "choices", "sentence"),
    [
        (
            LetterEncoder("other", "xyz"),
            {},
            "was built with model letters (abc), the query has model other (xyz)",
        ),
        (
            LetterEncoder("letters", "xyz"),
            {},
            "was built with fingerprint abc, the query has fingerprint xyz",
        ),
        (LETTERS, {"layer": 2}, "was built with layer 1, the query has layer 2"),
        (LETTERS, {"pooling": "cls"}, "was built with pooling mean, the query has pooling cls"),
    ],
)
def test_query_from_elsewhere(
    index: TextIndex, encoder: Any, choices: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MismatchError) as refusal:
        index.retrieve(["a"], k=1, encoder=encoder, **choices)
    assert str(refusal.value) == f"index {index.folder} {sentence}"


def test_vectors_from_elsewhere(index: TextIndex, centred: TextIndex, tmp_path: Path) -> None:
    """Vectors on disk can be searched for where they come from the same place."""
    space = Space(
        model="letters", fingerprint="abc", revision=None, layer=1, pooling="mean", centre=None
    )
    write_vectors(tmp_path / "v", [LETTERS.sentences(["b"])], space=space, dim=3)
    queries = Vectors.load(tmp_path / "v")
    assert texts(index.search(queries.rows, k=1, space=queries.manifest)[0]) == ["b"]
    centre = centred.space.centre
    with pytest.raises(
        MismatchError, match=f"built with centre {centre}, the query has centre none"
    ):
        centred.search(queries.rows, k=1, space=queries.manifest)
    elsewhere = space.model_copy(update={"layer": 0})
    with pytest.raises(MismatchError, match="built with layer 1, the query has layer 0"):
        index.search(queries.rows, k=1, space=elsewhere)


def test_adding_with_another_model(index: TextIndex) -> None:
    other: Any = LetterEncoder("other", "xyz")
    with pytest.raises(MismatchError, match="built with model letters"):
        index.add(["a"], language="de", encoder=other)


def test_index_that_another_process_changed(index: TextIndex) -> None:
    """Two that add to one index: each sees what the other did, and nothing is overwritten."""
    other = TextIndex.load(index.folder)
    assert other.add(["c"], language="de", encoder=LETTERS) == [3]
    assert texts(index.retrieve(["c"], k=1, encoder=LETTERS)[0]) == ["c"]
    assert index.add(["b"], language="de", encoder=LETTERS) == [4]
    assert [s.text for s in TextIndex.load(index.folder).sentences()] == ["a", "b", "ab", "c", "b"]
    assert [hit.id for hit in other.retrieve(["b"], k=2, encoder=LETTERS)[0]] == [1, 4]


def test_index_that_was_replaced_while_loaded(index: TextIndex) -> None:
    TextIndex.drop(index.folder)
    other = TextIndex.create(index.folder, LETTERS)
    other.add(["b", "a", "c"], language="de", encoder=LETTERS)
    with pytest.raises(MismatchError, match="was removed or replaced since it was loaded"):
        index.retrieve(["a"], k=1, encoder=LETTERS)


# --- damage


def test_truncated_vectors(index: TextIndex) -> None:
    with open(index.folder / "vectors-0.f32", "r+b") as file:
        file.truncate(30)
    with pytest.raises(InputError, match=r"vectors-0\.f32 is truncated: 30 bytes, .* says 36"):
        TextIndex.load(index.folder)


def test_damaged_vectors(index: TextIndex) -> None:
    path = index.folder / "vectors-0.f32"
    data = bytearray(path.read_bytes())
    data[0:8], data[12:20] = data[12:20], data[0:8]  # a and b exchanged: still unit vectors
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"vectors-0\.f32 is damaged"):
        TextIndex.load(index.folder)


@pytest.mark.parametrize("name", ["vectors-0.f32", "sentences.db", "manifest.json"])
def test_missing_file(index: TextIndex, name: str) -> None:
    (index.folder / name).unlink()
    with pytest.raises(InputError, match=name):
        TextIndex.load(index.folder)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"layer": "one"}, "field 'layer': input should be a valid integer, got 'one'"),
        ({"dim": -3}, "field 'dim': input should be greater than 0, got -3"),
        ({"note": "mine"}, "field 'note': there is no such field"),
        ({"layer": 0}, "field 'digest': it does not match the other fields"),
        ({"format": "bitext vectors 1"}, "field 'format': input should be 'bitext text index 3'"),
        ({"format": "bitext text index 1"}, "was made by an older bitext: build it again"),
    ],
)
def test_manifest_edited_by_hand(index: TextIndex, fields: dict[str, Any], sentence: str) -> None:
    path = index.folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    with pytest.raises(InputError, match=sentence):
        TextIndex.load(index.folder)


def test_tables_of_another_index(centred: TextIndex, tmp_path: Path) -> None:
    other = TextIndex.create(tmp_path / "other", LETTERS, centring=True)
    other.add(OTHER_HALVES, language="de", encoder=LETTERS)
    shutil.copy(other.folder / "sentences.db", centred.folder / "sentences.db")
    with pytest.raises(InputError, match=r"vectors-0\.f32 is damaged: row 0 is not"):
        TextIndex.load(centred.folder)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        ("UPDATE languages SET mean = zeroblob(12)", "the means in .* are not those that were"),
        ("DELETE FROM sentences WHERE id = 3", "is incomplete: 9 sentences of 10"),
        ("UPDATE sentences SET row = 10 WHERE id = 3", "has 10 rows, and sentences beyond them"),
        ("DELETE FROM state", "is incomplete: it has no state"),
        ("DROP TABLE state", "cannot be used: no such table: state"),
    ],
)
def test_tables_that_were_changed(centred: TextIndex, damage: str, sentence: str) -> None:
    with closing(sqlite3.connect(centred.folder / "sentences.db")) as connection, connection:
        connection.execute(damage)
    with pytest.raises(InputError, match=sentence):
        TextIndex.load(centred.folder)


def test_folder_nobody_may_write_to(index: TextIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index on a read-only disk: root may write anywhere, so the answer of access() is given."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    loaded = TextIndex.load(index.folder)
    assert texts(loaded.retrieve(["b"], k=1, encoder=LETTERS)[0]) == ["b"]
    with pytest.raises(InputError, match="readonly database"):
        loaded.add(["c"], language="de", encoder=LETTERS)
    assert TextIndex.load(index.folder).count() == 3


# --- threads


def test_searching_while_adding(index: TextIndex) -> None:
    """Threads that search and add at once: every hit is a sentence with its own id."""
    found: set[tuple[int, str]] = set()
    done = threading.Event()

    def search() -> None:
        while not done.is_set():
            [hits] = index.retrieve(["c"], k=1000, encoder=LETTERS)
            found.update((hit.id, hit.text) for hit in hits)

    def add(letter: str) -> None:
        for n in range(1, 6):
            index.add([letter * n], language="fr", encoder=LETTERS)

    readers = [threading.Thread(target=search) for _ in range(2)]
    writers = [threading.Thread(target=add, args=letter) for letter in "ac"]
    for thread in [*readers, *writers]:
        thread.start()
    for writer in writers:
        writer.join()
    done.set()
    for reader in readers:
        reader.join()
    held = {(number, text) for number, _, text, _ in TextIndex.load(index.folder).sentences()}
    assert len(held) == index.count() == 13
    assert found
    assert found <= held


# --- with a model


def test_with_a_real_encoder(encoder: Encoder, tmp_path: Path) -> None:
    sentences = ["the house is small", "eine katze schläft", "नमस्ते दुनिया"]
    index = TextIndex.create(tmp_path / "index", encoder, layer=2)
    index.add(sentences, language="und", encoder=encoder)
    answers = TextIndex.load(index.folder).retrieve(sentences, k=3, encoder=encoder)
    assert [hits[0].text for hits in answers] == sentences
    assert [hits[0].score for hits in answers] == pytest.approx([1, 1, 1])
    with pytest.raises(UnknownNameError, match="no layer 99; choose one from 0 to 2"):
        index.retrieve(["a"], k=1, encoder=encoder, layer=99)
