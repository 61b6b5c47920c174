"""``bitext mine``: from two files to pairs, against a table of all margins worked plainly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

import retrieval.mining.run
from bitext.bridges import coverage_by
from bitext.types import SentencePair
from encoders.encoder import Encoder
from encoders.pooling import centre, normalise
from retrieval.vectors.centring import fit_centring
from retrieval.vectors.encoding import space_of
from retrieval.vectors.files import Rows

SOURCE = [
    "the house is small",
    "",
    "das haus",
    "the garden is big",
    "the house is small",  # again: line 0 is the one that counts
    "a cat sleeps",
    "eine katze schläft im alten haus",
    "don't stop, 3.14!",
]
TARGET = [
    "a cat sleeps",
    "der garten ist groß",
    "the garden is big",
    "the house is small and the garden is big",
    "do not stop, 3.1!",
    "the house is small",
]
UNIQUE = [0, 2, 3, 5, 6, 7]
"""The lines of SOURCE that are sentences of their own."""
K = 2

Table = NDArray[np.float64]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(call: Run, tiny_model: Path) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        given = [str(argument) for argument in arguments]
        return call("mine", *given, "--model", str(tiny_model), "-k", str(K))

    return run


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source.txt", tmp_path / "target.txt"
    source.write_text("".join(line + "\n" for line in SOURCE), encoding="utf-8")
    target.write_text("".join(line + "\n" for line in TARGET), encoding="utf-8")
    return source, target


class Tables(NamedTuple):
    """Of each source with each target, in float64."""

    cosines: Table
    ratios: Table
    """Of the cosine to the mean of those of the K nearest, both ways."""


def tables(source: Rows, target: Rows) -> Tables:
    cosines = source.astype(np.float64) @ target.astype(np.float64).T
    of_sources = -np.sort(-cosines, axis=1)[:, :K].mean(axis=1)
    of_targets = -np.sort(-cosines, axis=0)[:K].mean(axis=0)
    return Tables(cosines, cosines / ((of_sources[:, None] + of_targets) / 2))


def bests(found: Tables) -> set[tuple[int, int]]:
    """Each source, and of its K nearest targets the one with the largest ratio."""
    least = -np.sort(-found.cosines, axis=1)[:, K - 1 : K]
    ratios = np.where(found.cosines >= least, found.ratios, -np.inf)
    return set(enumerate(ratios.argmax(axis=1).tolist()))


def turned(found: Tables) -> set[tuple[int, int]]:
    """The same of each target."""
    return {(i, j) for j, i in bests(Tables(found.cosines.T, found.ratios.T))}


def greedy(found: Tables) -> list[tuple[int, int, float]]:
    """Both sides' best, one to one, from the best on."""
    pairs: list[tuple[int, int, float]] = []
    for i, j in sorted(bests(found) | turned(found), key=lambda pair: -found.ratios[pair]):
        if all(i != first and j != second for first, second, _ in pairs):
            pairs.append((i, j, float(found.ratios[i, j])))
    return pairs


def vectors(encoder: Encoder) -> tuple[Rows, Rows]:
    return encoder.sentences([SOURCE[line] for line in UNIQUE]), encoder.sentences(TARGET)


def read(out: str) -> list[tuple[int, int, float]]:
    records = [json.loads(line) for line in out.splitlines()]
    for record in records:
        assert record["source"] == SOURCE[record["source_id"]]
        assert record["target"] == TARGET[record["target_id"]]
    return [(r["source_id"], r["target_id"], r["score"]) for r in records]


def expected(found: Tables) -> list[tuple[int, int, object]]:
    return [(UNIQUE[i], j, pytest.approx(s, abs=1e-5)) for i, j, s in greedy(found)]


def test_pairs_are_those_of_a_plain_table(
    run: Run, files: tuple[Path, Path], encoder: Encoder
) -> None:
    code, out, err = run(*files, "--json")
    assert code == 0, err
    plain = tables(*vectors(encoder))
    scores = [score for *_, score in greedy(plain)]
    assert np.diff(scores).max() < -1e-5, "a tie, whose order is that of float32's rounding"
    assert read(out) == expected(plain)
    assert f"{len(read(out))} pairs: no threshold was given" in err
    assert "search: exact, as 6 x 6 cosines of dim 16" in err


def test_columns_and_threshold(run: Run, files: tuple[Path, Path]) -> None:
    records = [json.loads(line) for line in run(*files, "--json")[1].splitlines()]
    lines = [f"{r['score']:.6f}\t{r['source']}\t{r['target']}\n" for r in records]
    assert run(*files)[1] == "".join(lines)
    scores = np.array([r["score"] for r in records])
    above = int(np.diff(scores).argmin()) + 1  # cut where the gap is widest
    threshold = float(scores[above - 1 : above + 1].mean())
    code, out, err = run(*files, "--threshold", threshold)
    assert (code, out) == (0, "".join(lines[:above]))
    assert f"{above} of {len(records)} pairs score above {threshold:.4f}" in err
    assert run(*files, "--top", 2)[1] == "".join(lines[:2])


def test_repeated_lines_may_be_sentences_of_their_own(run: Run, files: tuple[Path, Path]) -> None:
    _, out, _ = run(*files, "--repeats", "--mode", "forward", "--json")
    found = dict(pair[:2] for pair in read(out))
    assert found[0] == found[4] == TARGET.index("the house is small")
    assert set(found) == {0, *UNIQUE, 4}


def test_both_sides_are_centred(run: Run, files: tuple[Path, Path], encoder: Encoder) -> None:
    # ten different sentences are needed for a mean: the same six and five more
    more = [f"{text} {number}" for number, text in enumerate(TARGET[:5])]
    for path in files:
        path.write_text(path.read_text("utf-8") + "".join(f"{line}\n" for line in more), "utf-8")
    code, out, err = run(*files, "--centring", "mean", "--mode", "intersection", "--json")
    assert code == 0, err
    source = encoder.sentences([SOURCE[line] for line in UNIQUE] + more)
    target = encoder.sentences(TARGET + more)
    found = tables(*(centre(side, side.mean(axis=0)) for side in (source, target)))
    lines = [*UNIQUE, *range(len(SOURCE), len(SOURCE) + len(more))]
    records = [json.loads(line) for line in out.splitlines()]
    assert sorted((r["source_id"], r["target_id"]) for r in records) == sorted(
        (lines[i], j) for i, j in bests(found) & turned(found)
    )


def test_each_side_is_centred_as_its_language(
    run: Run, files: tuple[Path, Path], tmp_path: Path, encoder: Encoder
) -> None:
    random = np.random.default_rng(0)
    blocks = {
        language: [normalise(random.standard_normal((12, 16)).astype(np.float32) + shift)]
        for language, shift in (("de", 1), ("en", 0), ("fr", -1))
    }
    fit_centring("mean", blocks, space_of(encoder, None, None), dim=16).save(tmp_path / "centring")
    options = ("--centring", tmp_path / "centring", "--languages")
    work = ("--work", tmp_path / "work")
    kept = {pair: run(*files, *options, pair, *work)[1] for pair in ("de-en", "fr-en")}
    assert kept["de-en"] != kept["fr-en"]
    assert kept == {pair: run(*files, *options, pair)[1] for pair in kept}  # nothing left over


@pytest.mark.parametrize("kind", ["flat", "ivf", "hnsw"])
def test_an_index_finds_the_same_among_few(run: Run, files: tuple[Path, Path], kind: str) -> None:
    exact = read(run(*files, "--search", "exact", "--json")[1])
    code, out, err = run(*files, "--search", kind, "--json")
    assert code == 0, err
    assert read(out) == exact


def test_score_only_scores_line_by_line(
    run: Run, tmp_path: Path, encoder: Encoder, tiny_model: Path
) -> None:
    source, target = tmp_path / "s.txt", tmp_path / "t.txt"
    source.write_text("".join(line + "\n" for line in SOURCE[:6]), encoding="utf-8")
    target.write_text("".join(line + "\n" for line in TARGET), encoding="utf-8")
    code, out, err = run(source, target, "--score-only", "--json")
    assert code == 0, err
    rows = {line: row for row, line in enumerate([0, 2, 3, 5])}
    rows[4] = 0  # the same sentence as line 0
    sources = encoder.sentences([SOURCE[line] for line in (0, 2, 3, 5)])
    table = tables(sources, vectors(encoder)[1]).ratios
    records = [json.loads(line) for line in out.splitlines()]
    assert [r["source_id"] for r in records] == [r["target_id"] for r in records] == [*range(6)]
    assert records[1]["score"] is None  # an empty line
    for line, row in rows.items():
        assert records[line]["score"] == pytest.approx(table[row, line], abs=1e-5)
    tsv = run(source, target, "--score-only")[1].splitlines()
    assert tsv[1] == f"\t\t{TARGET[1]}"
    assert len(tsv) == 6


def test_words_speak_for_pairs(run: Run, files: tuple[Path, Path], encoder: Encoder) -> None:
    plain = {pair[:2]: pair[2] for pair in read(run(*files, "--json")[1])}
    lifted = {pair[:2]: pair[2] for pair in read(run(*files, "--json", "--coverage", 1)[1])}
    assert plain.keys() == lifted.keys()
    pairs = [SentencePair(SOURCE[source], TARGET[target]) for source, target in plain]
    evidence = coverage_by(encoder)(pairs)
    for pair, added in zip(plain, evidence, strict=True):
        assert lifted[pair] - plain[pair] == pytest.approx(added, abs=1e-5)
    # a threshold asks fewer pairs, and changes nothing about those above it
    least = sum(sorted(lifted.values())[2:4]) / 2
    above = {
        pair[:2]: pair[2]
        for pair in read(run(*files, "--json", "--coverage", 1, "--threshold", least)[1])
    }
    assert above == {pair: score for pair, score in lifted.items() if score > least}


def test_filters_drop_pairs_and_say_so(run: Run, files: tuple[Path, Path]) -> None:
    code, out, err = run(*files, "--filters", "copies")
    assert code == 0, err
    assert all(line.split("\t")[1] != line.split("\t")[2] for line in out.splitlines())
    assert "dropped by\n  copies" in err


def test_an_interrupted_run_is_gone_on_with(
    run: Run, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, work = tmp_path / "pairs.tsv", tmp_path / "pairs.tsv.work"

    def interrupt(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(retrieval.mining.run, "nearest_both_ways", interrupt)
        code, _, err = run(*files, "--output", output)
    assert code == 130
    assert f"the same command goes on with {work}" in err
    assert not output.exists()
    with monkeypatch.context() as patch:  # what is embedded already is not embedded again
        patch.setattr(Encoder, "sentences", interrupt)
        assert run(*files, "--output", output)[0] == 0
    assert not work.exists()
    assert output.read_text("utf-8") == run(*files)[1]


def test_a_kept_folder_saves_the_work(
    run: Run, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    first = run(*files, "--work", work)[1]

    def fail(*_: object, **__: object) -> object:
        raise AssertionError("done already")

    monkeypatch.setattr(retrieval.mining.run, "nearest_both_ways", fail)
    monkeypatch.setattr(Encoder, "sentences", fail)
    assert run(*files, "--work", work)[1] == first
    assert run(*files, "--work", work, "--margin", "distance")[0] == 0
    code, _, err = run(*files, "--work", work, "--layer", 0)
    assert code == 2
    assert f"{work} was begun with layer 1, not 0; say --restart" in err


def test_another_text_is_refused_until_restart(
    run: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    assert run(*files, "--work", work)[0] == 0
    files[0].write_text("a cat sleeps\n", encoding="utf-8")
    code, out, err = run(*files, "--work", work)
    assert (code, out) == (2, "")
    assert f"{files[0]} is not what {work / 'source'} was made of" in err
    code, out, _ = run(*files, "--work", work, "--restart")
    assert code == 0
    assert [line.split("\t")[1] for line in out.splitlines()] == ["a cat sleeps"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--margin", "ratoi"], "unknown margin 'ratoi'; choose one of: absolute, distance, ratio"),
        (["--mode", "best"], "unknown mode 'best'; choose one of: backward, forward,"),
        (["--precision", 1.5], "precision must be between 0 and 1, got 1.5"),
        (["--precision", 0.9, "--threshold", 1], "give a threshold or a precision, not both"),
        (["--precision", 0.9, "--coverage", 1], "a precision is estimated for margins alone"),
        (["--precision", 0.9], "calibration needs at least 100 candidates, got"),
        (["--score-only", "--top", 3], "--score-only scores all lines: --top cannot be given"),
        (["--centring", "middle"], "unknown kind of centring 'middle'; choose one of:"),
        (["--languages", "de-en"], "--languages is for --centring FOLDER, which is not given"),
        (["--search", "magic"], "unknown kind of index 'magic'"),
        (["--threshold", "nan"], "threshold must be a finite number, got nan"),
        (["--coverage", "inf"], "coverage must be a finite number, got inf"),
        (["--known", "nowhere"], "--known is for --precision, which is not given"),
        (["--centring", "no/where", "--languages", "de-en"], "there is no folder no/where"),
        (["--output", "/"], "cannot write /: what stands there is not a file"),
        (["--output", "{target}"], "{target} is read: write the result to another file"),
        (["--restart"], "--restart is for --output or --work, of which there is none"),
        (["--score-only"], "source.txt has 8 lines, {target} has 6; with"),
        (["--filters", "nice"], "unknown filter 'nice'; choose one of:"),
    ],
)
def test_what_cannot_be_meant_is_told_in_a_sentence(
    run: Run, files: tuple[Path, Path], options: list[object], sentence: str
) -> None:
    code, out, err = run(*files, *(str(option).format(target=files[1]) for option in options))
    assert (code, out) == (2, "")
    assert sentence.format(target=files[1]) in err
    assert err.splitlines()[-1].startswith("bitext mine: ")


def test_a_tab_cannot_be_told_from_a_column(run: Run, files: tuple[Path, Path]) -> None:
    files[1].write_text("a cat\tsleeps\n", encoding="utf-8")
    code, _, err = run(*files)
    assert code == 2
    assert f"{files[1]}, line 1 has a tab" in err
    assert json.loads(run(*files, "--json")[1].splitlines()[0])["target"] == "a cat\tsleeps"


def test_too_long_a_line_is_named_by_its_number(run: Run, files: tuple[Path, Path]) -> None:
    long = "the house " * 60
    files[0].write_text(f"a cat\n\na cat\n{long}\n", encoding="utf-8")
    code, _, err = run(*files, "--too-long", "error")
    assert code == 2
    assert f"{files[0]}, line 4 has " in err
    assert run(*files)[0] == 0  # by default, windows


def test_a_folder_of_something_else_is_left_alone(
    run: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    code, _, err = run(*files, "--work", tmp_path)
    assert code == 2
    assert f"will not work in {tmp_path}: bitext did not put source.txt there" in err


def test_the_output_does_not_lie_where_the_work_does(
    run: Run, files: tuple[Path, Path], tmp_path: Path
) -> None:
    work = tmp_path / "work"
    code, _, err = run(*files, "--work", work, "--output", work / "pairs.tsv")
    assert code == 2
    assert f"{work / 'pairs.tsv'} lies in {work}, which --restart empties" in err
    assert not work.exists()
