"""``bitext project`` through the command's own entry: every format, and every refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


@pytest.fixture
def run(call: Run) -> Run:
    """Run ``bitext project`` with arguments; its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        return call("project", *arguments)

    return run


TAGGED = ["the\tO", "old\tB-X", "house\tI-X", "", "a\tO", "cat\tB-Y"]
TRANSLATED = ["das alte haus", "eine katze"]
LINKS = ["0-0 1-1 2-2", "0-0"]


def test_tags_over_links_from_a_file_with_summary_and_report(
    run: Run, write: Write, tmp_path: Path
) -> None:
    report = tmp_path / "report.jsonl"
    code, out, err = run(
        *(write("en", *TAGGED), write("de", *TRANSLATED), "--format", "tags"),
        *("--links", write("links", *LINKS), "--report", report),
    )
    assert code == 0
    assert out == "das\tO\nalte\tB-X\nhaus\tI-X\n\neine\tO\nkatze\tO\n\n"
    assert err == f"1 projected, 1 lost (no-links 1) | mass | links of {tmp_path / 'links'}\n"
    first, second = map(json.loads, report.read_text(encoding="utf-8").splitlines())
    assert first == {
        "line": 2,
        "label": "X",
        "source": "old house",
        "target": "alte haus",
        "outcome": "projected",
        "confidence": 1.0,
        "notes": [],
    }
    assert (second["line"], second["outcome"], second["notes"]) == (6, "lost", ["no-links"])


def test_tags_by_a_model_in_another_scheme(run: Run, write: Write, tiny_model: Path) -> None:
    files = (write("en", "cat\tU-Y"), write("de", "katze"))
    code, out, err = run(
        *(*files, "--format", "tags", "--scheme", "bilou", "--model", tiny_model),
        *("--strategy", "longest-run", "--gap", 0),
    )
    assert (code, out) == (0, "katze\tU-Y\n\n")  # one word each: nothing else can be linked
    assert err.startswith("1 projected, 0 lost | longest-run | bitext ")


def test_nested_spans_by_characters(run: Run, write: Write) -> None:
    record = {
        "id": 7,
        "source": "the old house, gone",
        "target": "das alte Haus 😀 weg",
        "spans": [
            {"start": 4, "end": 13, "label": "X"},
            {"start": 8, "end": 13, "label": "Y", "by": "me"},
            {"start": 15, "end": 19},
        ],
    }
    # words: the old house , gone / das alte Haus 😀 weg
    code, out, err = run(
        *(write("in.jsonl", json.dumps(record)), "--format", "spans"),
        *("--links", write("links", "0-0 1-1 2-2")),
    )
    found = json.loads(out)
    assert code == 0
    assert found["id"] == 7
    assert found["spans"] == [
        {
            **{"start": 4, "end": 13, "label": "X", "text": "alte Haus"},
            **{"confidence": 1.0, "notes": []},
        },
        {
            **{"start": 9, "end": 13, "label": "Y", "by": "me", "text": "Haus"},
            **{"confidence": 1.0, "notes": []},
        },
    ]
    assert found["lost"] == [{"start": 15, "end": 19, "text": "gone", "reason": "no-links"}]
    assert found["strategy"] == "mass"
    assert err.startswith("2 projected, 1 lost (no-links 1) | mass | ")


def test_answers_as_in_squad(run: Run, write: Write) -> None:
    record = {
        "source": "built in 1932 by Ann",
        "target": "1932 von Anna gebaut",
        "qas": [
            {"id": "a", "question": "When?", "answers": [{"text": "1932", "answer_start": 9}]},
            {"id": "b", "answers": [{"text": "Ann", "answer_start": 17}]},
        ],
    }
    code, out, _ = run(
        *(write("in.jsonl", json.dumps(record)), "--format", "answers"),
        *("--links", write("links", "0-3 2-0 3-1")),
    )
    found = json.loads(out)
    [answer] = found["qas"][0]["answers"]
    assert code == 0
    assert (answer["text"], answer["answer_start"], answer["confidence"]) == ("1932", 0, 1.0)
    assert found["qas"][0]["question"] == "When?"
    assert found["qas"][1]["answers"] == []
    assert found["lost"] == [{"id": "b", "text": "Ann", "answer_start": 17, "reason": "no-links"}]


def test_markup_from_one_file_or_two(run: Run, write: Write, tmp_path: Path) -> None:
    source, target = "<b>red</b> &amp; wine<x/>", "vino & rojo"
    links = ("--links", write("links", "0-2 1-1 2-0"))
    expected = "vino<x/> &amp; <b>rojo</b>\n"
    one = write("one.tsv", f"{source}\t{target}")
    assert run(one, "--format", "markup", *links)[:2] == (0, expected)
    two = (write("src", source), write("tgt", target))
    output = tmp_path / "out"
    assert run(*two, "--format", "markup", *links, "--output", output)[:2] == (0, "")
    assert output.read_text(encoding="utf-8") == expected


def test_markup_by_a_model(run: Run, write: Write, tiny_model: Path) -> None:
    pair = write("pair", "<br>house\thaus")
    code, out, _ = run(pair, "--format", "html", "--model", tiny_model)
    assert (code, out) == (0, "<br>haus\n")


# --- what is refused

SPAN = '{"source": "a b\\nc", "target": "x", "spans": [{"start": %s, "end": %s}]}'
ANSWER = (
    '{"source": "a b", "target": "x", "qas": '
    '[{"id": "q", "answers": [{"text": "c", "answer_start": 2}]}]}'
)


@pytest.mark.parametrize(
    ("format", "line", "message"),
    [
        ("spans", SPAN % (0, 5), "line 2: spans[0]: 0 to 5 crosses the line end at 3"),
        ("spans", SPAN % (4, 9), "line 2: spans[0]: end 9 is beyond the 5 characters"),
        ("spans", SPAN % (1, 1), "line 2: spans[0]: start 1 and end 1 must be 0 <= start < end"),
        ("spans", SPAN % (-1, 1), "line 2: spans[0]: start -1 and end 1 must be"),
        ("spans", SPAN % ("true", 1), "spans[0]: 'start' must be a whole number, got true"),
        ("spans", '{"source": "a", ', "line 2: column 17: not JSON"),
        ("spans", "[]", "line 2: expected an object"),
        ("spans", '{"source": 1}', "line 2: 'source' must be a string, got 1"),
        ("spans", '{"source": "", "target": ""}', "line 2: 'spans' must be a list of objects"),
        ("answers", ANSWER, "line 2: qas[0].answers[0]: the source has 'b' there, not 'c'"),
    ],
)
def test_records_that_cannot_be_are_refused(
    run: Run, write: Write, format: str, line: str, message: str
) -> None:
    good = '{"source": "a", "target": "b", "spans": [], "qas": []}'
    code, _, err = run(
        *(write("in.jsonl", good, line), "--format", format),
        *("--links", write("links", "", "")),
    )
    assert code == 2
    assert "in.jsonl, " in err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("files", "links", "message"),
    [
        ((["a\tI-X"], ["x"]), ["0-0"], "en, line 1, column 3: tag 'I-X' continues a span"),
        ((["a\tO"], ["x"]), ["0-0", ""], "links has 2 lines for 1 pair(s)"),
        ((["a\tO", "", "b\tO"], ["x", "y"]), ["0-0"], "links has 1 line(s), but there are more"),
        ((["a\tO"], ["x"]), ["0-1"], "links, line 1: link 0-1 is outside of a pair of 1 and 1"),
        ((["a\tO"], ["x", "y"]), [""], "de has 2 lines, "),
        ((["a\tO", "", "b\tO"], ["x"]), ["", ""], "number 2 begins at line 3"),
        ((["a\tO"], [" "]), [""], "de, line 1: has no words to tag"),
    ],
)
def test_tags_and_links_that_do_not_fit_are_refused(
    run: Run, write: Write, files: tuple[list[str], list[str]], links: list[str], message: str
) -> None:
    code, _, err = run(
        *(write("en", *files[0]), write("de", *files[1]), "--format", "tags"),
        *("--links", write("links", *links)),
    )
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("<b>a\tx", "line 1, column 1: <b> is never closed"),
        ("a\t<i>x</i>", "line 1, column 3: the target has the tag '<i>' already"),
    ],
)
def test_malformed_markup_is_refused(run: Run, write: Write, line: str, message: str) -> None:
    code, out, err = run(write("pair", line), "--format", "markup", "--links", write("links", ""))
    assert (code, out) == (2, "")
    assert message in err


def test_options_that_do_not_fit_are_refused(run: Run, write: Write) -> None:
    tags, spans = write("en", *TAGGED), write("s", '{"source": "", "target": "", "spans": []}')
    for arguments, message in [
        ((tags,), "Missing option '--format'"),
        ((tags, "--format", "conll"), "unknown format 'conll'; choose one of: answers, html, mark"),
        ((tags, "--format", "tags"), "--format tags needs TARGET"),
        ((spans, tags, "--format", "spans"), "--format spans has the targets in FILE"),
        ((tags, tags, "--format", "tags", "--strategy", "x"), "unknown strategy 'x'"),
        ((tags, tags, "--format", "tags", "--overlap"), "--overlap is for --format spans"),
        ((tags, tags, "--format", "tags", "--scheme", "x"), "unknown scheme 'x'"),
        ((tags, tags, "--format", "tags", "--method", "x"), "unknown method 'x'"),
    ]:
        code, _, err = run(*arguments)
        assert code == 2
        assert message in err


def test_a_sentence_too_long_is_named_by_its_line(run: Run, write: Write, tiny_model: Path) -> None:
    pair = write("pair", "a\tb", f"a\t{'house ' * 100}")
    code, _, err = run(pair, "--format", "markup", "--model", tiny_model)
    assert code == 2
    assert "pair, line 2 has " in err
    assert run(pair, "--format", "markup", "--model", tiny_model, "--too-long", "windows")[0] == 0
