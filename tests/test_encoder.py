"""Encoder: order, equality, layers, poolings, long input, and every kind of odd text."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from bitext.errors import TooLongError, UnknownNameError
from encoders.checkpoint import ModelKey, load_checkpoint
from encoders.encoder import Encoder
from encoders.registry import ModelRegistry

SENTENCES = [
    "the house is small",
    "",
    "das haus ist klein und der garten ist groß",
    "   ",
    "科学家一直猜想",
    "a cat",
]
WORDS = [["the", "house"], [], ["das", "haus", "ist", "klein"], ["a", " ", "cat"]]


def hidden_states(folder: Path, text: str) -> list[np.ndarray]:
    """All hidden states of ``text`` as ``transformers`` itself gives them, special pieces too."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    with torch.inference_mode():
        states = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
    return [state[0].numpy() for state in states.hidden_states]


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_layers_are_those_of_transformers(encoder: Encoder, tiny_model: Path, layer: int) -> None:
    expected = hidden_states(tiny_model, "the old house")[layer][1:-1]
    pieces = encoder.pieces([["the", "old", "house"]], layer=layer)[0]
    np.testing.assert_allclose(pieces.vectors, expected, atol=1e-5)


def test_no_layer_above_the_asked_for_is_computed(encoder: Encoder) -> None:
    ran = []
    blocks = encoder.checkpoint.model.encoder.layer  # type: ignore[union-attr]
    handles = [
        block.register_forward_hook(lambda *_, number=number: ran.append(number))
        for number, block in enumerate(blocks, start=1)  # type: ignore[arg-type]
    ]
    encoder.sentences(["the house"], layer=1)
    for handle in handles:
        handle.remove()
    assert ran == [1]


def test_sentences_keep_their_order_and_have_unit_length(encoder: Encoder) -> None:
    together = encoder.sentences(SENTENCES)
    alone = np.concatenate([encoder.sentences([sentence]) for sentence in SENTENCES])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    lengths = np.linalg.norm(together, axis=1)
    np.testing.assert_allclose(lengths, [1, 0, 1, 0, 1, 1], atol=1e-6)
    assert together.dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(order=st.permutations(range(len(SENTENCES))), tokens=st.integers(1, 60))
def test_a_result_depends_on_neither_batch_nor_order(
    encoder: Encoder, order: list[int], tokens: int
) -> None:
    other = Encoder(encoder.checkpoint, batch_tokens=tokens)
    shuffled = other.sentences([SENTENCES[k] for k in order])
    np.testing.assert_allclose(shuffled, encoder.sentences(SENTENCES)[order], atol=1e-5)


def test_equal_sentences_are_computed_once(encoder: Encoder) -> None:
    rows = []
    model = encoder.checkpoint.model
    handle = model.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    done: list[int] = []
    texts = ["the old house", "a cat", "the old house", "the  old house"]
    vectors = encoder.sentences(texts, progress=done.append)
    pieces = encoder.pieces([["a", "cat"], ["the", "house"], ["a", "cat"]])
    handle.remove()
    assert sum(rows) == 2 + 2  # the two spaces make no piece either
    assert sum(done) == 4
    np.testing.assert_allclose(vectors, [encoder.sentences([t])[0] for t in texts], atol=1e-6)
    assert pieces[2].vectors is pieces[0].vectors
    assert [len(p.vectors) for p in pieces] == [len(p.word_of) for p in pieces]


def test_the_first_of_equal_sentences_is_the_one_that_is_too_long(encoder: Encoder) -> None:
    long = "house " * 100
    with pytest.raises(TooLongError) as caught:
        encoder.sentences(["a cat", long, long])
    assert caught.value.sentence == 1


def test_words_in_a_batch_equal_words_alone(encoder: Encoder) -> None:
    together = encoder.words(WORDS)
    for words, vectors in zip(WORDS, together, strict=True):
        np.testing.assert_allclose(vectors, encoder.words([words])[0], atol=1e-5)
    assert [vectors.shape for vectors in together] == [(2, 16), (0, 16), (4, 16), (3, 16)]


def test_word_vectors_are_pooled_from_their_pieces(encoder: Encoder) -> None:
    words = ["garten", "katze"]
    pieces = encoder.pieces([words])[0]
    first = pieces.vectors[pieces.word_of == 0]
    assert len(first) > 1  # else the three poolings could not differ
    for pooling, expected in [("mean", first.mean(0)), ("first", first[0]), ("last", first[-1])]:
        word = encoder.words([words], pooling=pooling)[0][0]
        np.testing.assert_allclose(word, expected, atol=1e-6)


def test_sentence_poolings(encoder: Encoder, tiny_model: Path) -> None:
    states = hidden_states(tiny_model, "the old house")[2]
    own = states[1:-1]
    for pooling, expected in [("mean", own.mean(0)), ("max", own.max(0)), ("cls", states[0])]:
        vector = encoder.sentences(["the old house"], layer=2, pooling=pooling)[0]
        np.testing.assert_allclose(vector, expected / np.linalg.norm(expected), atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_an_empty_sentence_is_a_row_of_zeros(encoder: Encoder, pooling: str) -> None:
    assert not encoder.sentences(["", " \t ", "\u200b"], pooling=pooling).any()


def test_a_word_without_pieces_is_a_row_of_zeros_and_its_neighbours_are_not(
    encoder: Encoder,
) -> None:
    words = ["the", "\u200b", "house", " ", ""]
    vectors = encoder.words([words])[0]
    assert vectors.any(axis=1).tolist() == [True, False, True, False, False]
    np.testing.assert_allclose(vectors[[0, 2]], encoder.words([["the", "house"]])[0], atol=1e-6)


@pytest.mark.parametrize(
    "words",
    [
        ["السلام", "عليكم"],  # right to left
        ["👩‍👩‍👧", "🎉"],  # emoji, one of them joined: unknown pieces, but pieces
        ["cafe\u0301"],  # a combining mark
        ["科学家", "一直"],  # a script without spaces, split
        ["科学家一直猜想"],  # and not split
        ["ไปไหนมา"],  # a script the vocabulary has never seen
    ],
)
def test_every_word_of_every_script_has_a_vector(encoder: Encoder, words: list[str]) -> None:
    vectors = encoder.words([words])[0]
    assert vectors.shape == (len(words), 16)
    assert vectors.any(axis=1).all()


def test_composed_and_combining_characters_are_the_same_text(encoder: Encoder) -> None:
    composed, combining = unicodedata.normalize("NFC", "groß é"), "groß e\u0301"
    assert composed != combining
    np.testing.assert_array_equal(*encoder.sentences([composed, combining])[:, None])


def test_splitting_unspaced_text_into_words_does_not_change_its_pieces(encoder: Encoder) -> None:
    split = encoder.pieces([["科", "学", "家"]])[0]
    assert len(split.vectors) >= 3
    spaced, unspaced = encoder.sentences(["科 学 家", "科学家"])
    np.testing.assert_allclose(spaced, unspaced, atol=1e-6)


LONG = "the house is small and the garden is big " * 12


def test_a_sentence_too_long_is_an_error_that_says_which(encoder: Encoder) -> None:
    with pytest.raises(TooLongError, match=r"^sentence 2 has \d+ pieces, .* takes 62; split"):
        encoder.sentences(["the house", LONG])


def test_windows_answer_for_the_whole_of_a_long_sentence(encoder: Encoder) -> None:
    words = LONG.split()
    ids = encoder._splitter.words([words])[0].ids
    size, total = encoder.max_pieces, len(ids)
    assert total > 2 * size  # three windows or more
    found = encoder.pieces([words], layer=1, too_long="windows")[0]
    assert len(found.vectors) == total
    assert set(found.word_of.tolist()) == set(range(len(words)))

    def window(start: int) -> np.ndarray:
        """The vectors of ``size`` pieces read by themselves."""
        framed = torch.tensor([[0, *ids[start : start + size], 2]])
        with torch.inference_mode():
            states = encoder._tap((1,), input_ids=framed, attention_mask=torch.ones_like(framed))
        return states[1][0, 1:-1].numpy()

    # Windows overlap by half and answer for their middle, the outer ones for their end too: pieces
    # at the start, around the middle of the second window, and at the end tell which was taken.
    step, quarter = size // 2, size // 4
    np.testing.assert_allclose(found.vectors[:quarter], window(0)[:quarter], atol=1e-4)
    middle = slice(step + quarter + 2, step + 3 * quarter - 2)
    np.testing.assert_allclose(
        found.vectors[middle], window(step)[middle.start - step : middle.stop - step], atol=1e-4
    )
    np.testing.assert_allclose(found.vectors[-quarter:], window(total - size)[-quarter:], atol=1e-4)


def test_windows_do_not_change_a_sentence_that_fits(encoder: Encoder) -> None:
    for pooling in ("mean", "max", "cls"):
        fitting = encoder.sentences(SENTENCES, pooling=pooling)
        windowed = encoder.sentences(SENTENCES, pooling=pooling, too_long="windows")
        np.testing.assert_array_equal(fitting, windowed)


@pytest.mark.parametrize("pooling", ["mean", "max", "cls"])
def test_a_long_sentence_in_windows_is_a_unit_vector(encoder: Encoder, pooling: str) -> None:
    vectors = encoder.sentences([LONG], pooling=pooling, too_long="windows")
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": 99}, "has no layer 99; choose one from 0 to 2"),
        ({"layer": -1}, "has no layer -1; choose one from 0 to 2"),
        ({"pooling": "mid"}, "unknown pooling 'mid'; choose one of: cls, max, mean"),
        ({"too_long": "cut"}, "unknown too_long 'cut'; choose one of: error, windows"),
    ],
)
def test_a_choice_that_does_not_exist_is_named(
    encoder: Encoder, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(UnknownNameError, match=message):
        encoder.sentences(["a"], **arguments)  # type: ignore[arg-type]


def test_positions_are_those_the_model_has(tiny_model: Path, tmp_path: Path) -> None:
    """XLM-R counts positions from 2: of 66 there are 64, and two special pieces."""
    for path in tiny_model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(settings.read_text().replace('"model_max_length": 64', '"x": 0'))
    encoder = Encoder(load_checkpoint(ModelKey(str(tmp_path))))
    assert encoder.max_pieces == 62
    assert encoder.sentences(["a " * 62]).any()


def test_special_pieces_in_a_text_are_just_characters(encoder: Encoder) -> None:
    pieces = encoder._splitter.texts(["a </s> <pad> <mask>"])[0].ids
    assert not {0, 1, 2, 4} & set(pieces)


def test_progress_counts_the_sentences_that_have_pieces(encoder: Encoder) -> None:
    done: list[int] = []
    encoder.sentences([*SENTENCES, LONG], too_long="windows", progress=done.append)
    assert sum(done) == 5


def test_bfloat16_is_near_float32(tiny_model: Path, encoder: Encoder) -> None:
    reduced = ModelRegistry().encoder(str(tiny_model), dtype="bfloat16")
    assert reduced.bytes < 0.6 * encoder.bytes  # half, but for a buffer of position numbers
    cosines = (reduced.sentences(SENTENCES) * encoder.sentences(SENTENCES)).sum(1)
    np.testing.assert_allclose(cosines, [1, 0, 1, 0, 1, 1], atol=0.02)


def test_without_a_preset_the_layer_is_two_thirds_up(encoder: Encoder) -> None:
    assert encoder.check_layer(None, "alignment") == 1  # of 2
    assert encoder.check_layer(None, "retrieval") == 1


def test_a_preset_names_the_layer(tiny_model: Path, tmp_path: Path) -> None:
    for path in tiny_model.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "bitext.json").write_text('{"alignment": {"layer": 2}}')
    encoder = Encoder(load_checkpoint(ModelKey(str(tmp_path))))
    assert encoder.check_layer(None, "alignment") == 2
    assert encoder.check_layer(None, "retrieval") == 1


def test_a_prefix_is_read_with_every_sentence(encoder: Encoder, tiny_model: Path) -> None:
    texts = ["the house", "das haus", "", "\u200b"]
    prefixed = encoder.sentences(texts, prefix="cat: ")
    together = encoder.sentences(["cat: the house", "cat: das haus"])
    np.testing.assert_allclose(prefixed[:2], together, atol=1e-6)
    assert not prefixed[2:].any(), "what has no pieces has none with a prefix either"
    assert not np.allclose(prefixed[:2], encoder.sentences(texts[:2]), atol=1e-3)


def test_the_preset_names_the_prefix(tiny_model: Path, tmp_path: Path, encoder: Encoder) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "bitext.json").write_text('{"retrieval": {"prefix": "cat: "}}')
    own = ModelRegistry().encoder(str(folder))
    given = encoder.sentences(["the house"], prefix="cat: ")
    np.testing.assert_allclose(own.sentences(["the house"]), given, atol=1e-6)
    without = own.sentences(["the house"], prefix="")
    np.testing.assert_allclose(without, encoder.sentences(["the house"]), atol=1e-6)
