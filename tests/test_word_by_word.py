"""Translation word by word: words and their vectors, the nearest by hand, case and punctuation."""

from __future__ import annotations

import numpy as np
import pytest

from bitext.errors import InputError
from encoders.encoder import Encoder
from encoders.pooling import centre
from nmt.translation.word_by_word import Lexis, WordByWord, induce, lexis_of


def lexis(**words: tuple[float, ...]) -> Lexis:
    vectors = np.array(list(words.values()), np.float32)
    return Lexis(list(words), np.ones(len(words), np.int64), vectors)


# Unit vectors in the plane. "hub" lies between everything: it is the nearest of both source words,
# with cosine 0.96, before dog with 0.92 and cat with 0.94.
SOURCE = lexis(Hund=(0.8, 0.6), Katze=(0.6, 0.8))
TARGET = lexis(dog=(0.9730, 0.2308), hub=(0.7071, 0.7071), cat=(0.2956, 0.9553))


def test_the_cosine_likes_hubs_and_csls_does_not() -> None:
    assert induce(SOURCE, TARGET, neighbours=0) == {"hund": "hub", "katze": "hub"}
    # cos(Hund, .) is 0.917, 0.990, 0.810 and cos(Katze, .) 0.768, 0.990, 0.942. With one neighbour
    # what is taken away of the targets is 0.917, 0.990, 0.942, and 2 cos - r is then for Hund
    # 0.917, 0.990, 0.678: still the hub. With two it is the mean: 0.843, 0.990, 0.876, and Hund
    # has 0.991 for dog, 0.990 for hub; Katze 0.693, 0.990 and 1.008 for cat.
    assert induce(SOURCE, TARGET, neighbours=1) == {"hund": "hub", "katze": "hub"}
    assert induce(SOURCE, TARGET, neighbours=2) == {"hund": "dog", "katze": "cat"}
    assert induce(SOURCE, TARGET) == {"hund": "dog", "katze": "cat"}  # no more than there are


def test_a_word_is_what_it_is_wherever_it_stands(encoder: Encoder) -> None:
    lines = ["The cat sleeps. The house", "", "a cat!", "CAT 3.14"]
    found = lexis_of(encoder, lines, layer=1)
    # Case folded; numbers and punctuation are no words. "CAT" stands at a start alone, "The" once.
    assert found.forms == ["The", "cat", "sleeps", "house", "a"]
    assert found.counts.tolist() == [2, 3, 1, 1, 1]
    split = [["The", "cat", "sleeps", ".", "The", "house"], ["a", "cat", "!"], ["CAT", "3.14"]]
    first, second, third = encoder.words(split, layer=1)
    means = np.stack(
        [
            (first[0] + first[4]) / 2,
            (first[1] + second[1] + third[0]) / 3,
            first[2],
            first[5],
            second[0],
        ]
    )
    assert found.vectors == pytest.approx(centre(means, means.mean(0)), abs=1e-5)
    common = found.common(2)
    assert common.forms == ["The", "cat"]
    assert (common.vectors == found.vectors[:2]).all()


def test_a_text_in_parts_is_the_same_text(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["the cat", "a house", "the old house", "a cat sleeps"]
    whole = lexis_of(encoder, lines)
    monkeypatch.setattr("nmt.translation.word_by_word.CHUNK", 1)
    parts = lexis_of(encoder, lines)
    assert parts.forms == whole.forms
    assert parts.vectors == pytest.approx(whole.vectors, abs=1e-5)


def test_a_text_without_words_is_refused(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="there are no words in the text"):
        lexis_of(encoder, ["3.14 !"])


@pytest.mark.parametrize(
    ("sentence", "translation"),
    [
        ("Ein Hund bellt.", "A dog bellt."),
        ("ein Hund,  ein HUND!", "a dog,  a dog!"),
        ("3 Hund", "3 dog"),
        ("", ""),
    ],
)
def test_sentences_keep_their_punctuation_and_their_start(sentence: str, translation: str) -> None:
    translator = WordByWord({"ein": "a", "hund": "dog"})
    [[found]] = translator.translate([sentence])
    assert found.text == translation
