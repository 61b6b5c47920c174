"""``bitext symmetrize``, ``remap`` and ``convert``, through the command's own entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


@pytest.fixture
def run(call: Run) -> Run:
    return call


# --- symmetrize

# 0-0 is in both; 0-1 only forward, and beside it; 1-1 only backward, and diagonal to 0-0.
FORWARD, BACKWARD = ["0-0 0-1", ""], ["0-0 1-1", ""]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "0-0 0-1 1-1"),
        (["--method", "intersection"], "0-0"),
        (["--method", "grow-diag-lilt"], "0-0 1-1"),
        (["--to", "scored"], "0-0/1.0000 0-1/0.5000 1-1/0.5000"),
        (["--to", "talp", "--to-index", 1], "1-1 1-2 2-2"),
    ],
)
def test_two_directions_become_one(
    run: Run, write: Write, options: list[object], expected: str
) -> None:
    files = write("forward", *FORWARD), write("backward", *BACKWARD)
    assert run("symmetrize", *files, *options) == (0, f"{expected}\n\n", "")


def test_giza_writes_the_backward_direction_turned_round(run: Run, write: Write) -> None:
    # Forward: "NULL ({ }) a ({ 1 }) b ({ 2 })" links a-x and b-y. Backward, the sides change
    # places: x is linked to a, and y to a, so that b-y is not in both.
    head = "# Sentence pair (1) source length 2 target length 2 alignment score : 0.1"
    forward = write("st.A3.final", head, "x y", "NULL ({ }) a ({ 1 }) b ({ 2 })")
    backward = write("ts.A3.final", head, "a b", "NULL ({ 2 }) x ({ 1 }) y ({ })")
    given = ["symmetrize", forward, backward, "--method", "intersection"]
    assert run(*given, "--turn")[1] == "0-0\n"
    assert run(*given, "--turn", "--to", "a3")[1].splitlines()[1:] == [
        "x y",
        "NULL ({ 2 }) a ({ 1 }) b ({ })",
    ]
    code, _, err = run(*given)
    assert code == 2
    assert "the two files have other words; does one want --turn?" in err


def test_what_symmetrize_refuses(run: Run, write: Write) -> None:
    forward, backward = write("forward", *FORWARD), write("backward", "0-0")
    assert "backward ends after 1 pairs, but " in run("symmetrize", forward, backward)[2]
    assert "forward has more; they must" in run("symmetrize", forward, backward)[2]
    code, _, err = run("symmetrize", forward, forward, "--method", "grow")
    assert (code, err.count("\n")) == (2, 1)
    assert "unknown symmetrisation 'grow'; choose one of: grow-diag, " in err
    assert "cannot both be standard input" in run("symmetrize", "-", "-")[2]


# --- remap


def test_links_follow_the_characters(run: Run, write: Write) -> None:
    # "don't" is split in two, "ne pas" joined; the empty pair stays.
    old = write("old.en", "don't stop", ""), write("old.fr", "ne pas arrêter", "")
    new = write("new.en", "do n't stop", ""), write("new.fr", "nepas arrêter", "")
    links = write("links", "0-0 0p1 1p2", "")
    assert run("remap", links, *old, *new, "--from", "talp")[1] == "0-0 1-0 2-1\n\n"
    # What comes from a sure link is sure, though it comes from a possible one too.
    code, out, err = run("remap", links, *old, *new, "--from", "talp", "--to", "talp")
    assert (code, out, err) == (0, "0-0 1-0 2p1\n\n", "")


def test_pieces_become_words(run: Run, write: Write) -> None:
    old = write("old.en", "un@@ do it"), write("old.de", "mach es rück@@ gängig")
    new = write("new.en", "undo it"), write("new.de", "mach es rückgängig")
    links = write("links", "0-2 1-0 1-3 2-1")
    out = run("remap", links, *old, *new, "--old-marker", "@@")[1]
    assert out == "0-0 0-2 1-1\n"


def test_what_remap_refuses(run: Run, write: Write) -> None:
    old, new = write("old", "a cat"), write("new", "a cot")
    links = write("links", "0-0")
    code, out, err = run("remap", links, old, old, old, new)
    assert (code, out) == (2, "")
    assert "links, pair 1, target: the words differ at character 3" in err
    far = write("far", "0-2")
    assert "far, pair 1, link 0-2 of a pair of 2 and 2 words" in run("remap", far, *[old] * 4)[2]
    more = write("more", "0-0", "")
    assert "old ends after 1 pairs, but" in run("remap", more, *[old] * 4)[2]
    assert "unknown marker '@'" in run("remap", links, *[old] * 4, "--old-marker", "@")[2]


# --- convert


def test_from_any_format_to_any_and_back(run: Run, write: Write, tmp_path: Path) -> None:
    texts = ["--source", write("src", "the house", "a"), "--target", write("tgt", "das Haus", "")]
    start = write("start", "0-0 1-1", "")
    names = ["talp", "naacl", "a3", "jsonl", "scored", "pharaoh"]
    path = start
    for name in names:
        after = tmp_path / f"links.{name}"
        # naacl skips the second pair, of which the texts tell
        assert run("convert", path, "--to", name, *texts, "--output", after) == (0, "", "")
        path = after
    assert path.read_text() == start.read_text()
    assert (tmp_path / "links.naacl").read_text() == "1 1 1 S 1.0000\n1 2 2 S 1.0000\n"


def test_sure_and_possible_and_numbers_are_kept(run: Run, write: Write) -> None:
    gold = write("gold.naacl", "18 1 1 S", "18 2 1 P 0.5", "20 1 2 S")
    numbers = ["--first-pair", 18]
    assert run("convert", gold, "--to", "talp", *numbers)[1] == "0-0 1p0\n\n0-1\n"
    out = run("convert", gold, "--to", "naacl", *numbers)[1]
    assert out == "18 1 1 S 1.0000\n18 2 1 P 0.5000\n20 1 2 S 1.0000\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--to", "a3"], "a3 holds the words of each pair; give --source and --target"),
        (["--to", "giza"], "unknown format 'giza'; choose one of: a3"),
        (["--from", "naacl"], "links, line 1: expected a link such as '1 3 4 S 0.9'"),
        (["--to", "jsonl", "--to-index", 1], "the words of jsonl count from 0, never 1"),
        (["--source", "links"], "--source and --target go together"),
        (["--from-index", 1], "links, line 1: link 0-0 has a word 0, but words count from 1"),
    ],
)
def test_what_convert_refuses(
    run: Run, write: Write, monkeypatch: pytest.MonkeyPatch, options: list[object], sentence: str
) -> None:
    links = write("links", "0-0 0-2")
    monkeypatch.chdir(links.parent)
    code, out, err = run("convert", links, *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err


def test_links_outside_the_sentence_are_refused_and_nothing_is_written(
    run: Run, write: Write, tmp_path: Path
) -> None:
    texts = ["--source", write("src", "a b"), "--target", write("tgt", "c d")]
    output = write("out", "as it was")
    code, _, err = run("convert", write("links", "0-0 0-2"), *texts, "--output", output)
    assert code == 2
    assert "links, pair 1: link 0-2 of a pair of 2 and 2 words; words count from 0" in err
    assert output.read_text() == "as it was\n"
