"""``POST /v1/translate``: the translator's own answers, the models there are, what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from conftest import Serve
from starlette.testclient import TestClient

from nmt.evaluation.guard import guard_flags
from nmt.interop.ctranslate2 import export_ctranslate2
from nmt.network.model import load_translation_checkpoint
from nmt.translation.translator import TranslationModel

TEXTS = ["the house is small", "", "a cat sleeps in the old house", "don't stop"]


def reversed_model(folder: Path, to: Path) -> Path:
    """A copy of a model that says that it translates the other way."""
    shutil.copytree(folder, to)
    path = to / "translation.json"
    settings = json.loads(path.read_text())
    settings |= {"source_langs": ["de"], "target_langs": ["en"]}
    path.write_text(json.dumps(settings))
    return to


@pytest.fixture(scope="module")
def data_dir(tiny_translator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model by its folder, one inside of the folder of its training, and no models."""
    folder = tmp_path_factory.mktemp("translating")
    models = folder / "translation-models"
    models.mkdir()
    reversed_model(tiny_translator, models / "back" / "model")
    export_ctranslate2(
        load_translation_checkpoint(tiny_translator), models / "fast", quantization="float32"
    )
    (models / ".half-written").mkdir()
    (models / "notes").mkdir()
    return folder


@pytest.fixture(scope="module")
def client(serve: Serve, tiny_translator: Path, data_dir: Path) -> Iterator[TestClient]:
    models = {"en-de": str(tiny_translator)}
    with serve(
        data_dir=data_dir, translation_models=models, max_texts=5, max_characters=500
    ) as client:
        yield client


@pytest.fixture(scope="module")
def model(tiny_translator: Path) -> TranslationModel:
    return TranslationModel.load(tiny_translator)


def translate(client: TestClient, **request: Any) -> Any:
    response = client.post("/v1/translate", json={"model": "en-de", **request})
    assert response.status_code == 200, response.text
    return response.json()


def detail(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    return str(response.json()["detail"])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beam_size": 1, "max_length": 9},
        {"beam_size": 3, "n_best": 3, "length_penalty": 0.4, "max_length_ratio": 1.5},
        {"no_repeat_ngram": 2, "max_length": 12},
        {"sample": True, "n_best": 2, "temperature": 0.7, "top_k": 9, "top_p": 0.9, "seed": 5},
        {"prefixes": ["das haus", "", "", "ein"], "max_length": 8},
    ],
)
def test_hypotheses_are_those_of_the_library(
    client: TestClient, model: TranslationModel, settings: Any
) -> None:
    answer = translate(client, texts=TEXTS, **settings)
    expected = model.translate(TEXTS, **settings)
    assert [
        [(one["text"], one["truncated"]) for one in own["hypotheses"]]
        for own in answer["translations"]
    ] == [[(one.text, one.truncated) for one in own] for own in expected]
    for own, theirs in zip(answer["translations"], expected, strict=True):
        scores = [one["score"] for one in own["hypotheses"]]
        assert scores == pytest.approx([one.score for one in theirs], abs=1e-5)
        assert "alignment" not in own
    assert {key: answer[key] for key in ("model", "engine", "source_lang", "target_lang")} == {
        "model": "en-de",
        "engine": "torch",
        "source_lang": "en",
        "target_lang": "de",
    }


def test_what_may_have_gone_wrong_is_told(client: TestClient) -> None:
    prefixes = [f"{TEXTS[0]} ,", "", "", ""]
    answer = translate(client, texts=TEXTS, prefixes=prefixes, max_length=40)
    for text, one in zip(TEXTS, answer["translations"], strict=True):
        assert one["flags"] == list(guard_flags(text, one["hypotheses"][0]["text"]))
    assert "copied" in answer["translations"][0]["flags"]
    [one] = translate(client, text=TEXTS[0], max_length=2)["translations"]
    assert one["hypotheses"][0]["truncated"]


def test_links_are_those_of_align(client: TestClient, tiny_model: Path) -> None:
    answer = translate(client, texts=TEXTS, align=True, max_length=9)
    best = [one["hypotheses"][0]["text"] for one in answer["translations"]]
    pairs = [{"source": text, "target": own} for text, own in zip(TEXTS, best, strict=True)]
    expected = client.post("/align", json={"pairs": pairs}).json()["alignments"]
    assert [one["alignment"] for one in answer["translations"]] == expected
    assert answer["alignment_model"] == str(tiny_model)
    assert expected[0]["links"]
    assert expected[1]["links"] == []  # nothing was to be translated


def test_a_text_too_long_is_refused_or_split(client: TestClient, model: TranslationModel) -> None:
    long = "The house is small and big. " * 3
    response = client.post("/v1/translate", json={"model": "en-de", "texts": ["a", long]})
    assert detail(response, 422).startswith("text 2 has ")
    assert response.json()["type"] == "/problems/too-long"
    assert "model 'en-de' takes 64" in response.json()["detail"]
    answer = translate(client, text=long, too_long="split", max_length=9, align=True)
    [[expected]] = model.translate([long], too_long="split", max_length=9)
    [one] = answer["translations"]
    assert one["hypotheses"][0]["text"] == expected.text


def test_the_model_that_translates_so_is_found(client: TestClient) -> None:
    """en-de and fast translate English, back translates German."""
    response = client.post("/v1/translate", json={"text": "haus", "source_lang": "de"})
    assert response.json()["model"] == "back"
    response = client.post("/v1/translate", json={"text": "house", "target_lang": "de"})
    assert detail(response, 422) == (
        "several models translate so: choose one as 'model' of 'en-de' (en to de); "
        "'back' (de to en); 'fast' (en to de)"
    )
    response = client.post("/v1/translate", json={"text": "a", "source_lang": "fr"})
    assert detail(response, 422).startswith(
        "no translation model is known to translate from fr to any language; choose one as 'model'"
    )


def test_an_export_is_run_by_ctranslate2(client: TestClient) -> None:
    ours = translate(client, texts=TEXTS, beam_size=1)
    fast = translate(client, texts=TEXTS, beam_size=1, model="fast")
    assert (ours["engine"], fast["engine"]) == ("torch", "ctranslate2")
    texts = [
        [one["hypotheses"][0]["text"] for one in answer["translations"]] for answer in (ours, fast)
    ]
    assert texts[0] == texts[1]
    response = client.post("/v1/translate", json={"text": "a", "model": "fast", "sample": True})
    assert detail(response, 422).startswith("engine ctranslate2 does not sample as bitext does")


def test_requests_at_once_get_what_each_gets_alone(client: TestClient) -> None:
    requests = [
        {"texts": TEXTS[n % 2 :], "max_length": 9, "beam_size": 1 + n % 3} for n in range(12)
    ]
    alone = [translate(client, **request)["translations"] for request in requests]
    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda one: translate(client, **one)["translations"], requests))
    for own, theirs in zip(found, alone, strict=True):
        assert [[h["text"] for h in one["hypotheses"]] for one in own] == [
            [h["text"] for h in one["hypotheses"]] for one in theirs
        ]


def test_without_a_model_the_problem_says_how_to_get_one(serve: Serve) -> None:
    with serve() as client:
        response = client.post("/v1/translate", json={"text": "a"})
        assert "bitext train" in detail(response, 404)
        assert response.json()["type"] == "/problems/no-translation-model"
        response = client.post("/v1/translate", json={"text": "a", "model": "x"})
        assert "BITEXT_TRANSLATION_MODELS" in detail(response, 404)


def test_a_folder_that_is_replaced_is_loaded_anew(
    serve: Serve, tiny_translator: Path, tmp_path: Path
) -> None:
    place = tmp_path / "translation-models" / "one"
    shutil.copytree(tiny_translator, place)
    with serve(data_dir=tmp_path) as client:
        assert client.post("/v1/translate", json={"text": "a"}).json()["source_lang"] == "en"
        place.rename(tmp_path / "old")
        reversed_model(tmp_path / "old", place)
        assert client.post("/v1/translate", json={"text": "a"}).json()["source_lang"] == "de"
        (place / "config.json").unlink()
        response = client.post("/v1/translate", json={"text": "a"})
        assert detail(response, 404).startswith("there is no translation model here")


def test_a_model_that_cannot_be_used_is_a_fault_of_the_service(
    serve: Serve, tiny_translator: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(tiny_translator, tmp_path / "secret" / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    with serve(translation_models={"bad": str(broken)}) as client:
        sentence = detail(client.post("/v1/translate", json={"text": "a"}), 503)
        assert sentence.startswith("model 'bad' cannot be used: ")
        assert "secret" not in sentence
    with serve(translation_models={"gone": "nobody/nothing"}) as client:
        response = client.post("/v1/translate", json={"text": "a"})
        assert detail(response, 503) == "model 'gone' is not on this machine"


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({}, 422, "expected either 'text' or 'texts', got neither"),
        ({"text": "a", "texts": ["a"]}, 422, "expected either 'text' or 'texts', got both"),
        ({"text": 3}, 422, "field 'text': input should be a valid string, got 3"),
        ({"text": "a\0"}, 422, "field 'text': character 2 is a NUL, not text"),
        ({"texts": []}, 422, "field 'texts': expected at least one text, got none"),
        ({"texts": ["a"] * 6}, 413, "6 texts are more than the 5 that are taken (BITEXT_MAX_TEXT"),
        ({"text": "a" * 501}, 413, "text 1: 501 characters are more than the 500"),
        ({"text": "a", "model": "x"}, 422, "unknown translation model 'x'; choose one of: back,"),
        ({"text": "a", "target_lang": "fr"}, 422, "unknown target language 'fr'; choose one of: d"),
        ({"text": "a", "source_lang": "de"}, 422, "unknown source language 'de'; choose one of: e"),
        ({"text": "a", "beam_size": 0}, 422, "field 'beam_size': input should be greater than or"),
        ({"text": "a", "beam_size": 17}, 413, "17 beams are more than the 16 that are taken"),
        ({"text": "a", "sample": True, "n_best": 17}, 413, "17 beams are more than the 16"),
        ({"text": "a", "seed": 2}, 422, "'seed' is for 'sample', which was not asked for"),
        ({"text": "a", "alignment_model": "x"}, 422, "'alignment_model' is for 'align', which was"),
        ({"text": "a", "n_best": 6}, 422, "n_best 6 is more than the beam_size of 5"),
        ({"text": "a", "no_repeat_ngram": 1}, 422, "no_repeat_ngram 1 would forbid every second"),
        ({"text": "a", "temperature": 2.0}, 422, "temperature is for sampling, which was not ask"),
        ({"text": "a", "top_p": 0}, 422, "field 'top_p': input should be greater than 0, got 0"),
        ({"text": "a", "max_length_ratio": 0}, 422, "field 'max_length_ratio': input should be"),
        ({"text": "a", "prefixes": ["b"]}, 422, "expected 'prefix' beside 'text', not 'prefixes'"),
        ({"texts": ["a"], "prefix": "b"}, 422, "expected 'prefixes' beside 'texts', not 'prefix'"),
        ({"texts": ["a"], "prefixes": []}, 422, "field 'prefixes': expected one for each of the 1"),
        ({"text": "a", "prefix": "haus " * 90}, 422, "sentence 1: the prefix of "),
        ({"text": "a", "too_long": "cut"}, 422, "field 'too_long': input should be 'error' or 's"),
        ({"text": "a", "align": 1}, 422, "field 'align': input should be a valid boolean, got 1"),
        ({"text": "a", "align": True, "alignment_model": "x"}, 422, "unknown model 'x'; choose"),
        ({"text": "a", "stream": True}, 422, "unknown field 'stream'; choose one of: align, al"),
    ],
)
def test_what_is_refused_is_named(
    client: TestClient, change: Any, status: int, sentence: str
) -> None:
    response = client.post("/v1/translate", json={"model": "en-de", **change})
    assert detail(response, status).startswith(sentence)


def test_what_is_translated_is_counted_under_the_name_of_its_model(client: TestClient) -> None:
    def figure(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        start = f'bitext_{name}{{model="back"}} '
        return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))

    before = figure("batch_windows_sum"), figure("pieces_total")
    texts = ["the house is small", "a cat"]
    answer = client.post("/v1/translate", json={"texts": texts, "model": "back", "beam_size": 1})
    assert answer.status_code == 200
    assert figure("batch_windows_sum") == before[0] + 2
    assert figure("pieces_total") > before[1] + 2
    assert figure("forward_duration_seconds_count") >= 1
    assert figure("queue_duration_seconds_count") >= 1
    assert figure("queue_windows") == 0
