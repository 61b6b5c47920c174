"""A client of a running service, in one file that needs nothing but Python.

Start ``bitext serve``, then ``python client.py`` for a tour; or copy the class into your program.
The service and the key are those of ``BITEXT_SERVICE`` and ``BITEXT_KEY`` unless you say others.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict, cast
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

Words = str | Sequence[str]
"""A text, which the service segments, or words, which it takes as they are."""


class Link(TypedDict):
    """Two words, counted from 0, and how sure it is that one translates the other."""

    source: int
    target: int
    score: float


class Alignment(TypedDict):
    """The words of a pair and the links between them."""

    source_words: list[str]
    target_words: list[str]
    links: list[Link]


class Span(TypedDict, total=False):
    """A stretch of a sentence, its end excluded, and what it is."""

    start: int
    end: int
    label: str
    text: str


class Projected(TypedDict):
    """What became of a span: the stretch of the target, or nothing and the reason."""

    label: str
    source: Span
    target: Span | None
    score: float
    reason: str


class Hit(TypedDict):
    """A sentence of an index that was found."""

    id: int
    text: str
    score: float
    language: str | None
    metadata: dict[str, Any]


class Refusal(Exception):
    """The service's own sentence, and the problem document it stands in (RFC 9457)."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = problem
        super().__init__(problem.get("detail", f"the service answered {status}"))


class BitextClient:
    """What the service does, as methods.

    Further settings of a request are keyword arguments: ``client.align(a, b, method="itermax")``.

    :param tries: how often a request is sent while the service is too busy (429, 503); it says
        itself for how long to wait.
    :param timeout: seconds to wait for an answer.
    """

    def __init__(
        self,
        service: str | None = None,
        *,
        key: str | None = None,
        tries: int = 5,
        timeout: float = 300,
    ) -> None:
        address = service or os.environ.get("BITEXT_SERVICE") or "http://127.0.0.1:8000"
        self.service = address.rstrip("/")
        self.key = key or os.environ.get("BITEXT_KEY")
        self.tries = tries
        self.timeout = timeout

    # --- words

    def align(self, source: Words, target: Words, **settings: Any) -> Alignment:
        """The links between the words of one pair."""
        return self.align_pairs([(source, target)], **settings)[0]

    def align_pairs(self, pairs: Sequence[tuple[Words, Words]], **settings: Any) -> list[Alignment]:
        """The same for many pairs, in order."""
        listed = [{"source": source, "target": target} for source, target in pairs]
        answer = self.ask("POST", "/v1/align", {"pairs": listed, **settings})
        return cast("list[Alignment]", answer["alignments"])

    def project(
        self, source: Words, target: Words, spans: Sequence[Span], **settings: Any
    ) -> list[Projected]:
        """Spans of the source carried over to the target; characters of texts, or words."""
        body = {"source": source, "target": target, "spans": spans, **settings}
        answer = self.ask("POST", "/v1/project", body)
        return cast("list[Projected]", answer["projections"][0]["spans"])

    # --- sentences

    def translate(self, texts: Sequence[str], **settings: Any) -> list[str]:
        """The best translation of each text; :meth:`ask` has the others, and scores."""
        answer = self.ask("POST", "/v1/translate", {"texts": texts, **settings})
        return [one["hypotheses"][0]["text"] for one in answer["translations"]]

    def embed(self, texts: Sequence[str], **settings: Any) -> list[list[float]]:
        """A vector of length 1 for each text."""
        answer = self.ask("POST", "/v1/embeddings", {"input": texts, **settings})
        return [one["embedding"] for one in answer["data"]]

    def mine(
        self, source: Sequence[str], target: Sequence[str], **settings: Any
    ) -> list[tuple[int, int, float]]:
        """Which sentences translate each other: places in the lists and a score, best first."""
        body = {"source": source, "target": target, **settings}
        found = self.ask("POST", "/v1/mine", body)["matches"]
        return [(one["source"], one["target"], one["score"]) for one in found]

    # --- indexes

    def make_index(self, name: str, **settings: Any) -> dict[str, Any]:
        """An index of that name, if it is not there."""
        return cast("dict[str, Any]", self.ask("PUT", f"/v1/indexes/{quote(name)}", settings))

    def delete_index(self, name: str) -> None:
        """Remove an index."""
        self.ask("DELETE", f"/v1/indexes/{quote(name)}")

    def add(self, index: str, sentences: Sequence[Any], **settings: Any) -> list[int]:
        """Add texts, or objects with text, language and metadata; their ids."""
        body = {"sentences": sentences, **settings}
        answer = self.ask("POST", f"/v1/indexes/{quote(index)}/sentences", body)
        return cast("list[int]", answer["ids"])

    def retrieve(
        self, index: str, queries: Sequence[str], k: int = 5, **settings: Any
    ) -> list[list[Hit]]:
        """The sentences of an index that are nearest to each query, best first."""
        body = {"index": index, "queries": queries, "k": k, **settings}
        return cast("list[list[Hit]]", self.ask("POST", "/v1/retrieve", body)["results"])

    # --- jobs

    def submit(self, kind: str, settings: Mapping[str, Any], name: str | None = None) -> str:
        """Have a worker do something that takes long; the id of the job."""
        named = {} if name is None else {"name": name}
        body = {"kind": kind, "settings": settings, **named}
        return str(self.ask("POST", "/v1/jobs", body)["id"])

    def jobs(self, **filters: str) -> Iterator[dict[str, Any]]:
        """All jobs, or those of a ``state`` or ``kind``, page by page."""
        while True:
            page = self.ask("GET", f"/v1/jobs?{urlencode(filters)}")
            yield from page["jobs"]
            if page["next"] is None:
                return
            filters["after"] = page["next"]

    def wait(self, job: str, every: float = 1.0) -> dict[str, Any]:
        """The job when it is over, one way or another: its ``state`` says which."""
        while True:
            found = self.ask("GET", f"/v1/jobs/{quote(job)}")
            if found["state"] in ("done", "failed", "cancelled"):
                return cast("dict[str, Any]", found)
            time.sleep(every)

    def cancel(self, job: str) -> None:
        """Stop a job; what it has done so far is kept for a retry."""
        self.ask("POST", f"/v1/jobs/{quote(job)}/cancel")

    # --- everything else

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer to any request.

        :raises Refusal: if the service refuses, and goes on refusing where it was too busy.
        """
        for left in reversed(range(self.tries)):
            try:
                return self._ask_once(method, path, body)
            except HTTPError as error:
                wait = error.headers.get("Retry-After", "")
                if not (left and error.code in (429, 503) and wait.isdecimal()):
                    raise _refusal(error) from None
                error.close()
                time.sleep(int(wait))
        raise AssertionError("the last try answers or raises")

    def _ask_once(self, method: str, path: str, body: Any) -> Any:
        headers = {"Accept": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        data = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            data = json.dumps(body).encode()
        request = Request(self.service + path, data, headers, method=method)
        with urlopen(request, timeout=self.timeout) as answer:
            text = answer.read()
        return json.loads(text) if text else None


def _refusal(error: HTTPError) -> Refusal:
    try:
        problem = json.load(error)
    except ValueError:  # not from the service, but from something before it
        problem = {}
    return Refusal(error.code, problem if isinstance(problem, dict) else {})


def main() -> None:
    """A tour."""
    client = BitextClient()
    pair = "The house is small.", "Das Haus ist klein."
    aligned = client.align(*pair)
    for link in aligned["links"]:
        source = aligned["source_words"][link["source"]]
        target = aligned["target_words"][link["target"]]
        print(f"{source}\t{target}\t{link['score']:.2f}")

    [carried] = client.project(*pair, [{"start": 4, "end": 9, "label": "BUILDING"}])
    print(f"{carried['label']}\t{carried['target'] and carried['target']['text']}")

    client.make_index("greetings")
    client.add("greetings", ["Guten Morgen!", "Wie geht es dir?", "Bis morgen!"], language="de")
    [[hit]] = client.retrieve("greetings", ["How are you?"], k=1)
    print(f"{hit['text']}\t{hit['score']:.2f}")
    client.delete_index("greetings")

    try:
        print(*client.translate(["A dog runs in the snow."]))
    except Refusal as refusal:
        print(refusal)  # there may be no translation model


if __name__ == "__main__":
    main()
