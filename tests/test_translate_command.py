"""The command ``bitext translate``: files, pipes, formats, going on, mistakes."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.translation.translator import TranslationModel

Call = Callable[..., tuple[int, str, str]]
SOURCES = ["the house is small", "", "a cat sleeps in the old house", "the garden", "don't stop"]
SHORT = ("--max-length", 10)


@pytest.fixture(scope="module")
def expected(tiny_translator: Path) -> list[str]:
    found = TranslationModel.load(tiny_translator).translate(SOURCES, max_length=10)
    return [own[0].text for own in found]


@pytest.fixture
def text(write: Callable[..., Path]) -> Path:
    return write("text.en", *SOURCES)


def test_a_line_gives_a_line(
    call: Call, tiny_translator: Path, text: Path, expected: list[str]
) -> None:
    code, out, err = call("translate", text, "--model", tiny_translator, *SHORT)
    assert (code, out.splitlines()) == (0, expected)
    assert "of 5 translations" in err  # what is wrong with those of a random model


def test_a_pipe_is_answered(
    call: Call, tiny_translator: Path, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = "".join(f"{source}\n" for source in SOURCES).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(given)))
    code, out, _ = call("translate", "--model", tiny_translator, *SHORT, "--chunk", 2)
    assert (code, out.splitlines()) == (0, expected)


def test_json_has_the_sources_scores_and_links(
    call: Call, tiny_translator: Path, text: Path, expected: list[str]
) -> None:
    arguments = ("--json", "--n-best", 2, "--alignment")
    code, out, _ = call("translate", text, "--model", tiny_translator, *SHORT, *arguments)
    objects = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [one["source"] for one in objects] == SOURCES
    assert [one["hypotheses"][0]["text"] for one in objects] == expected
    assert len(objects[0]["hypotheses"]) == 2
    assert objects[1]["hypotheses"] == [{"text": "", "score": 0.0, "alignment": ""}]
    for one in objects:
        for hypothesis in one["hypotheses"]:
            words = len(one["source"].split()), len(hypothesis["text"].split())
            links = [link.split("-") for link in hypothesis["alignment"].split()]
            assert all(int(i) < words[0] and int(j) < words[1] for i, j in links)


def test_several_hypotheses_have_numbers_and_scores(
    call: Call, tiny_translator: Path, text: Path, expected: list[str]
) -> None:
    _, out, _ = call("translate", text, "--model", tiny_translator, *SHORT, "--n-best", 2)
    rows = [line.split("\t") for line in out.splitlines()]
    # the second sentence has no text, and a single empty hypothesis
    assert [row[0] for row in rows] == ["1", "1", "2", "3", "3", "4", "4", "5", "5"]
    best = {row[0]: row[2] for row in reversed(rows)}
    assert [best[str(n)] for n in range(1, 6)] == expected


def test_prefixes_come_from_a_file(
    call: Call, tiny_translator: Path, text: Path, write: Callable[..., Path]
) -> None:
    prefixes = write("prefix.de", "das haus", "", "eine", "", "")
    model = ("--model", tiny_translator)
    _, out, _ = call("translate", text, *model, "--prefix", prefixes, *SHORT)
    assert out.splitlines()[0].startswith("das haus")
    code, _, err = call("translate", text, *model, "--prefix", write("short.de", "das"), *SHORT)
    assert code == 2
    assert "text.en has 5 lines" in err
    assert "short.de has 1 line" in err


def test_a_stopped_run_goes_on(
    call: Call,
    tiny_translator: Path,
    tmp_path: Path,
    text: Path,
    write: Callable[..., Path],
    expected: list[str],
) -> None:
    """The fifth line is too long at first; when it is mended, the first four are kept."""
    output = tmp_path / "out.de.gz"
    long = "the house. " * 40
    broken = write("broken.en", *SOURCES[:4], long)
    arguments = ("--model", tiny_translator, *SHORT, "--chunk", 2, "--output", output)
    code, _, err = call("translate", broken, *arguments)
    assert code == 2
    assert "broken.en, line 5 has" in err
    assert f"{output}.part keeps 4 sentences" in err
    code, _, err = call("translate", text, *arguments, "--beam-size", 2)
    assert code == 2
    assert "was begun with beam_size 5, not 2" in err
    assert call("translate", text, *arguments)[0] == 0
    assert gzip.decompress(output.read_bytes()).decode().splitlines() == expected
    assert [path.name for path in tmp_path.glob("out*")] == ["out.de.gz"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--beam-size", 0), "beam_size: Input should be greater than 0, got 0"),
        (("--target-lang", "xx"), "unknown target language 'xx'; choose one of: de"),
        (("--temperature", 2), "temperature is for sampling, which was not asked for"),
        (("--n-best", 9), "n_best 9 is more than the beam_size of 5"),
        (("--too-long", "cut"), "unknown too-long 'cut'; choose one of: error, split"),
        (("--engine", "onnx"), "unknown engine 'onnx'; choose one of: ctranslate2, torch"),
        (("--dtype", "int3"), "unknown dtype 'int3'"),
        (("--restart",), "--restart is for --output FILE"),
    ],
)
def test_mistakes_are_one_sentence(
    call: Call, tiny_translator: Path, text: Path, arguments: tuple[object, ...], sentence: str
) -> None:
    code, out, err = call("translate", text, "--model", tiny_translator, *arguments)
    assert (code, out) == (2, "")
    assert sentence in err
    assert err.count("\n") == 1


def test_samples_are_the_same_each_time(call: Call, tiny_translator: Path, text: Path) -> None:
    model = ("--model", tiny_translator, *SHORT)
    first = call("translate", text, *model, "--sample", "--chunk", 1)[1]
    assert call("translate", text, *model, "--sample")[1] == first
    assert call("translate", text, *model, "--sample", "--seed", 2)[1] != first
