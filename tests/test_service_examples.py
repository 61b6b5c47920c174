"""Every example of the OpenAPI document is sent, and must be answered as it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import sleep
from typing import Any

import pytest
from starlette.testclient import TestClient

from encoders.registry import ModelRegistry
from service.app import create_app
from service.settings import Settings

TRANSLATOR = "en-de"


@pytest.fixture(scope="module")
def client(
    tiny_model: Path,
    tiny_translator: Path,
    registry: ModelRegistry,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TestClient]:
    inputs = tmp_path_factory.mktemp("inputs")
    for name in ("en.txt", "de.txt", "pairs.tsv", "pairs.en-de.tsv"):
        (inputs / name).touch()
    settings = Settings(
        model=str(tiny_model),
        translation_models={TRANSLATOR: str(tiny_translator)},
        data_dir=tmp_path_factory.mktemp("data"),
        input_dir=inputs,
    )
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        for _ in range(600):
            if client.get("/ready").status_code == 200:
                break
            sleep(0.05)
        yield client


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def schema_of(document: Any, operation: Any) -> Any:
    """What the body must be; none for an operation that takes none."""
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    for choice in [schema, *schema.get("anyOf", [])]:
        if "$ref" in choice:
            return document["components"]["schemas"][choice["$ref"].rpartition("/")[2]]
    return schema


def test_every_example_is_answered_as_documented(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    tried = set()
    for method, path, operation in operations(document):
        for example in schema_of(document, operation).get("examples", []):
            prepare(client)
            address = path.replace("{name}", "tried")
            response = client.request(method, address, json=example)
            assert response.status_code < 300, (path, example, response.text)
            assert str(response.status_code) in operation["responses"], (path, response.text)
            tried.add((method, path))
    with_body = {
        (method, path)
        for method, path, operation in operations(document)
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert tried == with_body
    assert len(tried) >= 15


def prepare(client: TestClient) -> None:
    """An index to try things with, as the examples speak of it."""
    client.delete("/v1/indexes/tried")
    assert client.put("/v1/indexes/tried", json={"centring": False}).status_code == 201
    body = {
        "sentences": [{"id": 7, "text": "Guten Morgen!", "metadata": {"year": 1995}}],
        "language": "de",
    }
    assert client.put("/v1/indexes/tried/sentences", json=body).status_code == 200


def test_what_has_no_body_is_answered_too(client: TestClient) -> None:
    prepare(client)
    snapshot = client.post("/v1/indexes/tried/snapshots").json()["id"]
    document = client.get("/openapi.json").json()
    names = {"{name}": "tried", "{snapshot}": snapshot, "{id}": "7"}
    # what removes something comes last
    order = sorted(operations(document), key=lambda one: (one[0] == "delete", -len(one[1])))
    for method, path, operation in order:
        if "requestBody" in operation:
            continue
        if path.startswith("/v1/models/"):
            path = path.replace("{name}", TRANSLATOR)
        for placeholder, value in names.items():
            path = path.replace(placeholder, value)
        response = client.request(method, path)
        assert response.status_code < 300, (method, path, response.text)
        assert str(response.status_code) in operation["responses"], (method, path)


def test_everything_is_described(client: TestClient) -> None:
    """What a client that is made of the document, or /docs, would show."""
    document = client.get("/openapi.json").json()
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert operation.get("tags"), where
        assert operation.get("summary"), where
        assert operation.get("description"), where
        for tag in operation["tags"]:
            assert tag in {one["name"] for one in document["tags"] if one["description"]}, where
