"""What a caller of ``bitext train`` gets wrong: one sentence each, and no folder half-made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bitext.errors import BitextError, InputError, MismatchError
from encoders.training import processes
from nmt.training.config import TrainConfig
from nmt.training.train import train

LINES = ["red cat\trote Katze", "green dog\tgrüner Hund", "a tree\tein Baum", "a house\tein Haus"]
ALL = ["encoder", "decoder", "embeddings", "cross_attention"]
FRENCH = {"file": "train.tsv", "target_lang": "fr"}
SHAPE = {"dim": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 1, "decoder_layers": 1}


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "train.tsv").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    (folder / "blank.tsv").write_text("\t\n \t\n", encoding="utf-8")
    return folder


def config(**more: Any) -> TrainConfig:
    data = {"source_lang": "en", "target_lang": "de", "corpora": [{"file": "train.tsv"}]}
    settings = {
        "initialize": {"model": None},
        "vocabulary": {"size": 300},
        "model": SHAPE,
        "stages": [{"steps": 1}],
    }
    return TrainConfig.model_validate(
        {**settings, **more, "data": {**data, **more.get("data", {})}}
    )


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            {"model": {**SHAPE, "dim": 18, "heads": 4}},
            "model.dim 18 is not a multiple of 4 heads",
        ),
        (
            # four heads of a small network that nothing is said of
            {"model": {"dim": 18}},
            "model.dim 18 is not a multiple of 4 heads",
        ),
        ({"model": {**SHAPE, "activation": "glu"}}, "unknown model.activation 'glu'; choose one"),
        (
            # 19 different characters and the sign of a word, beside 261 bytes and signs
            {"vocabulary": {"size": 270}},
            "vocabulary.size 270 must be at least 28",
        ),
        (
            {"data": {"corpora": [{"file": "blank.tsv"}]}},
            "no vocabulary can be made of the text: ",
        ),
        (
            {"data": {"corpora": [{"file": "train.tsv", "tag": "</s>"}]}},
            "tag '</s>' is a piece of the vocabulary already; choose another, such as <bt>",
        ),
        (
            {"stages": [{"steps": 1, "freeze": ALL}]},
            "stage 'train': freeze leaves nothing that moves; name fewer parts",
        ),
        (
            {"data": {"dev": [FRENCH]}},
            "data.dev.0: nothing trains 'fr' as target language, only de",
        ),
        (
            {
                "data": {"corpora": [{"file": "train.tsv"}, FRENCH]},
                "vocabulary": {"size": 300, "tags": "none"},
            },
            "vocabulary.tags 'none' cannot say into which of de, fr 'en' is translated; choose "
            "'source' or 'decoder'",
        ),
    ],
)
def test_a_mistake_is_one_sentence(
    more: dict[str, Any], sentence: str, corpora: Path, tmp_path: Path
) -> None:
    with pytest.raises((BitextError, ValueError)) as caught:
        train(config(**more), data=corpora, output=tmp_path / "out", progress=False)
    assert sentence in str(caught.value)
    assert not (tmp_path / "out" / "model").exists()


def test_a_direction_of_languages_that_are_trained_apart_may_be_measured(
    corpora: Path, tmp_path: Path
) -> None:
    # German is read and French is written, if never together
    german = {"file": "train.tsv", "swap": True, "source_lang": "de", "target_lang": "en"}
    dev = {"file": "train.tsv", "source_lang": "de", "target_lang": "fr"}
    how = config(data={"corpora": [german, FRENCH], "dev": [dev]}, validation={"measure": "loss"})
    folder = train(how, data=corpora, output=tmp_path / "out", progress=False)
    described = json.loads((folder / "translation.json").read_text(encoding="utf-8"))
    assert described["tags"] == "source"


def test_fewer_pieces_hold_for_a_model_of_ours_too(corpora: Path, tmp_path: Path) -> None:
    start = train(config(), data=corpora, output=tmp_path / "out", progress=False)
    how = config(
        initialize={"model": str(start)},
        vocabulary={},
        model={"max_pieces": 9},
        stages=[{"steps": 1}],
    )
    folder = train(how, data=corpora, output=tmp_path / "further", progress=False)
    described = json.loads((folder / "translation.json").read_text(encoding="utf-8"))
    assert (described["max_source"], described["max_target"]) == (9, 9)


def test_text_that_has_changed_since_is_noticed(corpora: Path, tmp_path: Path) -> None:
    text = tmp_path / "train.tsv"
    text.write_bytes((corpora / "train.tsv").read_bytes())
    train(config(), data=tmp_path, output=tmp_path / "out", progress=False)
    text.write_text("\n".join([*LINES[:3], "a house\tein Hund"]) + "\n", encoding="utf-8")
    with pytest.raises(MismatchError, match="a run on other text: a file has changed since"):
        train(config(), data=tmp_path, output=tmp_path / "out", progress=False)


def test_shared_blocks_stay_one_when_they_are_trained_further(
    corpora: Path, tmp_path: Path
) -> None:
    how = config(initialize={"model": None, "shared": True})
    folder = train(how, data=corpora, output=tmp_path / "out", progress=False)
    further: dict[str, Any] = {"vocabulary": {}, "model": {}}
    further["stages"] = [{"steps": 2, "warmup_steps": 0}]
    how = config(initialize={"model": str(folder)}, **further)
    folder = train(how, data=corpora, output=tmp_path / "further", progress=False)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    encoder, decoder = model.model.encoder.layers[0], model.model.decoder.layers[0]
    assert torch.equal(encoder.fc1.weight, decoder.fc1.weight)
    assert not torch.equal(encoder.self_attn.k_proj.weight, decoder.encoder_attn.k_proj.weight)


@pytest.mark.parametrize(
    "damaged",
    ["checkpoint/state.safetensors", "checkpoint/place.json", "vocabulary/tokenizer.json"],
)
def test_a_run_that_somebody_has_damaged_is_no_bug(
    damaged: str, corpora: Path, tmp_path: Path
) -> None:
    train(config(), data=corpora, output=tmp_path / "out", progress=False)
    (tmp_path / "out" / "run" / damaged).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"(cannot read .*remove it|cannot be loaded)"):
        train(config(), data=corpora, output=tmp_path / "out", progress=False)


def test_batches_that_cannot_be_shared_claim_no_folder(
    corpora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "world", lambda: 2)
    with pytest.raises(InputError, match="accumulate = 1 batches cannot be shared by 2 processes"):
        train(config(), data=corpora, output=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
