from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
from starlette.testclient import TestClient

from aligners.aligner import UNITS, Aligner
from aligners.methods import MATCHERS
from bitext.types import SentencePair
from encoders.encoder import TOO_LONG, Encoder
from encoders.pooling import SENTENCE_POOLINGS
from encoders.registry import ModelRegistry
from service import schemas
from service.app import create_app
from service.settings import Settings

EN = ["the", "house", "is", "small"]
DE = ["das", "haus", "ist", "klein"]


@pytest.fixture(scope="module")
def client(
    tiny_model: Path, registry: ModelRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    settings = Settings(
        model=str(tiny_model),
        data_dir=tmp_path_factory.mktemp("data"),
        sample=False,
        max_pairs=50,
        max_words=300,
        max_characters=1000,
    )
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        yield client


def align(client: TestClient, **request: Any) -> Any:
    response = client.post("/align", json=request)
    assert response.status_code == 200, response.text
    return response.json()


def links_of(encoder: Encoder, source: list[str], target: list[str], **options: Any) -> Any:
    """What the library itself says."""
    (alignment,) = Aligner(encoder, **options).align([SentencePair(source, target)])
    scored = zip(alignment.links, alignment.scores, strict=True)
    return [{"source": i, "target": j, "score": round(score, 6)} for (i, j), score in scored]


def test_raw_text_comes_back_in_words_with_their_places(
    client: TestClient, encoder: Encoder
) -> None:
    source, target = "The house is  small.", "Das Haus ist klein."
    answer = align(client, source=source, target=target)
    (pair,) = answer["alignments"]
    assert pair["source_words"] == ["The", "house", "is", "small", "."]
    # "is" ends at 12, then come two spaces.
    assert pair["source_offsets"] == [[0, 3], [4, 9], [10, 12], [14, 19], [19, 20]]
    for text, side in ((source, "source"), (target, "target")):
        places = pair[f"{side}_offsets"]
        assert [text[start:end] for start, end in places] == pair[f"{side}_words"]
    assert pair["links"] == links_of(encoder, pair["source_words"], pair["target_words"])
    assert pair["links"]
    assert {key: answer[key] for key in ("model", "method", "layer")} == {
        "model": encoder.name,
        "method": "itermax",
        "layer": encoder.check_layer(None, "alignment"),
    }


def test_offsets_count_code_points(client: TestClient) -> None:
    # U+1F600 is one code point but two UTF-16 units; e with U+0301 is one word of two code points.
    (pair,) = align(client, source="😀 e\u0301t", target="ok")["alignments"]
    assert pair["source_words"] == ["😀", "e\u0301t"]
    assert pair["source_offsets"] == [[0, 1], [2, 5]]


def test_a_list_of_words_is_taken_as_it_is(client: TestClient, encoder: Encoder) -> None:
    words = ["the house", "", "is\u00a0small"]
    (pair,) = align(client, source=words, target=DE)["alignments"]
    assert pair["source_words"] == words
    assert pair["links"] == links_of(encoder, words, DE)
    assert all(link["source"] != 1 for link in pair["links"])  # an empty word has no link
    assert "source_offsets" not in pair
    assert "target_offsets" not in pair


def test_one_side_may_be_raw(client: TestClient) -> None:
    (pair,) = align(client, source="the house", target=["das", "haus"])["alignments"]
    assert pair["source_offsets"] == [[0, 3], [4, 9]]
    assert "target_offsets" not in pair


def test_many_pairs_are_aligned_as_if_each_came_alone(client: TestClient) -> None:
    pairs: list[dict[str, Any]] = [
        {"source": EN, "target": DE},
        {"source": "a cat sleeps", "target": "eine katze schläft im alten haus"},
        {"source": [], "target": DE},
        {"source": "नमस्ते", "target": "السلام عليكم"},
    ]
    together = align(client, pairs=pairs)["alignments"]
    assert together == [align(client, **pair)["alignments"][0] for pair in pairs]
    assert together[2]["links"] == []


def test_no_pairs_give_no_alignments(client: TestClient) -> None:
    assert align(client, pairs=[])["alignments"] == []


@pytest.mark.parametrize(
    "options",
    [
        *({"method": method} for method in MATCHERS),
        {"layer": 0},
        {"layer": 2, "unit": "word"},
        {"distortion": 0.5, "method": "argmax"},
    ],
)
def test_options_are_those_of_the_library(
    client: TestClient, encoder: Encoder, options: dict[str, Any]
) -> None:
    answer = align(client, source=EN, target=DE, **options)
    assert answer["alignments"][0]["links"] == links_of(encoder, EN, DE, **options)
    assert answer["method"] == options.get("method", "itermax")
    if "layer" in options:
        assert answer["layer"] == options["layer"]


def test_the_model_may_be_named(client: TestClient, tiny_model: Path) -> None:
    assert align(client, source="a", target="b", model=str(tiny_model))["model"] == str(tiny_model)


def test_what_a_request_leaves_out_is_what_suits_the_model(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    own = {"layer": 1, "method": "forward", "unit": "word", "distortion": 0.5, "threshold": 0.4}
    preset = {"alignment": own}
    (model / "bitext.json").write_text(json.dumps(preset))
    registry = ModelRegistry()
    settings = Settings(model=str(model), data_dir=tmp_path, sample=False)
    with TestClient(create_app(settings, registry), base_url="http://localhost") as client:
        answer = align(client, source=EN, target=DE)
    assert (answer["method"], answer["layer"]) == ("forward", 1)
    expected = links_of(registry.encoder(str(model)), EN, DE, **preset["alignment"])
    assert answer["alignments"][0]["links"] == expected


def test_a_threshold_drops_links(client: TestClient) -> None:
    request = {"source": EN, "target": DE, "method": "mwmf"}
    links = align(client, **request)["alignments"][0]["links"]
    least = sorted(link["score"] for link in links)[1] - 1e-5  # scores are rounded
    kept = align(client, **request, threshold=least)["alignments"][0]["links"]
    assert kept == [link for link in links if link["score"] >= least]
    assert 0 < len(kept) < len(links)


def test_requests_at_the_same_time_do_not_mix(client: TestClient) -> None:
    words = [*EN, *DE, "cat", "katze", "old", "garden"]
    requests = [
        {"source": words[: 1 + number % 7], "target": words[number % 5 :]} for number in range(24)
    ]
    alone = [align(client, **request) for request in requests]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda request: align(client, **request), requests))
    assert together == alone


def test_a_sentence_too_long_for_the_model_is_refused_or_taken_in_windows(
    client: TestClient, encoder: Encoder
) -> None:
    words = ["house"] * (encoder.max_pieces + 1)
    request = {"pairs": [{"source": EN, "target": DE}, {"source": EN, "target": words}]}
    refused = client.post("/align", json=request)
    assert refused.status_code == 422
    assert refused.json()["type"] == "/problems/too-long"
    assert "pair 2, target" in refused.json()["detail"]
    answer = align(client, **request, too_long="windows")
    assert answer["alignments"][1]["links"] == links_of(encoder, EN, words, too_long="windows")


@pytest.mark.parametrize(
    ("change", "status", "detail"),
    [
        (
            {"method": "itermx"},
            422,
            "unknown method 'itermx'; choose one of: argmax, backward, forward, itermax, mwmf, "
            "softmax",
        ),
        ({"unit": "letter"}, 422, "unknown unit 'letter'; choose one of: piece, word"),
        ({"layer": 99}, 422, "model '{model}' has no layer 99; choose one from 0 to 2"),
        ({"model": "gpt"}, 422, "unknown model 'gpt'; choose one of: {model}"),
        ({"distortion": 1.5}, 422, "field 'distortion': input should be less than or equal to 1"),
        ({"layer": -1}, 422, "field 'layer': input should be greater than or equal to 0, got -1"),
        (
            {"source": ["a"] * 301},
            413,
            "pair 1, source: 301 words are more than the 300 that are taken (BITEXT_MAX_WORDS)",
        ),
        (
            {"target": "b " * 301},
            413,
            "pair 1, target: 301 words are more than the 300 that are taken (BITEXT_MAX_WORDS)",
        ),
        (
            {"target": ["b" * 999, "bb"]},
            413,
            "pair 1, target: 1001 characters are more than the 1000 that are taken",
        ),
        (
            {"source": None, "target": None, "pairs": [{"source": "a", "target": "b"}] * 51},
            413,
            "51 pairs are more than the 50 that are taken (BITEXT_MAX_PAIRS)",
        ),
    ],
)
def test_what_is_refused_is_named(
    client: TestClient, tiny_model: Path, change: dict[str, Any], status: int, detail: str
) -> None:
    response = client.post("/align", json={"source": EN, "target": DE, **change})
    assert response.status_code == status
    assert response.json()["detail"].startswith(detail.format(model=tiny_model))


def test_the_schema_knows_the_choices_of_the_code(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    properties = document["components"]["schemas"]["AlignRequest"]["properties"]
    method, unit = (properties[name]["anyOf"][0]["enum"] for name in ("method", "unit"))
    assert set(method) == set(MATCHERS)
    assert tuple(unit) == UNITS
    assert get_args(schemas.TooLong) == TOO_LONG
    assert get_args(schemas.Pooling) == SENTENCE_POOLINGS


@pytest.mark.parametrize("example", schemas.AlignRequest.model_json_schema()["examples"])
def test_the_examples_of_the_documentation_work(client: TestClient, example: Any) -> None:
    assert align(client, **example)["alignments"]
