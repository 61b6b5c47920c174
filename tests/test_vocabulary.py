"""The joint vocabulary: what becomes a piece, and what never does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from encoders.subwords import SubwordSplitter
from encoders.training.vocabulary import SPECIAL_PIECES, train_vocabulary


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(tiny_model)


def test_special_pieces_have_xlm_rs_ids(tokenizer: Any) -> None:
    assert tokenizer.convert_tokens_to_ids(SPECIAL_PIECES) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("The House", "the house"),  # lower-cased
        ("the   house ", "the house"),
        ("the\u200bhouse", "the house"),
        ("ｔｈｅ house", "the house"),  # compatibility forms
        ("科学 家", "科学家"),
        ("don ' t stop , 3 . 1 4 !", "don't stop, 3.14!".replace("'t", "' t")),
    ],
)
def test_texts_that_have_the_same_pieces(tokenizer: Any, text: str, same: str) -> None:
    assert tokenizer.tokenize(text) == tokenizer.tokenize(same)


def test_digits_and_punctuation_stand_alone(tokenizer: Any) -> None:
    assert tokenizer.tokenize("3.14!") == ["3", ".", "1", "4", "!"]


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u200b"])
def test_nothing_has_no_pieces(tokenizer: Any, text: str) -> None:
    assert tokenizer.tokenize(text) == []


def test_a_rare_character_gets_no_piece() -> None:
    sentences = ["a b a b", "b a"] * 20 + ["a þ b"]
    tokenizer = train_vocabulary(sentences, size=20, min_character_count=3, max_pieces=16)
    assert tokenizer.convert_tokens_to_ids("þ") == tokenizer.unk_token_id
    assert tokenizer.unk_token_id not in tokenizer("a b")["input_ids"]


def test_the_splitter_finds_framing_and_words(tokenizer: Any) -> None:
    splitter = SubwordSplitter(tokenizer)
    assert (splitter.prefix, splitter.suffix, splitter.pad) == ([0], [2], 1)
    ids, word_of = splitter.words([["the", " ", "house"]])[0]
    assert ids == tokenizer("the house", add_special_tokens=False)["input_ids"]
    assert set(word_of.tolist()) == {0, 2}


def test_a_slow_tokenizer_is_asked_word_by_word(tmp_path: Path) -> None:
    """XLM's is the one that has no fast form."""
    pytest.importorskip("sacremoses", reason="XLM's tokenizer needs sacremoses")
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(c + "</w>" for c in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = ["<s>", "</s>", "<pad>", "<unk>", "<special1>", *letters, "th", "the</w>"]
    (tmp_path / "vocab.json").write_text(json.dumps({v: i for i, v in enumerate(vocabulary)}))
    (tmp_path / "merges.txt").write_text("t h 9\nth e</w> 8\n")
    slow: Any = transformers.XLMTokenizer
    splitter = SubwordSplitter(slow(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt")))
    ids, word_of = splitter.words([["the", "cat", " "]])[0]
    spelt = ["the</w>", "c", "a", "t</w>"]
    assert ids == [vocabulary.index(piece) for piece in spelt]
    assert word_of.tolist() == [0, 1, 1, 1]
    assert (len(splitter.prefix), len(splitter.suffix)) == (1, 1)


def test_a_byte_level_tokenizer_keeps_its_word_marks() -> None:
    """GPT-NeoX's kind, as in ModernBERT, marks a word by the space before it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<pad>"],
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    raw.train_from_iterator(["the house a a the house a"] * 10, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>")
    splitter = SubwordSplitter(tokenizer)
    ids, word_of = splitter.words([["the", "house", "a"]])[0]
    assert ids == splitter.texts(["the house a"])[0].ids
    assert word_of.tolist() == sorted(word_of.tolist())
    assert set(word_of.tolist()) == {0, 1, 2}
