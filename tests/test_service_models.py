"""``/v1/models`` and ``/info``: what there is, loading, letting go, and the memory it takes."""

from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from conftest import Serve, wait_for_ready
from starlette.testclient import TestClient

from bitext import __version__
from encoders.registry import ModelRegistry
from nmt.translation.translator import TranslationModel
from service.app import create_app
from service.models import Models
from service.settings import Settings


def models(client: TestClient) -> dict[str, Any]:
    return {one["name"]: one for one in client.get("/v1/models").json()["models"]}


def change(client: TestClient, name: str, verb: str) -> Any:
    response = client.post(f"/v1/models/{quote(name, safe='')}/{verb}")
    assert response.status_code == 200, response.text
    return response.json()


def test_a_translation_model_is_loaded_and_let_go(serve: Serve, tiny_translator: Path) -> None:
    with serve(translation_models={"en-de": str(tiny_translator)}) as client:
        before = change(client, "en-de", "unload")  # another test may have loaded it
        assert (before["kind"], before["loaded"], before["bytes"]) == ("translation", False, None)
        assert (before["source_langs"], before["target_langs"]) == (["en"], ["de"])
        assert (before["languages"], before["engine"]) == (["de", "en"], "torch")
        loaded = change(client, "en-de", "load")
        model = TranslationModel.load(tiny_translator)
        assert loaded == {
            **before,
            "loaded": True,
            "fingerprint": model.fingerprint,
            "bytes": model.bytes,
            "dtype": "float32",
            "device": "cpu",
        }
        assert change(client, "en-de", "load") == models(client)["en-de"] == loaded
        assert change(client, "en-de", "unload") == before
        assert change(client, "en-de", "unload") == before  # it is gone already
        assert client.post("/v1/translate", json={"text": "a"}).status_code == 200
        assert models(client)["en-de"] == loaded


def test_an_encoder_named_by_its_path_is_too(tiny_model: Path, tmp_path: Path) -> None:
    settings = Settings(model=str(tiny_model), data_dir=tmp_path, sample=False)
    app = create_app(settings, ModelRegistry())
    with TestClient(app, base_url="http://localhost") as client:
        name = str(tiny_model)
        assert name.startswith("/")
        assert change(client, name, "load")["loaded"]
        assert client.post(f"/v1/models/{name}/load").json()["layers"] == 2  # slashes as they are
        assert not change(client, name, "unload")["loaded"]
        assert client.get("/v1/models").json()["bytes"] == 0
        answer = client.post("/align", json={"source": "the house", "target": "das haus"})
        assert answer.status_code == 200
        assert models(client)[name]["loaded"]


def test_models_of_both_kinds_share_the_memory_there_is(
    tiny_model: Path, tiny_translator: Path, tmp_path: Path
) -> None:
    """A byte less than all three take."""
    encoder = ModelRegistry().encoder(str(tiny_model)).bytes
    translator = TranslationModel.load(tiny_translator).bytes
    for name in ("a", "b"):
        shutil.copytree(tiny_translator, tmp_path / "translation-models" / name)
    limit = encoder + 2 * translator - 1
    settings = Settings(
        model=str(tiny_model), data_dir=tmp_path, sample=False, max_model_bytes=limit
    )
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        wait_for_ready(client, 200)  # until then the encoder is used
        for name in (str(tiny_model), "a", "b"):
            change(client, name, "load")
        listed = client.get("/v1/models").json()
        assert (listed["max_bytes"], listed["bytes"]) == (limit, 2 * translator)
        assert {one["name"] for one in listed["models"] if one["loaded"]} == {"a", "b"}
        assert client.post("/align", json={"source": "a", "target": "b"}).status_code == 200
        assert not models(client)["a"]["loaded"]
    settings = settings.model_copy(update={"max_model_bytes": 10})
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        response = client.post("/v1/models/a/load")
        assert response.status_code == 503
        assert response.json()["detail"] == (
            f"model 'a' cannot be used: model 'a' takes {translator} bytes, more than the limit of "
            "10"
        )


@pytest.mark.parametrize("name", ["nobody/nothing", "..", "x" * 300, "%00", "a/../../etc"])
def test_an_unknown_name_is_refused(serve: Serve, name: str) -> None:
    with serve() as client:
        for verb in ("load", "unload"):
            response = client.post(f"/v1/models/{quote(name, safe='%')}/{verb}")
            assert response.status_code == 404, response.text
            assert len(response.json()["detail"]) < 500
            assert response.headers["content-type"] == "application/problem+json"
        response = client.post(f"/v1/models/{quote('nobody/nothing', safe='')}/load")
        assert response.json()["detail"].startswith("unknown model 'nobody/nothing'; choose one")


def test_info_says_what_the_service_is(serve: Serve, tiny_translator: Path) -> None:
    with serve(translation_models={"en-de": str(tiny_translator)}, max_pairs=7) as client:
        client.post("/align", json={"source": "a", "target": "b"})
        info = client.get("/info").json()
    assert (info["name"], info["version"]) == ("bitext", __version__)
    assert (info["model"]["layers"], info["model"]["dim"]) == (2, 16)
    assert info["translation_models"] == ["en-de"]
    assert info["limits"]["max_pairs"] == 7
    assert set(info["limits"]) == {
        name for name in Settings.model_fields if name.startswith("max_")
    } - {"max_model_bytes"}
    assert info["features"]["translate"]
    assert "torch" in info["libraries"]


def test_two_models_of_one_name_are_refused() -> None:
    from bitext.errors import InputError

    environ = {"BITEXT_TRANSLATION_MODELS": "a=/x, a=/y"}
    with pytest.raises(InputError, match="two models have the same name"):
        Settings.load(environ)
    environ = {"BITEXT_TRANSLATION_MODELS": "en-de=/x, owner/model"}
    assert Settings.load(environ).translation_models == {
        "en-de": "/x",
        "owner/model": "owner/model",
    }


def test_what_is_no_name_is_refused_as_the_document_says(serve: Serve) -> None:
    with serve() as client:
        paths = client.get("/openapi.json").json()["paths"]
        for verb in ("load", "unload"):
            told = paths[f"/v1/models/{{name}}/{verb}"]["post"]["responses"]
            for name in ("..", "%2e%2e%2fx", "a%0Ab", "%00", "x" * 300):
                status = client.post(f"/v1/models/{name}/{verb}").status_code
                assert 400 <= status < 500
                assert str(status) in told


def test_a_model_that_makes_room_is_let_go(tiny_model: Path, tmp_path: Path) -> None:
    other = str(shutil.copytree(tiny_model, tmp_path / "other"))
    size = ModelRegistry().encoder(str(tiny_model)).bytes
    models = Models(
        Settings(model=str(tiny_model), models=(other,), max_model_bytes=size + size // 2)
    )
    first = models.encoder()
    before = first.sentences(["a cat sleeps"])
    own = weakref.ref(models._shared[str(tiny_model)].own)
    (thread,) = models._shared[str(tiny_model)].gatherer._threads
    models.encoder(other)
    assert list(models._shared) == [other]
    assert not thread.is_alive()
    assert np.allclose(first.sentences(["a cat sleeps"]), before, atol=1e-6)  # who has it still
    del first
    gc.collect()
    assert own() is None
