"""Translation without bitext: back-translation ahead, exact resume, measures on text alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bitext.errors import InputError
from nmt.network.model import Shape, build_network
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings
from nmt.pieces.vocabulary import add_tags, train_vocabulary
from nmt.training.config import BackTranslate, DataSettings, Monolingual, TrainConfig
from nmt.training.monolingual import encode_text
from nmt.training.online import OnlineBackTranslation, copied
from nmt.training.train import train

ENGLISH = ["a dog runs", "the cat sleeps", "two dogs play", "the garden is old", "a cat plays"]
FRENCH = ["un chien court", "le chat dort", "deux chiens jouent", "le jardin est vieux"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "text.en").write_text("\n".join(ENGLISH) + "\n", encoding="utf-8")
    (folder / "text.fr").write_text("\n".join(FRENCH) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def codec() -> TaggedCodec:
    tokenizer = train_vocabulary([*ENGLISH, *FRENCH] * 4, size=330)
    add_tags(tokenizer, ["<2en>", "<2fr>"])
    langs = ("en", "fr")
    settings = TranslationSettings(
        source_langs=langs, target_langs=langs, tags="decoder", max_source=40, max_target=40
    )
    return TaggedCodec(tokenizer, settings)


@pytest.fixture(scope="module")
def model(codec: TaggedCodec) -> Any:
    shape = Shape(
        pieces=len(codec.tokenizer),
        dim=16,
        heads=2,
        feed_forward=16,
        encoder_layers=1,
        decoder_layers=1,
        max_pieces=40,
    )
    return build_network(shape, codec, seed=1)


@pytest.fixture
def online(codec: TaggedCodec, data: Path) -> OnlineBackTranslation:
    return _online(codec, data, BackTranslate())


def _online(codec: TaggedCodec, data: Path, how: BackTranslate) -> OnlineBackTranslation:
    settings = DataSettings(source_lang="en", target_lang="fr")
    texts = [
        encode_text(Monolingual(file=f"text.{lang}", lang=lang), settings, codec, data)[0]
        for lang in ("en", "fr")
    ]
    return OnlineBackTranslation(texts, codec, how, seed=1, forbidden=[codec.pad])


# --- translating ahead


def test_the_source_is_what_the_model_writes_of_the_target(
    online: OnlineBackTranslation, codec: TaggedCodec, model: Any
) -> None:
    model.train()
    online.look_ahead(model, tokens=60, stage=0, first=0, last=3)
    assert model.training
    batch = online.build(1)
    model.eval()
    for source, given, labels in zip(batch.source, batch.decoder_input, batch.labels, strict=True):
        text = codec.text(labels[labels >= 0].tolist())
        lang = "en" if text in ENGLISH else "fr"
        assert text in (*ENGLISH, *FRENCH)
        assert given[:2].tolist() == codec.prefix(lang)
        other = codec.prefix("fr" if lang == "en" else "en")
        pieces = codec.target([text], lang)[0]
        # 1.5 times its pieces, rounded up, and 5 more
        limit = min(-(-3 * len(pieces) // 2) + 5, 38)
        written = model.generate(
            input_ids=torch.tensor(codec.source([text], lang, "fr")),
            decoder_input_ids=torch.tensor([other]),
            bad_words_ids=[[codec.pad]],
            max_length=limit + 2,
            num_beams=1,
            do_sample=False,
        )[0, 2:].tolist()
        if codec.end in written:
            written = written[: written.index(codec.end)]
        frame = codec.source(["a"], lang, lang)[0]
        piece = len(codec.target(["a"], lang)[0])
        whole = [*frame[: -piece - 1], *written[:limit], frame[-1]]
        assert source[: len(whole)].tolist() == whole
        assert (source[len(whole) :] == codec.pad).all()


def test_what_is_ready_goes_through_a_checkpoint(
    online: OnlineBackTranslation, codec: TaggedCodec, model: Any, data: Path
) -> None:
    online.look_ahead(model, tokens=60, stage=0, first=2, last=4)
    other = _online(codec, data, BackTranslate())
    other.restore({name: tensor.clone() for name, tensor in online.state().items()})
    for number in (2, 3):
        one, same = online.build(number), other.build(number)
        assert torch.equal(one.source, same.source)
        assert torch.equal(one.labels, same.labels)


def test_windows_that_follow_one_another_are_those_of_a_fresh_start(
    online: OnlineBackTranslation, codec: TaggedCodec, model: Any, data: Path
) -> None:
    online.look_ahead(model, tokens=40, stage=0, first=0, last=3)
    online.look_ahead(model, tokens=40, stage=0, first=3, last=5)
    fresh = _online(codec, data, BackTranslate())
    fresh.look_ahead(model, tokens=40, stage=0, first=3, last=5)
    assert torch.equal(online.build(4).source, fresh.build(4).source)


def test_samples_differ_from_window_to_window(codec: TaggedCodec, model: Any, data: Path) -> None:
    online = _online(codec, data, BackTranslate(sample=True))
    found = []
    for first in (0, 1):
        online.look_ahead(model, tokens=10_000, stage=0, first=first, last=first + 1)
        found.append(sorted(map(tuple, online.build(first).source.tolist())))
    assert found[0] != found[1]


def test_copied_pieces_count_as_often_as_they_stand_there() -> None:
    assert copied([1, 2, 2, 3], [2, 2, 2, 4]) == 2


# --- whole runs


def _config(**changes: Any) -> TrainConfig:
    return TrainConfig.model_validate(
        {
            "data": {
                "source_lang": "en",
                "target_lang": "fr",
                "monolingual": [
                    {"file": "text.en", "lang": "en"},
                    {"file": "text.fr", "lang": "fr"},
                ],
                "dev_monolingual": [{"file": "text.en", "lang": "en", "first": 2}],
            },
            "vocabulary": {"size": 330, "tags": "decoder"},
            "initialize": {"model": None},
            "model": {
                "dim": 16,
                "heads": 2,
                "feed_forward": 16,
                "encoder_layers": 1,
                "decoder_layers": 1,
                "max_pieces": 40,
            },
            "stages": [
                {
                    "steps": 8,
                    "batch_tokens": 60,
                    "accumulate": 2,
                    "warmup_steps": 2,
                    "precision": "bfloat16",
                    "tasks": {
                        "denoise": {"weight": [[0, 1.0], [6, 0.0]]},
                        "back_translate": {"every": 3},
                    },
                }
            ],
            "validation": {"measure": "round_trip", "every": 4, "average": False},
            "checkpoint_steps": 1,
            **changes,
        }
    )


def test_a_run_killed_between_two_translations_ends_as_an_unbroken_one(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(_config(), data=data, output=tmp_path / "whole", progress=False)
    # the library that makes vocabularies gives another one each time
    made = Path("run", "vocabulary")
    shutil.copytree(tmp_path / "whole" / made, tmp_path / "broken" / made)
    # translated ahead at steps 0, 3 and 6; stopped during step 4, after a checkpoint of step 4
    built = OnlineBackTranslation.build
    calls = iter(range(100))

    def stops(self: OnlineBackTranslation, plan: int) -> Any:
        if next(calls) == 4:
            raise RuntimeError("killed")
        return built(self, plan)

    monkeypatch.setattr(OnlineBackTranslation, "build", stops)
    with pytest.raises(RuntimeError, match="killed"):
        train(_config(), data=data, output=tmp_path / "broken", progress=False)
    monkeypatch.undo()
    resumed = train(_config(), data=data, output=tmp_path / "broken", progress=False)
    one, other = (load_file(folder / "model.safetensors") for folder in (whole, resumed))
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert list(_log(tmp_path / "whole")) == list(_log(tmp_path / "broken"))


def _log(output: Path) -> Iterator[dict[str, Any]]:
    for line in (output / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines():
        yield {name: value for name, value in json.loads(line).items() if name != "pieces/s"}


def test_text_alone_tells_round_trip_copies_and_denoising_loss(data: Path, tmp_path: Path) -> None:
    train(_config(), data=data, output=tmp_path, progress=False)
    figures = [line for line in _log(tmp_path) if "dev" in line]
    assert len(figures) == 2
    for line in figures:
        assert line["dev"] == line["round trip"] == line["round trip en-fr"]
        assert 0 <= line["copied en-fr"] <= 1
        assert line["denoising loss"] > 0
    ahead = [line for line in _log(tmp_path) if "back-translation: length" in line]
    assert [line["step"] for line in ahead] == [1, 4, 7]  # before the first step, and every 3 steps


def test_dev_text_that_is_too_long_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "long.en").write_text("a cat plays " * 40 + "\n", encoding="utf-8")
    (tmp_path / "text.en").write_text("\n".join(ENGLISH) + "\n", encoding="utf-8")
    (tmp_path / "text.fr").write_text("\n".join(FRENCH) + "\n", encoding="utf-8")
    config = _config()
    dev = config.data.model_dump() | {"dev_monolingual": [{"file": "long.en", "lang": "en"}]}
    changed = _config(data=dev)
    with pytest.raises(InputError, match="long.en"):
        train(changed, data=tmp_path, output=tmp_path / "run", progress=False)
