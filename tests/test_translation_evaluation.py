"""BLEU, chrF, TER: by hand, as sacreBLEU's command has them, and ``evaluate translation``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bitext.errors import InputError, MismatchError, UnknownNameError
from nmt.evaluation.evaluate import (
    compare_systems,
    published_bleu,
    tokenizers_here,
    translation_score,
)

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]

REFERENCE = [
    "The cat sat on the mat.",
    "Two men play football in the park.",
    "A woman reads a book.",
    "It's raining, isn't it?",
    "The old house has a red door.",
    "Children run over the green grass.",
]
OTHER_REFERENCE = [
    "A cat was sitting on a mat.",
    "Two men are playing football in the park.",
    "A woman is reading.",
    "Isn't it raining?",
    "There is a red door in the old house.",
    "Children are running across the lawn.",
]
FIRST = [
    "The cat is on the mat.",
    "two Men play football in a park.",
    "A woman reads.",
    "It is raining, isn't it?",
    "The old house has one red door.",
    "Kids run over green grass.",
]
SECOND = [
    "Cat on mat.",
    "Men play.",
    "A woman reads a book.",
    "",
    "The house is old and its door is red.",
    "Children run.",
]


@pytest.fixture
def run(call: Run) -> Run:
    """Run ``bitext evaluate translation``; its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        return call("evaluate", "translation", *arguments)

    return run


def sacrebleu(*arguments: object, seed: int = 12345) -> str:
    """What sacreBLEU's own command prints."""
    command = [sys.executable, "-m", "sacrebleu", *map(str, arguments)]
    environment = {**os.environ, "SACREBLEU_SEED": str(seed), "NO_COLOR": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stdout


# --- by hand


def test_the_scores_of_one_line_by_hand() -> None:
    # Of the hypothesis' n-grams the reference has 5 of 6, 3 of 5 (not "cat is", "is on"), 1 of 4
    # ("on the mat") and 0 of 3, which is smoothed to 1/2 of 3. Both have 6 words, so there is no
    # penalty: 100 (5/6 * 3/5 * 1/4 * 1/6)^(1/4) = 100 (1/48)^(1/4). One word of 6 must be edited.
    score = translation_score(["the cat is on the mat"], ["the cat sat on the mat"])
    assert score.bleu == pytest.approx(100 * (1 / 48) ** (1 / 4))
    assert score.ter == pytest.approx(100 / 6)
    assert score.lines == 1
    assert score.signatures["bleu"].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|")


def test_what_equals_its_reference_has_all() -> None:
    score = translation_score(REFERENCE, REFERENCE)
    assert score.bleu == pytest.approx(100)
    assert score.chrf == pytest.approx(100)
    assert score.ter == 0


def test_case_counts_unless_it_is_said_not_to() -> None:
    upper = [line.upper() for line in REFERENCE]
    cased = translation_score(upper, REFERENCE, metrics=("bleu", "chrf"))
    uncased = translation_score(upper, REFERENCE, metrics=("bleu", "chrf"), lowercase=True)
    assert cased.bleu < 20
    assert [uncased.bleu, uncased.chrf] == pytest.approx([100, 100])
    assert all("|case:lc|" in signature for signature in uncased.signatures.values())


def test_a_tokeniser_of_characters_sees_what_words_hide() -> None:
    # Without spaces the sentence is one word to 13a, and nothing matches; of its characters, all
    # but one do.
    hypothesis, reference = ["我喜欢吃苹果"], ["我喜欢吃苹果吗"]
    assert translation_score(hypothesis, reference, metrics=["bleu"]).bleu == 0
    by_character = translation_score(hypothesis, reference, metrics=["bleu"], tokenize="zh")
    # 6 characters for 7: every n-gram is right, the penalty is e^(1 - 7/6).
    assert by_character.bleu == pytest.approx(100 * 2.718281828 ** (-1 / 6))
    assert "|tok:zh|" in by_character.signatures["bleu"]


# --- by sacreBLEU's command


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        ([], {}),
        (["--lowercase", "--chrf-lowercase"], {"lowercase": True}),
        (["--tokenize", "intl"], {"tokenize": "intl"}),
        (["--tokenize", "char"], {"tokenize": "char"}),
    ],
)
def test_scores_and_signatures_are_those_of_sacrebleus_command(
    write: Write, options: list[str], asked: dict[str, object]
) -> None:
    references = [write("a", *REFERENCE), write("b", *OTHER_REFERENCE)]
    hypotheses = write("h", *FIRST)
    metrics = ["-m", "bleu", "chrf", "ter"]
    out = sacrebleu(*references, "-i", hypotheses, *metrics, *options, "-f", "text", "-w", "2")
    score = translation_score(FIRST, [REFERENCE, OTHER_REFERENCE], **asked)  # type: ignore[arg-type]
    assert "nrefs:2" in out
    assert str(score).splitlines() == [line.strip() for line in out.splitlines()]


def test_an_interval_is_that_of_sacrebleus_command(write: Write) -> None:
    files = (write("r", *REFERENCE), "-i", write("h", *FIRST))
    options = ["-m", "bleu", "chrf", "--confidence", "--confidence-n", 50, "-f", "text", "-w", 2]
    out = sacrebleu(*files, *options, seed=7)
    score = translation_score(FIRST, REFERENCE, metrics=("bleu", "chrf"), resamples=50, seed=7)
    assert str(score).splitlines() == [line.strip() for line in out.splitlines()]
    assert re.search(r"\(μ = \d+\.\d\d ± \d+\.\d\d\)", out)


def test_the_paired_bootstrap_is_that_of_sacrebleus_command(write: Write) -> None:
    files = [write("r", *REFERENCE), "-i", write("one", *FIRST), write("two", *SECOND)]
    options = ["-m", "bleu", "ter", "--paired-bs", "--paired-bs-n", 40, "-f", "latex", "-w", 2]
    out = sacrebleu(*files, *options, seed=3)
    score = compare_systems(
        {"one": FIRST, "two": SECOND},
        REFERENCE,
        metrics=("bleu", "ter"),
        resamples=40,
        seed=3,
    )
    for metrics in score.values():
        for one in metrics.metrics.values():
            assert f"{one.score:.2f} ({one.mean:.2f} ± {one.margin:.2f})" in out
    for one in score["two"].metrics.values():
        assert f"(p = {one.p_value:.4f})" in out
    assert score["one"].metrics["bleu"].p_value is None
    assert "|bs:40|seed:3|" in score["two"].signatures["bleu"]


def test_equal_systems_do_not_differ() -> None:
    # sacreBLEU's own test gives 1/41 here, as if the difference of 0 were a large one.
    score = compare_systems({"one": FIRST, "again": FIRST}, REFERENCE, resamples=40)
    assert [one.p_value for one in score["again"].metrics.values()] == [1, 1, 1]


def test_the_seed_of_the_environment_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SACREBLEU_SEED", "99")
    score = translation_score(FIRST, REFERENCE, metrics=["bleu"], resamples=5)
    assert "|seed:12345|" in score.signatures["bleu"]
    assert os.environ["SACREBLEU_SEED"] == "99"


# --- the published protocol


def test_the_published_protocol_lower_cases_normalises_and_tokenises() -> None:
    pytest.importorskip("sacremoses", reason="the published protocol needs sacremoses")
    # German quotation marks become plain ones, "Er" "er"; Moses parts the mark from the word. The
    # six tokens of both sides are then the same: " hallo " , sagt er .
    score = published_bleu(["„Hallo“, sagt er."], ['"hallo", sagt Er.'], "de")
    assert score.score == pytest.approx(100)
    cased = translation_score(["„Hallo“, sagt er."], ['"hallo", sagt Er.'], metrics=["bleu"])
    assert cased.bleu < 50
    assert "|case:lc|eff:no|tok:none|" in score.signature
    assert "|prepared:lower-cased,normalised,moses-de-" in score.signature


# --- what cannot be


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"metrics": ["blue"]}, UnknownNameError, "unknown metric 'blue'; choose one of: bleu,"),
        ({"tokenize": "x"}, UnknownNameError, "unknown tokeniser 'x'; choose one of: 13a, char"),
        ({"resamples": 1}, InputError, "resamples must be at least 2, got 1"),
        ({"resamples": 9, "seed": 0}, InputError, "the seed must be at least 1, got 0"),
    ],
)
def test_options_that_cannot_be(
    options: dict[str, object], error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        translation_score(FIRST, REFERENCE, **options)  # type: ignore[arg-type]


def test_a_tokeniser_that_would_be_fetched_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nmt.evaluation.evaluate.SACREBLEU_DIR", str(tmp_path))
    assert {"13a", "intl", "zh", "char", "none"} <= set(tokenizers_here())
    with pytest.raises(InputError, match=r"flores200 needs the file .*, which is not there"):
        translation_score(FIRST, REFERENCE, tokenize="flores200")


def test_unequal_numbers_of_lines_are_told() -> None:
    with pytest.raises(MismatchError, match="6 lines of hypotheses cannot be scored by 5 of ref"):
        translation_score(FIRST, REFERENCE[:5])
    with pytest.raises(MismatchError, match="5 lines of two cannot be scored by 6 of references"):
        compare_systems({"one": FIRST, "two": SECOND[:5]}, REFERENCE)
    with pytest.raises(InputError, match="there are no lines to score"):
        translation_score([], [])


# --- the command


def test_the_command_prints_a_line_a_metric(run: Run, write: Write) -> None:
    code, out, err = run(write("h", *FIRST), "--reference", write("r", *REFERENCE))
    assert (code, err) == (0, "")
    header, *rows = [line.split("\t") for line in out.splitlines()]
    assert header == ["system", "metric", "score", "signature"]
    score = translation_score(FIRST, REFERENCE)
    assert [row[1:] for row in rows] == [
        [one.name, f"{one.score:.2f}", one.signature] for one in score.metrics.values()
    ]


def test_systems_are_tested_against_the_first(run: Run, write: Write) -> None:
    files = write("one", *FIRST), write("two", *SECOND)
    reference = write("r", *REFERENCE)
    options = ["--reference", reference, "--bootstrap", 40, "--seed", 3, "--metric", "bleu"]
    code, out, _ = run(*files, *options)
    assert code == 0
    expected = compare_systems(
        {"one": FIRST, "two": SECOND}, REFERENCE, metrics=["bleu"], resamples=40, seed=3
    )["two"].metrics["bleu"]
    header, first, second = [line.split("\t") for line in out.splitlines()]
    assert header == ["system", "metric", "score", "mean and 95 %", "p", "signature"]
    assert first[4] == ""
    interval = f"{expected.mean:.2f} ± {expected.margin:.2f}"
    assert second[2:5] == [f"{expected.score:.2f}", interval, f"{expected.p_value:.4f}"]


def test_several_references_and_json(run: Run, write: Write) -> None:
    references = write("a", *REFERENCE), write("b", *OTHER_REFERENCE)
    options = [part for path in references for part in ("--reference", path)]
    code, out, _ = run(write("h", *FIRST), *options, "--json", "--metric", "chrf")
    record = json.loads(out)
    assert (code, record["lines"]) == (0, 6)
    expected = translation_score(FIRST, [REFERENCE, OTHER_REFERENCE], metrics=["chrf"])
    assert record["chrf"]["score"] == expected.chrf
    assert record["chrf"]["signature"].startswith("nrefs:2|")


def test_with_the_source_bad_translations_are_counted(run: Run, write: Write) -> None:
    # With the references as source, SECOND has a copy of five words, and nothing for a line of 20
    # characters: 30 is more than 2.5 times 10. "Men play." for 28 is not: 38 against 18.
    files = write("h", *SECOND), "--reference", write("r", *REFERENCE)
    source = "--source", write("s", *REFERENCE)
    _, out, err = run(*files, *source, "--metric", "chrf")
    name = files[0]
    assert err == f"{name}: 2 of 6 translations flagged: 1 empty, 1 copied, 1 short\n"
    _, out, err = run(*files, *source, "--metric", "chrf", "--json")
    assert err == ""
    assert json.loads(out)["guard"]["copied"] == 1


def test_the_command_has_the_published_protocol(run: Run, write: Write) -> None:
    pytest.importorskip("sacremoses", reason="the published protocol needs sacremoses")
    files = [write("one", *FIRST), write("two", *SECOND), "--reference", write("r", *REFERENCE)]
    options = ["--metric", "bleu", "--published", "en"]
    alone = run(*files, *options)[1].splitlines()
    tested = run(*files, *options, "--bootstrap", 20)[1].splitlines()
    expected = published_bleu(FIRST, REFERENCE, "en")
    assert alone[2].split("\t")[1:3] == ["BLEU (published)", f"{expected.score:.2f}"]
    assert alone[2].endswith(expected.signature)
    assert tested[2].split("\t")[1:3] == ["BLEU (published)", f"{expected.score:.2f}"]
    assert "moses-en" in tested[4]


@pytest.mark.parametrize(
    ("names", "options", "sentence"),
    [
        (["h"], ["--reference", "short"], "short and h have 2 and 6 lines; they must have as many"),
        (["h", "h"], ["--reference", "r"], "h is given twice"),
        (["-"], ["--reference", "-"], "only one of the files can be standard input"),
        (["h"], ["--reference", "r", "--seed", 3], "--seed is for --bootstrap, which is not given"),
        (["h"], ["--reference", "r", "--bootstrap", 9, "--seed", 0], "--seed must be at least 1"),
    ],
)
def test_what_the_command_refuses(
    run: Run,
    write: Write,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    options: list[object],
    sentence: str,
) -> None:
    folder = write("h", *FIRST).parent
    write("r", *REFERENCE)
    write("short", *REFERENCE[:2])
    monkeypatch.chdir(folder)
    code, out, err = run(*names, *options)
    assert (code, out) == (2, "")
    assert sentence in err
