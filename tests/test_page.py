from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin

import pytest
from starlette.testclient import TestClient

from aligners.explanations import COMMON
from aligners.methods import MATCHERS
from encoders.registry import ModelRegistry
from service.app import create_app
from service.routes.page import WEB
from service.settings import Settings

FILES = sorted(path.relative_to(WEB).as_posix() for path in WEB.rglob("*.*"))
SCRIPTS = [name for name in FILES if name.endswith(".js")]
# Names of XML vocabularies, which look like addresses but are never fetched.
NAMESPACES = {"http://www.w3.org/2000/svg"}
# Parts of an answer that are called as methods are.
MATRICES = {"forward", "backward"}


class Page(HTMLParser):
    """What a page loads, labels and does inline."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.fields: list[str] = []
        self.inline: list[str] = []
        self._labels = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.ids += [values["id"]] if "id" in values else []
        self.inline += [name for name in values if name == "style" or name.startswith("on")]
        if tag in ("script", "img") or (tag == "link" and "href" in values):
            self.loads.append(values.get("src") or values.get("href") or "")
        if tag == "style" or (tag == "script" and "src" not in values):
            self.inline.append(tag)
        if tag == "label":
            self._labels += 1
            self.labelled.add(values.get("for", ""))
        if tag in ("input", "textarea", "select") and not self._labels:
            self.fields.append(values["id"])

    def handle_endtag(self, tag: str) -> None:
        self._labels -= tag == "label"


@pytest.fixture(scope="module")
def client(
    tiny_model: Path, registry: ModelRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("data")
    settings = Settings(model=str(tiny_model), data_dir=folder, sample=False)
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_everything_a_page_loads_is_served_by_us(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(response.text)
    assert len(page.loads) >= 3
    for address in page.loads:
        loaded = client.get(urljoin(path, address))
        assert loaded.status_code == 200, address
        assert loaded.content


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_keep_to_their_content_security_policy(client: TestClient, path: str) -> None:
    response = client.get(path)
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert Page(response.text).inline == []


@pytest.mark.parametrize("name", FILES)
def test_no_file_names_another_site(client: TestClient, name: str) -> None:
    text = (WEB / name).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"'`)<]+", text)) <= NAMESPACES
    assert client.get(f"/web/{name}").status_code == 200


@pytest.mark.parametrize("name", SCRIPTS)
def test_modules_import_modules_that_are_there(name: str) -> None:
    text = (WEB / name).read_text(encoding="utf-8")
    imported = re.findall(r'^(?:import|\}) .*?"([^"]+)";$', text, flags=re.MULTILINE)
    assert {urljoin(name, address) for address in imported} <= set(FILES)


def test_scripts_are_sent_as_scripts(client: TestClient) -> None:
    # A browser refuses a module of any other type.
    assert client.get("/web/app.js").headers["content-type"].startswith("text/javascript")


def test_what_scripts_look_for_is_on_the_page() -> None:
    page = Page((WEB / "index.html").read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids))
    for name in set(SCRIPTS) - {"docs.js"}:
        text = (WEB / name).read_text(encoding="utf-8")
        assert set(re.findall(r'querySelector\("#([\w-]+)"\)', text)) <= set(page.ids), name


def test_every_field_has_a_label() -> None:
    page = Page((WEB / "index.html").read_text(encoding="utf-8"))
    assert {"source", "target", "query", "text", "key-field"} <= set(page.fields)
    assert set(page.fields) <= page.labelled


def test_the_page_offers_the_methods_there_are(client: TestClient) -> None:
    # It knows none by itself: it asks the service, which explains all of them.
    scripts = {name: (WEB / name).read_text(encoding="utf-8") for name in SCRIPTS}
    assert 'ask("v1/methods")' in scripts["views/align.js"]
    listed = client.get("/v1/methods").json()["methods"]
    assert {method["name"] for method in listed} == set(MATCHERS)
    for text in scripts.values():
        assert not set(re.findall(r"[\"'](\w+)[\"']", text)) & (set(MATCHERS) - MATRICES)
    # The heading whose methods are buttons.
    assert f'const COMMON = "{COMMON}";' in scripts["views/methods.js"]
    assert 0 < sum(method["group"] == COMMON for method in listed) < 6


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_answer_head(client: TestClient, path: str) -> None:
    assert client.head(path).status_code == 200


def test_files_are_checked_for_changes_at_every_visit(client: TestClient) -> None:
    first = client.get("/web/style.css")
    assert first.headers["cache-control"] == "no-cache"
    again = client.get("/web/style.css", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
