"""The page in a real browser, against a real service. Skipped where there is no Chromium.

Every test also holds that the page says no error to the console, asks nobody but the service, and
asks for nothing that failed, unless the test says which refusals it provokes.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from encoders.registry import ModelRegistry
from service.app import create_app
from service.settings import Settings

playwright = pytest.importorskip("playwright.sync_api", reason="needs bitext[browser]")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs bitext[browser]")

from playwright.sync_api import Browser, Page, Request, expect, sync_playwright  # noqa: E402

CHROMIUM = next(
    filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome", "chrome"])),
    None,
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")

FLAGS = [
    "--no-sandbox",  # a container's root has none
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWS = ["align", "project", "search", "translate", "jobs", "models"]
UNDER = "/under/a/prefix"
SOURCE, TARGET = "the house is small", "das haus ist klein"
PAIR = {"source": SOURCE, "target": TARGET, "method": "argmax"}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def service(
    tiny_model: Path, registry: ModelRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a service that lies at the root and under a prefix."""
    settings = Settings(model=str(tiny_model), data_dir=tmp_path_factory.mktemp("data"))
    app = create_app(settings, registry)
    both = Starlette(
        routes=[Mount(UNDER, app), Mount("/", app)],
        lifespan=lambda _: app.router.lifespan_context(app),
    )
    server = uvicorn.Server(uvicorn.Config(both, port=0, log_level="critical", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    [port] = {socket.getsockname()[1] for one in server.servers for socket in one.sockets}
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for all: it stops before the next module, whose tests may want the event loop."""
    with sync_playwright() as tools:
        browser = tools.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


class Visit:
    """A page of the service, and all that went on while it was open."""

    def __init__(self, page: Page, service: str) -> None:
        self.page = page
        self.service = service
        self.errors: list[str] = []
        self.requests: list[Request] = []
        self.refusals: tuple[int, ...] = ()  # statuses that the test provokes
        page.set_default_timeout(10_000)
        page.on("request", lambda request: self.requests.append(request))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self._heard(message.type, message.text))

    def _heard(self, kind: str, text: str) -> None:
        expected = any(f"status of {status}" in text for status in (503, *self.refusals))
        if kind in ("error", "warning") and not expected:
            self.errors.append(text)

    def open(self, view: str, state: dict[str, str] | None = None, under: str = "") -> Page:
        behind = f"?{urlencode(state)}" if state else ""
        self.page.goto(f"{self.service}{under}/#{view}{behind}")
        expect(self.page.locator("#status")).to_have_attribute("data-state", "ready")
        return self.page

    @property
    def sent(self) -> list[str]:
        """What was sent with texts in it."""
        return [request.url for request in self.requests if request.method != "GET"]

    def check(self) -> None:
        assert self.errors == []
        own = (self.service, f"blob:{self.service}", "data:")
        assert [one.url for one in self.requests if not one.url.startswith(own)] == []


@pytest.fixture
def visit(browser: Browser, service: str) -> Iterator[Visit]:
    with browser.new_context(accept_downloads=True) as context:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        visit = Visit(context.new_page(), service)
        yield visit
        visit.check()


def saved(page: Page, button: str) -> str:
    """The file that a button gives."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name=button).click()
    return Path(waiting.value.path()).read_text(encoding="utf-8")


# --- the whole


def test_nothing_is_sent_before_somebody_asks(visit: Visit) -> None:
    page = visit.open("")
    for view in VIEWS:
        page.get_by_role("link", name=view.capitalize(), exact=True).click()
        expect(page.locator(f"#view-{view}")).to_be_visible()
        assert page.locator("main > section:visible").count() == 1
    page.get_by_label("Sentence", exact=True).evaluate("field => field.value = 'typed'")
    assert visit.sent == []


def test_views_have_addresses_and_the_back_button_works(visit: Visit) -> None:
    page = visit.open("align")
    page.get_by_role("link", name="Search").click()
    expect(page).to_have_title("Find translations · bitext")
    expect(page.locator("#search-title")).to_be_focused()
    expect(page.get_by_role("link", name="Search")).to_have_attribute("aria-current", "page")
    page.go_back()
    expect(page.locator("#view-align")).to_be_visible()
    expect(page).to_have_title("Align words · bitext")


@pytest.mark.parametrize("under", ["", UNDER])
def test_an_address_shows_what_its_sender_saw(visit: Visit, under: str) -> None:
    page = visit.open("align", PAIR | {"layer": "0"}, under)
    expect(page.locator("#summary")).to_contain_text("argmax · layer 0")
    assert visit.sent == [f"{visit.service}{under}/align"]
    expect(page.get_by_label("Sentence", exact=True)).to_have_value(SOURCE)
    # Texts stand behind the #: they are in no address that is sent.
    assert not [one.url for one in visit.requests if "house" in one.url.partition("#")[0]]


def test_a_service_that_is_gone_is_told_in_a_sentence(visit: Visit) -> None:
    page = visit.open("align")
    page.context.set_offline(True)
    page.get_by_role("button", name="Align", exact=True).click()
    expect(page.locator("#align-problem")).to_have_text(
        "The service does not answer. Is it still running?"
    )
    assert [error for error in visit.errors if "ERR_INTERNET_DISCONNECTED" not in error] == []
    visit.errors.clear()


def test_the_key_is_asked_for_when_the_service_wants_one(visit: Visit) -> None:
    visit.refusals = (401,)
    keys: list[str | None] = []

    def gate(route: playwright.Route) -> None:
        keys.append(route.request.headers.get("authorization"))
        if keys[-1] == "Bearer bt_right":
            route.continue_()
        else:
            problem = {"type": "about:blank", "detail": "this service wants an API key"}
            route.fulfill(status=401, json=problem, content_type="application/problem+json")

    page = visit.page
    page.route("**/v1/**", gate)
    visit.open("search")
    field = page.get_by_label("API key")
    expect(field).to_be_focused()
    expect(page.locator("#key-problem")).to_have_text("This service wants an API key.")
    field.fill("bt_right")
    field.press("Enter")
    expect(page.locator("#corpus")).to_contain_text("The sample corpus has")
    expect(field).to_be_hidden()
    page.reload()  # the tab keeps it
    expect(page.locator("#corpus")).to_contain_text("The sample corpus has")
    page.get_by_role("button", name="Forget the API key").click()
    expect(field).to_be_visible()
    assert set(keys) == {None, "Bearer bt_right"}


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_axe_finds_nothing_serious(visit: Visit, scheme: str, width: int) -> None:
    page = visit.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.set_viewport_size({"width": width, "height": 800})
    visit.open("align", PAIR)
    for view in VIEWS:
        page.get_by_role("link", name=view.capitalize(), exact=True).click()
        show[view](page)
        results = axe.Axe().run(page)
        found = [
            (one["id"], one["impact"], [node["html"] for node in one["nodes"]])
            for one in results.response["violations"]
            if one["impact"] in ("serious", "critical")
        ]
        assert found == [], view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def show_align(page: Page) -> None:
    expect(page.locator("#summary")).to_contain_text("links between")


def show_project(page: Page) -> None:
    # The tiny model takes no more words than these.
    page.locator("#project-source").fill("Angela Merkel visited")
    page.locator("#project-target").fill("haus")
    page.get_by_role("button", name="Project", exact=True).click()
    expect(page.locator("#carried li")).to_have_count(1)


def show_search(page: Page) -> None:
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#results li")).to_have_count(10)


def show_nothing(page: Page) -> None:
    expect(page.locator("main > section:visible")).to_have_count(1)


show: dict[str, Callable[[Page], None]] = {
    "align": show_align,
    "project": show_project,
    "search": show_search,
    "translate": show_nothing,
    "jobs": show_nothing,
    "models": show_nothing,
}


# --- align


def links_of(visit: Visit, method: str = "argmax") -> list[dict[str, float]]:
    """What the service itself links."""
    answer = visit.page.request.post(
        f"{visit.service}/align", data={"source": SOURCE, "target": TARGET, "method": method}
    )
    links: list[dict[str, float]] = answer.json()["alignments"][0]["links"]
    return links


def test_links_are_drawn_and_their_scores_are_told(visit: Visit) -> None:
    page = visit.open("align")
    page.get_by_label("Sentence", exact=True).fill(SOURCE)
    page.get_by_label("Its translation").first.fill(TARGET)
    page.get_by_label("Its translation").first.press("Control+Enter")
    page.get_by_text("argmax", exact=True).click()
    links = links_of(visit)
    expect(page.locator("path.link")).to_have_count(len(links))
    first = links[0]
    word = page.locator("#drawing .words").first.locator(".word").nth(int(first["source"]))
    word.hover()
    expect(page.locator("#reading")).to_contain_text(f"{first['score']:.2f}")
    expect(page.locator("path.link.lit")).not_to_have_count(0)
    # The method is switched without another request: all were asked for at once.
    before = len(visit.sent)
    page.get_by_text("mwmf", exact=True).click()
    expect(page.locator("#summary")).to_contain_text("mwmf")
    expect(page.locator("path.link")).to_have_count(len(links_of(visit, "mwmf")))
    assert len(visit.sent) == before
    page.get_by_label("Layer", exact=True).select_option("0")
    expect(page.locator("#summary")).to_contain_text("mwmf · layer 0")
    page.go_back()
    expect(page.locator("#summary")).to_contain_text("mwmf · layer 1")
    page.go_back()
    expect(page.locator("#summary")).to_contain_text("argmax · layer 1")


def test_arrow_keys_walk_over_words_and_cells(visit: Visit) -> None:
    page = visit.open("align", PAIR)
    expect(page.locator("#summary")).to_contain_text("argmax")
    page.locator("#drawing .word").first.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#drawing .word:focus")).to_have_text("house")
    expect(page.locator("#reading")).to_contain_text("house")
    page.keyboard.press("ArrowDown")
    assert page.locator("#drawing .word:focus").inner_text() in TARGET.split()
    page.keyboard.press("End")
    expect(page.locator("#drawing .word:focus")).to_have_text("klein")
    page.locator("#heat td[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#cell")).to_contain_text(re.compile("house.*haus.*similarity"))


def test_what_is_saved_is_what_is_drawn(visit: Visit) -> None:
    page = visit.open("align", PAIR)
    expect(page.locator("#summary")).to_contain_text("argmax")
    links = links_of(visit)
    pharaoh = " ".join(f"{link['source']}-{link['target']}" for link in links)
    assert saved(page, "Save links (Pharaoh)") == f"{pharaoh}\n"
    root = ElementTree.fromstring(saved(page, "Save as SVG"))
    assert root.tag == f"{SVG}svg"
    assert [text.text for text in root.iter(f"{SVG}text")] == [*SOURCE.split(), *TARGET.split()]
    titles = [path.findtext(f"{SVG}title") for path in root.iter(f"{SVG}path")]
    assert titles == [f"{one['source']}-{one['target']} {one['score']:.4f}" for one in links]
    page.get_by_role("button", name="Copy link to this").first.click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.url
    assert urlencode({"source": SOURCE}) in copied


def test_a_refusal_is_shown_as_the_service_says_it(visit: Visit) -> None:
    visit.refusals = (422,)
    page = visit.open("align", PAIR | {"method": "itermx"})
    expect(page.locator("#align-problem")).to_contain_text("Unknown method 'itermx'; choose one of")


def test_arabic_runs_from_the_right(visit: Visit) -> None:
    page = visit.open("align", PAIR | {"target": "السلام عليكم"})
    words = page.locator("#drawing ol[dir=rtl] .word")
    expect(words).to_have_count(2)
    first, second = words.nth(0).bounding_box(), words.nth(1).bounding_box()
    assert first is not None
    assert second is not None
    assert first["x"] > second["x"]
    words.first.focus()
    page.keyboard.press("ArrowLeft")
    expect(words.nth(1)).to_be_focused()


# --- project


def test_a_span_marked_with_the_keyboard_is_carried_over(visit: Visit) -> None:
    page = visit.open("project")
    source = page.get_by_label("Sentence: select a part of it to mark")
    source.fill(f"😀 {SOURCE}")  # one code point, two units of a browser's strings
    expect(page.locator("#marks li")).to_have_count(0)  # their text is gone
    page.locator("#project-target").fill(TARGET)
    source.focus()
    page.keyboard.press("Control+Home")
    for key in ["ArrowRight"] * len("😀 the ") + ["Shift+ArrowRight"] * len("house "):
        page.keyboard.press(key)
    label = page.get_by_label("Label", exact=True)
    label.fill("THING")
    label.press("Enter")
    expect(page.locator("#marks li")).to_have_text(re.compile("THINGhouse"))
    with page.expect_request("**/v1/project") as waiting:
        page.get_by_role("button", name="Project", exact=True).click()
    span = {"start": 6, "end": 11, "label": "THING"}
    assert json.loads(waiting.value.post_data or "")["spans"] == [span]
    expect(page.locator("#project-from .span")).to_have_text("THINGhouse")
    response = waiting.value.response()
    assert response is not None
    [found] = response.json()["projections"][0]["spans"]
    expected = found["target"]["text"] if found["target"] else "lost"
    expect(page.locator("#carried li")).to_contain_text(expected)
    expect(page).to_have_url(re.compile("span=6-11-THING"))
    page.get_by_role("button", name="Unmark THING: house").click()
    expect(page.locator("#marks li")).to_have_count(0)


def test_marks_move_with_the_text_before_them(visit: Visit) -> None:
    page = visit.open("project")
    source = page.locator("#project-source")
    source.press("Control+Home")
    page.keyboard.type("Yes, ")
    expect(page.locator("#marks bdi")).to_have_text(
        ["Angela Merkel", "European Parliament", "Strasbourg"]
    )


# --- search


def test_an_index_is_searched(visit: Visit) -> None:
    page = visit.open("search")
    expect(page.locator("#corpus")).to_contain_text("The sample corpus has 306 sentences")
    page.get_by_label("Find", exact=True).select_option(label="German")
    page.get_by_label("At most").select_option("20")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#results li")).to_have_count(20)
    assert set(page.locator("#results .tongue").all_inner_texts()) == {"German"}
    expect(page).to_have_url(re.compile("among=de"))
    page.reload()
    expect(page.locator("#results li")).to_have_count(20)
