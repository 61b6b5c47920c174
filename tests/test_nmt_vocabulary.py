"""Vocabularies that can write: made of a corpus, or an encoder's, trimmed."""

from __future__ import annotations

from typing import Any

import pytest
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from bitext.errors import InputError
from encoders.subwords import SubwordSplitter
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings
from nmt.pieces.vocabulary import (
    SPECIAL_PIECES,
    add_tags,
    gives_back,
    train_vocabulary,
    trim_vocabulary,
)

TEXTS = [
    "The house is small, and the garden is big.",
    "Das Haus ist klein und der Garten ist groß.",
    "A cat sleeps in the old house!",
    "Eine Katze schläft im alten Haus.",
    "Don't stop: 3.14 houses, 2 cats.",
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_vocabulary(TEXTS * 4, size=400)


def codec_of(tokenizer: Any, **more: Any) -> TaggedCodec:
    langs = {"source_langs": ("en",), "target_langs": ("de", "fr")}
    settings = TranslationSettings(**{**langs, "max_source": 64, "max_target": 64, **more})
    return TaggedCodec(tokenizer, settings)


def spelt(tokenizer: Any, text: str) -> list[str]:
    (one,) = SubwordSplitter(tokenizer).texts([text])
    return [str(piece) for piece in tokenizer.convert_ids_to_tokens(one.ids)]


def test_special_pieces_have_xlm_rs_ids(tokenizer: Any) -> None:
    assert tokenizer.convert_tokens_to_ids(SPECIAL_PIECES) == [0, 1, 2, 3, 4]
    roles = (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id)
    assert roles == (0, 1, 2)
    assert tokenizer("a")["input_ids"][0] == 0
    assert tokenizer("a")["input_ids"][-1] == 2


def test_it_is_no_larger_than_was_asked_for(tokenizer: Any) -> None:
    assert 5 + 256 < len(tokenizer) <= 400


@pytest.mark.parametrize(
    "text",
    [
        *TEXTS,
        "no  spaces",  # two of them are one
        "☃ naïve Ωμέγα 科学 \U0001f600",  # characters the corpus has not: bytes
        "(a) \"b\" 'c' – d; e/f 100%",
        "the<s>house</s> <2de>",  # what looks like a special piece is text
    ],
)
def test_decoding_gives_the_text_back(tokenizer: Any, text: str) -> None:
    codec = codec_of(tokenizer)
    (ids,) = codec.target([text], "de")
    assert tokenizer.unk_token_id not in ids
    assert codec.text([codec.end, *ids, codec.end, codec.pad]) == " ".join(text.split())


def test_unseen_characters_are_bytes(tokenizer: Any) -> None:
    # U+2603 is E2 98 83 in UTF-8
    assert spelt(tokenizer, "☃")[-3:] == ["<0xE2>", "<0x98>", "<0x83>"]


def test_a_word_has_the_same_pieces_beside_a_sign(tokenizer: Any) -> None:
    assert spelt(tokenizer, "house!") == [*spelt(tokenizer, "house"), "!"]


def test_no_room_for_pieces() -> None:
    with pytest.raises(InputError, match="vocabulary.size 261 must be more than 261"):
        train_vocabulary(TEXTS, size=261)


def test_trimming_a_unigram_vocabulary_leaves_segmentations(tokenizer: Any) -> None:
    used = TEXTS[:3]
    trimmed = trim_vocabulary(tokenizer, used)
    small = trimmed.tokenizer
    assert len(small) == len(trimmed.kept) < len(tokenizer)
    for text in used:
        assert spelt(small, text) == spelt(tokenizer, text)
    # a row of the embeddings for each: the piece is the same under its old and its new id
    old = tokenizer.convert_ids_to_tokens(trimmed.kept.tolist())
    assert small.convert_ids_to_tokens(list(range(len(small)))) == old
    assert small.convert_tokens_to_ids(SPECIAL_PIECES) == [0, 1, 2, 3, 4]


def test_trimming_drops_what_is_rare(tokenizer: Any) -> None:
    once = trim_vocabulary(tokenizer, TEXTS[:3]).kept
    twice = trim_vocabulary(tokenizer, TEXTS[:3], min_count=2).kept
    assert set(twice.tolist()) < set(once.tolist())


def wordpiece(frame: Any) -> Any:
    """A WordPiece tokenizer whose special pieces stand behind pieces that trimming drops."""
    names = ["dog", "horse", "[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "the", "cat", "##s", "a"]
    vocabulary = {name: number for number, name in enumerate(names)}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=False)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = frame
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
    )


@pytest.mark.parametrize(
    "frame",
    [
        processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3)),
        processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 3), ("[SEP]", 4)]
        ),
    ],
    ids=["bert", "template"],
)
def test_trimming_a_wordpiece_vocabulary_renumbers_its_frame(frame: Any) -> None:
    trimmed = trim_vocabulary(wordpiece(frame), ["the cats"])
    small = trimmed.tokenizer
    # dog and horse are gone; "a" is a letter, and stays
    assert trimmed.kept.tolist() == [2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert spelt(small, "the cats") == ["the", "cat", "##s"]
    framed = small.convert_ids_to_tokens(small("the cats")["input_ids"])
    assert framed == ["[CLS]", "the", "cat", "##s", "[SEP]"]
    assert (small.pad_token_id, small.mask_token_id) == (3, 4)
    assert spelt(small, "dog") == ["[UNK]"]


def test_pieces_that_depend_on_one_another_are_not_trimmed() -> None:
    bpe = Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2, "<pad>": 3}, [("a", "b")]))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>")
    with pytest.raises(InputError, match="kind BPE cannot be trimmed, only Unigram and WordPiece"):
        trim_vocabulary(tokenizer, ["ab"])


def test_the_share_of_texts_that_come_back() -> None:
    tokenizer = wordpiece(processors.BertProcessing(("[SEP]", 4), ("[CLS]", 3)))
    # "The" has no piece, so one of the two is lost
    assert gives_back(tokenizer, ["the cat", "The cat"]) == 0.5


def test_tags(tokenizer: Any) -> None:
    own = train_vocabulary(TEXTS * 4, size=400)
    assert add_tags(own, ["<2de>", "<2fr>", "<bt>"]) == [len(own) - 3, len(own) - 2, len(own) - 1]
    german, french, made = len(own) - 3, len(own) - 2, len(own) - 1
    before = codec_of(own, tags="source").source(["house"], "en", "fr")[0]
    assert before[:2] == [0, french]
    given = codec_of(own, tags="decoder")
    assert given.prefix("de") == [2, german]
    assert given.source(["house"], "en", "de") == codec_of(own).source(["house"], "en", "de")
    # a tag of a corpus is one piece, behind the start, and is not read out
    (tagged,) = given.source(["house"], "en", "de", tag="<bt>")
    assert tagged[:2] == [0, made]
    assert given.text(tagged) == "house"
