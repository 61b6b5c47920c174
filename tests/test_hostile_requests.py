"""Requests that mean harm: the right 4xx, never a 5xx, never a file that is not the page's."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from starlette.testclient import TestClient

JSON = {"content-type": "application/json"}
BODIES = (
    "/align",
    "/retrieve",
    "/v1/embeddings",
    "/v1/mine",
    "/v1/indexes/x/sentences",
    "/v1/indexes/x/search",
    "/v1/indexes/x/count",
)


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[TestClient]:
    with serve() as client:
        client.put("/v1/indexes/x", json={})
        yield client


def problem(response: Any, *statuses: int) -> str:
    assert response.status_code in statuses, (response.status_code, response.text[:300])
    assert response.headers["content-type"] == "application/problem+json"
    detail: str = response.json()["detail"]
    assert len(detail) < 1_000
    return detail


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    ("opened", "closed"), [("[", "]"), ('{"a":', "}"), ('{"pairs":[', "]}"), ('{"filter":', "}")]
)
def test_deep_nesting_is_refused(client: TestClient, path: str, opened: str, closed: str) -> None:
    for depth in (100, 900, 1_100, 100_000):
        for body in (opened * depth + "1" + closed * depth, opened * depth):
            answer = client.post(path, content=body.encode(), headers=JSON)
            problem(answer, 400, 422)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "body",
    [
        b'{"source": "\xc3\x28", "target": "b"}',
        b'{"source": "\xed\xa0\xbd", "target": "b"}',  # half a pair, as bytes
        b'{"\xff": 1}',
        b"\x80" * 100,
        b"\x00" * 100,
        b"",
        b"NaN",
        b'{"threshold": NaN}',
        b'{"threshold": 1e999}',
        b'{"layer": ' + b"9" * 5_000 + b"}",  # more digits than Python turns into a number
        b'{"a": 1, "a": 2}',
        b'{"queries": "x", "k": 99999999999999999999}',
        json.dumps("\u0000").encode(),
    ],
)
def test_what_is_no_request_is_refused(client: TestClient, path: str, body: bytes) -> None:
    problem(client.post(path, content=body, headers=JSON), 400, 415, 422)


@pytest.mark.parametrize("coding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_json_is_in_utf_8(client: TestClient, coding: str) -> None:
    good = '{"source": "é", "target": "b"}'
    body = good.encode(coding)
    for content in (body, iter([body[:1], b"", body[1:3], body[3:]])):
        answer = client.post("/align", content=content, headers=JSON)
        assert problem(answer, 400) == "the body cannot be read as JSON in UTF-8"
    marked = good.encode("utf-8-sig")  # a byte order mark is ignored, as RFC 8259 allows
    assert client.post("/align", content=marked, headers=JSON).status_code == 200


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "x-unknown"])
def test_packed_bodies_are_not_unpacked(client: TestClient, coding: str) -> None:
    bomb = gzip.compress(b" " * 2**20)
    answer = client.post("/align", content=bomb, headers={**JSON, "content-encoding": coding})
    assert problem(answer, 415) == (
        f"send the body as it is, without Content-Encoding; got '{coding}'"
    )
    assert answer.headers["accept-encoding"] == "identity"


NAMES = (
    "..",
    "%2e%2e",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "..%5c..%5cx",
    "%00",
    "x%00.json",
    "a%2fb",
    "con.txt",
    ".hidden",
    "x" * 300,
    "%F0%9F%98%80",
    "%ff%fe",
    "a%0d%0aX-Injected:%201",
    "~root",
    "$(id)",
    "'; drop table jobs; --",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("at", ["/v1/indexes/{}", "/v1/indexes/{}/snapshots", "/v1/jobs/{}"])
def test_a_name_leads_nowhere_else(
    client: TestClient, tmp_path: Path, method: str, at: str, name: str
) -> None:
    body: dict[str, str] | None = {} if method == "PUT" else None
    answer = client.request(method, at.format(name), json=body)
    assert 400 <= answer.status_code < 500, answer.text
    assert "x-injected" not in answer.headers


@pytest.mark.parametrize("room", ["web", "swagger"])
@pytest.mark.parametrize(
    "rest",
    [
        "../app.py",
        "..%2fapp.py",
        "%2e%2e/app.py",
        "....//app.py",
        "..%5capp.py",
        "%2e%2e%2f%2e%2e%2f%2e%2e%2fetc/passwd",
        "/etc/passwd",
        "%00",
        "x" * 5_000,
        "",
    ],
)
def test_files_are_those_of_the_page_only(client: TestClient, room: str, rest: str) -> None:
    answer = client.get(f"/{room}/{rest}")
    assert 400 <= answer.status_code < 500
    assert b"create_app" not in answer.content
    assert b"root:" not in answer.content


@pytest.mark.parametrize(
    "query", ["limit=" + "9" * 5_000, "limit=%ff", "after=" + "9" * 30, "limit=1&limit=x"]
)
def test_a_query_that_is_wrong_is_refused(client: TestClient, query: str) -> None:
    problem(client.get(f"/v1/indexes/x/sentences?{query}"), 422)


@pytest.mark.parametrize("id", ["0x1", "9" * 30, "-1", "1.5", "%00", "9" * 5_000, "１"])
def test_an_id_that_is_wrong_is_refused(client: TestClient, id: str) -> None:
    answer = client.get(f"/v1/indexes/x/sentences/{id}")
    problem(answer, 404, 422)


def test_a_model_that_is_not_allowed_is_not_loaded(client: TestClient, tmp_path: Path) -> None:
    for name in ("/etc", "../../x", str(tmp_path), "bert-base-multilingual-cased", "\x00"):
        answer = client.post("/align", json={"source": "a", "target": "b", "model": name})
        problem(answer, 422)


def _mangled(generator: random.Random, body: bytes) -> bytes:
    found = bytearray(body)
    for _ in range(generator.randint(1, 8)):
        place = generator.randrange(len(found) + 1)
        match generator.randrange(4):
            case 0:
                found[place:place] = generator.randbytes(generator.randint(1, 5))
            case 1:
                del found[place : place + generator.randint(1, 10)]
            case 2:
                found[place : place + 1] = generator.choice([b"{", b"}", b"[", b'"', b",", b"\\u"])
            case _:
                piece = bytes(found[place : place + 20])
                found[place:place] = piece * 2
    return bytes(found)


def test_1000_mangled_bodies_are_answered(client: TestClient) -> None:
    """Of requests that are good, with bytes put in, taken out, swapped and doubled."""
    generator = random.Random(7)
    good: dict[str, Any] = {
        "/align": {"pairs": [{"source": "a b", "target": ["c", "d"]}], "method": "itermax"},
        "/retrieve": {"index": "x", "queries": ["a"], "k": 2},
        "/v1/embeddings": {"input": ["a", "b"], "encoding_format": "base64"},
        "/v1/indexes/x/search": {"query": "a", "k": 2, "filter": {"language": "de"}},
        "/v1/indexes/x/count": {"filter": {"metadata": {"a": 1}}},
    }
    seen: dict[int, int] = {}
    for number in range(1_000):
        path = sorted(good)[number % len(good)]
        body = _mangled(generator, json.dumps(good[path]).encode())
        status = client.post(path, content=body, headers=JSON).status_code
        assert status < 500, (path, body)
        seen[status] = seen.get(status, 0) + 1
    assert seen[400] > 300  # most are no JSON any more
    assert set(seen) <= {200, 400, 404, 413, 422}


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ("[" * 100_000, "the body is nested too deeply"),
        ('{"layer": ' + "9" * 5_000 + "}", "the body has a number of too many digits"),
        ('{"a": [{"source": "a", "b": 1, "source": "a"}]}',
         "the key 'source' is given twice in one object"),
        ('{"source": "a', "the body is not JSON: Unterminated string starting at character 12"),
        ('{"source": "\xff', "the body cannot be read as JSON in UTF-8"),
    ],
)  # fmt: skip
def test_json_that_is_not_taken_is_told_why(client: TestClient, body: str, detail: str) -> None:
    for path in BODIES:
        answer = client.post(path, content=body.encode("latin-1"), headers=JSON)
        assert problem(answer, 400) == detail


@pytest.mark.parametrize(
    ("path", "body", "detail"),
    [
        ("/v1/translate", {}, "expected either 'text' or 'texts', got neither"),
        ("/v1/embeddings", {"input": "a", "prefix": "x" * 201},
         "field 'prefix': expected at most 200 characters, got \"xxx"),
        ("/v1/jobs", {"kind": "mine", "settings": {}, "name": ""},
         "field 'name': expected at least 1 character, got \"\""),
        ("/v1/jobs", {"kind": "mine", "settings": []},
         "field 'settings': expected a JSON object, got []"),
    ],
)  # fmt: skip
def test_a_sentence_says_what_is_allowed(
    client: TestClient, path: str, body: Any, detail: str
) -> None:
    assert problem(client.post(path, json=body), 422).startswith(detail)


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/v1/jobs?state=queued&stat=done", "unknown query parameter 'stat'; choose one of: "),
        ("/v1/jobs/0123456789abcdef/log?aftr=1", "unknown query parameter 'aftr'; choose one of: "),
        ("/v1/indexes/x/sentences?limt=1", "unknown query parameter 'limt'; choose one of: "),
        ("/v1/models?x=1", "unknown query parameter 'x': there are none here"),
        ("/v1/jobs?limit=1&limit=2", "query parameter 'limit' is given twice"),
        ("/v1/indexes/x/sentences?after=1&after=2", "query parameter 'after' is given twice"),
        (f"/v1/jobs?{'a' * 5000}=1", "unknown query parameter 'aaaaa"),
    ],
)
def test_a_misspelt_query_does_not_answer_with_everything(
    client: TestClient, path: str, detail: str
) -> None:
    assert problem(client.get(path), 422).startswith(detail)


def test_the_queries_that_are_known_are_taken(client: TestClient) -> None:
    assert client.get("/v1/jobs?state=queued&kind=mine&limit=3").json()["jobs"] == []
    assert client.get("/v1/indexes/x/sentences?limit=1&language=en&language=de").status_code == 200
    assert client.post("/v1/uploads?name=a.txt", content=b"a\n").status_code == 201
    assert client.post("/v1/uploads?nam=a.txt", content=b"a\n").status_code == 422
    assert client.post("/align?x=1", json={"source": "a", "target": "b"}).status_code == 422
    assert client.get("/health?now=1").status_code == 200
