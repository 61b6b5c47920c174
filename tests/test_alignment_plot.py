from __future__ import annotations

import logging
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from aligners.detail import PairDetail
from aligners.plot import MOST_PAIRS, MOST_WORDS, pairs_to_plot, plot_pairs
from bitext.cli import main
from bitext.errors import InputError, TooLargeError
from bitext.types import Alignment, SentencePair

pytest.importorskip("matplotlib")

PAIR = SentencePair(["the", "house", "<&$x^$>"], ["das", "Häuschen"])
PNG = b"\x89PNG\r\n\x1a\n"
SVG = "{http://www.w3.org/2000/svg}"


def detail(pair: SentencePair, *links: tuple[int, int]) -> PairDetail:
    shape = len(pair.source), len(pair.target)
    matrix = np.linspace(0.3, 0.9, shape[0] * shape[1]).reshape(shape)
    scores = tuple(float(matrix[link]) for link in links)
    return PairDetail({"argmax": Alignment(links, scores)}, matrix, matrix, matrix)


def texts(path: Path) -> list[str]:
    return [element.text or "" for element in ElementTree.parse(path).iter(f"{SVG}text")]


def test_words_are_text_in_an_svg(tmp_path: Path) -> None:
    path = tmp_path / "pair.svg"
    plot_pairs([detail(PAIR, (0, 0), (1, 1))], [PAIR], path, title="model tiny | layer 1")
    found = texts(path)
    assert [word for word in found if word in PAIR.target] == PAIR.target
    assert [word for word in found if word in PAIR.source] == PAIR.source
    # Of matrix 0.3 0.42 / 0.54 0.66 / 0.78 0.9 the links have the similarities 0.3 and 0.66, which
    # are probabilities here, too, and cosines -0.4, which counts nothing, and 0.32; over five
    # words: (2 * 0 + 2 * 0.32 * 0.66 + 0) / 5 = 0.084.
    assert "argmax, score 0.08" in found
    assert "model tiny | layer 1" in found


def test_the_same_pair_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.svg", "b.svg", "a.png", "b.png")]
    for path in paths:
        plot_pairs([detail(PAIR, (0, 0))], [PAIR], path)
    bytes_of = [path.read_bytes() for path in paths]
    assert bytes_of[0] == bytes_of[1]
    assert bytes_of[2] == bytes_of[3]
    assert bytes_of[2].startswith(PNG)


def test_words_without_links_are_grey(tmp_path: Path) -> None:
    # From right to left too, where the words of the rows stand on the other side.
    for number, pair in enumerate((PAIR, SentencePair(["the", "house"], ["البيت", "في"]))):
        path = tmp_path / f"{number}.svg"
        plot_pairs([detail(pair, (1, 0))], [pair], path)
        styles = {e.text: e.get("style", "") for e in ElementTree.parse(path).iter(f"{SVG}text")}
        grey = {word for word in (*pair.source, *pair.target) if "fill: #999999" in styles[word]}
        assert grey == {*pair.source, *pair.target} - {pair.source[1], pair.target[0]}


def test_a_target_from_right_to_left_has_its_first_word_at_the_right(tmp_path: Path) -> None:
    order = {}
    for name, target in (("ltr", ["das", "Haus"]), ("rtl", ["البيت", "في"])):
        pair = SentencePair(["the", "house"], target)
        plot_pairs([detail(pair)], [pair], tmp_path / f"{name}.svg")
        order[name] = [text for text in texts(tmp_path / f"{name}.svg") if text in target]
        places = {
            e.text: float(e.get("transform", "").partition("(")[2].split()[0])
            for e in ElementTree.parse(tmp_path / f"{name}.svg").iter(f"{SVG}text")
            if e.text in target
        }
        assert (places[target[0]] < places[target[1]]) == (name == "ltr")


def test_empty_sides_and_many_pairs_are_drawn(tmp_path: Path) -> None:
    pairs = [PAIR, SentencePair([], ["das"]), SentencePair([], [])]
    plot_pairs([detail(pair) for pair in pairs], pairs, tmp_path / "pairs.svg")
    assert texts(tmp_path / "pairs.svg").count("argmax, score 0.00") == 3


def test_letters_that_no_font_has_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pair = SentencePair(["\U0010fffd"], ["house"])  # for private use: no font should have it
    with caplog.at_level(logging.WARNING):
        plot_pairs([detail(pair)], [pair], tmp_path / "pair.png")
    (record,) = caplog.records
    assert record.getMessage() == (
        "no font that is installed has \U0010fffd: the picture has boxes there"
    )


@pytest.mark.parametrize(
    ("pairs", "name", "error", "sentence"),
    [
        (
            [PAIR] * (MOST_PAIRS + 1),
            "pairs.png",
            TooLargeError,
            "--plot draws at most 12 pairs, and there are more; give it some of the lines only",
        ),
        (
            [PAIR, SentencePair(["a"], ["b"] * (MOST_WORDS + 1))],
            "pairs.png",
            TooLargeError,
            "pair 2, target: --plot draws at most 150 words, got 151",
        ),
        ([PAIR], "pairs.pdf", InputError, "--plot takes a file that ends in .png or .svg"),
        ([PAIR], "no/pairs.png", InputError, "cannot write {folder}/no/pairs.png: there is no"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    tmp_path: Path, pairs: list[SentencePair], name: str, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error) as caught:
        pairs_to_plot(iter(pairs), tmp_path / name)
    assert str(caught.value).startswith(sentence.format(folder=tmp_path))


def test_the_command_draws_what_it_aligns(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.tsv").write_text("the house\tdas haus\na cat\teine katze\n")
    given = ["align", str(tmp_path / "pairs.tsv"), "--model", str(tiny_model), "--method", "mwmf"]
    with pytest.raises(SystemExit) as ended:
        main([*given, "--plot", str(tmp_path / "pairs.svg")])
    assert ended.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    found = texts(tmp_path / "pairs.svg")
    assert [word for word in found if word in ("das", "haus", "eine", "katze")] == [
        "das",
        "haus",
        "eine",
        "katze",
    ]
    assert sum(text.startswith("mwmf, score") for text in found) == 2


def test_the_command_refuses_too_many_pairs_before_it_loads_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pairs.tsv").write_text("a\tb\n" * 13)
    with pytest.raises(SystemExit) as ended:
        main(["align", str(tmp_path / "pairs.tsv"), "--model", "no/such", "--plot", "pairs.svg"])
    assert ended.value.code == 2
    assert "--plot draws at most 12 pairs" in capsys.readouterr().err
