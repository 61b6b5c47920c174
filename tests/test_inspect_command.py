"""``bitext inspect``, through the command's own entry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from encoders.hub import find_folder
from encoders.preset import PRESET_FILE, read_preset

LINES = [
    "the house is small\tdas haus ist klein",
    "the garden is big\tder garten ist groß",
    "a cat sleeps\teine katze schläft",
    "don't stop\talten haus",
    "the old house\tdas haus im garten",
]
GOLD = ["0-0 1-1 2-2 3-3", "0-0 1-1 2-2 3-3", "0-0 1-1 2-2", "1p1", "0-0 2-1"]

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


@pytest.fixture
def run(call: Run) -> Run:
    """Run ``bitext inspect``; its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        return call("inspect", *arguments)

    return run


@pytest.fixture
def pairs(write: Write) -> Path:
    return write("pairs.tsv", *LINES)


@pytest.fixture
def gold(write: Write) -> Path:
    return write("pairs.gold", *GOLD)


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


# --- what it prints


def test_a_line_a_layer_then_the_recommendation(
    run: Run, pairs: Path, gold: Path, tiny_model: Path
) -> None:
    code, out, err = run(tiny_model, "--bitext", pairs, "--gold", gold)
    assert (code, err) == (0, "")
    header, *layers, align, retrieve, signature = [line.split("\t") for line in out.splitlines()]
    assert header[:4] == ["layer", "aer_piece", "aer_word", "raw_mean"]
    assert header[-5:] == ["cka", "cca", "anisotropy_source", "anisotropy_target", "language"]
    assert [row[0] for row in layers] == ["0", "1", "2"]
    assert {len(row) for row in layers} == {len(header)}
    assert align[0] == "alignment"
    assert "AER" in align[6]
    assert retrieve[0] == "retrieval"
    assert retrieve[5].endswith("of 5 pairs")
    assert signature[1].startswith("bitext ")


def test_json_has_an_object_a_layer_and_one_of_advice(
    run: Run, pairs: Path, gold: Path, tiny_model: Path
) -> None:
    out = run(tiny_model, "--bitext", pairs, "--gold", gold, "--json")[1]
    *layers, advice = [json.loads(line) for line in out.splitlines()]
    assert [layer["layer"] for layer in layers] == [0, 1, 2]
    assert layers[0]["retrieval"]["mean"]["pairs"] == 5
    units = {(r["layer"], unit): aer for r in layers for unit, aer in r["aer"].items()}
    assert len(units) == 6
    chosen = advice["alignment"]
    assert units[chosen["layer"], chosen["unit"]] == min(units.values())
    assert (advice["pairs"], advice["gold_pairs"]) == (5, 5)


def test_without_gold_there_is_no_error_rate(run: Run, pairs: Path, tiny_model: Path) -> None:
    code, out, _ = run(tiny_model, "--bitext", pairs)
    assert code == 0
    assert "aer" not in out.splitlines()[0]
    assert out.splitlines()[4].endswith("no gold: best centred retrieval of mean vectors")


def test_pairs_of_two_files_and_gold_of_others(
    run: Run, write: Write, pairs: Path, gold: Path, tiny_model: Path
) -> None:
    sides = [write(name, *(line.split("\t")[n] for line in LINES)) for n, name in enumerate("st")]
    together = run(tiny_model, "--bitext", pairs, "--gold", gold)[1]
    apart = run(
        tiny_model, "--bitext", sides[0], "--target", sides[1],
        "--gold", gold, "--gold-bitext", sides[0], "--gold-target", sides[1],
    )[1]  # fmt: skip
    assert apart == together
    assert run(tiny_model, "--bitext", sides[0], "--target", sides[1], "--gold", gold)[1] == apart


def test_no_more_pairs_than_the_limit_and_it_says_so(
    run: Run, write: Write, pairs: Path, tiny_model: Path
) -> None:
    code, out, err = run(tiny_model, "--bitext", pairs, "--limit", 4)
    assert code == 0
    assert err == "pairs.tsv: the first 4 pairs are looked at (--limit)\n".replace(
        "pairs.tsv", str(pairs)
    )
    first = write("first.tsv", *LINES[:4])
    assert run(tiny_model, "--bitext", first)[1:] == (out, "")


def test_the_limit_is_not_for_gold(run: Run, pairs: Path, gold: Path, tiny_model: Path) -> None:
    out = run(tiny_model, "--bitext", pairs, "--gold", gold, "--limit", 4, "--json")[1]
    advice = json.loads(out.splitlines()[-1])
    assert (advice["pairs"], advice["gold_pairs"]) == (4, 5)


# --- pictures


def test_pictures_are_drawn(
    run: Run, pairs: Path, gold: Path, tiny_model: Path, tmp_path: Path
) -> None:
    png, svg = tmp_path / "layers.png", tmp_path / "layers.SVG"
    code, _, err = run(tiny_model, "--bitext", pairs, "--gold", gold, "--plot", png, "--plot", svg)
    assert (code, err) == (0, "")
    assert png.read_bytes().startswith(b"\x89PNG")
    drawn = svg.read_text(encoding="utf-8")
    for text in ("AER, unit word", "retrieval, centred", "linear CKA", "recommended"):
        assert text in drawn


def test_the_same_figures_give_the_same_picture(
    run: Run, pairs: Path, tiny_model: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "a.svg", tmp_path / "b.svg"
    run(tiny_model, "--bitext", pairs, "--plot", first, "--plot", second)
    assert first.read_bytes() == second.read_bytes()
    assert "AER, unit" not in first.read_text(encoding="utf-8")


def test_without_matplotlib_the_extra_is_named(
    run: Run, pairs: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, out, err = run(tiny_model, "--bitext", pairs, "--plot", tmp_path / "a.png")
    assert (code, out) == (2, "")
    assert "pip install 'bitext[plot]'" in err


# --- the preset


def test_the_preset_is_what_was_recommended(run: Run, pairs: Path, gold: Path, model: Path) -> None:
    (model / PRESET_FILE).write_text('{"alignment": {"method": "mwmf", "distortion": 0.5}}')
    code, out, err = run(model, "--bitext", pairs, "--gold", gold, "--write-preset", "--json")
    assert code == 0
    assert err == f"wrote {model / PRESET_FILE}\n"
    advice = json.loads(out.splitlines()[-1])
    preset = read_preset(model)
    aligned, embedded = preset.alignment, preset.retrieval
    for key in ("layer", "unit", "method", "distortion", "threshold"):
        assert getattr(aligned, key) == advice["alignment"][key]
    assert aligned.method.split(":")[0] in ("argmax", "softmax")  # no longer mwmf
    assert aligned.distortion == 0.5
    for key in ("layer", "pooling", "centred", "threshold"):
        assert getattr(embedded, key) == advice["retrieval"][key]


def test_without_gold_the_way_of_aligning_is_kept(run: Run, pairs: Path, model: Path) -> None:
    (model / PRESET_FILE).write_text('{"alignment": {"method": "mwmf", "unit": "word"}}')
    assert run(model, "--bitext", pairs, "--write-preset")[0] == 0
    kept = read_preset(model).alignment
    assert (kept.method, kept.unit, kept.threshold) == ("mwmf", "word", 0)


def test_the_bundled_models_preset_is_not_changed(run: Run, pairs: Path) -> None:
    before = (find_folder("bundled") / PRESET_FILE).read_bytes()
    code, _, err = run("bundled", "--bitext", pairs, "--write-preset")
    assert code == 2
    assert "belongs to the package; copy it (cp -rL " in err
    assert (find_folder("bundled") / PRESET_FILE).read_bytes() == before


def test_a_preset_in_the_hubs_cache_is_not_changed(
    run: Run, pairs: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoders.hub.find_folder", lambda *_: model)
    code, out, err = run("owner/model", "--bitext", pairs, "--write-preset")
    assert (code, out) == (2, "")
    assert f"belongs to the cache of the hub; copy it (cp -rL {model} MY_MODEL)" in err
    assert not (model / PRESET_FILE).exists()


# --- bad input


@pytest.mark.parametrize(
    ("lines", "arguments", "message"),
    [
        (LINES[:3], [], "languages are compared by at least 4 pairs, got 3"),
        ([*LINES, "a cat\t"], [], "pairs.tsv, line 6: the target is empty"),
        ([*LINES, "a cat"], [], "line 6: expected 'source TAB target', found 0 tabs"),
        ([*LINES, "a " * 80 + "\ta"], [], "pair 6, source has 80 pieces"),
        (LINES, ["--gold", "{gold}", "--gold-bitext", "{long}"], "gold pair 5, target has 80"),
        (LINES[:4], ["--gold", "{gold}"], "pairs.gold"),
        (LINES, ["--gold-bitext", "{pairs}"], "are for --gold FILE"),
        (LINES, ["--gold-index", "1"], "are for --gold FILE"),
        (LINES, ["--gold", "{gold}", "--gold-target", "{pairs}"], "is for --gold-bitext FILE"),
        (LINES, ["--gold", "{gold}", "--gold-index", "1"], "has a word 0"),
        (LINES, ["--plot", "layers.pdf"], "ends in .png or .svg, got layers.pdf"),
        (LINES, ["--plot", "nowhere/a.png"], "there is no folder nowhere"),
        (LINES, ["--dtype", "float8"], "unknown dtype 'float8'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    run: Run, write: Write, gold: Path, tiny_model: Path,
    lines: list[str], arguments: list[str], message: str,
) -> None:  # fmt: skip
    pairs = write("pairs.tsv", *lines)
    long = write("long.tsv", *LINES[:4], "a\t" + "a " * 80)
    given = [argument.format(gold=gold, pairs=pairs, long=long) for argument in arguments]
    code, out, err = run(tiny_model, "--bitext", pairs, *given)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_gold_with_standard_input_needs_its_pairs(run: Run, gold: Path, tiny_model: Path) -> None:
    code, _, err = run(tiny_model, "--bitext", "-", "--gold", gold)
    assert code == 2
    assert "standard input is read once" in err


def test_an_unknown_model_is_named(run: Run, pairs: Path) -> None:
    code, _, err = run("owner/no-such-model", "--bitext", pairs)
    assert code == 2
    assert "bitext download owner/no-such-model" in err
