from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for_ready
from starlette.testclient import TestClient

from encoders.encoder import Encoder
from encoders.registry import ModelRegistry
from service.app import create_app
from service.settings import Settings


class SlowRegistry(ModelRegistry):
    """Loads nothing before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_load = threading.Event()

    def encoder(self, *args: Any, **kwargs: Any) -> Encoder:
        assert self.may_load.wait(60)
        return super().encoder(*args, **kwargs)


def test_the_service_is_alive_at_once_and_ready_when_the_model_is(
    tiny_model: Path, tmp_path: Path
) -> None:
    registry = SlowRegistry()
    settings = Settings(model=str(tiny_model), data_dir=tmp_path)
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        assert client.get("/health").json() == {"status": "alive"}
        refused = client.get("/ready")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["detail"] == f"model '{tiny_model}' is being loaded"
        models = client.get("/v1/models").json()
        assert models["default"] == str(tiny_model)
        assert [(one["name"], one["loaded"]) for one in models["models"]] == [
            (str(tiny_model), False)
        ]
        registry.may_load.set()
        assert wait_for_ready(client, 200) == {"status": "ready"}
        (loaded,) = client.get("/v1/models").json()["models"]
        encoder = registry.encoder(str(tiny_model))
        assert {name: value for name, value in loaded.items() if value is not None} == {
            "name": str(tiny_model),
            "kind": "encoder",
            "loaded": True,
            "fingerprint": encoder.fingerprint,
            "dtype": "float32",
            "device": "cpu",
            "layers": 2,
            "dim": 16,
            "bytes": encoder.bytes,
        }
        assert client.get("/v1/indexes/sample").status_code == 200  # ready means the sample as well


def test_a_request_before_the_model_is_there_waits_for_it(tiny_model: Path, tmp_path: Path) -> None:
    registry = SlowRegistry()
    settings = Settings(model=str(tiny_model), data_dir=tmp_path, sample=False)
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        threading.Timer(0.2, registry.may_load.set).start()
        answer = client.post("/align", json={"source": "the house", "target": "das haus"})
        assert answer.status_code == 200


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    settings = Settings(model=str(tmp_path / "nowhere"), data_dir=tmp_path)
    app = create_app(settings, ModelRegistry())
    with TestClient(app, base_url="http://localhost") as client:
        detail = wait_for_ready(client, 503)["detail"]
        assert (
            detail
            == f"model '{tmp_path}/nowhere' is not a folder here, nor a name such as 'owner/model'"
        )
        answer = client.post("/align", json={"source": "a", "target": "b"})
        assert answer.status_code == 503
        assert answer.json()["type"] == "/problems/model-not-found"
        assert client.get("/health").status_code == 200


def test_a_bug_at_the_start_is_logged_and_not_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(ModelRegistry):
        def encoder(self, *args: Any, **kwargs: Any) -> Encoder:
            raise RuntimeError("the secret is 42")

    app = create_app(Settings(data_dir=tmp_path), Broken())
    with TestClient(app, base_url="http://localhost") as client:
        assert wait_for_ready(client, 503)["detail"] == "the start failed; see the log"
    assert "the secret is 42" in caplog.text


def test_a_data_folder_that_cannot_be_made_is_told(
    tiny_model: Path, registry: ModelRegistry, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    settings = Settings(model=str(tiny_model), data_dir=tmp_path / "file")
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        assert wait_for_ready(client, 503)["detail"] == f"cannot make {tmp_path}/file: File exists"


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_may_ask_with_head(
    tiny_model: Path, registry: ModelRegistry, tmp_path: Path, path: str
) -> None:
    settings = Settings(model=str(tiny_model), data_dir=tmp_path, sample=False)
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        wait_for_ready(client, 200)
        response = client.head(path)
        assert (response.status_code, response.content) == (200, b"")
