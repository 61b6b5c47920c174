"""Small true things that many tests use: a tiny model with a real tokenizer, the data folder."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import uvicorn
from starlette.testclient import TestClient

from bitext.cli import main
from bitext.text import data_folder
from encoders.encoder import Encoder
from encoders.registry import ModelRegistry
from service.listening import address_of, listen
from service.settings import Settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")

SENTENCES = [
    "the house is small and the garden is big",
    "das haus ist klein und der garten ist groß",
    "a cat sleeps in the old house",
    "eine katze schläft im alten haus",
    "科学家一直猜想",
    "नमस्ते दुनिया",
    "السلام عليكم",
    "don't stop, 3.14!",
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a two-layer XLM-R of random weights, dim 16, and a tokenizer of 150 pieces."""
    from encoders.training.vocabulary import train_vocabulary

    folder = tmp_path_factory.mktemp("model")
    tokenizer = train_vocabulary(SENTENCES * 4, size=150, min_character_count=1, max_pieces=64)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=66,  # XLM-R counts positions from 2
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        type_vocab_size=1,
    )
    torch.manual_seed(0)
    model = transformers.XLMRobertaModel(config, add_pooling_layer=False)
    # transformers starts weights so near zero that every word would get the same vector
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def registry() -> ModelRegistry:
    return ModelRegistry()


@pytest.fixture(scope="session")
def encoder(tiny_model: Path, registry: ModelRegistry) -> Encoder:
    return registry.encoder(str(tiny_model))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data (``BITEXT_DATA``); without it the test is skipped."""
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip(f"no data: {folder} is not there (set BITEXT_DATA)")
    return folder


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write lines to a file of a name, perhaps of a folder, and give its path."""

    def write(name: str, *lines: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run ``bitext`` with arguments; its exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        code = exit.value.code
        assert isinstance(code, int)
        return code, out, err

    return call


NOUNS = [("cat", "katze"), ("dog", "hund"), ("house", "haus"), ("tree", "baum")]
VERBS = [("sees", "sieht"), ("likes", "mag"), ("finds", "findet")]


@pytest.fixture(scope="session")
def toy_corpora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Text to train on: two language pairs of 48 sentences, German alone, and gold links."""
    folder = tmp_path_factory.mktemp("toy")
    triples = list(itertools.product(NOUNS, VERBS, NOUNS))
    german = [f"the {a} {v} a {b}\tdie {c} {w} ein {d}" for (a, c), (v, w), (b, d) in triples]
    (folder / "toy.en-de.tsv").write_text("\n".join(german) + "\n")
    dutch = [line.replace("die", "de").replace("ein", "een") for line in german]
    (folder / "toy.en-nl.tsv").write_text("\n".join(dutch) + "\n")
    (folder / "toy.de.txt").write_text("".join(line.split("\t")[1] + "\n" for line in german))
    for ending, column in (("src", 0), ("tgt", 1)):
        lines = [line.split("\t")[column] for line in german[:12]]
        (folder / f"toy.{ending}").write_text("\n".join(lines) + "\n")
    (folder / "toy.gold").write_text("0-0 1-1 2-2 3p3 4-4\n" * 12)
    return folder


Serve = Callable[..., AbstractContextManager[TestClient]]


@pytest.fixture(scope="session")
def serve(
    tiny_model: Path, registry: ModelRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Serve:
    """A client of a service with the tiny model, without a sample, and with the settings given."""
    from service.app import create_app

    @contextmanager
    def serve(**settings: Any) -> Iterator[TestClient]:
        chosen = {"model": str(tiny_model), "data_dir": tmp_path_factory.mktemp("data")}
        # with one core, equal requests are answered alike to the bit: a batch that is alone
        # computes in as many threads as there are cores
        app = create_app(Settings(**{**chosen, "sample": False, "cores": 1, **settings}), registry)
        with TestClient(app, base_url="http://localhost") as client:
            yield client

    return serve


@contextmanager
def listening(settings: Settings, registry: ModelRegistry) -> Iterator[str]:
    """The address of a service that listens, in a thread, for those who know nothing of ASGI."""
    from service.app import create_app

    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(create_app(settings, registry), log_config=None, lifespan="on")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield address_of(listener)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="session")
def tiny_translator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an English-German translator of random weights that ends some sentences."""
    from encoders.training.vocabulary import train_vocabulary
    from nmt.network.model import Shape, build_network, save_translation_checkpoint
    from nmt.pieces.tokenization import TaggedCodec, TranslationSettings

    tokenizer = train_vocabulary(SENTENCES * 4, size=150, min_character_count=1, max_pieces=64)
    settings = TranslationSettings(
        source_langs=("en",), target_langs=("de",), max_source=64, max_target=64
    )
    codec = TaggedCodec(tokenizer, settings)
    shape = Shape(len(tokenizer), 16, 2, 32, encoder_layers=2, decoder_layers=2, max_pieces=64)
    model = build_network(shape, codec, seed=1).eval()
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.dim() > 1:  # large, else each sentence would get the same translation
            parameter.data = 0.4 * torch.randn_like(parameter)
    model.final_logits_bias[0, codec.end] = 3.0
    folder = tmp_path_factory.mktemp("translator")
    save_translation_checkpoint(folder, model, codec)
    return folder


def wait_for_ready(client: TestClient, status: int) -> Any:
    """The answer of /ready, once it has this status and says something final."""
    for _ in range(600):
        response = client.get("/ready")
        if response.status_code == status and "being loaded" not in response.text:
            return response.json()
        time.sleep(0.05)
    raise AssertionError(f"/ready never answered {status}")
