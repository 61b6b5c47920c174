"""The sentences behind an index: in one transaction, streamed, and refused when damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bitext.errors import InputError, MismatchError
from retrieval.store import Sentence, SentenceStore

FIRST = [("de", "Das Haus"), ("en", "the house")]


@pytest.fixture
def store(tmp_path: Path) -> SentenceStore:
    made = SentenceStore.create(tmp_path / "sentences.db")
    with made.adding(0) as transaction:
        transaction.add(FIRST)
    return made


def test_sentences_by_id(store: SentenceStore) -> None:
    assert store.sentences([1, 0, 1, 77]) == {
        0: Sentence(0, "de", "Das Haus"),
        1: Sentence(1, "en", "the house"),
    }


def test_every_character_comes_back(store: SentenceStore) -> None:
    texts = ["नमस्ते", "👩‍👩‍👧", "a\tb\nc", "e\u0301", "", "' OR 1=1 --", "مرحبا", "x" * 100_000]
    with store.adding(2) as transaction:
        transaction.add([("und", text) for text in texts])
    assert [sentence.text for sentence in store.read(10)][2:] == texts


def test_more_ids_than_one_statement_takes(store: SentenceStore) -> None:
    with store.adding(2) as transaction:
        transaction.add([("en", str(number)) for number in range(2, 1500)])
    found = store.sentences(range(1499, -1, -1))
    assert len(found) == 1500
    assert found[1234].text == "1234"


def test_failed_transaction_adds_nothing(store: SentenceStore) -> None:
    with pytest.raises(ZeroDivisionError), store.adding(2) as transaction:
        transaction.add([("en", "never")])
        _ = 1 / 0
    assert [sentence.text for sentence in store.read(100)] == ["Das Haus", "the house"]


def test_leftovers_beyond_the_count_are_absent_and_overwritten(store: SentenceStore) -> None:
    """An addition whose manifest was not written: two sentences are there, one counts."""
    store.check(1)
    assert list(store.read(1)) == [Sentence(0, "de", "Das Haus")]
    with store.adding(1) as transaction:
        transaction.add([("fr", "la maison")])
    assert [sentence.text for sentence in store.read(2)] == ["Das Haus", "la maison"]


def test_means_come_back_to_the_bit(store: SentenceStore) -> None:
    mean = np.array([0.1, -2e-30, 3], np.float32)
    with store.adding(2) as transaction:
        transaction.set_mean("de", np.zeros(3, np.float32))
    with store.adding(2) as transaction:
        transaction.set_mean("de", mean)
        transaction.set_mean("fr", -mean)
    found = store.means({"de": "digest", "xx": "digest"})
    assert list(found) == ["de"]
    np.testing.assert_array_equal(found["de"], mean)


def test_folder_at_rest_holds_one_file(store: SentenceStore) -> None:
    """Copying the folder copies everything: no journal lies beside the file."""
    assert [path.name for path in store.path.parent.iterdir()] == ["sentences.db"]


def test_odd_folder_names(tmp_path: Path) -> None:
    folder = tmp_path / "100% größer? #1"
    folder.mkdir()
    SentenceStore.create(folder / "sentences.db").check(0)
    assert [path.name for path in folder.iterdir()] == ["sentences.db"]


def test_incomplete_store(store: SentenceStore) -> None:
    with pytest.raises(InputError, match=r"sentences\.db is incomplete: 2 sentences of 3"):
        store.check(3)


def test_missing_store(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sentences\.db is missing"):
        SentenceStore(tmp_path / "sentences.db")


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "sentences.db"
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(InputError, match=r"sentences\.db cannot be used: file is not a database"):
        SentenceStore(path).check(1)


def test_truncated_store(store: SentenceStore) -> None:
    with store.adding(2) as transaction:
        transaction.add([("en", "word " * 50)] * 200)
    with open(store.path, "r+b") as file:
        file.truncate(20_000)
    with pytest.raises(InputError, match=r"sentences\.db cannot be used: database disk image"):
        SentenceStore(store.path).check(202)


def test_store_that_was_replaced_is_not_mixed_with_the_old_index(
    store: SentenceStore,
) -> None:
    store.path.unlink()
    SentenceStore.create(store.path)
    with pytest.raises(MismatchError, match="was removed or replaced since it was loaded"):
        store.sentences([0])
    store.path.unlink()
    with pytest.raises(MismatchError, match="was removed or replaced since it was loaded"):
        store.sentences([0])
