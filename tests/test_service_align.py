from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from conftest import Serve
from starlette.testclient import TestClient

from aligners.aligner import UNITS, Aligner
from aligners.explanations import EXPLANATIONS
from aligners.methods import MATCHERS
from aligners.similarity import SIMILARITIES
from bitext.types import SentencePair
from encoders.encoder import TOO_LONG, Encoder
from encoders.pooling import SENTENCE_POOLINGS
from encoders.registry import ModelRegistry
from service.app import create_app
from service.schemas import fields
from service.schemas.align import AlignRequest
from service.settings import Settings

EN = ["the", "house", "is", "small"]
DE = ["das", "haus", "ist", "klein"]


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[TestClient]:
    with serve(
        max_pairs=50,
        max_words=300,
        max_characters=1000,
        max_cells=5000,
        max_detail_cells=100,
    ) as client:
        yield client


def align(client: TestClient, **request: Any) -> Any:
    response = client.post("/align", json=request)
    assert response.status_code == 200, response.text
    return response.json()


def links_of(encoder: Encoder, source: list[str], target: list[str], **options: Any) -> Any:
    """What the library itself says; with other threads it may round otherwise."""
    (alignment,) = Aligner(encoder, **options).align([SentencePair(source, target)])
    scored = zip(alignment.links, alignment.scores, strict=True)
    return near([{"source": i, "target": j, "score": float(score)} for (i, j), score in scored])


def near(value: Any) -> Any:
    """The same answer, but with numbers that compare as :func:`pytest.approx` does."""
    if isinstance(value, dict):
        return {key: near(item) for key, item in value.items()}
    if isinstance(value, list):
        return [near(item) for item in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


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
    alone = [align(client, **pair)["alignments"][0] for pair in pairs]
    # Batches of other shapes may round otherwise, by far less than 0.00001.
    assert together == near(alone)
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
        {"method": "softmax:temperature=1,threshold=0.3", "similarity": "dot"},
        {"method": "itermax:alpha=0.8,n_max=3"},
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


def test_several_methods_are_answered_together(client: TestClient, encoder: Encoder) -> None:
    methods = ["argmax", "itermax:alpha=0.8", "mwmf"]
    pairs = [{"source": EN, "target": DE}, {"source": [], "target": DE}]
    answer = align(client, pairs=pairs, methods=methods)
    assert answer["method"] == "argmax"
    for pair, asked in zip(answer["alignments"], pairs, strict=True):
        assert list(pair["by_method"]) == methods
        assert pair["links"] == pair["by_method"]["argmax"]["links"]
        for method in methods:
            expected = links_of(encoder, asked["source"], asked["target"], method=method)
            assert pair["by_method"][method] == near({"links": expected})


def test_details_are_those_of_the_library(client: TestClient, encoder: Encoder) -> None:
    source, target = ["the", "", "house"], ["das", "alte", "haus", "ist"]
    answer = align(client, source=source, target=target, method="argmax", detail=True)
    (pair,) = answer["alignments"]
    (detail,) = Aligner(encoder, method="argmax").details([SentencePair(source, target)])
    for name in ("similarity", "forward", "backward"):
        matrix = np.array(pair[name])
        assert matrix.shape == (3, 4)
        assert np.abs(matrix - getattr(detail, name)).max() <= 5.1e-5  # four digits
        assert not matrix[1].any()  # an empty word is like nothing
    # Shares of one word's translations; each of four numbers is rounded by at most 0.00005.
    assert np.array(pair["forward"])[[0, 2]].sum(axis=1) == pytest.approx([1, 1], abs=2e-4)
    assert np.array(pair["backward"]).sum(axis=0) == pytest.approx([1] * 4, abs=2e-4)
    alignment = detail.alignments["argmax"]
    assert pair["links"]
    for link in pair["links"]:
        place = link["source"], link["target"]
        assert place in alignment.links
        assert link["forward"] == pair["forward"][place[0]][place[1]]
        assert link["backward"] == pair["backward"][place[0]][place[1]]
    linked = [{link[side] for link in pair["links"]} for side in ("source", "target")]
    assert pair["null_source"] == [i for i in range(3) if i not in linked[0]]
    assert pair["null_target"] == [j for j in range(4) if j not in linked[1]]
    assert pair["score"] == round(detail.score(alignment), 6)
    assert answer["temperature"] == 0.05


def test_all_cells_may_be_links(client: TestClient) -> None:
    pairs = [{"source": ["a", "b"] * 10, "target": ["a"] * 25}] * 10  # 5000 cells
    answer = align(client, pairs=pairs, method="softmax:threshold=0", threshold=0)
    assert [len(pair["links"]) for pair in answer["alignments"]] == [500] * 10


def test_details_come_for_each_method(client: TestClient) -> None:
    request = {"source": EN, "target": DE, "detail": True}
    methods = ["forward", "argmax"]
    (pair,) = align(client, **request, methods=methods)["alignments"]
    for method in methods:
        (alone,) = align(client, **request, method=method)["alignments"]
        kept = ("links", "score", "null_source", "null_target")
        assert pair["by_method"][method] == near({key: alone[key] for key in kept})
    assert pair["score"] == pair["by_method"]["forward"]["score"]


def test_an_empty_side_has_details_too(client: TestClient) -> None:
    (pair,) = align(client, source=[], target=["das"], detail=True)["alignments"]
    assert (pair["similarity"], pair["score"]) == ([], 0.0)
    assert (pair["null_source"], pair["null_target"]) == ([], [0])


def test_methods_are_listed_with_their_settings(client: TestClient) -> None:
    answer = client.get("/v1/methods").json()
    assert answer["default"] == "itermax"
    assert [method["name"] for method in answer["methods"]] == list(EXPLANATIONS)
    listed = {method["name"]: method for method in answer["methods"]}
    assert listed["itermax"]["settings"] == {"n_max": 2, "alpha": 0.9}
    assert listed["argmax"]["settings"] == {}
    for name, method in listed.items():
        for setting, value in method["settings"].items():
            align(client, source=EN, target=DE, method=f"{name}:{setting}={value}")


def test_every_method_is_explained() -> None:
    assert set(EXPLANATIONS) == set(MATCHERS)
    assert all(text.endswith(".") for _, text in EXPLANATIONS.values())


def test_requests_at_the_same_time_do_not_mix(client: TestClient) -> None:
    words = [*EN, *DE, "cat", "katze", "old", "garden"]
    requests = [
        {"source": words[: 1 + number % 7], "target": words[number % 5 :]} for number in range(24)
    ]
    alone = [align(client, **request) for request in requests]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda request: align(client, **request), requests))
    assert together == near(alone)  # batches are shared, and round otherwise


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
            "unknown method 'itermx'; choose one of: " + ", ".join(sorted(MATCHERS)),
        ),
        (
            {"method": "itermax:alpha=2"},
            422,
            "itermax: alpha=2: input should be less than or equal to 1",
        ),
        ({"methods": ["argmax", "mwmf:n=1"]}, 422, "method mwmf has no settings, and no 'n'"),
        (
            {"method": "argmax", "methods": ["mwmf"]},
            422,
            "expected either 'method' or 'methods', not both",
        ),
        ({"methods": []}, 422, "field 'methods': expected at least 1 item, got none"),
        ({"methods": ["mwmf"] * 33}, 422, "field 'methods': expected at most 32 items, got 33"),
        ({"similarity": "l2"}, 422, "unknown similarity 'l2'; choose one of: cosine, dot"),
        (
            # 4 by 25 words and 1 by 1 are one cell more than 100.
            {
                "source": None,
                "target": None,
                "pairs": [{"source": EN, "target": ["b"] * 25}, {"source": "a", "target": "b"}],
                "detail": True,
            },
            413,
            "field 'detail': 101 cells, words by words, are more than the 100 that are taken "
            "(BITEXT_MAX_DETAIL_CELLS)",
        ),
        (
            # A method may link every word to every other: 71 by 71 words.
            {"source": ["a"] * 71, "target": ["b"] * 71},
            413,
            "5041 cells, words by words, are more than the 5000 that are taken (BITEXT_MAX_CELLS)",
        ),
        (
            {"source": ["a"] * 51, "target": ["b"] * 50, "methods": ["mwmf", "softmax"]},
            413,
            "5100 cells, words by words of 2 methods, are more than the 5000 that are taken "
            "(BITEXT_MAX_CELLS)",
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
    names = ("method", "unit", "similarity")
    method, unit, similarity = (properties[name]["anyOf"][0]["enum"] for name in names)
    assert set(method) == set(MATCHERS)
    assert tuple(unit) == UNITS
    assert set(similarity) == set(SIMILARITIES)
    pattern = properties["method"]["anyOf"][1]["pattern"]
    assert re.search(pattern, "itermax:alpha=0.8,n_max=3")
    # no such method, nothing behind the colon, a method that has no settings
    for text in ("itermx:alpha=0.8", "itermax:", "argmax:alpha=0.8"):
        assert not re.search(pattern, text)
    assert get_args(fields.TooLong) == TOO_LONG
    assert get_args(fields.Pooling) == SENTENCE_POOLINGS


@pytest.mark.parametrize("example", AlignRequest.model_json_schema()["examples"])
def test_the_examples_of_the_documentation_work(client: TestClient, example: Any) -> None:
    assert align(client, **example)["alignments"]


def test_the_version_may_be_left_out(client: TestClient) -> None:
    pair = {"source": "Thank you", "target": "Danke"}
    answers = [client.post(path, json=pair) for path in ("/align", "/v1/align")]
    assert answers[0].status_code == 200
    assert answers[0].json() == answers[1].json()
    assert client.post("/methods").status_code == 404
