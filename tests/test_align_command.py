"""``bitext align`` and ``bitext evaluate alignment``, through the command's own entry."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from aligners.aligner import Aligner
from aligners.methods import MATCHERS
from bitext.formats.files import FORMATS, read_aligned
from bitext.formats.records import Numbering
from bitext.text import MAX_LINE_BYTES, open_lines
from bitext.types import Alignment, SentencePair
from encoders.encoder import Encoder

LINES = ["the house is small\tdas haus ist klein", "\thaus", "a cat  sleeps\teine katze schläft"]
PAIRS = [SentencePair(*(side.split() for side in line.split("\t"))) for line in LINES]

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(call: Run) -> Run:
    return call


@pytest.fixture
def bitext_file(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text("\n".join(LINES) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def expected(encoder: Encoder) -> list[Alignment]:
    return Aligner(encoder).align(PAIRS)


# --- links out


def test_one_pharaoh_line_a_pair_in_order(
    run: Run, bitext_file: Path, tiny_model: Path, expected: list[Alignment]
) -> None:
    code, out, err = run("align", "--model", tiny_model, bitext_file)
    assert (code, err) == (0, "")
    assert out == "".join(f"{alignment}\n" for alignment in expected)
    assert out.splitlines()[1] == ""  # an empty side


@pytest.mark.parametrize("method", sorted(MATCHERS))
def test_every_method_is_there_and_named_in_the_help(
    run: Run, bitext_file: Path, tiny_model: Path, encoder: Encoder, method: str
) -> None:
    out = run("align", "--model", tiny_model, "--method", method, "--chunk", 1, bitext_file)[1]
    lines = [str(alignment) for alignment in Aligner(encoder, method=method).align(PAIRS)]
    assert out.splitlines() == lines
    shown = re.sub(r"-\n +", "-", run("align", "--help")[1])  # names are broken at hyphens
    assert re.search(rf"(?<![\w-]){method}(?![\w-])", shown)


def test_options_reach_the_aligner(
    run: Run, bitext_file: Path, tiny_model: Path, encoder: Encoder
) -> None:
    chosen = ["--layer", 0, "--unit", "word", "--distortion", 0.5, "--method", "forward"]
    chosen += ["--threshold", 0.45]
    out = run("align", "--model", tiny_model, *chosen, "--json", bitext_file)[1]
    aligner = Aligner(
        encoder, layer=0, unit="word", distortion=0.5, method="forward", threshold=0.45
    )
    for line, alignment in zip(out.splitlines(), aligner.align(PAIRS), strict=True):
        links = json.loads(line)["links"]
        assert tuple((link["source"], link["target"]) for link in links) == alignment.links
        assert [link["score"] for link in links] == pytest.approx(alignment.scores, abs=1e-5)


def test_two_parallel_files(
    run: Run, write: Callable[..., Path], tiny_model: Path, expected: list[Alignment]
) -> None:
    source = write("pairs.en", *(line.split("\t")[0] for line in LINES))
    target = write("pairs.de", *(line.split("\t")[1] for line in LINES))
    out = run("align", "--model", tiny_model, source, target)[1]
    assert out.splitlines() == [str(alignment) for alignment in expected]


def test_standard_input(
    run: Run, tiny_model: Path, expected: list[Alignment], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.TextIOWrapper(io.BytesIO("\n".join(LINES).encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    out = run("align", "--model", tiny_model, "-")[1]
    assert out.splitlines() == [str(alignment) for alignment in expected]


def test_json_has_words_and_scored_links(
    run: Run, bitext_file: Path, tiny_model: Path, expected: list[Alignment]
) -> None:
    out = run("align", "--model", tiny_model, "--json", bitext_file)[1]
    records = [json.loads(line) for line in out.splitlines()]
    assert "schläft" in out  # readable, not escaped
    assert [set(record) for record in records] == [{"source_words", "target_words", "links"}] * 3
    assert records[2]["source_words"] == ["a", "cat", "sleeps"]
    assert records[1] == {"source_words": [], "target_words": ["haus"], "links": []}
    first = [(link["source"], link["target"]) for link in records[0]["links"]]
    assert tuple(first) == expected[0].links


def test_raw_text_is_segmented_with_offsets(
    run: Run, write: Callable[..., Path], tiny_model: Path
) -> None:
    path = write("raw.tsv", "Stop, cat!\tdas Haus.")
    out = run("align", "--model", tiny_model, "--raw", "--json", path)[1]
    record = json.loads(out)
    assert record["source_words"] == ["Stop", ",", "cat", "!"]
    assert record["source_offsets"] == [[0, 4], [4, 5], [6, 9], [9, 10]]
    assert record["target_words"] == ["das", "Haus", "."]
    assert record["target_offsets"] == [[0, 3], [4, 8], [8, 9]]


def test_scores_beside_the_links(
    run: Run, bitext_file: Path, tiny_model: Path, expected: list[Alignment]
) -> None:
    out = run("align", "--model", tiny_model, "--scores", bitext_file)[1]
    first = [item.split("/") for item in out.splitlines()[0].split()]
    assert " ".join(link for link, _ in first) == str(expected[0])
    assert [float(score) for _, score in first] == pytest.approx(expected[0].scores, abs=1e-4)


def test_output_to_a_file(
    run: Run,
    bitext_file: Path,
    tiny_model: Path,
    tmp_path: Path,
    expected: list[Alignment],
    encoder: Encoder,
) -> None:
    path = tmp_path / "links"
    code, out, err = run("align", "--model", tiny_model, "--output", path, bitext_file)
    assert (code, out) == (0, "")
    assert err == f"{Aligner(encoder).signature}\n"  # every choice that changes the links
    assert path.read_text() == "".join(f"{alignment}\n" for alignment in expected)


def test_bad_input_leaves_the_output_file_as_it_was_and_keeps_what_is_done(
    run: Run, write: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    path = write("links", "0-0")
    bad = write("bad.tsv", *LINES, "no tab here")
    given = ["align", "--model", tiny_model, "--output", path, bad, "--chunk", 1]
    code, out, err = run(*given)
    assert (code, out) == (2, "")
    assert "bad.tsv, line 4: expected 'source TAB target'" in err
    assert err.endswith(f"; {path}.part keeps 3 pairs: the same command goes on from there\n")
    assert path.read_text() == "0-0\n"
    write("bad.tsv", *LINES, "no tab\there")
    assert run(*given)[:2] == (0, "")
    assert len(path.read_text().splitlines()) == 4
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.tsv", "links"]


def test_an_error_before_anything_is_done_leaves_nothing(
    run: Run, write: Callable[..., Path], tiny_model: Path, tmp_path: Path
) -> None:
    bad = write("bad.tsv", LINES[0], "no tab here")
    code, _, err = run("align", "--model", tiny_model, "--output", tmp_path / "links", bad)
    assert code == 2
    assert "part" not in err
    assert [p.name for p in tmp_path.iterdir()] == ["bad.tsv"]


# --- formats


def test_formats_hold_the_same_links(
    run: Run, bitext_file: Path, tiny_model: Path, tmp_path: Path, expected: list[Alignment]
) -> None:
    for name in FORMATS:
        path = tmp_path / f"links.{name}"
        run("align", "--model", tiny_model, "--format", name, "--output", path, bitext_file)
        found = read_aligned(path, name, Numbering(pairs=3 if name == "naacl" else None))
        assert [pair.alignment.links for pair in found] == [one.links for one in expected]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_output_is_compressed_as_its_name_says(
    run: Run, bitext_file: Path, tiny_model: Path, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"links{suffix}"
    run("align", "--model", tiny_model, "--chunk", 2, "--output", path, bitext_file)  # two members
    out = run("align", "--model", tiny_model, bitext_file)[1]
    assert list(open_lines(path)) == out.splitlines()
    assert path.read_bytes()[:2] != out.encode()[:2]


def test_details_of_each_link_and_pair(
    run: Run, bitext_file: Path, tiny_model: Path, encoder: Encoder
) -> None:
    out = run("align", "--model", tiny_model, "--json", "--detail", bitext_file)[1]
    aligner = Aligner(encoder)
    for line, detail in zip(out.splitlines(), aligner.details(PAIRS), strict=True):
        record, alignment = json.loads(line), detail.alignments[aligner.method]
        assert (record["null_source"], record["null_target"]) == detail.null_words(alignment)
        assert record["score"] == pytest.approx(detail.score(alignment), abs=1e-5)
        for link in record["links"]:
            place = link["source"], link["target"]
            assert link["forward"] == pytest.approx(detail.forward[place], abs=1e-5)
            assert link["backward"] == pytest.approx(detail.backward[place], abs=1e-5)
    assert json.loads(out.splitlines()[1])["null_target"] == [0]  # its source is empty


def test_pair_scores_before_the_links(
    run: Run, bitext_file: Path, tiny_model: Path, encoder: Encoder, expected: list[Alignment]
) -> None:
    out = run("align", "--model", tiny_model, "--pair-scores", bitext_file)[1]
    aligner = Aligner(encoder)
    scores = [one.score(one.alignments[aligner.method]) for one in aligner.details(PAIRS)]
    lines = [line.split("\t") for line in out.splitlines()]
    assert [links for _, links in lines] == [str(alignment) for alignment in expected]
    assert [float(score) for score, _ in lines] == pytest.approx(scores, abs=1e-4)


def test_several_methods_from_one_encoding(
    run: Run, bitext_file: Path, write: Callable[..., Path], tiny_model: Path, encoder: Encoder
) -> None:
    names = ["forward", "softmax:temperature=0.5"]
    methods = ["--method", names[0], "--method", names[1]]
    found = Aligner(encoder).align_methods(PAIRS, names)
    gold = write("gold", *(str(alignment) for alignment in found["forward"]))
    given = ["align", "--model", tiny_model, *methods, "--json", "--gold", gold, bitext_file]
    code, out, err = run(*given)
    assert code == 0
    for number, line in enumerate(out.splitlines()):
        record = json.loads(line)
        assert set(record) == {"source_words", "target_words", "methods"}
        for name in names:
            links = record["methods"][name]["links"]
            places = tuple((link["source"], link["target"]) for link in links)
            assert places == found[name][number].links
    scores = [json.loads(line) for line in err.splitlines()]
    assert [name in score["signature"] for name, score in zip(names, scores, strict=True)] == [
        True,
        True,
    ]
    assert scores[0]["f1"] == 1.0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--json", "--scores"], "--json and --scores ask for different formats"),
        (["--json", "--format", "a3"], "--json and --format a3 ask for different formats"),
        (["--format", "moses"], "unknown format 'moses'; choose one of: a3, jsonl, naacl"),
        (["--detail"], "--detail needs --format jsonl, not pharaoh"),
        (["--pair-scores", "--json"], "--pair-scores needs a format of pharaoh, scored, talp"),
        (["--method", "argmax", "--method", "mwmf"], "2 methods need --format jsonl, not pharaoh"),
        (["--json", *["--method", "mwmf"] * 2], "method mwmf is given twice"),
        (["--similarity", "l2"], "unknown similarity 'l2'; choose one of: cosine, dot"),
        (["--device", "cpu,"], "expected devices such as cpu or cuda:0,cuda:1, got 'cpu,'"),
        (["--device", "cpu,cpu", "--processes", "1"], "2 devices need as many processes"),
        (["--restart"], "--restart is for --output FILE, of which there is none"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_the_model_is_loaded(
    run: Run, bitext_file: Path, options: list[str], sentence: str
) -> None:
    code, out, err = run("align", "--model", "nobody/nothing", *options, bitext_file)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert sentence in err


# --- gold


def test_gold_scores_on_stderr(
    run: Run, bitext_file: Path, write: Callable[..., Path], tiny_model: Path, encoder: Encoder
) -> None:
    aligner = Aligner(encoder, method="forward")
    lines = [str(alignment) for alignment in aligner.align(PAIRS)]
    gold = write("gold", *lines)
    chosen = ["--model", tiny_model, "--method", "forward", "--gold", gold]
    code, out, err = run("align", *chosen, bitext_file)
    assert (code, out.splitlines()) == (0, lines)
    links = sum(len(line.split()) for line in lines)
    assert err.startswith(f"AER 0.00  P 100.00  R 100.00  F1 100.00  (3 pairs, {links} links) | ")
    assert err.endswith(f"{aligner.signature} | gold from 0\n")


def test_gold_score_as_json(
    run: Run, bitext_file: Path, write: Callable[..., Path], tiny_model: Path
) -> None:
    gold = write("gold", "0p0", "", "0-2")
    err = run("align", "--model", tiny_model, "--json", "--gold", gold, bitext_file)[2]
    score = json.loads(err)
    assert (score["pairs"], score["sure"], score["possible"]) == (3, 1, 2)
    assert "method itermax" in score["signature"]


def test_gold_that_counts_from_one_is_noticed_before_the_work(
    run: Run, bitext_file: Path, write: Callable[..., Path], tiny_model: Path
) -> None:
    gold = write("gold", "1-1 4-4", "", "1-1")  # both sides of pair 1 have four words
    given = ["align", "--model", tiny_model, "--gold", gold, bitext_file]
    code, out, err = run(*given)
    assert (code, out) == (2, "")
    assert "gold looks as if its words counted from 1" in err
    code, out, err = run(*given, "--gold-index", 1)
    assert (code, len(out.splitlines())) == (0, 3)
    assert err.endswith("| gold from 1\n")
    assert run(*given, "--gold-index", 0)[0] == 0


def test_gold_with_a_word_zero_is_not_shifted(
    run: Run, bitext_file: Path, write: Callable[..., Path], tiny_model: Path
) -> None:
    gold = write("gold", "1-1", "", "0-1")
    given = ["--model", tiny_model, "--gold", gold, "--gold-index", 1]
    code, out, err = run("align", *given, bitext_file)
    assert (code, out) == (2, "")
    assert "gold line 3 has a word 0" in err


def test_gold_of_other_pairs_is_refused(
    run: Run, bitext_file: Path, write: Callable[..., Path], tiny_model: Path
) -> None:
    gold = write("gold", "0-0")
    code, out, err = run("align", "--model", tiny_model, "--gold", gold, bitext_file)
    assert (code, out) == (2, "")
    assert "1 line for 3 sentence pairs" in err


def test_evaluate_alignment(run: Run, write: Callable[..., Path]) -> None:
    # |A| = 3, |S| = 2, |A & S| = 1, |A & P| = 2: AER 1 - 3/5, P 2/3, R 1/2, F1 4/7.
    hypothesis = write("links", "0-0 1-1", "0-1")
    gold = write("gold", "0-0 1p1", "0-0")
    code, out, err = run("evaluate", "alignment", hypothesis, gold)
    assert (code, err) == (0, "")
    assert out.startswith("AER 40.00  P 66.67  R 50.00  F1 57.14  (2 pairs, 3 links) | bitext")
    assert json.loads(run("evaluate", "alignment", hypothesis, gold, "--json")[1])["aer"] == 0.4


def test_evaluate_alignment_notices_gold_that_counts_from_one(
    run: Run, write: Callable[..., Path]
) -> None:
    hypothesis, gold = write("links", "0-0 1-1 2-2"), write("gold", "1-1 2-2 3-3")
    code, out, err = run("evaluate", "alignment", hypothesis, gold)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "--gold-index 1" in err
    assert run("evaluate", "alignment", hypothesis, gold, "--gold-index", 1)[1].startswith(
        "AER 0.00"
    )
    assert run("evaluate", "alignment", hypothesis, gold, "--gold-index", 0)[1].startswith(
        "AER 33.33"
    )


@pytest.mark.parametrize(
    ("hypothesis", "gold", "sentence"),
    [
        (["0-0"], ["0-0", "0-0"], "links and .*gold have 1 and 2 lines; they must have one a pair"),
        ([], ["0-0"], "links is empty"),
        (["0-0"], [], "gold is empty"),
        (["0-0 1"], ["0-0"], "links, line 1: expected links such as '0-0 1-2', got '1'"),
        (["0-0"], ["0:0"], "gold, line 1: expected gold links such as '0-0 1p2', got '0:0'"),
    ],
)
def test_evaluate_alignment_refuses_bad_files(
    run: Run, write: Callable[..., Path], hypothesis: list[str], gold: list[str], sentence: str
) -> None:
    code, out, err = run("evaluate", "alignment", write("links", *hypothesis), write("gold", *gold))
    assert (code, out) == (2, "")
    assert err.startswith("bitext evaluate alignment: ")
    assert err.count("\n") == 1
    assert re.search(sentence, err)


# --- bad input


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a\tb\nthe \xff house\tdas haus\n", "line 2: byte 0xff at column 5 is not UTF-8"),
        (b"a\tb\nthe\0house\tdas haus\n", "line 2: NUL byte"),
        (b"a\tb\n" + b"x" * (MAX_LINE_BYTES + 1) + b"\ty\n", "line 2: longer than the 1000000"),
        (b"", "is empty"),
        (b"a\tb\nno tab\n", "line 2: expected 'source TAB target'"),
        (b"a\tb\tc\n", "line 1: expected 'source TAB target'"),
        (b"a\tb\n\n", "line 2: expected 'source TAB target'"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(
    run: Run, tmp_path: Path, tiny_model: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    code, out, err = run("align", "--model", tiny_model, path)
    assert (code, out) == (2, "")
    assert err.startswith("bitext align: ")
    assert err.count("\n") == 1
    assert "pairs.tsv" in err
    assert sentence in err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--method", "itermx"], "unknown method 'itermx'; choose one of: argmax, backward"),
        (["--unit", "letter"], "unknown unit 'letter'; choose one of: piece, word"),
        (["--layer", "99"], "has no layer 99; choose one from 0 to 2"),
        (["--distortion", "2"], "distortion must be from 0 to 1, got 2"),
        (["--too-long", "cut"], "unknown too_long 'cut'"),
        (["--dtype", "int3"], "unknown dtype 'int3'"),
    ],
)
def test_unknown_choices_are_refused(
    run: Run, bitext_file: Path, tiny_model: Path, options: list[str], sentence: str
) -> None:
    code, out, err = run("align", "--model", tiny_model, *options, bitext_file)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert sentence in err


def test_an_unknown_model_is_refused(run: Run, bitext_file: Path) -> None:
    code, out, err = run("align", "--model", "nobody/nothing", bitext_file)
    assert (code, out) == (2, "")
    assert "bitext download nobody/nothing" in err


def test_a_missing_file_is_refused_before_the_model_is_loaded(run: Run, tmp_path: Path) -> None:
    code, _, err = run("align", "--model", "nobody/nothing", tmp_path / "none.tsv")
    assert code == 2
    assert "none.tsv: No such file" in err


def test_files_of_unequal_length_are_refused(
    run: Run, write: Callable[..., Path], tiny_model: Path
) -> None:
    source, target = write("a.en", "the house", "a cat"), write("a.de", "das haus")
    code, out, err = run("align", "--model", tiny_model, source, target)
    assert (code, out) == (2, "")
    assert "a.en has 2 lines" in err
    assert "a.de has 1 line" in err


def test_too_long_sentences_are_named_by_line(
    run: Run, write: Callable[..., Path], tiny_model: Path
) -> None:
    path = write("long.tsv", LINES[0], "house\t" + "haus " * 100)
    code, out, err = run("align", "--model", tiny_model, path)
    assert (code, out) == (2, "")
    assert "long.tsv, line 2, target has " in err
    source, target = write("long.en", "a house", "a house"), write("long.de", "haus", "haus " * 99)
    assert f"{target}, line 2 has " in run("align", "--model", tiny_model, source, target)[2]
    code, out, _ = run("align", "--model", tiny_model, "--too-long", "windows", path)
    assert (code, len(out.splitlines())) == (0, 2)


# --- the corpus's own evidence


def test_the_corpus_prior_is_learnt_from_all_pairs(
    run: Run, write: Callable[..., Path], tiny_model: Path, encoder: Encoder
) -> None:
    lines = ["red fish\troter fisch", "red dog\troter hund", "old fish\talter fisch"] * 300
    path = write("fish.tsv", *lines, "\thund")
    given = ["align", "--model", tiny_model, "--method", "argmax", "--chunk", 64, path]
    code, out, _ = run(*given, "--corpus-prior", 1)
    assert code == 0
    # A weight of 1 is more than any two similarities differ by.
    assert out.splitlines() == ["0-0 1-1"] * 900 + [""]
    assert run(*given, "--corpus-prior", 0)[1] == run(*given)[1]


def test_the_corpus_prior_is_in_the_signature(
    run: Run, bitext_file: Path, tiny_model: Path, write: Callable[..., Path]
) -> None:
    gold = write("gold", "0-0", "", "0-0")
    options = ["--model", tiny_model, "--gold", gold, "--corpus-prior", 0.1]
    assert "| corpus prior 0.1 |" in run("align", *options, bitext_file)[2]


def test_a_corpus_prior_is_a_share(run: Run, bitext_file: Path) -> None:
    code, _, err = run("align", "--corpus-prior", 2, bitext_file)
    assert (code, err) == (2, "bitext align: prior_weight must be from 0 to 1, got 2\n")
