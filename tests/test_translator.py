"""TranslationModel: text in, text out, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bitext.errors import InputError, ModelNotFoundError, TooLongError, UnknownNameError
from bitext.types import Hypothesis
from encoders.batching import BatchCost
from encoders.registry import ModelRegistry
from nmt.search.engine import batches
from nmt.translation.translator import TranslationModel

SOURCES = ["the house is small", "", "a cat sleeps in the old house", "the garden", "don't stop"]


@pytest.fixture(scope="module")
def model(tiny_translator: Path) -> TranslationModel:
    return TranslationModel.load(tiny_translator)


def texts(found: list[list[Hypothesis]]) -> list[list[str]]:
    return [[hypothesis.text for hypothesis in own] for own in found]


def test_sentences_keep_their_order_and_get_what_they_get_alone(model: TranslationModel) -> None:
    together = model.translate(SOURCES, "en", "de", n_best=3)
    alone = [model.translate([source], n_best=3)[0] for source in SOURCES]
    assert texts(together) == texts(alone)
    assert len({own[0].text for own in together}) > 2  # else the order would not show
    for own in together:
        assert [h.score for h in own] == sorted((h.score for h in own), reverse=True)


def test_a_line_without_text_gets_an_empty_hypothesis(model: TranslationModel) -> None:
    assert model.translate(["", " \t", "\u3000"], n_best=2) == [[Hypothesis("", 0.0)]] * 3
    assert model.translate([]) == []


def test_hypotheses_that_do_not_end_say_so(model: TranslationModel) -> None:
    [[short]] = model.translate(["a cat sleeps in the old house"], max_length=2)
    assert short.truncated
    found = model.translate([source for source in SOURCES if source], n_best=5)
    assert {hypothesis.truncated for own in found for hypothesis in own} == {True, False}


def test_a_prefix_begins_the_hypotheses(model: TranslationModel) -> None:
    prefixes = ["das haus", "", "", "ein", ""]
    found = model.translate(SOURCES, prefixes=prefixes)
    free = model.translate(SOURCES)
    for prefix, own, without in zip(prefixes, found, free, strict=True):
        assert own[0].text.startswith(prefix)
        assert prefix or own[0].text == without[0].text


def test_a_source_that_is_too_long_is_named(model: TranslationModel) -> None:
    long = "the house. " * 40
    with pytest.raises(TooLongError, match="^sentence 2 has [0-9]+ pieces, .* takes 64") as error:
        model.translate(["a", long])
    assert error.value.sentence == 1
    with pytest.raises(TooLongError, match="^sentence 5 has") as error:
        list(model.stream(["a", "a", "a", "a", long], chunk=2))


def test_a_source_that_is_too_long_is_split_at_sentences(model: TranslationModel) -> None:
    """Three sentences of which two fit together: as the two parts, translated one by one."""
    one = "The house is small and big. "
    pieces = len(model.codec.source([one], "en", "de")[0])
    assert 2 * pieces <= 64 < 3 * pieces
    parts = model.translate([one * 2, one], max_length=9)
    [[found]] = model.translate([one * 3], too_long="split", max_length=9)
    assert found.text == " ".join(own[0].text for own in parts if own[0].text)
    assert found.score == pytest.approx((parts[0][0].score + parts[1][0].score) / 2)
    with pytest.raises(TooLongError, match="pieces in the sentence 'the the"):
        model.translate(["the " * 90], too_long="split")


def test_a_stream_is_read_as_far_as_needed(model: TranslationModel) -> None:
    read = []

    def sentences() -> Iterator[str]:
        for source in SOURCES:
            read.append(source)
            yield source

    stream = model.stream(sentences(), chunk=2)
    assert read == []
    first = next(stream)
    assert len(read) == 2
    assert texts([first, *stream]) == texts(model.translate(SOURCES))


def test_threads_share_a_model(model: TranslationModel) -> None:
    expected = texts(model.translate(SOURCES))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: texts(model.translate(SOURCES)), range(8)))
    assert found == [expected] * 8


def test_what_cannot_be_translated(model: TranslationModel) -> None:
    with pytest.raises(UnknownNameError, match="unknown target language 'fr'; choose one of: de"):
        model.translate(["a"], "en", "fr")
    with pytest.raises(UnknownNameError, match="unknown too_long 'cut'; choose one of: error"):
        model.translate(["a"], too_long="cut")
    with pytest.raises(InputError, match="beam_size: .* greater than 0, got 0"):
        model.translate(["a"], beam_size=0)
    with pytest.raises(InputError, match="beams: unknown key; choose one of: beam_size"):
        model.translate(["a"], beams=3)
    with pytest.raises(InputError, match="2 prefixes for 1 sentences"):
        model.translate(["a"], prefixes=["b", "c"])
    with pytest.raises(InputError, match="there are more prefixes than the 1 sentences"):
        list(model.stream(["a"], prefixes=["b", "c"]))
    with pytest.raises(InputError, match="must be a list of strings, and came as one string"):
        model.translate("a cat")
    with pytest.raises(InputError, match="sentence 1: the prefix of [0-9]+ pieces leaves no room"):
        model.translate(["a"], prefixes=["haus " * 80])


def test_a_language_of_the_other_side_is_unknown(model: TranslationModel) -> None:
    assert model.direction(None, "de") == ("en", "de")
    with pytest.raises(UnknownNameError, match="unknown target language 'en'; choose one of: de"):
        model.direction(None, "en")
    with pytest.raises(UnknownNameError, match="unknown source language 'de'; choose one of: en"):
        model.direction("de", None)


def test_what_cannot_be_loaded(tiny_translator: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown engine 'onnx'; choose one of: ctrans"):
        TranslationModel.load(tiny_translator, engine="onnx")
    with pytest.raises(InputError, match="was not exported for CTranslate2; say bitext export"):
        TranslationModel.load(tiny_translator, engine="ctranslate2")
    with pytest.raises(ModelNotFoundError):
        TranslationModel.load("nobody/nothing")


def test_a_folder_that_describes_another_model(tiny_translator: Path, tmp_path: Path) -> None:
    other = shutil.copytree(tiny_translator, tmp_path / "other")
    (other / "translation.json").write_text('{"version": 1}', encoding="utf-8")
    with pytest.raises(InputError, match="translation model: source_langs: Field required"):
        TranslationModel.load(other)


def test_batches_are_of_like_lengths() -> None:
    # descending: 9 8 | 2 2, as a batch costs 20 + its rows times the longest (see batch_sizes)
    assert batches([2, 9, 2, 8], 1, BatchCost(20, 1)) == [[1, 3], [0, 2]]
    # with two beams each, a batch of 20 has room for one long sentence
    assert batches([2, 9, 2, 8], 2, BatchCost(20, 1)) == [[1], [3], [0, 2]]


def test_models_of_both_kinds_can_be_loaded_at_once(
    tiny_translator: Path, tiny_model: Path
) -> None:
    """transformers sets, while it loads, what holds for all threads."""

    def load(number: int) -> None:
        if number % 2:
            ModelRegistry().encoder(str(tiny_model)).sentences(["a b"])
        else:
            TranslationModel.load(tiny_translator)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(load, range(40))) == [None] * 40
