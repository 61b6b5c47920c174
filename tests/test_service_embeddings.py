"""``POST /v1/embeddings``, as OpenAI's clients ask and what they read."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Serve
from starlette.testclient import TestClient

from encoders.encoder import Encoder

TEXTS = ["the house is small", "das haus ist klein"]


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[TestClient]:
    with serve(max_inputs=3, max_characters=200) as client:
        yield client


def embed(client: TestClient, **request: Any) -> Any:
    response = client.post("/v1/embeddings", json=request)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def vectors(answer: Any) -> Any:
    return np.array([one["embedding"] for one in answer["data"]])


def test_the_answer_has_openais_shape(client: TestClient, encoder: Encoder) -> None:
    answer = embed(client, input=TEXTS, model=encoder.name, user="somebody")
    assert {key: answer[key] for key in ("object", "model")} == {
        "object": "list",
        "model": encoder.name,
    }
    assert [(one["object"], one["index"]) for one in answer["data"]] == [
        ("embedding", 0),
        ("embedding", 1),
    ]
    np.testing.assert_allclose(vectors(answer), encoder.sentences(TEXTS), atol=1e-6)


def test_a_text_alone_is_a_list_of_one(client: TestClient) -> None:
    assert embed(client, input=TEXTS[0]) == embed(client, input=TEXTS[:1])


def test_base64_holds_the_very_numbers(client: TestClient, encoder: Encoder) -> None:
    answer = embed(client, input=TEXTS, encoding_format="base64", dimensions=16)
    found = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in answer["data"]]
    np.testing.assert_allclose(found, encoder.sentences(TEXTS), atol=1e-6)
    # The numbers in decimals are off by half a unit of the ninth, or by a float's own precision.
    decimals = vectors(embed(client, input=TEXTS))
    assert np.abs(decimals - np.array(found, np.float64)).max() <= 5.1e-10


def test_options_are_those_of_the_library(client: TestClient, encoder: Encoder) -> None:
    for options in ({"layer": 1}, {"pooling": "max", "layer": 2}, {"prefix": "a cat "}):
        answer = embed(client, input=TEXTS, **options)
        expected = encoder.sentences(TEXTS, **options)
        np.testing.assert_allclose(vectors(answer), expected, atol=1e-6)


def test_tokens_are_the_pieces_without_special_ones(client: TestClient, encoder: Encoder) -> None:
    def pieces(text: str) -> int:
        """By the tokenizer itself."""
        tokenizer: Any = encoder.checkpoint.tokenizer
        return len(tokenizer.tokenize(text))

    usage = embed(client, input=TEXTS)["usage"]
    count = sum(map(pieces, TEXTS))
    assert usage == {"prompt_tokens": count, "total_tokens": count}
    # A text that comes twice is counted twice, a prefix each time.
    usage = embed(client, input=[TEXTS[0]] * 2, prefix="a cat ")["usage"]
    assert usage["prompt_tokens"] == 2 * pieces("a cat " + TEXTS[0])


def test_long_texts_are_refused_or_read_in_windows(client: TestClient, encoder: Encoder) -> None:
    request = {"input": ["ok", "a " * (encoder.max_pieces + 1)]}
    refused = client.post("/v1/embeddings", json=request)
    assert refused.status_code == 422
    assert refused.json()["type"] == "/problems/too-long"
    assert refused.json()["detail"].startswith("input 2 has ")
    answer = embed(client, **request, too_long="windows")
    expected = encoder.sentences(request["input"], too_long="windows")
    np.testing.assert_allclose(vectors(answer), expected, atol=1e-6)
    # "ok" and each "a": none is counted twice for being in two windows
    counts = encoder.sentence_piece_counts(request["input"])
    assert answer["usage"]["prompt_tokens"] == sum(counts)


def test_centring_takes_away_what_a_language_has_in_common(serve: Serve, encoder: Encoder) -> None:
    """By hand: each language's mean is taken away, and what is left made a unit vector again."""
    texts = [f"{word} {noun}" for word in ("the", "das") for noun in ("haus", "cat", *"abcdefgh")]
    languages = ["en"] * 10 + ["de"] * 10
    with serve() as client:
        found = vectors(embed(client, input=texts, centring="mean", languages=languages))
        plain = encoder.sentences(texts)
        left = np.concatenate([part - part.mean(axis=0) for part in (plain[:10], plain[10:])])
        expected = left / np.linalg.norm(left, axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        together = vectors(embed(client, input=texts, centring="mean"))
        left = plain - plain.mean(axis=0)
        expected = left / np.linalg.norm(left, axis=1, keepdims=True)
        np.testing.assert_allclose(together, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("request_", "status", "sentence"),
    [
        ({}, 422, "field 'input' is missing"),
        ({"input": None}, 422, "field 'input': expected a text or a list of texts, got null"),
        ({"input": 3}, 422, "field 'input': expected a text or a list of texts, got 3"),
        ({"input": []}, 422, "field 'input': expected at least one text, got none"),
        ({"input": ""}, 422, "input 1 ('') has nothing in it to compare"),
        ({"input": ["a", " "]}, 422, "input 2 (' ') has nothing in it to compare"),
        ({"input": "a\0"}, 422, "field 'input': character 2 is a NUL, not text"),
        ({"input": ["a", 3]}, 422, "field 'input.1': input should be a valid string, got 3"),
        (
            {"input": [1, 2]},
            422,
            "field 'input': numbers of tokens are not taken, as each model has others; send the",
        ),
        ({"input": [[1, 2]]}, 422, "field 'input': numbers of tokens are not taken"),
        ({"input": ["a"] * 4}, 413, "4 texts are more than the 3 that are taken (BITEXT_MAX_INP"),
        ({"input": ["a" * 201]}, 413, "text 1: 201 characters are more than the 200"),
        (
            {"input": "a", "dimensions": 8},
            422,
            "field 'dimensions': vectors of model '{model}' have 16 and are not cut, got 8",
        ),
        ({"input": "a", "dimensions": 0}, 422, "field 'dimensions': input should be greater"),
        ({"input": "a", "encoding_format": "hex"}, 422, "field 'encoding_format': input should be"),
        ({"input": "a", "model": "gpt"}, 422, "unknown model 'gpt'; choose one of: {model}"),
        ({"input": "a", "layer": 3}, 422, "model '{model}' has no layer 3; choose one from 0 to 2"),
        ({"input": "a", "pooling": "sum"}, 422, "field 'pooling': input should be 'mean', 'cls'"),
        ({"input": "a", "prefix": 3}, 422, "field 'prefix': input should be a valid string"),
        ({"input": "a", "user": "u" * 201}, 422, "field 'user': string should have at most 200"),
        ({"input": "a", "centring": "x"}, 422, "unknown kind of centring 'x'; choose one of: com"),
        ({"input": "a", "centring": "mean"}, 422, "centring needs at least 10 vectors of 'texts'"),
        ({"input": "a", "languages": ["de"]}, 422, "field 'languages' is for 'centring', which is"),
        (
            {"input": "a", "centring": "mean", "languages": []},
            422,
            "field 'languages': expected one for each of the 1 texts, got 0",
        ),
        ({"input": "a", "stream": True}, 422, "unknown field 'stream'; choose one of: centring, d"),
    ],
)
def test_what_is_refused_is_named(
    client: TestClient, tiny_model: Path, request_: Any, status: int, sentence: str
) -> None:
    response = client.post("/v1/embeddings", json=request_)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["detail"].startswith(sentence.format(model=tiny_model))
