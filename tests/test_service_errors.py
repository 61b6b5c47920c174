from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from starlette.testclient import TestClient

import bitext.errors
import service.errors
from bitext.errors import BitextError, BusyError
from encoders.registry import ModelRegistry
from service import limits
from service.access import guard
from service.access.guard import HEADERS, known_hosts
from service.app import create_app
from service.errors import KINDS, kind_of
from service.settings import Settings
from service.uploads import Uploads

LIMIT = 2000
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(
    tiny_model: Path, registry: ModelRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    settings = Settings(
        model=str(tiny_model),
        data_dir=tmp_path_factory.mktemp("data"),
        sample=False,
        max_body_bytes=LIMIT,
    )
    app = create_app(settings, registry)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("the secret is 42")

    @app.get("/busy")
    def busy() -> None:
        raise BusyError("index x is being written")

    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def problem(response: Any, status: int) -> dict[str, Any]:
    """The document, after a look at what all of them must have."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert set(document) == {"type", "title", "status", "detail", "instance"}
    assert document["status"] == status
    assert document["instance"] == response.request.url.path
    return document


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{", "the body is not JSON: Expecting property name enclosed in double quotes"),
        (b'{"source": "a" "target"}', "the body is not JSON: Expecting ',' delimiter"),
        (b"nonsense", "the body is not JSON: Expecting value at character 1"),
        (b'{"source": "\xff"}', "the body cannot be read as JSON in UTF-8"),
        (b"[" * 1900, "the body "),
        (b'{"layer": ' * 190, "the body is not JSON"),
    ],
)
def test_what_is_not_json_is_a_400(client: TestClient, body: bytes, detail: str) -> None:
    headers = {"content-type": "application/json"}
    response = client.post("/align", content=body, headers=headers)
    assert problem(response, 400)["detail"].startswith(detail)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "expected 'source' and 'target', or 'pairs', got {}"),
        ({"source": "a"}, "expected 'source' and 'target', or 'pairs', got {\"source\": \"a\"}"),
        ({"source": "a", "target": "b", "pairs": []}, "expected either 'pairs' or 'source'"),
        ({"source": 3, "target": "b"}, "field 'source': expected a text or a list of words, got 3"),
        (
            {"pairs": [{"source": "a", "target": "b"}, {"source": "a"}]},
            "field 'pairs.1.target' is missing",
        ),
        (
            {"pairs": [{"source": "a", "target": ["b", None]}]},
            "field 'pairs.0.target.1': input should be a valid string, got null",
        ),
        (
            {"source": "a", "target": "b", "metod": "mwmf"},
            "unknown field 'metod'; choose one of: detail, distortion, layer, method, methods",
        ),
        (
            {"pairs": [{"source": "a", "target": "b", "id": 1}]},
            "field 'pairs.0': unknown field 'id'; choose one of: source, target",
        ),
        (
            {"source": "a", "target": "b", "method": "m" * 201},
            "field 'method': string should have at most 200 characters, got",
        ),
        (
            {"source": "a", "target": "b", "layer": "3"},
            "field 'layer': input should be a valid integer, got \"3\"",
        ),
        (
            {"source": "a", "target": "b", "layer": True},
            "field 'layer': input should be a valid integer, got true",
        ),
        (
            {"source": "a\0", "target": "b"},
            "field 'source': character 2 is a NUL, not text, got \"a\\u0000\"",
        ),
        (
            {"source": "a", "target": "b", "too_long": "cut"},
            "field 'too_long': input should be 'error' or 'windows', got \"cut\"",
        ),
        ([], "expected a JSON object, got []"),
        ("text", 'expected a JSON object, got "text"'),
        (None, "the request needs a JSON body"),
    ],
)
def test_what_does_not_fit_names_the_field_and_what_came(
    client: TestClient, body: Any, detail: str
) -> None:
    document = problem(client.post("/align", json=body), 422)
    assert document["detail"].startswith(detail)
    assert (document["type"], document["title"]) == ("/problems/invalid-input", "Invalid input")


def test_no_body_is_told(client: TestClient) -> None:
    assert problem(client.post("/align"), 422)["detail"] == "the request needs a JSON body"


def test_a_name_that_came_is_not_shown_at_length(client: TestClient) -> None:
    assert len(problem(client.post("/align", json={"x" * 1500: 1}), 422)["detail"]) < 250


def test_half_a_surrogate_pair_is_no_text(client: TestClient) -> None:
    body = b'{"source": ["\\ud83d"], "target": "b"}'
    headers = {"content-type": "application/json"}
    document = problem(client.post("/align", content=body, headers=headers), 422)
    assert document["detail"].startswith(
        "field 'source.0': character 1 is half of a surrogate pair, not text"
    )


def test_what_came_is_not_shown_at_length(client: TestClient) -> None:
    detail = problem(client.post("/align", json={"pairs": "x" * 1000}), 422)["detail"]
    assert len(detail) < 200
    assert detail.endswith("…")


def test_of_many_faults_the_first_is_told(client: TestClient) -> None:
    body = {"source": "a", "target": "b", "layer": -1, "model": 2}
    assert problem(client.post("/align", json=body), 422)["detail"] == (
        "field 'layer': input should be greater than or equal to 0, got -1 (and 1 more)"
    )
    # Of a list, only the first item that is wrong is looked for.
    detail = problem(client.post("/retrieve", json={"index": "x", "queries": [1] * 500}), 422)
    assert detail["detail"] == "field 'queries.0': input should be a valid string, got 1"


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "image/x+json",
        "application/json; charset=latin-1",
    ],
)
def test_another_media_type_is_a_415(client: TestClient, kind: str) -> None:
    response = client.post("/align", content=b'{"source": "a"}', headers={"content-type": kind})
    assert problem(response, 415)["detail"] == (
        f"send JSON in UTF-8, as Content-Type: application/json; got '{kind}'"
    )


def test_a_missing_media_type_is_a_415(client: TestClient) -> None:
    response = client.post("/align", content=b"{}")
    assert problem(response, 415)["detail"] == (
        "send JSON in UTF-8, as Content-Type: application/json; got none"
    )


@pytest.mark.parametrize(
    "path", ["/nope", "/web/nope.js", "/align/", "/problems/nope", "/web/../x"]
)
def test_an_unknown_address_is_a_404(client: TestClient, path: str) -> None:
    document = problem(client.get(path), 404)
    assert (document["type"], document["title"]) == ("about:blank", "Not Found")


def test_another_method_is_a_405(client: TestClient) -> None:
    response = client.get("/align")
    assert problem(response, 405)["detail"] == "/align does not answer GET"
    assert response.headers["allow"] == "POST"


METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"}


def test_every_address_answers_other_methods_with_a_405(client: TestClient) -> None:
    """Also where a word of ours could be the name of something, as in ``/sentences/delete``."""
    served = {path: set(told) for path, told in client.get("/openapi.json").json()["paths"].items()}
    for path in ("/", "/docs", "/health", "/ready", "/openapi.json", "/web/app.js", "/swagger/x"):
        served[path] = {"get", "head"}
    served = {path: told for path, told in served.items() if path not in ("/broken", "/busy")}
    for path, told in served.items():
        has = {method.upper() for method in told}
        for method in METHODS - has:
            response = client.request(method, re.sub(r"{\w+}", "0", path))
            assert response.status_code == 405, (method, path)
            assert response.headers["allow"] == ", ".join(sorted(has)), (method, path)
            if method != "HEAD":
                assert problem(response, 405)["detail"].endswith(f" does not answer {method}")


def test_a_word_is_no_id_of_a_sentence(client: TestClient) -> None:
    at = "/v1/indexes/x/sentences"
    problem(client.get(f"{at}/latest"), 422)
    problem(client.get(f"{at}/delete"), 405)
    told = problem(client.get(f"{at}/-1"), 422)["detail"]
    assert told == "field 'id': input should be greater than or equal to 0, got \"-1\""


@pytest.mark.parametrize("stated", [True, False])
def test_a_body_over_the_limit_is_a_413(client: TestClient, stated: bool) -> None:
    body = json.dumps({"source": "a", "target": "b" * LIMIT}).encode()
    seen = []

    def parts() -> Iterator[bytes]:  # sent in chunks, without a Content-Length
        for start in range(0, len(body), 100):
            seen.append(start)
            yield body[start : start + 100]

    headers = {"content-type": "application/json"}
    response = client.post("/align", content=body if stated else parts(), headers=headers)
    assert problem(response, 413)["detail"] == (
        "the body is larger than the 2000 bytes (BITEXT_MAX_BODY_BYTES) that one request may have"
    )
    assert bool(seen) is not stated


def test_a_body_at_the_limit_is_taken(client: TestClient) -> None:
    body = json.dumps({"source": "a", "target": "b"}).encode().ljust(LIMIT)
    headers = {"content-type": "application/json"}
    assert client.post("/align", content=body, headers=headers).status_code == 200


def test_a_bug_shows_nothing_of_what_is_inside(client: TestClient) -> None:
    response = client.get("/broken")
    document = problem(response, 500)
    assert document["detail"] == "the service failed at this request; its log has the details"
    assert "secret" not in response.text


# --- who may call


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9000", "LocalHost:80", "[::1]:8000"])
def test_our_own_names_are_known(client: TestClient, host: str) -> None:
    assert client.get("/info", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_who_looks_after_containers_may_call_by_any_name(client: TestClient, path: str) -> None:
    for host in ("10.1.2.3:8000", "", "api"):
        assert client.get(path, headers={"host": host}).status_code != 421
        assert client.head(path, headers={"host": host}).status_code != 421
    problem(client.get("/health/", headers={"host": "10.1.2.3:8000"}), 421)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", "[::2]", "localhost."]
)
def test_a_name_that_is_not_ours_is_a_421(client: TestClient, host: str) -> None:
    document = problem(client.get("/info", headers={"host": host}), 421)
    assert document["detail"] == (
        f"this service does not go by the name '{host}'; see BITEXT_ALLOWED_HOSTS"
    )


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"host": "127.0.0.2"}, {"localhost", "127.0.0.1", "::1", "127.0.0.2"}),
        ({"host": "0.0.0.0"}, None),
        ({"host": "api.example"}, None),
        ({"allowed_hosts": ("A.example:8000", "[::2]:1")}, {"a.example", "::2"}),
        ({"allowed_hosts": ("*",)}, None),
    ],
)
def test_names_follow_from_the_settings(settings: Any, names: set[str] | None) -> None:
    assert known_hosts(Settings(**settings)) == names


@pytest.mark.parametrize("path", ["/", "/health", "/nope", "/web/app.js", "/openapi.json"])
def test_every_answer_has_the_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert {name: headers[name] for name in HEADERS} == HEADERS
    assert "access-control-allow-origin" not in headers


def test_other_sites_may_not_call(client: TestClient) -> None:
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    assert client.options("/align", headers=asked).status_code == 405


# --- the table


def test_every_error_of_ours_has_a_kind() -> None:
    modules = (bitext.errors, service.errors)
    ours = {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, BitextError) and value is not BitextError
    }
    assert ours == set(KINDS)
    assert len({kind.slug for kind in KINDS.values()}) == len(KINDS)


def test_every_kind_is_documented_with_its_status() -> None:
    text = (Path(__file__).parents[1] / "docs" / "http-api.md").read_text(encoding="utf-8")
    for kind in KINDS.values():
        assert f"| `/problems/{kind.slug}` | {kind.status} |" in text


def test_every_setting_is_documented_with_its_default() -> None:
    text = (Path(__file__).parents[1] / "docs" / "http-api.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `BITEXT_(\w+)` \|[^|]*\| ([^|]+) \|", text, re.MULTILINE))
    assert set(rows) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        if type(field.default) is int:
            assert rows[name.upper()] == str(field.default), name


def test_a_child_has_the_kind_of_its_nearest_parent() -> None:
    class OddError(bitext.errors.TooLongError):
        pass

    assert kind_of(OddError("x")).slug == "too-long"
    assert kind_of(service.errors.UnknownIndexError("x")).status == 404


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.slug)
def test_the_type_of_a_problem_leads_to_its_meaning(client: TestClient, kind: Any) -> None:
    answer = client.get(f"/problems/{kind.slug}").json()
    assert (answer["title"], answer["status"]) == (kind.title, kind.status)
    assert answer["detail"] == kind.meaning


def test_the_openapi_document_states_the_problems(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            if "requestBody" in operation:
                assert {"400", "413", "415", "422"} <= set(responses), (method, path)
            for status, response in responses.items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"]
    assert "404" in document["paths"]["/retrieve"]["post"]["responses"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_who_meets_another_writer_is_told_to_come_again(client: TestClient) -> None:
    response = client.get("/busy")
    document = problem(response, 503)
    assert document["type"] == "/problems/busy"
    assert document["detail"] == "index x is being written"
    assert response.headers["retry-after"] == "1"


def test_bodies_of_all_requests_together_have_a_limit(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = json.dumps({"source": "a", "target": "b"})
    monkeypatch.setattr(guard, "MANY", 0)
    refused = problem(client.post("/align", content=body, headers=JSON), 429)
    assert refused["detail"].startswith(f"{len(body)} bytes of requests are being received")
    monkeypatch.setattr(guard, "MANY", 1)
    for _ in range(3):  # what was answered is let go
        assert client.post("/align", content=body, headers=JSON).status_code == 200


def test_a_list_of_very_many_is_refused_before_each_is_looked_at(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LISTS", ("max_pairs", "max_texts"))
    refused = problem(client.post("/align", json={"pairs": [0] * 257}), 413)
    assert refused["detail"] == (
        "field 'pairs': 257 items, more than the 256 that any list may have here"
    )
    problem(client.post("/align", json={"pairs": [0] * 256}), 422)


def test_no_list_may_be_longer_than_the_longest_may_be() -> None:
    numbers = {"max_body_bytes", "max_characters", "max_cells", "max_detail_cells", "max_beams"}
    numbers |= {"max_k", "max_queue", "max_queue_bytes", "max_connections", "max_model_bytes"}
    numbers |= {"max_crashes", "max_jobs", "max_upload_bytes", "max_uploads_bytes"}
    numbers |= {"max_indexes", "max_index_sentences", "max_snapshots"}
    known = {name for name in Settings.model_fields if name.startswith("max_")}
    assert known == numbers | set(limits.LISTS)


@pytest.mark.parametrize(
    "error",
    [
        OperationalError("SELECT 'secret'", {"name": "secret"}, ValueError("gone\nsecret")),
        InterfaceError("SELECT 'secret'", {"name": "secret"}, ValueError("gone\nsecret")),
        TimeoutError("gone"),
    ],
)
def test_a_database_that_fails_is_a_503_and_the_log_has_no_texts(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:  # fmt: skip
    def fail(self: Uploads) -> None:
        raise error

    monkeypatch.setattr(Uploads, "all", fail)
    assert problem(client.get("/v1/uploads"), 503)["type"] == "/problems/no-database"
    assert "the database failed: gone" in caplog.text
    assert "secret" not in caplog.text
