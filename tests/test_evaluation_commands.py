"""``bitext evaluate retrieval`` of folders and pools, ``bitext evaluate mining``, as commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

ENGLISH = ["the house is small", "the garden is big", "a cat sleeps in the old house", "don't stop"]
GERMAN = ["das haus ist klein", "der garten ist groß", "eine katze schläft", "der haus, 3.14!"]

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


@pytest.fixture
def run(call: Run) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        return call("evaluate", *arguments)

    return run


@pytest.fixture
def parallel(write: Write) -> Path:
    write("ntrex/deu.txt", *GERMAN)
    write("ntrex/fra.txt", *ENGLISH[::-1])
    return write("ntrex/eng.txt", *ENGLISH).parent


def lines_of(out: str) -> list[list[str]]:
    return [line.split("\t") for line in out.splitlines()]


# --- retrieval


def test_folder_of_parallel_lines(run: Run, parallel: Path, tiny_model: Path) -> None:
    code, out, err = run("retrieval", parallel, "--raw", "-k", 1, "--model", tiny_model)
    rows = lines_of(out)
    assert (code, err) == (0, "")
    assert rows[0] == [
        "languages", "layer", "vectors", "direction", "recall@1", "error", "pairs", "signature",
    ]  # fmt: skip
    names = ["deu-eng", "fra-eng", "mean of 2"]
    assert [(row[0], row[3]) for row in rows[1:]] == [
        (name, direction) for name in names for direction in ("forward", "backward")
    ]
    # "French" is English, its lines the other way round: line i is found at 3 - i, never at i.
    assert rows[3][4:6] == ["0.00", "100.00"]
    assert float(rows[5][4]) == pytest.approx(float(rows[1][4]) / 2)
    assert rows[5][6] == ""


def test_folder_of_pairs_as_json(run: Run, write: Write, tiny_model: Path) -> None:
    for name, lines in [("deu", GERMAN), ("fra", ENGLISH[:2])]:
        folder = write(f"tatoeba/{name}.txt", *lines).parent
        write(f"tatoeba/{name}.eng.txt", *ENGLISH[: len(lines)])
    code, out, _ = run(
        "retrieval", folder, "--raw", "--resamples", 20, "--json", "--model", tiny_model
    )
    german, french, mean = map(json.loads, out.splitlines())
    assert code == 0
    assert [(r["source"], r["target"], r["pairs"]) for r in (german, french)] == [
        ("deu", "eng", 4), ("fra", "eng", 2),
    ]  # fmt: skip
    assert french["forward"] == {
        "recall@1": 1.0, "recall@5": 1.0, "error": 0.0,
        "intervals": {"recall@1": [1.0, 1.0], "recall@5": [1.0, 1.0], "error": [0.0, 0.0]},
    }  # fmt: skip
    assert mean["mean_of"] == 2
    assert mean["forward"]["recall@1"] == pytest.approx((german["forward"]["recall@1"] + 1) / 2)
    assert mean["signature"].endswith("| 95 % of 20 resamples, seed 0")


def test_all_pairs_and_centrings(run: Run, parallel: Path, tiny_model: Path) -> None:
    code, out, err = run(
        "retrieval", parallel, "--all-pairs", "--languages", "deu,eng", "--centring", "whitening",
        "--model", tiny_model,
    )  # fmt: skip
    assert (code, out) == (2, "")  # four sentences are too few to learn from
    assert err == (
        "bitext evaluate retrieval: centring needs at least 10 vectors of 'deu', got 4; "
        "some hundreds serve well\n"
    )
    code, out, _ = run(
        "retrieval", parallel, "--all-pairs", "--margin", "distance", "--model", tiny_model
    )
    rows = lines_of(out)
    assert [row[0] for row in rows[1::2]] == [
        *["deu-eng", "deu-fra", "eng-fra"] * 2, "mean of 3", "mean of 3",
    ]  # fmt: skip
    assert rows[1][-1].endswith("| raw | exact cosine | error by distance margin, k 4")


def test_pool(run: Run, parallel: Path, tiny_model: Path) -> None:
    arguments = ("retrieval", parallel, "--pool", "--raw", "--model", tiny_model)
    code, out, _ = run(*arguments, "--languages", "eng,fra", "--seed", 1)
    rows = lines_of(out)
    assert code == 0
    assert rows[0] == [
        "language", "layer", "vectors", "mAP@20", "queries", "candidates", "signature",
    ]  # fmt: skip
    assert [(row[0], row[4], row[5]) for row in rows[1:]] == [
        ("eng", "4", "7"), ("fra", "4", "7"), ("all 2", "8", "7"),
    ]  # fmt: skip
    assert re.fullmatch(r"\d+\.\d\d \[\d+\.\d\d, \d+\.\d\d\]", rows[3][3])
    record = json.loads(run(*arguments, "--json")[1])
    assert list(record["languages"]) == ["deu", "eng", "fra"]
    assert record["map"] == pytest.approx(sum(record["languages"].values()) / 3)
    assert (record["queries"], record["candidates"]) == (12, 11)
    assert record["signature"].endswith("| pool of 3 languages | mAP@20")


def test_what_folders_refuse(run: Run, parallel: Path, write: Write) -> None:
    file = write("file", *ENGLISH)
    broken = write("broken/deu.txt", "a", "").parent
    write("broken/eng.txt", "a", "b")
    cases: list[tuple[list[object], str]] = [
        ([parallel, file], "is a folder, which is scored without a TARGET"),
        ([file], "is no folder, so a TARGET is needed"),
        ([file, file, "--pool"], "--all-pairs and --pool are for a folder"),
        ([parallel, "--languages", "deu,ita"], "unknown language 'ita'; choose one of: deu, eng"),
        (
            [parallel, "--raw", "--centring", "mean"],
            "give --centring, or one of --centre and --raw",
        ),
        ([parallel, "--centring", "best"], "unknown kind of centring 'best'"),
        ([broken], "deu.txt, line 2 is empty"),
    ]
    for arguments, sentence in cases:
        code, out, err = run("retrieval", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert sentence in err


# --- mining


@pytest.fixture
def mining(write: Write) -> list[Path]:
    return [
        write("x", *(f"de-{n}\t{text}" for n, text in enumerate(GERMAN))),
        write("y", *(f"en-{n}\t{text}" for n, text in enumerate(ENGLISH))),
        write("gold", "de-0\ten-0", "de-1\ten-1"),
    ]


def test_mined_pairs_of_anyone(run: Run, mining: list[Path], write: Write) -> None:
    mined = write(
        "mined", f"1.3\t{GERMAN[0]}\t{ENGLISH[0]}", f"1.2\t{GERMAN[2]}\t{ENGLISH[2]}", "1.1\tx\ty"
    )
    code, out, err = run("mining", *mining, "--mined", mined)
    # At 1.25, the best: one mined, one right, of two gold pairs.
    assert code == 0
    header, row = lines_of(out)
    assert header[:7] == ["threshold", "precision", "recall", "f1", "mined", "right", "gold"]
    assert row[:9] == ["1.2500", "100.00", "50.00", "66.67", "1", "1", "2", "1.2500", "66.67"]
    assert row[9].endswith("mined | threshold the best for this gold")
    assert err == (
        f"{mined}: 1 lines left out, with a sentence that is not in its corpus or more than once\n"
    )
    # A threshold of one's own, and as an object: two mined.
    record = json.loads(run("mining", *mining, "--mined", mined, "--threshold", 1, "--json")[1])
    assert (record["mined"], record["f1"], record["threshold"]) == (2, 0.5, 1.0)
    assert record["best"] == {"threshold": 1.25, "f1": pytest.approx(2 / 3)}


def test_threshold_from_another_set(run: Run, mining: list[Path], write: Write) -> None:
    mined = write("mined.json", '{"score": 1.3, "source_id": 0, "target_id": 0}')
    dev = write(
        "dev.json", *(f'{{"score": 1.{n}, "source_id": {n}, "target_id": {n}}}' for n in (0, 1))
    )
    files = ",".join(map(str, mining))
    code, out, _ = run(
        "mining", *mining, "--mined", mined, "--threshold-from", files, "--threshold-mined", dev
    )
    # Both pairs of the dev set are right: the last one's score is its threshold.
    assert (code, lines_of(out)[1][0]) == (0, "1.0000")
    assert "| threshold from 1 other sets" in out


def test_mining_by_the_model(run: Run, mining: list[Path], tiny_model: Path) -> None:
    arguments = ("mining", *mining, "--model", tiny_model, "-k", 2)
    code, out, err = run(*arguments, "--margin", "all", "--mode", "forward,max", "--resamples", 10)
    rows = lines_of(out)
    assert (code, err) == (0, "")
    assert rows[0][:5] == ["vectors", "margin", "mode", "threshold", "precision"]
    assert [row[:3] for row in rows[1:]] == [
        ["raw", margin, mode]
        for margin in ("absolute", "distance", "ratio")
        for mode in ("forward", "max")
    ]
    assert "| raw | ratio margin, k 2, max | threshold the best for this gold | 95 % of 10" in out
    record = json.loads(run(*arguments, "--threshold", -1, "--mode", "forward", "--json")[1])
    assert (record["mode"], record["mined"], record["gold"]) == ("forward", 4, 2)


def test_what_mining_refuses(run: Run, mining: list[Path]) -> None:
    for options, sentence in [
        (["--mode", "best"], "unknown mode 'best'; choose one of: all, backward, forward"),
        (["--threshold-from", "x,y"], "--threshold-from takes SOURCE,TARGET,GOLD, got 'x,y'"),
        (["--threshold-mined", "x"], "--threshold-mined goes with --mined, once for each"),
        (["--centring", "best"], "unknown kind of centring 'best'"),
        (["--threshold", "nan"], "threshold must be a finite number, got nan"),
    ]:
        code, out, err = run("mining", *mining, *options)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert sentence in err
