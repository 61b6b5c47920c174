"""Back-translation: what becomes a pair, what is dropped and why, and runs that were broken off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from bitext.bridges import similarity_by
from bitext.errors import InputError, MismatchError, TooLongError, UnknownNameError
from bitext.text import read_bitext
from bitext.types import Hypothesis, SentencePair
from encoders.encoder import Encoder
from encoders.registry import default_registry
from nmt.translation import backtranslation
from nmt.translation.backtranslation import BackTranslator, Report, back_translate_file
from retrieval.filters.similarity import similarity

Write = Callable[..., Path]

WORDS = {"der": "the", "hund": "dog", "bellt": "barks", "eine": "a", "katze": "cat", "laut": "loud"}


class Dictionary:
    """A translator word by word, which knows a few sentences by heart and six words a sentence."""

    def __init__(self, by_heart: dict[str, str] | None = None, most: int = 6) -> None:
        self.by_heart = by_heart or {}
        self.most = most
        self.asked: list[tuple[str, ...]] = []
        self.options: dict[str, Any] = {}

    def translate(
        self,
        sentences: Sequence[str],
        source_lang: str | None = None,
        target_lang: str | None = None,
        **search: Any,
    ) -> list[list[Hypothesis]]:
        self.options = {"source_lang": source_lang, "target_lang": target_lang, **search}
        for number, sentence in enumerate(sentences):
            if len(sentence.split()) > self.most:
                raise TooLongError("is too long", sentence=number)
        self.asked.append(tuple(sentences))
        return [
            [
                Hypothesis(self._one(sentence), -0.5, sentence == "Das hört nicht auf"),
                Hypothesis("second best", -1),
            ]
            for sentence in sentences
        ]

    def _one(self, sentence: str) -> str:
        known = self.by_heart.get(sentence)
        if known is not None:
            return known
        return " ".join(WORDS.get(word, word) for word in sentence.lower().split())


def texts(pairs: Sequence[SentencePair]) -> list[tuple[str, str]]:
    return [(str(pair.source), str(pair.target)) for pair in pairs]


# --- pairs


def test_what_is_made_is_the_source_and_the_line_the_target() -> None:
    translator = Dictionary()
    work = BackTranslator(
        translator=translator, source_lang="en", target_lang="de", search={"beam_size": 2}
    )
    [found] = work(["Der Hund bellt"])
    assert found == ("the dog barks", "Der Hund bellt", "")
    # The translator goes the other way: from the language of the text.
    assert translator.options == {"source_lang": "de", "target_lang": "en", "beam_size": 2}


def test_each_line_is_dropped_for_its_own_reason() -> None:
    translator = Dictionary(
        {
            "Das ist leer": "",
            "Das ist eine Schleife": "the loop the loop the loop the loop",
            "Der Hund mit Tab": "the\tdog",
        }
    )
    lines = {
        "der hund bellt": "",
        "": "no text",
        "?!": "no text",
        "der\thund": "tab",
        "der hund bellt laut laut laut laut": "too long",  # seven words
        "Das hört nicht auf": "unfinished",
        "Das ist leer": "empty",
        "was man nicht kennt bleibt": "copied",
        "Das ist eine Schleife": "repeated",
        "Der Hund mit Tab": "tab",
        "eine katze": "",
    }
    work = BackTranslator(translator=translator)
    found = work(list(lines))
    assert [one.target for one in found] == list(lines)
    assert [one.dropped for one in found] == list(lines.values())
    # What cannot be translated was not asked for, or only until the translator refused it.
    assert len(translator.asked) == 1
    report = Report()
    report.add(found)
    assert str(report) == (
        "kept 2 of 11 lines; dropped: 2 no text, 2 tab, 1 too long, 1 unfinished, 1 empty, "
        "1 copied, 1 repeated"
    )


def test_pairs_below_the_limit_are_dropped_and_others_not_even_scored() -> None:
    asked = []

    def score(pairs: Sequence[SentencePair]) -> list[float]:
        asked.extend(texts(pairs))
        return [0.2 if "cat" in str(pair.source) else 0.7 for pair in pairs]

    work = BackTranslator(translator=Dictionary(), similarity=score, least=0.7)
    found = work(["der hund bellt", "eine katze", "?"])
    assert [one.dropped for one in found] == ["", "similarity", "no text"]
    assert asked == [("the dog barks", "der hund bellt"), ("a cat", "eine katze")]


def test_nothing_to_translate_is_not_translated() -> None:
    translator = Dictionary()
    assert [one.dropped for one in BackTranslator(translator=translator)(["", "..."])] == [
        "no text",
        "no text",
    ]
    assert translator.asked == []


# --- the file


LINES = ["der hund bellt", "eine katze", "?", "der hund", "eine katze bellt"]
PAIRS = [
    ("the dog barks", "der hund bellt"),
    ("a cat", "eine katze"),
    ("the dog", "der hund"),
    ("a cat barks", "eine katze bellt"),
]


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
def test_the_kept_pairs_are_a_bitext(tmp_path: Path, name: str) -> None:
    steps: list[int] = []
    report = back_translate_file(
        LINES,
        tmp_path / name,
        BackTranslator(translator=Dictionary()),
        {"model": "x"},
        progress=steps.append,
    )
    assert texts(list(read_bitext(tmp_path / name))) == PAIRS
    assert str(report) == "kept 4 of 5 lines; dropped: 1 no text"
    assert report.as_dict()["kept"] == 4
    assert steps == [5]


class Broken(Dictionary):
    """Fails at the second chunk."""

    def translate(self, sentences: Sequence[str], *args: Any, **search: Any) -> Any:
        if self.asked:
            raise InputError("the disk is full")
        return super().translate(sentences, *args, **search)


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The output of a run that was broken off after two lines."""
    monkeypatch.setattr(backtranslation, "CHUNK", 2)
    output = tmp_path / "pairs.tsv"
    with pytest.raises(InputError, match="the disk is full") as caught:
        back_translate_file(LINES, output, BackTranslator(translator=Broken()), {"model": "x"})
    assert caught.value.hint == f"{output}.part keeps 2 lines: the same command goes on from there"
    assert not output.exists()
    return output


def test_a_broken_run_is_gone_on_with(begun: Path) -> None:
    translator = Dictionary()
    report = back_translate_file(
        LINES, begun, BackTranslator(translator=translator), {"model": "x"}
    )
    assert texts(list(read_bitext(begun))) == PAIRS
    assert translator.asked == [("der hund",), ("eine katze bellt",)]
    assert str(report) == (
        "kept 4 of 5 lines, 2 of which an earlier run did; since then dropped: 1 no text"
    )


def test_a_broken_run_of_other_settings_or_lines_is_not(begun: Path) -> None:
    work = BackTranslator(translator=Dictionary())
    with pytest.raises(MismatchError, match="was begun with model x, not y"):
        back_translate_file(LINES, begun, work, {"model": "y"})
    with pytest.raises(MismatchError, match="z.txt is not what .* was made of"):
        back_translate_file(LINES[1:], begun, work, {"model": "x"}, name="z.txt")
    report = back_translate_file(LINES, begun, work, {"model": "y"}, restart=True)
    assert (report.before, report.kept) == (0, 4)


# --- bitext's own score

RIGHT = SentencePair("The old house has a small garden.", "Das alte Haus hat einen Garten.")
WRONG = SentencePair("The old house has a small garden.", "Um acht Uhr fährt der Zug ab.")


@pytest.mark.parametrize("margin", ["absolute", "distance", "ratio"])
def test_translations_score_more_than_strangers(margin: str) -> None:
    score = similarity_by(default_registry().encoder("bundled"), margin)
    right, wrong = score([RIGHT, WRONG])
    assert right > wrong
    assert score([]) == []


def test_the_absolute_score_is_the_cosine_whatever_comes_with_it(encoder: Encoder) -> None:
    score = similarity_by(encoder)
    [alone] = score([RIGHT])
    source, target = encoder.sentences([str(RIGHT.source), str(RIGHT.target)])
    assert alone == pytest.approx(float(source @ target), abs=1e-6)
    assert score([WRONG, RIGHT])[1] == pytest.approx(alone, abs=1e-6)


def test_a_margin_that_does_not_exist_is_refused(encoder: Encoder) -> None:
    with pytest.raises(UnknownNameError, match="unknown margin 'x'; choose one of: absolute"):
        similarity(encoder, "x")
