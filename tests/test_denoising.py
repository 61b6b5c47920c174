"""Denoising: noise in batches, texts of several sentences, and who has a turn in a stage."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from bitext.errors import InputError
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings
from nmt.pieces.vocabulary import add_tags, train_vocabulary
from nmt.training.config import (
    DataSettings,
    Denoise,
    Monolingual,
    Stage,
    Task,
    Tasks,
    Text,
    TrainConfig,
    share_at,
    value_at,
)
from nmt.training.denoising import DenoisingBatches
from nmt.training.mixture import Mixture, Turns
from nmt.training.monolingual import EncodedText, encode_text, joined, read_text, word_starts
from nmt.training.noise import MbartNoise, Noise, XlmNoise

LINES = [
    "a dog runs in the garden",
    "the cat sleeps",
    "two dogs and a cat play in the old garden",
    "the garden is old",
    "",
    "the cat sleeps",
]


@pytest.fixture(scope="module")
def codec() -> TaggedCodec:
    tokenizer = train_vocabulary([*LINES * 4, "un chien court"], size=330)
    add_tags(tokenizer, ["<2en>", "<2fr>"])
    settings = TranslationSettings(
        source_langs=("en", "fr"),
        target_langs=("en", "fr"),
        tags="decoder",
        max_source=64,
        max_target=64,
    )
    return TaggedCodec(tokenizer, settings)


@pytest.fixture
def text(codec: TaggedCodec, tmp_path: Path) -> EncodedText:
    (tmp_path / "text.en").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    settings = DataSettings(source_lang="en", target_lang="fr")
    encoded, _ = encode_text(Monolingual(file="text.en", lang="en"), settings, codec, tmp_path)
    return encoded


def batches_of(codec: TaggedCodec, text: EncodedText, noise: Noise) -> DenoisingBatches:
    return DenoisingBatches(
        [text],
        noise,
        starts=word_starts(codec.tokenizer),
        mask=codec.tokenizer.mask_token_id,
        pad=codec.pad,
        seed=1,
    )


# --- text


def test_a_column_of_some_lines_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("one\tun\ntwo\tdeux\nthree\ttrois\n", encoding="utf-8")
    text = Text(file="a.tsv", lang="fr", column=2, skip=1, first=1)
    assert list(read_text(text, tmp_path)) == ["deux"]
    with pytest.raises(InputError, match=r"a.tsv, line 1: no column 3, only 2"):
        list(read_text(text.model_copy(update={"column": 3, "skip": 0}), tmp_path))


def test_what_cannot_be_learned_from_is_counted(codec: TaggedCodec, tmp_path: Path) -> None:
    (tmp_path / "text.en").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    longest = max(len(pieces) for pieces in codec.target(LINES, "en"))
    # prefix and end are three pieces more: one too few for the longest line
    settings = DataSettings(source_lang="en", target_lang="fr", max_pieces=longest + 2)
    encoded, said = encode_text(Monolingual(file="text.en", lang="en"), settings, codec, tmp_path)
    assert said.sentence() == (
        "text.en (en): 3 of 6 sentences; left out: 1 with an empty side, 1 repeated, 1 too long"
    )
    assert len(encoded) == 3


def test_words_begin_at_marks_signs_and_letters_without_spaces(codec: TaggedCodec) -> None:
    starts = word_starts(codec.tokenizer)
    names = codec.tokenizer.convert_ids_to_tokens(list(range(len(starts))))
    assert all(starts[i] for i, name in enumerate(names) if name.startswith("▁"))
    assert not any(starts[i] for i, name in enumerate(names) if name.startswith("<0x"))


# --- batches


def test_the_target_is_the_text_and_the_source_lacks_some_of_it(
    codec: TaggedCodec, text: EncodedText
) -> None:
    noise = XlmNoise(shuffle=0, dropout=0.5, blank=0)
    source = batches_of(codec, text, noise)
    plan = next(source.plans(tokens=10_000, stage=0, start=0))
    batch = source.build(plan)
    assert len(batch.labels) == 4  # the empty line and the repeated one are left out
    targets = {codec.text(row[row >= 0].tolist()) for row in batch.labels}
    assert targets == set(LINES) - {""}
    assert (batch.decoder_input[:, 1] == codec.prefix("en")[1]).all()
    for read, labels in zip(batch.source, batch.labels, strict=True):
        given = codec.text(read.tolist()).split()
        whole = codec.text(labels[labels >= 0].tolist()).split()
        assert given == [word for word in whole if word in given] or len(set(whole)) < len(whole)
        assert len(given) <= len(whole)


def test_noise_is_other_each_time_and_the_same_when_resumed(
    codec: TaggedCodec, text: EncodedText
) -> None:
    source = batches_of(codec, text, XlmNoise())
    plans = list(islice(source.plans(tokens=10_000, stage=0, start=0), 3))
    built = [source.build(plan) for plan in plans]
    again = source.build(next(source.plans(tokens=10_000, stage=0, start=2)))
    assert torch.equal(built[2].source, again.source)
    assert built[0].source.shape != built[1].source.shape or not torch.equal(
        built[0].source, built[1].source
    )


def test_joined_sentences_change_their_order_whole(codec: TaggedCodec, text: EncodedText) -> None:
    whole = joined(text, 60)
    assert len(whole) < len(text)
    assert sum(len(whole.sentences[k]) for k in range(len(whole))) == len(text)
    source = batches_of(codec, whole, MbartNoise(share=0))
    sentences = LINES[:4]
    orders = set()
    for plan in islice(source.plans(tokens=10_000, stage=0, start=0), 8):
        batch = source.build(plan)
        for read in batch.source:
            said = codec.text(read.tolist())
            found = sorted((said.index(one), one) for one in sentences if one in said)
            assert " ".join(one for _, one in found) == said  # no sentence is torn
            orders.add(said)
    assert len(orders) > len(whole)


def test_a_mask_stands_for_what_is_hidden(codec: TaggedCodec, text: EncodedText) -> None:
    source = batches_of(codec, text, MbartNoise(share=1))
    batch = source.build(next(source.plans(tokens=10_000, stage=0, start=0)))
    inner = batch.source[batch.source_mask.bool() & (batch.source > codec.tokenizer.unk_token_id)]
    assert (inner == codec.tokenizer.mask_token_id).all()


# --- turns


def test_a_schedule_is_straight_between_its_points() -> None:
    schedule = [(10, 1.0), (20, 0.0), (21, 3.0)]
    found = [value_at(schedule, step) for step in (0, 10, 15, 20, 21, 99)]
    assert found == [1.0, 1.0, 0.5, 0.0, 3.0, 3.0]
    assert value_at(0.5, 7) == 0.5
    assert share_at(Task(share=2.0, weight=[(0, 1.0), (4, 0.0)]), 4) == 0  # without weight, no turn


def test_turns_are_dealt_out_by_shares() -> None:
    # two batches of the corpora for one of denoising, as evenly as can be
    tasks = Tasks(translate=Task(share=2.0), denoise=Denoise())
    turns = Turns(Stage(steps=4, tasks=tasks))
    first = [turns[k] for k in range(6)]
    assert first == ["translate", "denoise", "translate"] * 2
    assert turns.had("denoise", 6) == 2


def test_a_task_without_weight_has_no_turn_any_more() -> None:
    # two batches a step; from step 2 on the weight is 0
    tasks = Tasks(translate=Task(), denoise=Denoise(weight=[(0, 1.0), (2, 0.0)]))
    turns = Turns(Stage(steps=9, accumulate=2, tasks=tasks))
    assert [turns[k] for k in range(8)] == ["translate", "denoise"] * 2 + ["translate"] * 4


def test_a_mixture_goes_on_where_it_was(codec: TaggedCodec, text: EncodedText) -> None:
    stage = Stage(steps=9, tasks=Tasks(denoise=Denoise(weight=[(0, 1.0), (8, 0.2)])))
    mixture = Mixture([stage], [{"denoise": batches_of(codec, text, XlmNoise())}])
    plans = list(islice(mixture.plans(tokens=30, stage=0, start=0), 8))
    later = list(islice(mixture.plans(tokens=30, stage=0, start=5), 3))
    assert str(later) == str(plans[5:])
    assert mixture.build(plans[4]).weight == pytest.approx(0.6)  # half way from 1 to 0.2
    one, same = mixture.build(plans[5]), mixture.build(later[0])
    assert torch.equal(one.source, same.source)
    assert np.isclose(one.weight, same.weight)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"data": {}}, "nothing to train on"),
        ({"stages": [{"steps": 1, "tasks": {"translate": {}}}]}, "translate needs data.corpora"),
        ({"stages": [{"steps": 1, "tasks": {"back_translate": {}}}]}, "in two languages, got en"),
        ({"stages": [{"steps": 1, "tasks": {}}]}, "name at least one task"),
        (
            {"stages": [{"steps": 9, "tasks": {"denoise": {"weight": [[0, 1], [5, 0]]}}}]},
            "at step 5 no task",
        ),
        (
            {"stages": [{"steps": 9, "tasks": {"denoise": {"weight": [[5, 1], [5, 0]]}}}]},
            "steps of a schedule must grow",
        ),
        ({"validation": {"measure": "round_trip"}}, "needs data.dev_monolingual"),
        (
            {
                "data": {"monolingual": [{"file": "a", "lang": "en"}, {"file": "b", "lang": "fr"}]},
                "vocabulary": {"tags": "none"},
            },
            "cannot tell en, fr",
        ),
    ],
)
def test_a_config_that_does_not_fit_together_is_refused(
    changes: dict[str, object], sentence: str
) -> None:
    langs = {"source_lang": "en", "target_lang": "fr"}
    config: dict[str, object] = {
        "data": {"monolingual": [{"file": "text.en", "lang": "en"}]},
        "stages": [{"steps": 1, "tasks": {"denoise": {}}}],
        **changes,
    }
    config["data"] = {**langs, **config["data"]}  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=sentence):
        TrainConfig.model_validate(config)
