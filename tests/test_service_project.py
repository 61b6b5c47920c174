"""``POST /v1/project``: beside the command on the same input, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from starlette.testclient import TestClient

Call = Callable[..., tuple[int, str, str]]

SOURCE = "the house is small. 😀 a cat sleeps in the old house"
TARGET = "das haus ist klein. eine katze schläft im alten haus 😀"
SPANS: list[dict[str, Any]] = [
    {"start": 4, "end": 9, "label": "A"},
    {"start": 0, "end": 19, "label": "B"},
    {"start": 24, "end": 34},
    {"start": 20, "end": 21, "label": "smile"},
    {"start": 3, "end": 4, "label": "space"},
]


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[TestClient]:
    with serve(max_spans=8, max_words=80, max_characters=900) as client:
        yield client


def project(client: TestClient, **request: Any) -> Any:
    response = client.post("/v1/project", json=request)
    assert response.status_code == 200, response.text
    return response.json()


def command(call: Call, model: Path, *arguments: object) -> str:
    code, out, err = call("project", *arguments, "--model", model, "--dtype", "float32")
    assert code == 0, err
    return out


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strategy": "min-max", "overlap": True},
        {"strategy": "longest-run", "gap": 0, "punctuation": True, "method": "argmax"},
        {"strategy": "complete-only", "layer": 1, "unit": "word", "threshold": 0.5},
    ],
)
def test_spans_are_those_of_the_command(
    client: TestClient, tiny_model: Path, call: Call, write: Callable[..., Path], settings: Any
) -> None:
    record = {"source": SOURCE, "target": TARGET, "spans": SPANS}
    options: list[object] = []
    for name, value in settings.items():
        options += [f"--{name}"] if value is True else [f"--{name}", value]
    file = write("in.jsonl", json.dumps(record))
    expected = json.loads(command(call, tiny_model, file, "--format", "spans", *options))
    answer = project(client, **record, **settings)
    found = answer["projections"][0]["spans"]
    assert [one["source"] for one in found] == [
        {"start": s["start"], "end": s["end"], "text": SOURCE[s["start"] : s["end"]]} for s in SPANS
    ]
    kept = [one for one in found if one["target"] is not None]
    assert [(one["target"], one["score"], one["notes"], one["label"]) for one in kept] == [
        (
            {key: span[key] for key in ("start", "end", "text")},
            span["confidence"],
            span["notes"],
            span.get("label", ""),
        )
        for span in expected["spans"]
    ]
    lost = [one for one in found if one["target"] is None]
    assert [(one["reason"], one["score"]) for one in lost] == [
        (span["reason"], 0) for span in expected["lost"]
    ]
    assert any(one["reason"] == "no-words" for one in lost)  # the space
    assert answer["strategy"] == settings.get("strategy", "mass")


def test_answers_are_those_of_the_command(
    client: TestClient, tiny_model: Path, call: Call, write: Callable[..., Path]
) -> None:
    answers = [{"text": "a cat", "answer_start": 22}, {"text": "small", "answer_start": 13}]
    record = {"source": SOURCE, "target": TARGET, "qas": [{"id": "q", "answers": answers}]}
    file = write("in.jsonl", json.dumps(record))
    [asked] = json.loads(command(call, tiny_model, file, "--format", "answers"))["qas"]
    with_ids = [{**answer, "id": "q"} for answer in answers]
    answer = project(client, source=SOURCE, target=TARGET, answers=with_ids)
    found = answer["projections"][0]["spans"]
    assert [one["label"] for one in found] == ["q", "q"]
    assert [one["target"]["text"] for one in found if one["target"]] == [
        one["text"] for one in asked["answers"]
    ]


@pytest.mark.parametrize("scheme", ["iob2", "bilou"])
def test_tags_are_those_of_the_command(
    client: TestClient,
    tiny_model: Path,
    call: Call,
    write: Callable[..., Path],
    scheme: str,
) -> None:
    words = ["a", "cat", "sleeps", "in", "the", "old", "house"]
    last = "L" if scheme == "bilou" else "I"
    tags = ["B-X", f"{last}-X", "O", "O", "B-Y", "I-Y", f"{last}-Y"]
    target = ["eine", "katze", "schläft", "im", "alten", "haus"]
    lines = [f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)]
    files = (write("en", *lines), write("de", " ".join(target)))
    out = command(call, tiny_model, *files, "--format", "tags", "--scheme", scheme)
    answer = project(client, source=words, target=target, tags=tags, scheme=scheme)
    [found] = answer["projections"]
    assert [
        f"{word}\t{tag}" for word, tag in zip(found["target_words"], found["tags"], strict=True)
    ] == out.split("\n")[:6]
    assert [one["source"] for one in found["spans"]] == [
        {"start": 0, "end": 2, "text": "a cat"},
        {"start": 4, "end": 7, "text": "the old house"},
    ]


def test_markup_is_that_of_the_command(
    client: TestClient, tiny_model: Path, call: Call, write: Callable[..., Path]
) -> None:
    source = "the <b>house</b> is <i>very <u>small</u></i> &amp; old<x/>"
    target = "das haus ist klein & alt"
    expected = command(call, tiny_model, write("in", f"{source}\t{target}"), "--format", "markup")
    pairs = [{"source": source, "target": target}]
    [found] = project(client, pairs=pairs, markup="xml")["projections"]
    assert f"{found['text']}\n" == expected
    assert [one["label"] for one in found["spans"]] == ["<b>", "<i>", "<u>", "<x/>"]
    assert found["spans"][0]["source"] == {"start": 4, "end": 9, "text": "house"}
    for one in found["spans"]:
        if one["target"]:
            start, end = one["target"]["start"], one["target"]["end"]
            assert one["target"]["text"] == target[start:end]


def test_words_by_number_and_texts_by_character_go_together(client: TestClient) -> None:
    """One word a side: nothing else can be linked."""
    pairs = [
        {"source": ["cat"], "target": ["katze"], "spans": [{"start": 0, "end": 1}]},
        {"source": "😀 cat", "target": "", "spans": [{"start": 2, "end": 5, "label": "X"}]},
        {"source": ["cat"], "target": "  katze", "spans": [{"start": 0, "end": 1}]},
        {"source": "a", "target": "b", "spans": []},
    ]
    found = project(client, pairs=pairs)["projections"]
    [first], [second], [third], fourth = (one["spans"] for one in found)
    assert first["target"] == {"start": 0, "end": 1, "text": "katze"}
    assert second["source"] == {"start": 2, "end": 5, "text": "cat"}
    assert (second["target"], second["reason"]) == (None, "no-links")
    assert third["target"] == {"start": 2, "end": 7, "text": "katze"}
    assert fourth == []


WORDS = {"source": ["a", "b"], "target": ["c"]}
TEXTS = {"source": "a b", "target": "c"}


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ({}, 422, "expected 'source' and 'target', or 'pairs'"),
        ({**TEXTS, "pairs": []}, 422, "expected either 'pairs' or 'source', not both"),
        ({"pairs": [], "spans": []}, 422, "expected 'spans' in each of 'pairs', not beside them"),
        ({**TEXTS, "spans": [], "gap": 1}, 422, "'gap' is for the strategy 'longest-run', got 'ma"),
        ({**TEXTS, "spans": [], "scheme": "bio"}, 422, "'scheme' is for 'tags', of which there ar"),
        (TEXTS, 422, "pair 1: expected one of 'spans', 'tags' and 'answers', got none of them"),
        (
            {**TEXTS, "spans": [], "answers": []},
            422,
            "pair 1: expected one of 'spans', 'tags' and 'answers', got 'spans' and 'answers'",
        ),
        (
            {**TEXTS, "spans": [], "markup": "xml"},
            422,
            "pair 1: with 'markup' the tags are carried over, not 'spans'",
        ),
        ({**TEXTS, "spans": [{"start": 0}]}, 422, "field 'spans.0.end' is missing"),
        ({**TEXTS, "spans": [{"start": -1, "end": 1}]}, 422, "field 'spans.0.start': input shou"),
        (
            {**TEXTS, "spans": [{"start": 1, "end": 1}]},
            422,
            "pair 1, spans.0: start 1 and end 1 must be 0 <= start < end",
        ),
        (
            {**TEXTS, "spans": [{"start": 0, "end": 4}]},
            422,
            "pair 1, spans.0: end 4 is beyond the 3 characters",
        ),
        (
            {**WORDS, "spans": [{"start": 0, "end": 3}]},
            422,
            "pair 1, spans.0: end 3 is beyond the 2 words",
        ),
        (
            {**WORDS, "spans": [{"start": 1, "end": 1}]},
            422,
            "pair 1, spans.0: start 1 and end 1 must be 0 <= start < end",
        ),
        ({**TEXTS, "spans": [{"start": 0, "end": 1}] * 9}, 413, "9 spans to carry over are more"),
        ({**TEXTS, "tags": ["O", "O"]}, 422, "pair 1: 'tags' are of a list of words, and the sou"),
        ({**WORDS, "tags": ["O"]}, 422, "pair 1: 1 tags for the 2 words of source"),
        ({**WORDS, "tags": ["O", "I-X"]}, 422, "pair 1, tags.1: tag 'I-X' continues a span, but"),
        ({**WORDS, "tags": ["O", "O"], "scheme": "x"}, 422, "unknown scheme 'x'; choose one of: b"),
        (
            {**WORDS, "tags": ["O", "O"], "overlap": True},
            422,
            "field 'overlap' is for 'spans'; pair 1 has 'tags'",
        ),
        ({**WORDS, "answers": []}, 422, "pair 1: 'answers' are of a text, and the source is a lis"),
        (
            {**TEXTS, "answers": [{"text": "x", "answer_start": 0}]},
            422,
            "pair 1, answers.0: the source has 'a' there, not the answer",
        ),
        ({**WORDS, "markup": "xml"}, 422, "pair 1: 'markup' is of texts, and a side is a list of"),
        (
            {"source": "a <b>", "target": "c", "markup": "xml"},
            422,
            "pair 1, source, character 3: <b> is never closed",
        ),
        (
            {"source": "a", "target": "<b>", "markup": "xml"},
            422,
            "pair 1, target, character 1: the target has the tag '<b>' already",
        ),
        (
            {"source": "<a>" * 50 + "x" + "</a>" * 50, "target": "c", "markup": "xml"},
            413,
            "50 spans to carry over are more than the 8 that are taken (BITEXT_MAX_SPANS)",
        ),
        ({**TEXTS, "spans": [], "strategy": "x"}, 422, "unknown strategy 'x'; choose one of: com"),
        ({**TEXTS, "spans": [], "gap": -1}, 422, "field 'gap': input should be greater than or"),
        ({**TEXTS, "spans": [], "method": "x"}, 422, "unknown method 'x'; choose one of: argmax"),
        ({**TEXTS, "spans": [], "model": "x"}, 422, "unknown model 'x'; choose one of: "),
        ({"source": "a " * 81, "target": "c", "spans": []}, 413, "pair 1, source: 81 words are m"),
        (
            {
                "pairs": [
                    {"source": "a", "target": "b", "spans": []},
                    {"source": ["a"] * 70, "target": ["b"], "spans": []},
                ]
            },
            422,
            "pair 2, source has 70 pieces",
        ),
        (
            {
                "pairs": [
                    {"source": ["a"], "target": ["b"], "spans": []},
                    {"source": "b", "target": "a " * 70, "spans": []},
                ]
            },
            422,
            "pair 2, target has 70 pieces",
        ),
        ({**TEXTS, "spans": [{"start": 0, "end": 1, "by": "me"}]}, 422, "field 'spans.0': unknown"),
    ],
)
def test_what_is_refused_is_named(
    client: TestClient, request_: Any, status: int, sentence: str
) -> None:
    response = client.post("/v1/project", json=request_)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"].startswith(sentence)
