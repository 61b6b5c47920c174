from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from encoders.encoder import Encoder
from encoders.pooling import Vectors
from encoders.registry import ModelRegistry
from retrieval.store.text_index import TextIndex
from service.app import create_app
from service.samples import keep_sample, read_sample
from service.settings import Settings

GERMAN = [
    "das haus ist klein",
    "der garten ist groß",
    "eine katze schläft",
    "im alten haus",
    "die katze ist alt",
    "das alte haus",
    "ein garten",
    "die katze und der garten",
    "klein ist der garten",
    "groß ist das haus",
]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def client(tiny_model: Path, registry: ModelRegistry, data_dir: Path) -> Iterator[TestClient]:
    settings = Settings(
        model=str(tiny_model),
        data_dir=data_dir,
        max_queries=3,
        max_k=20,
        max_sentences=12,
        max_characters=200,
        max_index_sentences=40,
        max_indexes=4,
    )
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        for _ in range(600):
            if client.get("/ready").status_code == 200:
                break
            sleep(0.05)
        yield client


@pytest.fixture
def index(client: TestClient) -> Iterator[str]:
    """The path of an index of ten German sentences."""
    client.put("/v1/indexes/mine")
    body = {"sentences": GERMAN, "language": "de"}
    assert client.post("/v1/indexes/mine/sentences", json=body).status_code == 201
    yield "/v1/indexes/mine"
    client.delete("/v1/indexes/mine")


def retrieve(client: TestClient, **request: Any) -> Any:
    response = client.post("/retrieve", json=request)
    assert response.status_code == 200, response.text
    return response.json()["results"]


def detail(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.json()["detail"])


# --- the sample


def test_the_sample_is_there_and_finds_its_own_sentences(client: TestClient) -> None:
    rows = read_sample()
    info = client.get("/v1/indexes/sample").json()
    assert info["count"] == len(rows)
    assert info["languages"]["de"] == sum(language == "de" for language, _ in rows)
    language, text = rows[7]
    ((best, *_),) = retrieve(client, index="sample", queries=[text], k=3)
    assert (best["id"], best["text"], best["language"]) == (7, text, language)
    assert best["score"] == pytest.approx(1, abs=1e-5)


def test_the_sample_corpus_is_fit_to_ship() -> None:
    rows = read_sample()
    assert 200 <= len(rows) == len(set(rows))
    assert all(language and text and text == text.strip() for language, text in rows)
    assert {"en", "de", "fr", "es", "ro", "cs", "ru", "zh", "ja", "hi"} == {row[0] for row in rows}


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_the_sample_belongs_to_the_service(client: TestClient, method: str) -> None:
    assert detail(client.request(method, "/v1/indexes/sample"), 403) == (
        "index 'sample' belongs to the service and cannot be changed"
    )


def test_nothing_can_be_added_to_the_sample(client: TestClient) -> None:
    body = {"sentences": ["x"], "language": "de"}
    assert "belongs to the service" in detail(
        client.post("/v1/indexes/sample/sentences", json=body), 403
    )


def test_the_sample_is_built_again_only_for_another_model(
    encoder: Encoder, tiny_model: Path, tmp_path: Path
) -> None:
    assert keep_sample(tmp_path / "sample", encoder)
    assert not keep_sample(tmp_path / "sample", encoder)
    other = tmp_path / "other"
    shutil.copytree(tiny_model, other)
    config = other / "config.json"
    config.write_text(config.read_text() + "\n")  # same weights, but another fingerprint
    changed = ModelRegistry().encoder(str(other))
    assert keep_sample(tmp_path / "sample", changed)
    assert TextIndex.load(tmp_path / "sample").manifest.fingerprint == changed.fingerprint


def test_a_damaged_sample_is_built_again(encoder: Encoder, tmp_path: Path) -> None:
    folder = tmp_path / "sample"
    keep_sample(folder, encoder)
    (folder / "vectors-0.f32").write_bytes(b"")
    assert keep_sample(folder, encoder)
    assert TextIndex.load(folder).count() == len(read_sample())


def test_a_sample_that_cannot_be_finished_leaves_the_old_one(
    encoder: Encoder, tmp_path: Path
) -> None:
    class Dying(Encoder):
        def sentences(self, *args: Any, **kwargs: Any) -> Vectors:
            raise KeyboardInterrupt

    folder = tmp_path / "sample"
    keep_sample(folder, encoder)
    dying = Dying(encoder.checkpoint)
    dying.fingerprint = "another"
    with pytest.raises(KeyboardInterrupt):
        keep_sample(folder, dying)
    assert TextIndex.load(folder).count() == len(read_sample())
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]


# --- retrieving


def test_results_are_those_of_the_library(
    client: TestClient, encoder: Encoder, data_dir: Path, index: str
) -> None:
    queries = ["the house is small", "katze"]
    found = retrieve(client, index="mine", queries=queries, k=4)
    library = TextIndex.load(data_dir / "indexes" / "mine").retrieve(queries, k=4, encoder=encoder)
    assert [[hit["id"] for hit in hits] for hits in found] == [[h.id for h in hs] for hs in library]
    scores = [[hit["score"] for hit in hits] for hits in found]
    np.testing.assert_allclose(scores, [[h.score for h in hits] for hits in library], atol=1e-6)
    assert all(hit["text"] == GERMAN[hit["id"]] for hits in found for hit in hits)


def test_k_may_exceed_the_index(client: TestClient, index: str) -> None:
    ((*hits,),) = retrieve(client, index="mine", queries=["haus"], k=20)
    assert sorted(hit["id"] for hit in hits) == list(range(10))


def test_an_empty_index_finds_nothing(client: TestClient) -> None:
    client.put("/v1/indexes/empty")
    assert retrieve(client, index="empty", queries=["haus"]) == [[]]
    client.delete("/v1/indexes/empty")


@pytest.mark.parametrize("name", ["nope", "..", "../sample", "Sample", "", "a" * 65, "sample\n"])
def test_an_unknown_index_is_a_404(client: TestClient, name: str) -> None:
    response = client.post("/retrieve", json={"index": name, "queries": ["x"]})
    assert detail(response, 404) == f"there is no index '{name}'"
    assert response.json()["type"] == "/problems/unknown-index"


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"queries": []}, 422, "field 'queries': expected at least one query, got none"),
        ({"queries": [" "]}, 422, "query 1 (' ') has nothing in it to compare"),
        ({"queries": "haus"}, 422, "field 'queries': input should be a valid list, got \"haus\""),
        ({"k": 0}, 422, "field 'k': input should be greater than or equal to 1, got 0"),
        ({"k": 21}, 422, "field 'k': at most 20 (BITEXT_MAX_K), got 21"),
        ({"k": "5"}, 422, "field 'k': input should be a valid integer, got \"5\""),
        (
            {"queries": ["x"] * 4},
            413,
            "4 queries are more than the 3 that are taken (BITEXT_MAX_QUERIES)",
        ),
        (
            {"queries": ["x", "y" * 201]},
            413,
            "query 2: 201 characters are more than the 200 that are taken (BITEXT_MAX_CHARACTERS)",
        ),
    ],
)
def test_what_is_refused_is_named(
    client: TestClient, change: dict[str, Any], status: int, sentence: str
) -> None:
    response = client.post("/retrieve", json={"index": "sample", "queries": ["x"], **change})
    assert detail(response, status) == sentence


def test_a_query_too_long_for_the_model_is_refused_or_taken_in_windows(
    client: TestClient, encoder: Encoder
) -> None:
    request = {"index": "sample", "queries": ["ok", "a " * (encoder.max_pieces + 1)], "k": 1}
    refused = client.post("/retrieve", json=request)
    assert "query 2 has " in detail(refused, 422)
    assert len(retrieve(client, **request, too_long="windows")) == 2


# --- indexes


def test_an_index_is_made_once(client: TestClient, encoder: Encoder) -> None:
    settings = {"layer": 1, "pooling": "max", "centring": False}
    made = client.put("/v1/indexes/once", json=settings)
    assert made.status_code == 201
    assert made.headers["location"] == "/v1/indexes/once"
    assert made.json() == {
        "name": "once",
        "model": encoder.name,
        "fingerprint": encoder.fingerprint,
        "layer": 1,
        "pooling": "max",
        "centring": False,
        "dim": 16,
        "count": 0,
        "languages": {},
    }
    again = client.put("/v1/indexes/once", json=settings)
    assert (again.status_code, again.json()) == (200, made.json())
    other = client.put("/v1/indexes/once", json={**settings, "layer": 2})
    assert detail(other, 409) == "index 'once' is there with layer 1, not 2"
    assert detail(client.put("/v1/indexes/once", json={**settings, "centring": True}), 409) == (
        "index 'once' is there with centring false, not true"
    )
    assert client.get("/v1/indexes/once").json() == made.json()
    assert client.delete("/v1/indexes/once").status_code == 204
    assert detail(client.get("/v1/indexes/once"), 404) == "there is no index 'once'"
    assert detail(client.delete("/v1/indexes/once"), 404) == "there is no index 'once'"


def test_indexes_are_listed_by_name(client: TestClient, index: str, data_dir: Path) -> None:
    (data_dir / "indexes" / "not-an-index").mkdir(exist_ok=True)
    listed = client.get("/v1/indexes").json()["indexes"]
    assert [one["name"] for one in listed] == ["mine", "sample"]
    assert listed[0] == client.get(index).json()


def test_sentences_are_added_in_order(client: TestClient, index: str) -> None:
    body = {"sentences": ["a cat", "the house"], "language": "en"}
    answer = client.post(f"{index}/sentences", json=body)
    assert answer.status_code == 201
    assert answer.json() == {"ids": [10, 11], "count": 12}
    assert client.get(index).json()["languages"] == {"de": 10, "en": 2}


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"sentences": [], "language": "de"}, 422, "field 'sentences': expected at least one"),
        ({"sentences": ["a", ""], "language": "de"}, 422, "sentence 2 ('') has nothing in it"),
        ({"sentences": ["a"]}, 422, "field 'sentences.0.language' is missing"),
        ({"sentences": ["a"], "language": "d e"}, 422, "field 'language': expected a language"),
        (
            {"sentences": ["a\0"], "language": "de"},
            422,
            "field 'sentences.0': character 2 is a NUL",
        ),
        ({"sentences": ["a"] * 13, "language": "de"}, 413, "13 sentences are more than the 12"),
        ({"sentences": ["a", "b" * 201], "language": "de"}, 413, "sentence 2: 201 characters"),
    ],
)
def test_an_addition_that_is_refused_adds_nothing(
    client: TestClient, index: str, body: Any, status: int, sentence: str
) -> None:
    assert detail(client.post(f"{index}/sentences", json=body), status).startswith(sentence)
    assert client.get(index).json()["count"] == 10


def test_an_index_cannot_outgrow_its_limit(client: TestClient, index: str) -> None:
    body = {"sentences": GERMAN, "language": "de"}
    for _ in range(3):
        assert client.post(f"{index}/sentences", json=body).status_code == 201
    assert detail(client.post(f"{index}/sentences", json=body), 413) == (
        "index 'mine' has 40 sentences and would have more than 40 (BITEXT_MAX_INDEX_SENTENCES)"
    )


def test_there_cannot_be_more_indexes_than_the_limit(client: TestClient) -> None:
    for name in ("one", "two", "three"):  # and the sample: four
        assert client.put(f"/v1/indexes/{name}").status_code == 201
    refused = client.put("/v1/indexes/five")
    assert detail(refused, 413).startswith("there are 4 indexes, as many as there may be")
    for name in ("one", "two", "three"):
        assert client.delete(f"/v1/indexes/{name}").status_code == 204


@pytest.mark.parametrize("name", ["A", "-x", "a.b", "a" * 65, "%2e%2e", "a%00b", "ä"])
def test_an_index_name_cannot_be_a_path(client: TestClient, data_dir: Path, name: str) -> None:
    before = sorted(data_dir.rglob("*"))
    assert client.put(f"/v1/indexes/{name}").status_code in (404, 422)
    assert client.delete(f"/v1/indexes/{name}").status_code == 404
    assert sorted(data_dir.rglob("*")) == before


def test_a_centred_index_must_know_the_language_of_its_queries(client: TestClient) -> None:
    client.put("/v1/indexes/centred", json={"centring": True})
    few = {"sentences": GERMAN[:3], "language": "de"}
    assert "needs at least 10 different sentences" in detail(
        client.post("/v1/indexes/centred/sentences", json=few), 422
    )
    enough = {"sentences": GERMAN, "language": "de"}
    assert client.post("/v1/indexes/centred/sentences", json=enough).status_code == 201
    request = {"index": "centred", "queries": [GERMAN[4]], "k": 1}
    assert detail(client.post("/retrieve", json=request), 422) == (
        "index 'centred' is centred: say which language the queries are in; choose one of: de"
    )
    unknown = client.post("/retrieve", json={**request, "language": "fr"})
    assert detail(unknown, 422) == "unknown language 'fr'; choose one of: de"
    ((hit,),) = retrieve(client, **request, language="de")
    assert hit["id"] == 4
    client.delete("/v1/indexes/centred")


def test_a_threshold_leaves_hits_out(client: TestClient, index: str) -> None:
    request = {"index": "mine", "queries": [GERMAN[0]], "k": 10}
    (every,) = retrieve(client, **request)
    least = every[3]["score"] - 1e-5  # scores are rounded
    (kept,) = retrieve(client, **request, threshold=least)
    assert kept == [hit for hit in every if hit["score"] >= least]
    assert 4 <= len(kept) < 10
    assert client.post("/retrieve", json={**request, "threshold": 1.5}).status_code == 422


def test_an_index_is_centred_if_that_suits_its_model(tiny_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (model / "bitext.json").write_text('{"retrieval": {"centred": true}}')
    settings = Settings(model=str(model), data_dir=tmp_path / "data", sample=False)
    with TestClient(create_app(settings, ModelRegistry()), base_url="http://localhost") as client:
        for name, body, centring in [
            ("own", {}, True),
            ("raw", {"centring": False}, False),
            ("other", {"layer": 2}, False),
        ]:
            for status in (201, 200):  # asked again, it is the same
                made = client.put(f"/v1/indexes/{name}", json=body)
                assert (made.status_code, made.json()["centring"]) == (status, centring)


def test_additions_at_the_same_time_are_all_kept(client: TestClient) -> None:
    client.put("/v1/indexes/busy")

    def add(number: int) -> list[int]:
        body = {"sentences": [f"haus {number}", f"katze {number}"], "language": "de"}
        ids: list[int] = client.post("/v1/indexes/busy/sentences", json=body).json()["ids"]
        retrieve(client, index="busy", queries=["haus"], k=3)
        return ids

    with ThreadPoolExecutor(8) as pool:
        found = [number for ids in pool.map(add, range(16)) for number in ids]
    assert sorted(found) == list(range(32))
    assert client.get("/v1/indexes/busy").json()["count"] == 32
    client.delete("/v1/indexes/busy")


def test_what_another_process_adds_is_found(
    client: TestClient, encoder: Encoder, data_dir: Path, index: str
) -> None:
    other = TextIndex.load(data_dir / "indexes" / "mine")
    other.add(["السلام عليكم"], language="ar", encoder=encoder)
    ((hit,),) = retrieve(client, index="mine", queries=["السلام عليكم"], k=1)
    assert hit["id"] == 10


def test_an_index_of_another_model_is_refused_by_name(
    client: TestClient, tiny_model: Path, data_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model, tmp_path / "other")
    config = tmp_path / "other" / "config.json"
    config.write_text(config.read_text() + "\n")
    other = ModelRegistry().encoder(str(tmp_path / "other"))
    TextIndex.create(data_dir / "indexes" / "foreign", other)
    sentence = detail(client.post("/retrieve", json={"index": "foreign", "queries": ["x"]}), 409)
    assert sentence.startswith(f"index 'foreign' was built with model {other.name}")
    assert str(data_dir) not in sentence
    client.delete("/v1/indexes/foreign")


def test_a_damaged_index_is_refused_by_name(client: TestClient, data_dir: Path, index: str) -> None:
    folder = data_dir / "indexes" / "mine"
    request = {"index": "mine", "queries": ["haus"]}
    whole = (folder / "vectors-0.f32").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())

    (folder / "vectors-0.f32").write_bytes(whole[:-1])
    (folder / "manifest.json").write_text(json.dumps(manifest))  # newer, so it is read again
    sentence = detail(client.post("/retrieve", json=request), 409)
    assert sentence.startswith("index 'mine' cannot be read: vectors-0.f32 is truncated")
    (folder / "vectors-0.f32").write_bytes(whole)

    (folder / "manifest.json").write_text(json.dumps({**manifest, "layer": 2}))
    sentence = detail(client.post("/retrieve", json=request), 409)
    assert sentence.startswith("index 'mine' cannot be read: manifest.json, field 'digest'")
    assert client.get(index).status_code == 409
