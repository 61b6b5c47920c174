"""One side of a mining: different sentences by row, and the lines they stood on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitext.errors import InputError, MismatchError
from retrieval.mining.corpus import EMPTY, Corpus, write_corpus

LINES = ["b", "a", "", "b", "Grüße", "   ", "a"]


def test_a_sentence_is_kept_once_where_it_stood_first(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c", LINES, name="f")
    assert list(corpus) == ["b", "a", "Grüße"]
    assert corpus.numbers.tolist() == [0, 1, 4]
    assert corpus.rows.tolist() == [0, 1, EMPTY, 0, 2, EMPTY, 1]
    assert (corpus.record.lines, corpus.record.empty, len(corpus)) == (7, 2, 3)


def test_repeats_may_stay(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "c", LINES, name="f", repeats=True)
    assert list(corpus) == ["b", "a", "b", "Grüße", "a"]
    assert corpus.numbers.tolist() == [0, 1, 3, 4, 6]
    assert corpus.rows.tolist() == [0, 1, EMPTY, 2, 3, EMPTY, 4]


def test_the_same_lines_find_what_is_there(tmp_path: Path) -> None:
    write_corpus(tmp_path / "c", LINES, name="f")
    before = (tmp_path / "c" / "lines.txt").stat()
    assert list(write_corpus(tmp_path / "c", LINES, name="f")) == ["b", "a", "Grüße"]
    assert (tmp_path / "c" / "lines.txt").stat() == before


@pytest.mark.parametrize("other", [[*LINES, "c"], LINES[:-1], ["a", "b", *LINES[2:]]])
def test_other_lines_are_refused(tmp_path: Path, other: list[str]) -> None:
    write_corpus(tmp_path / "c", LINES, name="f")
    with pytest.raises(MismatchError, match="f is not what .* was made of; say --restart"):
        write_corpus(tmp_path / "c", other, name="f")


def test_another_way_with_repeats_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path / "c", LINES, name="f")
    with pytest.raises(MismatchError, match="begun without repeated lines"):
        write_corpus(tmp_path / "c", LINES, name="f", repeats=True)


@pytest.mark.parametrize("lines", [[], ["", " "]])
def test_nothing_to_mine_is_refused_and_leaves_nothing(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(InputError, match="f has no sentence"):
        write_corpus(tmp_path / "c", lines, name="f")
    assert list(tmp_path.iterdir()) == []


def test_a_cut_file_is_told(tmp_path: Path) -> None:
    write_corpus(tmp_path / "c", LINES, name="f")
    (tmp_path / "c" / "lines.txt").write_bytes(b"b\n")
    with pytest.raises(InputError, match=r"c is damaged .*2 bytes, not 12"):
        Corpus.open(tmp_path / "c")


_line = st.text(st.characters(blacklist_characters="\n\r\0", blacklist_categories=["Cs"]))


@given(lines=st.lists(st.one_of(_line, st.sampled_from(["a", "b", ""]))))
def test_lines_can_be_made_of_rows_again(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str]
) -> None:
    if not any(line.strip() for line in lines):
        return
    corpus = write_corpus(tmp_path_factory.mktemp("c") / "c", lines, name="f")
    again = ["" if row == EMPTY else corpus[row] for row in corpus.rows.tolist()]
    assert again == [line if line.strip() else "" for line in lines]
    assert len(set(corpus)) == len(corpus)
    assert np.all(np.diff(corpus.numbers) > 0)
