"""``bitext evaluate alignment``: formats, intervals, and the test of two systems."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bitext.errors import InputError
from bitext.formats.files import FORMATS
from bitext.formats.records import AlignedPair
from bitext.gold import read_gold_of
from bitext.types import Alignment, GoldAlignment, SentencePair

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


@pytest.fixture
def run(call: Run) -> Run:
    """Run ``bitext`` with arguments; its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        return call("evaluate", "alignment", *arguments)

    return run


# Three pairs of three words a side. |A| = 3, |S| = 3, |A & S| = 1, |A & P| = 2: AER 1 - 3/6, P 2/3,
# R 1/3. The last pair has no link at all, which formats that skip it must not lose.
FOUND = ["0-0 1-1", "0-2", ""]
GOLD = ["0-0 1p1", "0-1", "2-2"]
EMPTY_GOLD = ["0-0 1p1", "0-1 2-2", ""]  # the same counts, and no gold in the last pair
SCORED = "AER 50.00  P 66.67  R 33.33  F1 44.44  (3 pairs, 3 links) | bitext"


def in_format(name: str, lines: list[str]) -> str:
    """The file of ``lines`` in another format."""
    texts = []
    for number, line in enumerate(lines, start=1):
        gold = GoldAlignment.parse(line)
        links = Alignment.of((link, 1.0) for link in gold.possible)
        pair = AlignedPair(links, (["a", "b", "c"],) * 2, gold.possible - gold.sure)
        texts.append(FORMATS[name].write(pair, number, FORMATS[name].first_word))
    return "".join(texts).removesuffix("\n")


@pytest.mark.parametrize("name", FORMATS)
def test_links_in_every_format_seen_by_the_file(run: Run, write: Write, name: str) -> None:
    found = write("links", in_format(name, FOUND))
    code, out, err = run(found, write("gold", *GOLD))
    assert (code, err) == (0, "")
    assert out.startswith(SCORED)
    assert out.endswith("| gold from 0\n")
    assert run(found, write("gold", *GOLD), "--format", name)[1] == out


@pytest.mark.parametrize("name", ["talp", "naacl", "jsonl"])
def test_gold_in_every_format_that_tells_sure_from_possible(
    run: Run, write: Write, name: str
) -> None:
    gold = write("gold", in_format(name, EMPTY_GOLD))
    out = run(write("links", *FOUND), gold)[1]
    assert out.startswith(SCORED)
    assert out.endswith("| gold from 0\n" if name == "talp" else f"| gold {name}\n")
    assert run(write("links", *FOUND), gold, "--gold-format", name)[1] == out


def test_gold_of_giza_is_all_sure(run: Run, write: Write) -> None:
    gold = write("gold", in_format("a3", GOLD))
    # The possible link becomes sure: |S| = 4, |A & S| = 2, and AER 1 - 4/7.
    assert run(write("links", *FOUND), gold)[1].startswith("AER 42.86  P 66.67  R 50.00")


def test_both_files_may_skip_pairs(run: Run, write: Write) -> None:
    found, gold = (write(n, in_format("naacl", v)) for n, v in (("a", FOUND), ("b", GOLD)))
    assert run(found, gold)[1].startswith(SCORED)
    # Either may go further. Turned round, |A| = 4, |S| = 3, and two are in both: AER 1 - 4/7.
    assert run(gold, found)[1].startswith("AER 42.86  P 50.00  R 66.67  F1 57.14  (3 pairs, 4")


def test_links_that_count_from_one(run: Run, write: Write) -> None:
    found = write("links", "1-1 2-2", "1-3", "")
    assert run(found, write("gold", *GOLD), "--index", 1)[1].startswith(SCORED)


def test_pairs_that_do_not_count_from_one(run: Run, write: Write) -> None:
    found, gold = write("links", "0-0"), write("gold", "18 1 1 S")
    code, _, err = run(found, gold)
    assert code == 2
    assert "gold, line 1: pair 18, but the sentence pairs are 1 to 1" in err
    assert run(found, gold, "--first-pair", 18)[1].startswith("AER 0.00")


@pytest.mark.parametrize(
    ("lines", "options", "sentence"),
    [
        (["0-0", "1p1"], [], "links, line 2: expected links such as '0-0 1-2', got '1p1'"),
        (["0-0"], [], "links and .*gold have 1 and 3 lines; they must have one a pair"),
        (FOUND, ["--format", "giza"], "unknown format 'giza'; choose one of: a3, jsonl"),
        (FOUND, ["--gold-format", "naacl"], "gold, line 1: expected a link such as '1 3 4 S 0.9'"),
        (FOUND, ["--resamples", 0], "resamples must be at least 1, got 0"),
        (FOUND, ["--confidence", 100], "confidence must be between 0 and 100, got 100"),
        (["1 1 1", "4 1 1"], [], "links, line 2: pair 4, but the sentence pairs are 1 to 3"),
        (["1 1 1"], ["--index", 0], "the words of naacl count from 1, never 0"),
        ([in_format("a3", FOUND[:2])], [], "have 2 and 3 pairs; they must have the same"),
    ],
)
def test_what_is_refused(
    run: Run, write: Write, lines: list[str], options: list[object], sentence: str
) -> None:
    code, out, err = run(write("links", *lines), write("gold", *GOLD), *options)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert re.search(sentence, err)


def test_gold_of_known_pairs_in_other_formats(write: Write) -> None:
    # naacl skips the last pair, which the sentences tell of; what it counts from is no question
    pairs = [SentencePair(["a", "b", "c"], ["a", "b", "c"])] * 3
    gold = write("gold", in_format("naacl", EMPTY_GOLD))
    assert [str(g) for g in read_gold_of(gold, None, pairs)] == EMPTY_GOLD
    with pytest.raises(InputError, match="the words of naacl count from 1, never 0"):
        read_gold_of(gold, 0, pairs)
    giza = write("giza", in_format("a3", GOLD))
    with pytest.raises(InputError, match="giza has 3 alignments for 2 sentence pairs; it must"):
        read_gold_of(giza, None, pairs[:2])


# --- intervals and tests

SAME = ["0-0", "0-0 0-1", "1-1"] * 4


def test_an_interval_stands_behind_each_measure(run: Run, write: Write) -> None:
    # Every pair is as good as the next: half of its links are right, and half of gold is found.
    found, gold = write("links", *["0-0 0-1"] * 5), write("gold", *["0-0 1-1"] * 5)
    half = "50.00 [50.00, 50.00]"
    out = run(found, gold, "--confidence", 90)[1]
    assert out.startswith(f"AER {half}  P {half}  R {half}  F1 {half}  (5 pairs, 10 links) | ")
    assert out.endswith("| gold from 0 | 90 % of 1000 resamples, seed 0\n")
    record = json.loads(run(found, gold, "--seed", 3, "--json")[1])
    assert record["aer"] == 0.5
    assert record["intervals"]["f1"] == [0.5, 0.5]
    assert (record["confidence"], record["resamples"], record["seed"]) == (95.0, 1000, 3)


def test_two_systems_are_compared(run: Run, write: Write) -> None:
    # A is right in all pairs, B in none: a difference of -100 in AER, in every resample. Of the
    # exchanges only 2 in 2 ** 12 leave as large a difference, so that with 99 of them the smallest
    # p-value, 1 in 100, or the next one is found.
    good, bad = write("good", *["0-0"] * 12), write("bad", *["1-1"] * 12)
    arguments = [good, write("gold", *["0-0"] * 12), "--against", bad, "--resamples", 99]
    code, out, err = run(*arguments)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith(f"{good}: AER 0.00 [0.00, 0.00]")
    assert lines[1].startswith(f"{bad}: AER 100.00 [100.00, 100.00]")
    assert lines[3].startswith("AER -100.00 [-100.00, -100.00]  p 0.0100 (bootstrap)  0.01")
    assert lines[6].endswith("better in 100.0 % of resamples")
    record = json.loads(run(*arguments, "--json")[1])
    assert record["hypothesis"]["aer"] == 0
    assert record["against"]["aer"] == 1
    assert record["difference"]["aer"]["difference"] == -1
    assert record["difference"]["aer"]["better"] == 1


def test_a_second_system_of_other_length_is_refused(run: Run, write: Write) -> None:
    found, gold = write("links", *SAME), write("gold", *SAME)
    code, _, err = run(found, gold, "--against", write("other", "0-0"))
    assert code == 2
    assert re.search("other and .*gold have 1 and 12 lines", err)
