"""Filters of pairs, their scores worked by hand; ``bitext filter`` through the command."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bitext.bridges import coverage_by
from bitext.errors import InputError, UnknownNameError
from bitext.types import SentencePair
from encoders.registry import default_registry
from retrieval.filters.filters import (
    CHUNK,
    DEFAULT_FILTERS,
    FILTERS,
    Covered,
    FilterChain,
    fold,
    parse_filter,
)
from retrieval.filters.numbers import numbers_in


def score(name: str, source: str, target: str) -> float:
    (found,) = parse_filter(name).score([SentencePair(source, target)])
    return found


@pytest.mark.parametrize(
    ("name", "source", "target", "expected"),
    [
        ("short", "Ja!", "I do 2.", 2),  # letters J a
        ("short", "...", "no", 0),
        ("long", "abc", "a b c d", 7),
        ("length_ratio", "a" * 10, "b" * 30, 2.0),  # (30 + 10) / (10 + 10)
        ("length_ratio:extra=0", "a b c", "abcdef", 2.0),  # spaces do not count
        ("length_ratio:extra=0", "天气很好", "the weather", 1.25),  # 10 / (4 * 2)
        ("length_ratio:extra=0,unit=words", "a b c d e f", "a b", 3.0),
        ("length_ratio:extra=0", "", "a", float("inf")),
        ("length_ratio:extra=0", "", "", 1.0),
        # "abcd": ab bc cd; "abxcd": ab bx xc cd; two of both in common, 2 * 2 / (3 + 4)
        ("copies", "ab cd", "ABX-cd", 4 / 7),
        ("copies", "The same.", "the  SAME", 1.0),
        ("copies", "1984", "1984", 0.0),
        ("copies", "a", "a", 1.0),
        ("copies", "", "", 0.0),
        ("numbers", "in 1999 and 2001", "1999", 2 / 3),  # one of both in common, 2 / (2 + 1)
        ("numbers", "30 30", "30", 2 / 3),  # as often as they come
        ("numbers", "7 cats", "seven cats", 1.0),  # too small to count
        ("numbers:above=-1", "7 cats", "seven cats", 0.0),
        ("numbers", "none", "none", 1.0),
        ("script:source=cyrillic,target=latin", "дом is", "house", 3 / 5),
        ("script:source=cjk+hiragana,target=latin", "日本の", "Japan 3", 1.0),
        ("script:source=latin,target=latin", "123", "ok", 1.0),
    ],
)
def test_scores_by_hand(name: str, source: str, target: str, expected: float) -> None:
    assert score(name, source, target) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "stays", "goes"),
    [
        ("short", 1, 0),
        ("long", 1000, 1001),
        ("copies", 0.8, 0.81),
        ("length_ratio:most=1.5", 1.5, 1.51),
        ("numbers", 0.5, 0.49),
        ("repeats", 0, 1),
        ("fanout:most=1", 1, 2),
    ],
)
def test_what_is_accepted(name: str, stays: float, goes: float) -> None:
    made = parse_filter(name)
    assert made.accept(stays)
    assert not made.accept(goes)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("1,000 1.000 1 000 1\u00a0000 1'000 1\u202f000", ["1000"] * 6),
        ("1,234,567.80 and 1.234.567,8", ["1234567.8"] * 2),
        ("3.14 3,14 3.140", ["3.14", "3.14", "3140"]),  # before three digits: a sign of thousands
        ("12.5.2020", ["12", "5", "2020"]),
        ("2020, 2021", ["2020", "2021"]),
        ("007 0.50 0", ["7", "0.5", "0"]),
        ("१,०००", ["1000"]),  # Devanagari
        ("１９８４年", ["1984"]),  # full width
        ("٣٫١٤", ["3.14"]),  # Arabic, with its decimal sign
        ("x² no", []),  # a power is no decimal digit
        ("10 000 20", ["10000", "20"]),
        ("", []),
    ],
)
def test_numbers_of_every_spelling(text: str, numbers: list[str]) -> None:
    assert numbers_in(text) == numbers


def test_repeats_count_over_chunks() -> None:
    made = parse_filter("repeats")
    first = made.score([SentencePair("Hallo!", "Hello"), SentencePair("hallo", "Hello.")])
    again = made.score([SentencePair("HALLO", "hello"), SentencePair("Hello", "Hallo")])
    assert (list(first), list(again)) == ([0, 1], [2, 0])


def test_fanout_by_hand() -> None:
    pairs = [("Ja", "Yes"), ("Ja", "Yes"), ("Ja", "Sure"), ("Ja", "Okay"), ("Doch", "Okay")]
    # the second is a repeat; then one other target came before, then two; then one other source
    found = parse_filter("fanout").score([SentencePair(*pair) for pair in pairs])
    assert list(found) == [0, 0, 1, 2, 1]


def test_language() -> None:
    german, english = "Das alte Haus hat einen kleinen Garten.", "The old house has a garden."
    made = parse_filter("language:source=de,target=en")
    scores = made.score(
        [SentencePair(german, english), SentencePair(english, english),
         SentencePair(german, german)]
    )  # fmt: skip
    assert [made.accept(score) for score in scores] == [True, False, False]
    assert scores[0] > 0.5
    with pytest.raises(UnknownNameError, match="unknown language 'deutsch'"):
        parse_filter("language:source=deutsch,target=en")


def test_coverage_comes_from_outside() -> None:
    made = Covered(lambda pairs: [len(pair.source) / 10 for pair in pairs], least=0.5)
    chain = FilterChain({"coverage": made})
    verdicts = chain.judge([SentencePair("abcdef", "x"), SentencePair("abc", "x")])
    assert [(v.filter, v.score) for v in verdicts] == [(None, 0), ("coverage", 0.3)]


def test_a_chain_says_who_dropped_what() -> None:
    chain = FilterChain({name: parse_filter(name) for name in ("short", "repeats", "copies")})
    pairs = [("Haus", "house"), ("...", "!"), ("Haus", "house"), ("...", "!"), ("Berlin", "berlin")]
    done = list(chain.run(SentencePair(*pair) for pair in pairs))
    # the second "..." is not seen by `repeats`, as `short` has dropped it
    assert [verdict.filter for _, verdict in done] == [None, "short", "repeats", "short", "copies"]
    assert (chain.kept, chain.dropped) == (1, {"short": 2, "repeats": 1, "copies": 1})


def test_chunks_do_not_change_verdicts() -> None:
    chain = FilterChain({"repeats": parse_filter("repeats")})
    pairs = [SentencePair(f"a {n % (CHUNK + 1)}", "b") for n in range(2 * CHUNK + 2)]
    gone = [verdict.filter for _, verdict in chain.run(pairs)]
    assert gone == [None] * (CHUNK + 1) + ["repeats"] * (CHUNK + 1)


def test_sides_may_be_words() -> None:
    (found,) = parse_filter("copies").score([SentencePair(["The", "same", "."], "the same")])
    assert found == 1


def test_folding() -> None:
    assert fold("It's 5 o'clock! ＡＢ Straße") == "its5oclockabstrasse"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("copy", "unknown filter 'copy'; choose one of: copies"),
        ("copies:least=1", "unknown setting of copies 'least'; choose one of: most"),
        ("copies:most=many", "copies: most=many: input should be a valid number"),
        ("copies:most=2", "copies: most=2: input should be less than or equal to 1"),
        ("length_ratio:unit=bytes", "length_ratio: unit=bytes: input should be 'characters'"),
        ("copies:most", "expected 'filter:setting=value,...', got 'copies:most'"),
        ("script:source=latin", "filter script needs target, as in script:target=..."),
    ],
)
def test_filters_that_cannot_be(text: str, sentence: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=sentence):
        parse_filter(text)


def test_every_default_is_a_filter() -> None:
    assert set(DEFAULT_FILTERS) < set(FILTERS)


# --- bitext filter

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(call: Run) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        return call("filter", *arguments)

    return run


LINES = [
    "1.2\tDas Haus ist alt.\tThe house is old.",
    "1.1\tDas Haus ist alt.\tThe house is old!",
    "1.1\tWindows 95\tWindows 95",
    "1.0\tIm Jahr 1999\tIn the year 2001",
]


@pytest.fixture
def mined(tmp_path: Path) -> Path:
    path = tmp_path / "mined.tsv"
    path.write_text("".join(line + "\n" for line in LINES))
    return path


def test_kept_lines_come_out_as_they_were(run: Run, mined: Path, tmp_path: Path) -> None:
    code, out, err = run(mined, "--dropped", tmp_path / "dropped")
    assert (code, out) == (0, LINES[0] + "\n")
    assert err.splitlines()[0] == "kept 1 of 4 pairs; dropped by"
    counts = dict(line.split() for line in err.splitlines()[1:])
    assert list(counts) == list(DEFAULT_FILTERS)
    assert {name: n for name, n in counts.items() if n != "0"} == {
        "copies": "1", "numbers": "1", "repeats": "1",
    }  # fmt: skip
    assert (tmp_path / "dropped").read_text().splitlines() == [
        f"repeats\t1\t{LINES[1]}", f"copies\t1\t{LINES[2]}", f"numbers\t0\t{LINES[3]}",
    ]  # fmt: skip


def test_dropped_lines_are_packed_and_never_replace_the_input(
    run: Run, mined: Path, tmp_path: Path
) -> None:
    run(mined, "--dropped", tmp_path / "dropped.gz")
    assert len(gzip.decompress((tmp_path / "dropped.gz").read_bytes()).splitlines()) == 3
    code, out, err = run(mined, "--dropped", mined)
    assert (code, out) == (2, "")
    assert f"{mined} is read: write the result to another file" in err


def test_chosen_filters_and_a_report_as_json(run: Run, mined: Path) -> None:
    code, out, err = run(mined, "--filters", "repeats copies:most=1", "--json")
    assert (code, out.splitlines()) == (0, [LINES[0], LINES[2], LINES[3]])
    assert json.loads(err) == {"kept": 3, "dropped": {"repeats": 1, "copies": 0}}


def test_languages(run: Run, mined: Path) -> None:
    _, out, _ = run(mined, "--filters", "repeats", "--languages", "de-en")
    assert LINES[0] in out
    _, out, err = run(mined, "--filters", "repeats", "--languages", "en-de", "--json")
    assert LINES[0] not in out
    assert json.loads(err)["dropped"]["language"] >= 1


def test_coverage_of_a_model(run: Run, tmp_path: Path) -> None:
    """Two translations, and the target of one under the source of the other."""
    lines = [
        "Das alte Haus hat einen kleinen Garten.\tThe old house has a small garden.",
        "Ich trinke jeden Morgen eine Tasse Kaffee.\tI drink a cup of coffee every morning.",
        "Das alte Haus hat einen kleinen Garten.\tI drink a cup of coffee every morning.",
    ]
    path = tmp_path / "pairs"
    path.write_text("".join(line + "\n" for line in lines))
    told = "--filters", "", "--coverage", 0.5, "--json", "--dropped", tmp_path / "dropped"
    code, out, err = run(path, *told)
    assert (code, out.splitlines()) == (0, lines[:2])
    assert json.loads(err) == {"kept": 2, "dropped": {"coverage": 1}}
    name, score, *pair = (tmp_path / "dropped").read_text().rstrip().split("\t")
    [own] = coverage_by(default_registry().encoder("bundled"))([SentencePair(*pair)])
    assert name == "coverage"
    assert float(score) == pytest.approx(own, abs=1e-4)
    # It looks last: what others drop is not aligned.
    code, out, err = run(path, "--filters", "long:most=1", "--coverage", 1, "--json")
    assert json.loads(err)["dropped"] == {"long": 3, "coverage": 0}


@pytest.mark.parametrize(
    ("arguments", "content", "sentence"),
    [
        (["--model", "bundled"], "a\tb\n", "--model is for --coverage, which is not given"),
        (["--coverage", "0.3", "--model", "nobody/nothing"], "a\tb\n", "nobody/nothing"),
        ([], "a\tb\nc\n", "line 2: expected 2 columns, as before, found 0 tabs"),
        ([], "a\n", "line 1: expected 'source TAB target', found 0 tabs"),
        ([], "", "is empty"),
        (["--filters", ""], "a\tb\n", "--filters names no filter"),
        (["--filters", "copies copies:most=1"], "a\tb\n", "filter copies is given twice"),
        (["--languages", "de"], "a\tb\n", "--languages takes two joined by a hyphen, got 'de'"),
    ],
)
def test_wrong_input_is_one_sentence(
    run: Run, tmp_path: Path, arguments: list[str], content: str, sentence: str
) -> None:
    path = tmp_path / "in.tsv"
    path.write_text(content)
    code, _, err = run(path, *arguments, "--dropped", tmp_path / "dropped")
    assert (code, err.count("\n")) == (2, 1)
    assert sentence in err
    assert not (tmp_path / "dropped").exists()
