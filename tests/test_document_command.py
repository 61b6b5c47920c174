"""``bitext align-documents`` and ``evaluate documents``, through the command itself."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.documents.files import read_beads

ENGLISH = [
    "the house is small",
    "the garden is big",
    "a cat sleeps in the old house",
    "don't stop, 3.14!",
]

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


@pytest.fixture
def run(call: Run, tiny_model: Path) -> Run:
    """Run ``bitext`` with the tiny model; exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        given = [str(argument) for argument in arguments]
        if given[0] == "align-documents":
            given += ["--model", str(tiny_model), "--no-progress"]
        return call(*given)

    return run


def sides_of(out: str) -> list[str]:
    """Each line without its cost."""
    return [line.rpartition(":")[0] for line in out.splitlines()]


def test_beads_of_a_document_and_itself(run: Run, write: Write, tmp_path: Path) -> None:
    document = write("a.en", *ENGLISH)
    code, out, _ = run("align-documents", document, document)
    assert code == 0
    assert sides_of(out) == [f"[{i}]:[{i}]" for i in range(4)]
    assert all(float(line.split(":")[2]) < 1e-4 for line in out.splitlines())
    output = tmp_path / "a.beads"
    assert run("align-documents", document, document, "--output", output)[:2] == (0, "")
    assert output.read_text() == out
    code, _, err = run("align-documents", document, document, "--output", output)
    assert code == 2
    assert "a.beads exists already; --overwrite replaces it" in err
    assert run("align-documents", document, document, "--output", output, "--overwrite")[0] == 0


def test_other_formats(run: Run, write: Write) -> None:
    document = write("a.en", *ENGLISH)
    _, out, _ = run("align-documents", document, document, "--format", "tsv")
    score, *texts = out.splitlines()[0].split("\t")
    assert float(score) == pytest.approx(1, abs=1e-4)
    assert texts == [ENGLISH[0], ENGLISH[0]]
    _, out, _ = run("align-documents", document, document, "--json", "--runs", "summed")
    assert json.loads(out.splitlines()[2]) == {
        "score": pytest.approx(1, abs=1e-4),
        "source_ids": [2],
        "target_ids": [2],
        "source": ENGLISH[2],
        "target": ENGLISH[2],
    }


def test_output_is_packed_as_its_name_says(run: Run, write: Write, tmp_path: Path) -> None:
    document, output = write("a.en", *ENGLISH), tmp_path / "a.beads.gz"
    assert run("align-documents", document, document, "--output", output)[0] == 0
    beads = gzip.decompress(output.read_bytes()).decode()
    assert beads == run("align-documents", document, document)[1]


def test_an_empty_line_keeps_its_number(run: Run, write: Write) -> None:
    document = write("a.en", *ENGLISH[:2], "", *ENGLISH[2:])
    _, out, _ = run("align-documents", document, document, "--most", 2)
    sides = sides_of(out)
    assert [side for side in sides if "[]" not in side] == [f"[{i}]:[{i}]" for i in (0, 1, 3, 4)]
    assert {side for side in sides if "[]" in side} == {"[2]:[]", "[]:[2]"}


def test_two_folders(run: Run, write: Write, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(f"en/{name}.en", *ENGLISH)
        write(f"de/{name}.de", *ENGLISH[1:])
    folders = tmp_path / "en", tmp_path / "de"
    code, _, err = run("align-documents", *folders)
    assert code == 2
    assert "several documents need an --output folder" in err
    output = tmp_path / "beads"
    assert run("align-documents", *folders, "--output", output)[:2] == (0, "")
    assert sorted(path.name for path in output.iterdir()) == ["one.beads", "two.beads"]
    beads = read_beads(output / "two.beads")
    assert [i for source, _ in beads for i in source] == [0, 1, 2, 3]
    assert [j for _, target in beads for j in target] == [0, 1, 2]


def test_resume_leaves_what_is_there(run: Run, write: Write, tmp_path: Path) -> None:
    first, second = write("one.en", *ENGLISH), write("two.en", *ENGLISH)
    pairs = write("pairs.tsv", f"{first}\t{first}", f"{second}\t{second}")
    there = write("out/one.beads", "[0]:[0]")
    output = tmp_path / "out"
    code, _, err = run("align-documents", "--pairs", pairs, "--output", output)
    assert code == 2
    assert "one.beads exists already; --resume leaves such documents" in err
    code, _, err = run("align-documents", "--pairs", pairs, "--output", output, "--resume")
    assert (code, err) == (0, "1 of 2 documents are there already\n")
    assert there.read_text() == "[0]:[0]\n"
    assert len(read_beads(output / "two.beads")) == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{en}"], "give SOURCE and TARGET, two files or two folders, or --pairs"),
        (["{en}", "{en}", "--pairs", "{en}"], "give SOURCE and TARGET or --pairs, not both"),
        (["{en}", "{en}", "--format", "xml"], "unknown format 'xml'; choose one of: beads, json"),
        (["{en}", "{en}", "--format", "tsv", "--json"], "give --format or --json, not both"),
        (["{en}", "{en}", "--most", "1"], "2 to 16 sentences, both sides together, got 1"),
        (["{en}", "{en}", "--skip", "-1"], "skip must be a number from 0 up, got -1"),
        (["{en}", "{en}", "--runs", "mean"], "unknown runs 'mean'; choose one of: encoded, summed"),
        (["{en}", "{en}", "--resume"], "--resume is for several documents"),
        (["-", "-"], "source and target cannot both be standard input"),
        (["{en}", "{folder}"], "must be a folder, as the other side is one"),
        (["--pairs", "{en}", "--output", "x"], "line 1: expected 'SOURCE TAB TARGET'"),
        (["--pairs", "{list}", "--output", "x"], "line 1: there is no file wwwwwwwwww"),
        (["{en}", "{en}", "--output", "{en}", "--overwrite"], "is read: write the result to"),
        (["{en}", "{empty}"], "empty.en is empty; expected one sentence a line"),
        (["{tab}", "{en}", "--format", "tsv"], "a source sentence has a tab ('the\\thouse')"),
    ],
)
def test_mistakes(run: Run, write: Write, tmp_path: Path, arguments: list[str], said: str) -> None:
    names = {
        "en": write("a.en", *ENGLISH),
        "empty": write("empty.en"),
        "tab": write("tab.en", "the\thouse"),
        "list": write("list.tsv", f"{'w' * 300}\t{'v' * 300}"),  # no file has so long a name
        "folder": write("folder/a.de", *ENGLISH).parent,
    }
    code, out, err = run("align-documents", *(given.format(**names) for given in arguments))
    assert (code, out) == (2, "")
    assert said in err


def test_folders_must_have_like_names(run: Run, write: Write, tmp_path: Path) -> None:
    write("en/one.en", *ENGLISH)
    write("de/two.de", *ENGLISH)
    code, _, err = run("align-documents", tmp_path / "en", tmp_path / "de", "--output", "x")
    assert code == 2
    assert f"{tmp_path}/en/one.en has no partner 'one' in {tmp_path}/de" in err
    write("en/one.txt", *ENGLISH)
    code, _, err = run("align-documents", tmp_path / "en", tmp_path / "de", "--output", "x")
    assert code == 2
    assert "are both called 'one'" in err


# --- evaluate documents


def test_evaluate_prints_measures(run: Run, write: Write) -> None:
    found = write("a.beads", "[0]:[0]:0.12", "[1]:[1]:0.3", "[]:[2]:0.000000")
    gold = write("a.gold", "[0]:[0]", "[1]:[1, 2]")
    # Of three beads one is right strictly, one more laxly; of two in gold one, and both.
    code, out, _ = run("evaluate", "documents", found, gold)
    assert code == 0
    said = "strict F1 40.00  P 33.33  R 50.00  lax F1 80.00  P 66.67  R 100.00"
    assert out.startswith(f"{said}  (1 document, 3 beads, 2 in gold) | bitext ")
    _, out, _ = run("evaluate", "documents", found, gold, "--json", "--resamples", 100)
    record = json.loads(out)
    assert record["strict_p"] == pytest.approx(1 / 3)
    assert set(record["intervals"]) == {n for n in record if n.startswith(("strict", "lax"))}


def test_evaluate_folders(run: Run, write: Write, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(f"found/{name}.beads", "[0]:[0]:0.1", "[1]:[1]:0.1")
        write(f"gold/{name}.gold", "[0]:[0]", "[1]:[1]")
    code, out, _ = run("evaluate", "documents", tmp_path / "found", tmp_path / "gold")
    assert code == 0
    assert "(2 documents, 4 beads, 4 in gold)" in out
    code, _, err = run("evaluate", "documents", tmp_path / "found", tmp_path / "gold/one.gold")
    assert code == 2
    assert "must both be files, or both folders" in err


@pytest.mark.parametrize("line", ["0:0", "[0]", "[a]:[0]", "[0]:[0] 0.1", "", "[0,]:[1]"])
def test_evaluate_says_which_line_is_no_bead(run: Run, write: Write, line: str) -> None:
    gold = write("a.gold", "[0]:[0]")
    found = write("a.beads", "[ 0 ] : [0]", line)
    code, _, err = run("evaluate", "documents", found, gold)
    assert code == 2
    assert f"a.beads, line 2: expected a bead such as '[0, 1]:[0]', got '{line}'" in err
