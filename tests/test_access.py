"""Who may call: scopes of all routes, keys, rates, proxies, other sites, headers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import Serve
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from encoders.registry import ModelRegistry
from service.access.guard import HEADERS
from service.access.scopes import GIVEN, Demand, Scope, demand_of, needs
from service.access.spelling import new_key
from service.access.storing import make_key
from service.access.table import DOCUMENT, FILES, Found, RouteTable
from service.app import create_app
from service.database.engine import database_of
from service.openapi import VERSION
from service.pacing import Pace
from service.routes import TWICE, UNVERSIONED, VERSIONED
from service.settings import Settings

PAIR = {"source": "a", "target": "b"}

# --- scopes are declared


class Declared(NamedTuple):
    method: str
    path: str
    scope: Scope | None


def declared(app: FastAPI) -> Iterator[Declared]:
    """Every route of ``app``, whatever it came in by, and what its function declares."""
    routes: Any = app.routes
    try:
        from fastapi.routing import iter_route_contexts
    except ImportError:  # before FastAPI 0.136 included routes were copied into the list
        pass
    else:
        routes = iter_route_contexts(app.routes)
    for route in routes:
        original = getattr(route, "original_route", route)
        if isinstance(original, Mount):
            yield Declared("GET", original.path, Scope.OPEN if original.path in FILES else None)
        elif isinstance(original, APIRoute):
            demand = demand_of(original.endpoint)
            for method in route.methods or ():
                yield Declared(method, route.path, demand.scope if demand else None)
        else:
            assert isinstance(original, Route), original
            is_open = original.path == DOCUMENT
            yield Declared("GET", original.path, Scope.OPEN if is_open else None)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return create_app(Settings(sample=False))


def test_every_route_declares_what_it_needs(app: FastAPI) -> None:
    routes = list(declared(app))
    assert len(routes) > 25
    assert [route for route in routes if route.scope is None] == []


def test_a_route_without_a_scope_is_seen() -> None:
    app = create_app(Settings(sample=False))
    app.add_api_route("/forgotten", lambda: None)
    assert [route.path for route in declared(app) if route.scope is None] == ["/forgotten"]


def test_the_table_finds_the_route_that_the_router_finds(app: FastAPI) -> None:
    table = RouteTable([(VERSION, VERSIONED), ("", TWICE), ("", UNVERSIONED)])
    for method, path, scope in declared(app):
        if path in FILES:
            found = table.find("GET", f"{path}/x.js")
        else:
            found = table.find(method, re.sub(r"\{id(:int)?\}", "1", path))
        assert found.template == re.sub(r":\w+}", "}", path)
        assert found.demand is not None
        assert found.demand.scope is scope


def test_what_only_reads_needs_no_more(app: FastAPI) -> None:
    for method, path, scope in declared(app):
        if method == "GET":
            assert scope in (Scope.OPEN, Scope.METRICS, Scope.READ), path
        if method in ("PUT", "DELETE"):
            assert scope in (Scope.WRITE, Scope.TRAIN), path


def test_what_no_route_answers_has_no_demand() -> None:
    table = RouteTable([(VERSION, VERSIONED), ("", TWICE), ("", UNVERSIONED)])
    nothing = Found(None, None)
    assert table.find("GET", "/nope") == nothing
    assert table.find("GET", "/align") == Found("/align", None, frozenset({"POST"}))
    assert table.find("GET", "/webs") == nothing
    assert table.find("GET", "/v1/indexes/a/b") == nothing
    assert table.find("GET", "/v1/indexes/a%2Fb").template == "/v1/indexes/{name}"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/v1/indexes/x", "DELETE, GET, PUT"),
        ("DELETE", "/v1/indexes/x/sentences", "GET, POST, PUT"),
        ("POST", "/health", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("DELETE", "/web/page.css", "GET, HEAD"),
    ],
)
def test_another_method_is_told_all_that_are_there(
    serve: Serve, method: str, path: str, allowed: str
) -> None:
    with serve() as client:
        answer = client.request(method, path)
    assert problem(answer, 405)
    assert answer.headers["allow"] == allowed


def test_another_method_is_a_405_whatever_comes_with_it(serve: Serve) -> None:
    with serve() as client:
        for method, path in (("TRACE", "/v1/uploads"), ("PATCH", "/align")):
            answer = client.request(method, path, content=b"x", headers={"content-type": "a/b"})
            assert problem(answer, 405)


# --- keys


class Keyed(NamedTuple):
    client: TestClient
    keys: dict[Scope, str]

    def headers(self, scope: Scope) -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[scope]}"}


@pytest.fixture(scope="module")
def keyed(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    folder = tmp_path_factory.mktemp("keyed")
    database = database_of(Settings(data_dir=folder))
    keys: dict[Scope, str] = {}
    for scope in GIVEN:
        keys[scope] = make_key(database, scope.value, scope)
    database.close()
    with serve(data_dir=folder, keys="required") as client:
        yield Keyed(client, keys)


def problem(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    for name in HEADERS:
        assert name in response.headers
    detail: str = response.json()["detail"]
    return detail


def test_what_is_open_needs_no_key(keyed: Keyed) -> None:
    for path in ("/", "/health", "/ready", "/docs", "/openapi.json", "/problems/busy"):
        assert keyed.client.get(path).status_code in (200, 503), path  # 503: not ready yet


def test_without_a_key_it_is_a_401(keyed: Keyed) -> None:
    for method, path in (("POST", "/align"), ("GET", "/v1/indexes"), ("GET", "/metrics")):
        response = keyed.client.request(method, path, json=PAIR)
        detail = problem(response, 401)
        assert detail == "send a key, as Authorization: Bearer bt_…"
        assert response.headers["www-authenticate"] == 'Bearer realm="bitext"'


@pytest.mark.parametrize(
    "sent",
    [
        f"Bearer bt_0123abcd_{'5' * 64}",  # one that was never made
        "Bearer ",
        "Bearer bt_0_1",
        "Bearer " + "x" * 10_000,
        "Bearer bt_é",
    ],
)
def test_a_wrong_key_is_a_401(keyed: Keyed, sent: str) -> None:
    headers = {b"authorization": sent.encode("latin-1")}
    response = keyed.client.post("/align", json=PAIR, headers=headers)
    assert problem(response, 401) == "the key is not one of this service, or was revoked"
    assert response.headers["www-authenticate"] == 'Bearer realm="bitext", error="invalid_token"'


@pytest.mark.parametrize("sent", ["Basic YTpi", "Token bt_x", "bt_x"])
def test_another_way_to_name_oneself_is_a_401(keyed: Keyed, sent: str) -> None:
    response = keyed.client.post("/align", json=PAIR, headers={"authorization": sent})
    assert problem(response, 401).startswith("send a key")


def test_a_key_opens_what_its_scope_includes(keyed: Keyed) -> None:
    wanted = {
        ("GET", "/metrics"): Scope.METRICS,
        ("POST", "/align"): Scope.READ,
        ("PUT", "/v1/indexes/x"): Scope.WRITE,
    }
    for (method, path), needed in wanted.items():
        for scope in GIVEN:
            body = PAIR if path == "/align" else {} if method == "PUT" else None
            answer = keyed.client.request(method, path, json=body, headers=keyed.headers(scope))
            if scope.includes(needed):
                assert answer.status_code in (200, 201), answer.text
                continue
            id = keyed.keys[scope].split("_")[1]
            assert problem(answer, 403) == (
                f"the key {id} is of scope {scope.value}; this needs {needed.value}"
            )
            assert answer.headers["www-authenticate"] == (
                f'Bearer realm="bitext", error="insufficient_scope", scope="{needed.value}"'
            )


def test_an_unknown_address_is_told_to_those_with_a_key(keyed: Keyed) -> None:
    assert problem(keyed.client.get("/nope"), 401)
    for scope in GIVEN:
        answer = keyed.client.get("/nope", headers=keyed.headers(scope))
        assert problem(answer, 404).startswith("there is nothing at /nope")
        assert problem(keyed.client.get("/align", headers=keyed.headers(scope)), 405)


def test_a_route_that_declares_nothing_is_closed(
    tiny_model: Path, registry: ModelRegistry, tmp_path: Path
) -> None:
    settings = Settings(model=str(tiny_model), data_dir=tmp_path, sample=False, keys="required")
    app = create_app(settings, registry)
    app.add_api_route("/forgotten", lambda: "open")
    key = make_key(app.state.service.database, "x", Scope.WRITE)
    with TestClient(app, base_url="http://localhost") as client:
        assert problem(client.get("/forgotten"), 401)
        answer = client.get("/forgotten", headers={"authorization": f"Bearer {key}"})
        assert problem(answer, 404)


def test_the_document_tells_of_keys_where_they_are_required(keyed: Keyed, serve: Serve) -> None:
    document = keyed.client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    align = document["paths"]["/v1/align"]["post"]
    assert (align["security"], align["x-scope"]) == ([{"key": []}], "read")
    assert {"401", "403"} <= set(align["responses"])
    assert "security" not in document["paths"]["/health"]["get"]
    with serve() as client:
        document = client.get("/openapi.json").json()
    align = document["paths"]["/v1/align"]["post"]
    assert "security" not in align
    assert "401" not in align["responses"]
    assert align["x-scope"] == "read"


def test_without_required_keys_one_that_is_sent_is_not_looked_at(serve: Serve) -> None:
    with serve() as client:
        headers = {"authorization": "Bearer nonsense"}
        assert client.post("/align", json=PAIR, headers=headers).status_code == 200


def test_a_declaration_can_be_read_off_the_function() -> None:
    @needs(Scope.WRITE, streams=True)
    def upload() -> None: ...

    @needs(Scope.READ, computes=True)
    def align() -> None: ...

    assert demand_of(upload) == Demand(Scope.WRITE, streams=True)
    assert demand_of(align) == Demand(Scope.READ, computes=True)
    assert demand_of(None) is None


# --- rates


def test_refusals_take_their_turn(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Pace] = []

    def wait(pace: Pace) -> float:
        taken.append(pace)
        return 0.0

    monkeypatch.setattr(Pace, "wait", wait)
    with serve(requests_per_minute=1) as client:
        assert client.post("/align", json=PAIR).status_code == 200
        assert taken == []
        assert client.post("/align", json=PAIR).status_code == 429
        assert len(taken) == 1


def test_too_many_requests_are_a_429(serve: Serve) -> None:
    with serve(requests_per_minute=2) as client:
        for left in (1, 0):
            answer = client.post("/align", json=PAIR)
            assert answer.status_code == 200
            assert answer.headers["ratelimit"].startswith(f'"requests";r={left};t=')
            assert answer.headers["ratelimit-policy"] == '"requests";q=2;w=60'
        answer = client.post("/align", json=PAIR)
        assert problem(answer, 429).startswith("too much in a minute; try again in ")
        assert 1 <= int(answer.headers["retry-after"]) <= 30
        assert client.get("/health").status_code == 200  # no rate holds for it
        assert "ratelimit" not in client.get("/health").headers
        text = client.get("/metrics").text
        assert 'bitext_requests_refused_total{reason="rate"} 1.0' in text


def test_too_many_characters_are_a_429(serve: Serve) -> None:
    with serve(characters_per_minute=100) as client:
        long = {"source": "ä" * 300, "target": "b", "too_long": "windows"}
        assert client.post("/align", json=long).status_code == 200
        answer = client.post("/align", json=PAIR)
        assert problem(answer, 429)
        # Some 350 characters came (an ä counts once), 100 were there: about 250 / 100 minutes.
        assert 100 < int(answer.headers["retry-after"]) < 200


def test_a_rate_is_that_of_a_key(serve: Serve, tmp_path: Path) -> None:
    database = database_of(Settings(data_dir=tmp_path))
    first, second = (make_key(database, name, Scope.READ) for name in "ab")
    with serve(data_dir=tmp_path, keys="required", requests_per_minute=1) as client:

        def ask(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return client.post("/align", json=PAIR, headers=headers).status_code

        assert [ask(first), ask(first), ask(second), ask(second)] == [200, 429, 200, 429]
        # Those without a good key share the bucket of their address.
        assert [ask("x"), ask("x"), ask(new_key())] == [401, 429, 429]


# --- proxies


@pytest.mark.parametrize(
    ("trusted", "statuses"),
    [
        ((), [200, 429, 429]),  # the header could have been made up: all are one client
        (("192.0.2.1",), [200, 429, 429]),  # another proxy is trusted than the one that calls
        (("192.0.2.0/24", "198.51.100.0/24"), [200, 200, 429]),
    ],
)
def test_a_proxy_is_believed_if_it_is_trusted(
    tiny_model: Path, registry: ModelRegistry, trusted: tuple[str, ...], statuses: list[int]
) -> None:
    settings = Settings(
        model=str(tiny_model), sample=False, requests_per_minute=1, trusted_proxies=trusted
    )
    app = create_app(settings, registry)
    client = TestClient(app, base_url="http://localhost", client=("198.51.100.5", 1))
    answers = [
        client.get("/v1/models", headers={"x-forwarded-for": came})
        for came in ("203.0.113.1", "9.9.9.9, 203.0.113.2", "203.0.113.2")
    ]
    assert [answer.status_code for answer in answers] == statuses


def test_over_https_browsers_are_told_to_stay_there(
    tiny_model: Path, registry: ModelRegistry
) -> None:
    settings = Settings(model=str(tiny_model), sample=False, trusted_proxies=("198.51.100.5",))
    app = create_app(settings, registry)
    client = TestClient(app, base_url="http://localhost", client=("198.51.100.5", 1))
    encrypted = client.get("/health", headers={"x-forwarded-proto": "https"})
    assert encrypted.headers["strict-transport-security"] == "max-age=31536000"
    assert "strict-transport-security" not in client.get("/health").headers


# --- other sites

PREFLIGHT = {
    "origin": "https://a.example",
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type",
}


def test_an_allowed_site_may_call(serve: Serve, tmp_path: Path) -> None:
    with serve(cors_origins=("https://a.example",), keys="required") as client:
        answer = client.options("/v1/align", headers=PREFLIGHT)  # browsers send no key with it
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert {"authorization", "content-type"} <= set(allowed.split(", "))
        assert "access-control-allow-credentials" not in answer.headers
        answer = client.post("/v1/align", json=PAIR, headers={"origin": "https://a.example"})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == "https://a.example"
        assert "Retry-After" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize("origin", ["https://b.example", "http://a.example", "null"])
def test_another_site_may_not(serve: Serve, origin: str) -> None:
    with serve(cors_origins=("https://a.example",)) as client:
        answer = client.options("/v1/align", headers={**PREFLIGHT, "origin": origin})
        assert answer.status_code == 400
        assert "access-control-allow-origin" not in answer.headers
        answer = client.get("/v1/models", headers={"origin": origin})
        assert "access-control-allow-origin" not in answer.headers


def test_no_site_may_by_default(serve: Serve) -> None:
    with serve() as client:
        answer = client.options("/v1/align", headers=PREFLIGHT)
        assert answer.status_code == 405
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    "settings",
    [
        {"cors_origins": ("a.example",)},
        {"cors_origins": ("https://a.example/",)},
        {"trusted_proxies": ("proxy.example",)},
        {"trusted_proxies": ("10.0.0.1/8",)},
        {"keys": "on"},
        {"log": "xml"},
        {"body_seconds": 0},
        {"requests_per_minute": -1},
    ],
)
def test_a_setting_that_is_wrong_is_refused(settings: Any) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Settings(**settings)


# --- headers


def test_answers_are_kept_by_nobody_and_files_are_asked_for_again(serve: Serve) -> None:
    with serve() as client:
        assert client.get("/v1/models").headers["cache-control"] == "no-store"
        assert client.get("/nope").headers["cache-control"] == "no-store"
        for path in ("/", "/web/app.js", "/swagger/swagger-ui.css"):
            assert client.get(path).headers["cache-control"] == "no-cache", path


# --- pages of other sites


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({}, True),  # a program
        ({"origin": "http://localhost"}, True),
        ({"origin": "http://LOCALHOST"}, True),
        ({"origin": "https://localhost", "sec-fetch-site": "same-origin"}, True),
        ({"origin": "https://proxy.example", "sec-fetch-site": "same-origin"}, True),
        ({"sec-fetch-site": "none"}, True),  # from the address bar
        ({"origin": "https://friend.example", "sec-fetch-site": "cross-site"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://localhost:9999"}, False),
        ({"origin": "http://localhost", "sec-fetch-site": "cross-site"}, False),
        ({"origin": "http://localhost:9999", "sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://["}, False),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("post", "/v1/models/x/unload"), ("delete", "/v1/indexes/x")]
)
def test_no_page_of_another_site_changes_anything(
    serve: Serve, method: str, path: str, headers: dict[str, str], is_ours: bool
) -> None:
    with serve(cors_origins=("https://friend.example",)) as client:
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code != 403) == is_ours
        if not is_ours:
            assert "may not change anything here; see BITEXT_CORS_ORIGINS" in answer.text
        assert client.get("/health", headers=headers).status_code == 200
