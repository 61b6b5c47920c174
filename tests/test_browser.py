"""The page in a real browser, against a real service. Skipped where there is no Chromium.

Every test also holds that the page says no error to the console, asks nobody but the service, and
asks for nothing that failed, unless the test says which refusals it provokes.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from encoders.registry import ModelRegistry
from service.app import create_app
from service.database.engine import database_of
from service.jobs.queueing import Claim, Queue
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
def settings(
    tiny_model: Path, tiny_translator: Path, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    return Settings(
        model=str(tiny_model),
        translation_models={"en-de": str(tiny_translator)},
        data_dir=tmp_path_factory.mktemp("data"),
    )


@pytest.fixture(scope="module")
def service(settings: Settings, registry: ModelRegistry) -> Iterator[str]:
    """The address of a service that lies at the root and under a prefix."""
    app = create_app(settings, registry)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with app.router.lifespan_context(app):
            yield

    both = Starlette(
        routes=[Mount(UNDER, app), Mount("/", app)],
        lifespan=lifespan,
    )
    server = uvicorn.Server(uvicorn.Config(both, port=0, log_config=None, lifespan="on"))
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


@pytest.mark.parametrize(
    ("view", "state", "status", "sentence"),
    [
        ("align", PAIR | {"layer": "99"}, 422, "layer 99"),
        ("align", PAIR | {"layer": "x"}, 422, "Field 'layer'"),
        ("align", PAIR | {"model": "nope"}, 422, "Unknown model 'nope'"),
        ("search", {"query": "a", "index": "nope"}, 404, "no index 'nope'"),
        ("search", {"query": "a", "k": "1000"}, 422, "Field 'k': at most 100"),
        ("translate", {"text": "a", "model": "nope"}, 422, "Unknown translation model 'nope'"),
        ("translate", {"text": "a", "beam_size": "99"}, 413, "99 beams"),
    ],
)
def test_what_an_address_names_and_is_not_there_is_told(
    visit: Visit, view: str, state: dict[str, str], status: int, sentence: str
) -> None:
    visit.refusals = (status,)
    page = visit.open(view, state)
    expect(page.locator(f"#{view}-problem")).to_contain_text(sentence)


@pytest.mark.parametrize("view", ["align", "project", "translate"])
@pytest.mark.parametrize("width", [360, 1280])
def test_a_long_word_stays_in_its_field(visit: Visit, view: str, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})
    page = visit.open(view)
    page.locator(f"#view-{view} textarea").first.fill("Donaudampfschifffahrt" * 8)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(
    ("view", "state", "figure"),
    [
        ("align", PAIR, "#figure"),
        ("project", {"source": SOURCE, "target": TARGET, "span": "4-9-X"}, "#projected"),
    ],
)
def test_what_answers_another_question_is_dimmed(
    visit: Visit, view: str, state: dict[str, str], figure: str
) -> None:
    page = visit.open(view, state)
    expect(page.locator(figure)).to_be_visible()
    expect(page.locator(figure)).not_to_have_class(re.compile("stale|empty"))
    target = page.locator(f"#view-{view} textarea").last
    before = target.input_value()
    target.fill(f"{before} Ja.")
    expect(page.locator(figure)).to_have_class(re.compile("stale"))
    target.fill(before)
    expect(page.locator(figure)).not_to_have_class(re.compile("stale"))


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

    def gate(route: Any) -> None:
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
def test_axe_finds_nothing_serious(visit: Visit, scheme: Any, width: int) -> None:
    page = visit.page
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": width, "height": 800})
    visit.open("align", PAIR)
    for view in VIEWS:
        page.get_by_role("link", name=view.capitalize(), exact=True).click()
        show[view](page)
        assert serious(page) == [], view
        assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def serious(page: Page) -> list[object]:
    """What axe finds that keeps people from using the page."""
    return [
        (one["id"], one["impact"], [node["html"] for node in one["nodes"]])
        for one in axe.Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


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


def show_translate(page: Page) -> None:
    translate(page, SOURCE)
    expect(page.locator("#translations path.link")).not_to_have_count(0)


def show_jobs(page: Page) -> None:
    expect(page.locator("#jobs-said")).not_to_be_empty()
    page.get_by_text("A new job").click()


def show_models(page: Page) -> None:
    expect(page.locator("#models-list li")).to_have_count(2)


show: dict[str, Callable[[Page], None]] = {
    "align": show_align,
    "project": show_project,
    "search": show_search,
    "translate": show_translate,
    "jobs": show_jobs,
    "models": show_models,
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


# --- translate


def translate(page: Page, text: str) -> None:
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Translate", exact=True).click()


def test_lines_are_translated_with_their_links(visit: Visit) -> None:
    page = visit.open("translate")
    page.get_by_label("Beam").select_option("2")
    page.get_by_label("Hypotheses").select_option("2")
    texts = [SOURCE, "a cat sleeps"]
    translate(page, "\n\n".join(texts))
    expect(page.locator("#translations > li")).to_have_count(2)
    request = {"texts": texts, "beam_size": 2, "n_best": 2, "align": True, "too_long": "split"}
    answer = page.request.post(f"{visit.service}/v1/translate", data=request).json()
    expect(page.locator("#translate-said")).to_contain_text("2 sentences by en-de")
    for number, one in enumerate(answer["translations"]):
        shown = page.locator("#translations > li").nth(number)
        rows = shown.locator(".hypotheses li")
        for place, hypothesis in enumerate(one["hypotheses"]):
            expect(rows.nth(place)).to_contain_text(f"{hypothesis['score']:.3f}")
        expect(shown.locator("path.link")).to_have_count(len(one["alignment"]["links"]))
    expect(page).to_have_url(re.compile("n_best=2"))
    page.reload()
    expect(page.locator("#translations > li")).to_have_count(2)


# --- models


def test_models_are_unloaded_and_loaded(visit: Visit) -> None:
    page = visit.open("translate")
    translate(page, SOURCE)
    expect(page.locator("#translations > li")).to_have_count(1)
    page.get_by_role("link", name="Models").click()
    row = page.locator("#models-list li", has_text="en-de")
    expect(row.locator(".state")).to_have_text("loaded")
    row.get_by_role("button", name="Unload en-de").click()
    expect(row.locator(".state")).to_have_text("not loaded")
    expect(page.locator("#models-said")).to_contain_text("1 in memory")
    row.get_by_role("button", name="Load en-de").click()
    expect(row.locator(".state")).to_have_text("loaded")
    expect(row.get_by_role("button")).to_be_focused()


# --- jobs


def test_a_job_is_submitted_with_its_files_stopped_and_removed(visit: Visit) -> None:
    page = visit.open("jobs")
    page.get_by_text("A new job").click()
    page.get_by_label("Name, if you like").fill("mined here")
    for label, text in [("Sentences", SOURCE), ("Sentences in the other language", TARGET)]:
        file: Any = {"name": f"{label}.txt", "mimeType": "text/plain", "buffer": text.encode()}
        page.get_by_label(label, exact=True).set_input_files(file)
    page.get_by_label("Or the least margin").fill("1.05")
    page.get_by_text("More settings").click()
    page.get_by_label("As a JSON object").fill('{"k": 2}')
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#job-name")).to_have_text("mined here")
    expect(page.locator(".job-state")).to_have_text("queued")
    id = page.url.partition("id=")[2]
    job = page.request.get(f"{visit.service}/v1/jobs/{id}").json()
    assert job["settings"] | {"source": 0, "target": 0} == {
        "source": 0, "target": 0, "margin": "ratio", "threshold": 1.05, "k": 2,
    }  # fmt: skip
    upload = job["settings"]["source"].removeprefix("upload:")
    sent = page.request.get(f"{visit.service}/v1/uploads/{upload}").json()
    assert (sent["name"], sent["bytes"]) == ("Sentences.txt", len(SOURCE))
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".job-state")).to_have_text("cancelled")
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".job-state")).to_have_text("queued")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Delete it and its files?").click()
    expect(page.locator("#jobs-said")).to_have_text("No jobs yet.")


def test_settings_that_are_refused_are_told(visit: Visit) -> None:
    visit.refusals = (422,)
    page = visit.open("jobs")
    page.get_by_text("A new job").click()
    page.get_by_label("Kind").select_option(label="Build an index")
    page.get_by_label("Name of the index").fill("Not a name")
    page.get_by_label("Sentences", exact=True).set_input_files(
        {"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"}
    )
    before = visit.page.request.get(f"{visit.service}/v1/uploads").json()
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#submit-problem")).to_contain_text("settings.index")
    # What was uploaded for it is not kept.
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    assert visit.page.request.get(f"{visit.service}/v1/uploads").json() == before


@pytest.fixture
def training(settings: Settings, service: str, visit: Visit) -> Iterator[tuple[Claim, Queue]]:
    """A training that a worker has begun; here the test is the worker."""
    request = visit.page.request
    pairs = request.post(f"{service}/v1/uploads?name=pairs.tsv", data=b"a house\tein haus\n").json()
    corpora = [{"file": f"upload:{pairs['id']}"}]
    data = {"source_lang": "en", "target_lang": "de", "corpora": corpora}
    settings_of_it = {"data": data, "stages": [{"steps": 400}]}
    request.post(f"{service}/v1/jobs", data={"kind": "train", "settings": settings_of_it})
    database = database_of(settings)
    database.open()
    queue = Queue(database)
    row = queue.claim("the test", gpu=True, others=True)
    assert row is not None
    yield Claim(row.id, "the test", row.attempts), queue
    database.close()


def test_curves_and_log_grow_while_a_training_runs(
    visit: Visit, settings: Settings, training: tuple[Claim, Queue]
) -> None:
    claim, queue = training
    folder = settings.data_dir / "jobs" / claim.job
    page = visit.open("jobs")
    page.get_by_role("link", name="train").click()
    expect(page.locator(".job-state")).to_have_text("running")
    write(folder / "log.txt", "reading pairs\n")
    write(folder / "out/run/log.jsonl", measured(20, loss=5.5), measured(40, loss=4.25))
    progress = {"done": 40, "total": 400, "unit": "steps", "rate": 2.0, "stage": "training"}
    queue.renew(claim, progress | {"eta_seconds": 180.0})
    expect(page.locator(".job-progress")).to_have_text(
        "training · 40 of 400 steps · 2 a second · about 3 min left"
    )
    assert page.get_by_role("progressbar").evaluate("bar => bar.position") == 0.1
    expect(page.get_by_role("log")).to_have_text("reading pairs")
    curve = page.get_by_role("img", name="Loss")
    expect(curve).to_have_accessible_name("Loss. loss: from 5.5 at step 20 to 4.25 at step 40.")
    dev = measured(40, bleu=1.5, **{"dev loss": 4.0})
    write(folder / "out/run/log.jsonl", measured(20, loss=5.5), measured(40, loss=4.25), dev)
    expect(page.get_by_role("img", name="Quality")).to_have_accessible_name(
        "Quality. bleu: from 1.5 at step 40 to 1.5 at step 40."
    )
    assert serious(page) == []
    write(folder / "out/model/config.json", "{}")
    queue.end(claim, "done")
    expect(page.locator(".job-state")).to_have_text("done")
    expect(page.locator(".job-artefacts li")).to_contain_text(["model", "log.jsonl", "log.txt"])
    with page.expect_download() as waiting:
        page.get_by_role("link", name="log.txt").click()
    assert Path(waiting.value.path()).read_text() == "reading pairs\n"


def measured(step: int, **figures: float) -> str:
    return json.dumps({"stage": "train", "step": step, **figures}) + "\n"


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
