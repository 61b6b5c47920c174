"""Raw text into words: what a word is in several scripts, and where it stands."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitext.errors import InputError
from bitext.segmentation import segment


def texts(raw: str) -> list[str]:
    return [word.text for word in segment(raw)]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # UAX 29: an apostrophe or full stop between letters or digits does not break a word,
        # a hyphen does.
        ("Don't stop, 3.14!", ["Don't", "stop", ",", "3.14", "!"]),
        ("state-of-the-art", ["state", "-", "of", "-", "the", "-", "art"]),
        ("l’été, c'est…", ["l’été", ",", "c'est", "…"]),
        ("(a) 50% $5", ["(", "a", ")", "50", "%", "$", "5"]),
        # no spaces between words: ICU's dictionaries
        ("科学家一直猜想。", ["科学", "家", "一直", "猜想", "。"]),
        ("日本語の文章です", ["日本語", "の", "文章", "です"]),
        ("ภาษาไทยง่ายมาก", ["ภาษา", "ไทย", "ง่าย", "มาก"]),
        ("안녕하세요 세계", ["안녕하세요", "세계"]),
        # right to left: words in the order of the text, not of the screen
        ("السلام عليكم", ["السلام", "عليكم"]),
        ("नमस्ते दुनिया।", ["नमस्ते", "दुनिया", "।"]),
        # a family joined by zero-width joiners, two flags, a skin tone: one word each
        ("👩‍👩‍👧 🇩🇪🇫🇷👍🏽", ["👩‍👩‍👧", "🇩🇪", "🇫🇷", "👍🏽"]),
        # a combining mark belongs to its letter; without one, it stands alone
        ("e\u0301te\u0301", ["e\u0301te\u0301"]),
        ("a \u0301b", ["a", "\u0301", "b"]),
    ],
)
def test_words_of_many_scripts(raw: str, expected: list[str]) -> None:
    assert texts(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        "\t\r\n",
        "\u00a0\u3000\u2028",
        "\x00\x07\x1b",
        "\u200b\u200d\ufeff",
        "\u200f \u202b",
    ],
)
def test_spaces_controls_and_marks_of_direction_are_no_words(raw: str) -> None:
    assert segment(raw) == []
    assert texts(f"a {raw} b") == ["a", "b"]


def test_a_mark_of_direction_stays_with_the_letter_it_follows() -> None:
    assert texts("a\u200f b") == ["a\u200f", "b"]  # rule WB4


def test_offsets_count_code_points() -> None:
    # "👍" and "𐐀" are one code point each, but two units of UTF-16, in which ICU counts.
    words = segment("👍 𐐀b c")
    assert [(word.start, word.end) for word in words] == [(0, 1), (2, 4), (5, 6)]


@pytest.mark.parametrize("code", ["D800", "DFFF"])
def test_half_a_surrogate_pair_is_refused_by_its_place(code: str) -> None:
    with pytest.raises(InputError) as caught:
        segment("ab " + chr(int(code, 16)))
    assert str(caught.value) == f"U+{code} at character 4 is half of a surrogate pair, not text"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_words_stand_where_they_say_in_order_and_leave_out_only_the_invisible(raw: str) -> None:
    end = 0
    left_out = ""
    for word in segment(raw):
        assert word.start >= end
        assert raw[word.start : word.end] == word.text != ""
        left_out += raw[end : word.start]
        end = word.end
    left_out += raw[end:]
    assert {unicodedata.category(character)[0] for character in left_out} <= {"Z", "C"}
    assert not {unicodedata.category(character) for character in left_out} & {"Cn", "Co"}
