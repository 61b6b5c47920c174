"""Tags to spans and back, and what is refused by line and column."""

from __future__ import annotations

from pathlib import Path

import pytest

from aligners.labels import read_tagged, spans_of, tags_of
from aligners.projection import Span
from bitext.errors import InputError, UnknownNameError

# One sentence of six words: PER on 0-2, PER on 3 right behind it, ORG on 5.
SPANS = [Span(0, 3, "PER"), Span(3, 4, "PER"), Span(5, 6, "ORG")]
TAGS = {
    "iob2": "B-PER I-PER I-PER B-PER O B-ORG",
    "bilou": "B-PER I-PER L-PER U-PER O U-ORG",
    "bioes": "B-PER I-PER E-PER S-PER O S-ORG",
}


@pytest.mark.parametrize("scheme", sorted(TAGS))
def test_tags_and_spans_say_the_same(scheme: str) -> None:
    assert spans_of(TAGS[scheme].split(), scheme) == SPANS
    assert tags_of(SPANS, 6, scheme) == TAGS[scheme].split()


@pytest.mark.parametrize(
    ("scheme", "tags", "place", "message"),
    [
        ("iob2", "O I-PER", 1, "tag 'I-PER' continues a span, but stands after 'O'"),
        ("iob2", "I-PER", 0, "continues a span, but stands after the start of the sentence"),
        ("iob2", "B-PER I-ORG", 1, "continues a span, but stands after 'B-PER'"),
        ("iob2", "B-", 0, "tag 'B-' is not of iob2: expected O, B-TYPE, I-TYPE"),
        ("iob2", "U-PER", 0, "tag 'U-PER' is not of iob2"),
        ("bilou", "B-PER O", 1, "tag 'O' stands where 'B-PER' must go on"),
        ("bilou", "B-PER", 0, "tag 'B-PER' must go on, but the sentence ends"),
        ("bilou", "U-PER L-PER", 1, "tag 'L-PER' continues a span, but stands after 'U-PER'"),
    ],
)
def test_tags_that_cannot_be_are_refused(
    tmp_path: Path, scheme: str, tags: str, place: int, message: str
) -> None:
    rows = [f"word\t{tag}" for tag in tags.split()]
    path = tmp_path / "x.conll"
    path.write_text("\n".join(["a\tO", "", *rows]), encoding="utf-8")
    with pytest.raises(InputError) as error:
        list(read_tagged(path, scheme=scheme))
    # the words of the second sentence begin at line 3; the tag stands behind "word" and a tab
    assert f"x.conll, line {3 + place}, column 6: " in str(error.value)
    assert message in str(error.value)


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="unknown scheme 'iob'; choose one of: bilou, bioes"):
        spans_of([], "iob")


def test_columns_are_chosen_and_blank_lines_part_sentences(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    path.write_text("\n\n1 Ann B-PER NNP\n2 left O VBD\n \n\n1 Bob B-PER NNP\n", encoding="utf-8")
    first, second = read_tagged(path, word_column=2, tag_column=3)
    assert (first.words, first.spans, first.line) == (("Ann", "left"), (Span(0, 1, "PER"),), 3)
    assert (second.words, second.line) == (("Bob",), 7)


def test_a_tab_makes_spaces_part_of_the_word(tmp_path: Path) -> None:
    path = tmp_path / "x.conll"
    path.write_text("New York\tB-LOC\n", encoding="utf-8")
    [sentence] = read_tagged(path)
    assert sentence.words == ("New York",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ann\n", r"line 1: 1 column\(s\), expected at least 2"),
        ("Ann O\nleft\t\n", "line 2: column 2 is empty"),
        ("\n\n", "has no sentence"),
        ("", "has no sentence"),
    ],
)
def test_lines_without_the_columns_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.conll"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        list(read_tagged(path))
