from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from encoders.registry import ModelRegistry
from service.app import create_app
from service.settings import Settings
from service.snapshots import ID

SENTENCES = [
    {"id": 1, "text": "das haus ist klein", "metadata": {"year": 1995}},
    {"id": 2, "text": "ein garten", "metadata": {}},
]


@pytest.fixture(scope="module")
def settings(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("data")
    return Settings(
        model=str(tiny_model), data_dir=folder, sample=False, max_snapshots=3, max_indexes=2
    )


@pytest.fixture(scope="module")
def client(settings: Settings, registry: ModelRegistry) -> Iterator[TestClient]:
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def index(client: TestClient) -> Iterator[str]:
    client.put("/v1/indexes/mine", json={"centring": False})
    body = {"sentences": SENTENCES, "language": "de"}
    assert client.put("/v1/indexes/mine/sentences", json=body).status_code == 200
    yield "/v1/indexes/mine"
    listed = client.get("/v1/indexes/mine/snapshots").json().get("snapshots", [])
    for snapshot in listed:
        client.delete(f"/v1/indexes/mine/snapshots/{snapshot['id']}")
    client.delete("/v1/indexes/mine")


def take(client: TestClient, index: str) -> Any:
    response = client.post(f"{index}/snapshots")
    assert response.status_code == 201, response.text
    snapshot = response.json()
    assert response.headers["location"] == f"{index}/snapshots/{snapshot['id']}"
    return snapshot


def held(client: TestClient, index: str) -> Any:
    page = client.get(f"{index}/sentences").json()["sentences"]
    return [{key: one[key] for key in ("id", "text", "metadata")} for one in page]


def change(client: TestClient, index: str) -> None:
    client.post(f"{index}/sentences/delete", json={"ids": [1]})
    client.post(f"{index}/sentences", json={"sentences": ["eine katze"], "language": "de"})


def detail(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["detail"])


def test_an_index_goes_back_to_what_it_was(client: TestClient, index: str) -> None:
    snapshot = take(client, index)
    assert ID.fullmatch(snapshot["id"])
    assert (snapshot["index"], snapshot["count"]) == ("mine", 2)
    age = datetime.now(UTC) - datetime.fromisoformat(snapshot["created"])
    assert timedelta(seconds=-1) < age < timedelta(minutes=10)
    assert client.get(f"{index}/snapshots").json() == {"snapshots": [snapshot]}
    change(client, index)
    assert [one["id"] for one in held(client, index)] == [2, 3]
    restored = client.post(f"{index}/snapshots/{snapshot['id']}/restore")
    assert restored.status_code == 200
    assert restored.json() == client.get(index).json()
    assert held(client, index) == SENTENCES
    ((best,),) = client.post(
        f"{index}/search", json={"query": SENTENCES[0]["text"], "k": 1}
    ).json()["results"]
    assert best["id"] == 1
    change(client, index)  # what was restored is written to as before
    assert [one["id"] for one in held(client, index)] == [2, 3]


def test_snapshots_outlive_their_index(client: TestClient, index: str) -> None:
    snapshot = take(client, index)
    assert client.delete(index).status_code == 204
    assert client.get(f"{index}/snapshots").json() == {"snapshots": [snapshot]}
    assert client.post(f"{index}/snapshots/{snapshot['id']}/restore").status_code == 200
    assert held(client, index) == SENTENCES


def test_an_index_cannot_come_back_as_one_too_many(client: TestClient, index: str) -> None:
    path = f"{index}/snapshots/{take(client, index)['id']}/restore"
    client.delete(index)
    for name in ("one", "two"):
        client.put(f"/v1/indexes/{name}")
    assert detail(client.post(path), 413).startswith("there are 2 indexes, as many as there may be")
    for name in ("one", "two"):
        client.delete(f"/v1/indexes/{name}")
    assert client.post(path).status_code == 200


def test_there_cannot_be_more_snapshots_than_the_limit(client: TestClient, index: str) -> None:
    taken = [take(client, index)["id"] for _ in range(3)]
    assert len(set(taken)) == 3
    listed = client.get(f"{index}/snapshots").json()["snapshots"]
    assert {one["id"] for one in listed} == set(taken)
    refused = detail(client.post(f"{index}/snapshots"), 413)
    assert refused == (
        "there are 3 snapshots, as many as there may be (BITEXT_MAX_SNAPSHOTS); delete one"
    )
    assert client.delete(f"{index}/snapshots/{taken[0]}").status_code == 204
    take(client, index)


def test_a_snapshot_that_is_gone_is_a_404(
    client: TestClient, index: str, settings: Settings
) -> None:
    path = f"{index}/snapshots/{take(client, index)['id']}"
    assert client.delete(path).status_code == 204
    assert list((settings.snapshots / "mine").iterdir()) == []  # its disk space is given back
    for response in (client.delete(path), client.post(f"{path}/restore")):
        assert detail(response, 404).startswith("index 'mine' has no snapshot '2")
        assert response.json()["type"] == "/problems/unknown-snapshot"


@pytest.mark.parametrize("name", ["x", "%2e%2e", "..%2fmine", "20260101T000000Z-0000000g", "a%00b"])
def test_a_snapshot_name_cannot_be_a_path(client: TestClient, index: str, name: str) -> None:
    for response in (
        client.post(f"{index}/snapshots/{name}/restore"),
        client.post(f"/v1/indexes/{name}/snapshots"),
        client.delete(f"{index}/snapshots/{name}"),
    ):
        assert response.status_code in (404, 405)
    assert held(client, index) == SENTENCES


def test_a_damaged_snapshot_leaves_the_index_as_it_is(
    client: TestClient, index: str, settings: Settings
) -> None:
    snapshot = take(client, index)["id"]
    vectors = settings.snapshots / "mine" / snapshot / "index" / "vectors-0.f32"
    whole = vectors.read_bytes()
    vectors.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    refused = detail(client.post(f"{index}/snapshots/{snapshot}/restore"), 409)
    assert refused.startswith(f"snapshot '{snapshot}' cannot be used: index/vectors-0.f32 is dam")
    assert str(settings.data_dir) not in refused
    assert held(client, index) == SENTENCES
    manifest = settings.snapshots / "mine" / snapshot / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "count": 9}))
    listed = detail(client.get(f"{index}/snapshots"), 409)
    assert listed.startswith(f"snapshot '{snapshot}' cannot be used: manifest.json, field 'digest'")
    assert client.delete(f"{index}/snapshots/{snapshot}").status_code == 204


def test_what_a_killed_service_left_is_swept_up(
    client: TestClient, index: str, settings: Settings
) -> None:
    left = settings.snapshots / "mine" / ".20260101T000000Z-00000000.1234.tmp"
    left.mkdir(parents=True)
    assert client.get(f"{index}/snapshots").json() == {"snapshots": []}
    take(client, index)
    assert not left.exists()


def test_snapshots_are_taken_while_others_write(client: TestClient, index: str) -> None:
    def write(number: int) -> None:
        body = {"sentences": [{"id": 10 + number, "text": f"haus {number}"}], "language": "de"}
        assert client.put(f"{index}/sentences", json=body).status_code == 200

    with ThreadPoolExecutor(5) as pool:
        written = [pool.submit(write, number) for number in range(12)]
        taken = [pool.submit(take, client, index) for _ in range(3)]
    assert all(one.result() is None for one in written)
    for one in taken:
        snapshot = one.result()
        client.post(f"{index}/snapshots/{snapshot['id']}/restore")
        assert client.get(index).json()["count"] == snapshot["count"]
