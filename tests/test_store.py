"""The tables behind an index: in one transaction, streamed, and refused when damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bitext.errors import InputError, MismatchError
from retrieval.store.sentences import SentenceStore
from retrieval.store.tables import NewSentence, Sentence, State

FIRST = [("de", "Das Haus"), ("en", "the house")]


def put(store: SentenceStore, rows: Sequence[tuple[str, str]], first: int = 0) -> None:
    """Write (language, text) rows with ids and versions from ``first``."""
    with store.writing() as (_, writer):
        writer.insert(
            [
                NewSentence(number, number, 0, number, language, text, None)
                for number, (language, text) in enumerate(rows, first)
            ]
        )


def everything(store: SentenceStore) -> list[Sentence]:
    with store.reading() as reader:
        return list(reader.scroll())


@pytest.fixture
def store(tmp_path: Path) -> SentenceStore:
    made = SentenceStore.create(tmp_path / "sentences.db", State())
    put(made, FIRST)
    return made


def test_sentences_by_id(store: SentenceStore) -> None:
    with store.reading() as reader:
        assert reader.sentences([1, 0, 1, 77]) == {
            0: Sentence(0, "de", "Das Haus"),
            1: Sentence(1, "en", "the house"),
        }


def test_every_character_comes_back(store: SentenceStore) -> None:
    texts = ["नमस्ते", "👩‍👩‍👧", "a\tb\nc", "e\u0301", "", "' OR 1=1 --", "مرحبا", "x" * 100_000]
    put(store, [("und", text) for text in texts], 2)
    assert [sentence.text for sentence in everything(store)][2:] == texts


def test_more_ids_than_one_statement_takes(store: SentenceStore) -> None:
    put(store, [("en", str(number)) for number in range(2, 1500)], 2)
    with store.reading() as reader:
        found = reader.sentences(range(1499, -1, -1))
    assert len(found) == 1500
    assert found[1234].text == "1234"
    with store.writing() as (_, writer):
        assert len(list(writer.there(range(2000)))) == 1500
        writer.delete(range(1, 2000))
    assert everything(store) == [Sentence(0, "de", "Das Haus")]


def test_failed_transaction_writes_nothing(store: SentenceStore) -> None:
    with pytest.raises(ZeroDivisionError), store.writing() as (_, writer):
        writer.delete([0])
        writer.save(State(version=7))
        _ = 1 / 0
    assert [sentence.text for sentence in everything(store)] == ["Das Haus", "the house"]
    with store.reading() as reader:
        assert reader.state() == State()


def test_reader_sees_what_there_was_when_it_began(store: SentenceStore) -> None:
    with store.reading() as reader:
        assert reader.count() == 2
        put(store, [("fr", "la maison")], 2)
        assert reader.count() == 2
        assert len(everything(store)) == 3


def test_what_changed_since_a_version(store: SentenceStore) -> None:
    put(store, [("fr", "la maison")], 2)
    with store.writing() as (_, writer):
        writer.delete([0])
        writer.record_removal([0, 9], 3)
    with store.reading() as reader:
        # Sentence n came with version n, and 0 and 9 went with version 3.
        assert sorted(reader.changed(1)) == [0, 2, 9]
        assert sorted(reader.changed(2)) == [0, 9]
        assert sorted(reader.changed(3)) == []
        assert [place.id for place in reader.places(0)] == [1, 2]


def test_counts_of_languages(store: SentenceStore) -> None:
    for changes in [{"de": 2, "en": 1}, {"de": -2, "fr": 4}]:
        with store.writing() as (_, writer):
            writer.change_counts(changes)
    with store.writing() as (reader, writer):
        assert (reader.languages(), writer.total()) == ({"en": 1, "fr": 4}, 5)


def test_means_come_back_to_the_bit(store: SentenceStore) -> None:
    mean = np.array([0.1, -2e-30, 3], np.float32)
    with store.writing() as (_, writer):
        writer.change_counts({"de": 3})
        writer.set_mean("fr", -mean)
        writer.set_mean("de", mean)
    with store.reading() as reader:
        found = reader.means()
        assert (list(found), reader.languages()) == (["de", "fr"], {"de": 3})
    np.testing.assert_array_equal(found["de"], mean)
    np.testing.assert_array_equal(found["fr"], -mean)


def test_folder_at_rest_holds_one_file(store: SentenceStore) -> None:
    """Copying the folder copies everything: no journal lies beside the file."""
    assert [path.name for path in store.path.parent.iterdir()] == ["sentences.db"]


def test_odd_folder_names(tmp_path: Path) -> None:
    folder = tmp_path / "100% größer? #1"
    folder.mkdir()
    assert everything(SentenceStore.create(folder / "sentences.db", State())) == []
    assert [path.name for path in folder.iterdir()] == ["sentences.db"]


def test_missing_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sentences\.db is missing"):
        SentenceStore(tmp_path / "sentences.db")


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "sentences.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match=r"sentences\.db cannot be used: file is not a database"):
        everything(SentenceStore(path))


def test_truncated_store(store: SentenceStore) -> None:
    put(store, [("en", "word " * 50)] * 200, 2)
    with open(store.path, "r+b") as file:
        file.truncate(20_000)
    with pytest.raises(InputError, match=r"sentences\.db cannot be used: database disk image"):
        everything(SentenceStore(store.path))


def test_a_journal_where_nobody_may_write(
    store: SentenceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change is still in the journal: without it, the file may be half of something."""
    with store.reading():  # keeps the journal from being emptied by the one that writes
        put(store, FIRST, 2)
        monkeypatch.setattr("os.access", lambda *_: False)
        with pytest.raises(InputError, match="was not closed when its last change was made"):
            SentenceStore(store.path)
    assert len(everything(SentenceStore(store.path))) == 4


def test_store_that_was_replaced_is_not_mixed_with_the_old_index(
    store: SentenceStore,
) -> None:
    store.path.unlink()
    SentenceStore.create(store.path, State())
    with pytest.raises(MismatchError, match="was removed or replaced since it was loaded"):
        everything(store)
    store.path.unlink()
    with pytest.raises(MismatchError, match="was removed or replaced since it was loaded"):
        everything(store)
