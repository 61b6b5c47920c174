"""``POST /v1/mine``: worked plainly with numpy, and beside the command on the same text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Serve
from starlette.testclient import TestClient

from bitext.cli import main
from encoders.encoder import Encoder
from retrieval.mining.miner import MODES
from service.schemas import mining

SOURCE = [
    "the house is small",
    " ",
    "das haus",
    "the garden is big",
    "the house is small",  # again: item 0 is the one that counts
    "a cat sleeps",
    "eine katze schläft im alten haus",
]
TARGET = [
    "a cat sleeps",
    "der garten ist groß",
    "the garden is big",
    "der garten ist groß",
    "the house is small",
]
DIFFERENT = ([0, 2, 3, 5, 6], [0, 1, 2, 4])
"""The places of the sentences of both sides that are of their own."""


@pytest.fixture(scope="module")
def client(serve: Serve) -> Iterator[TestClient]:
    with serve(max_mine_sentences=150, max_characters=400, max_k=20) as client:
        yield client


def mine(client: TestClient, **request: Any) -> Any:
    response = client.post("/v1/mine", json={"source": SOURCE, "target": TARGET, **request})
    assert response.status_code == 200, response.text
    return response.json()


def detail(response: Any, status: int) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["detail"])


def ratios(encoder: Encoder, k: int) -> Any:
    """By the places of two sentences, their cosine over the mean of both neighbourhoods' means."""
    source, target = (
        encoder.sentences([texts[place] for place in places]).astype(np.float64)
        for texts, places in zip((SOURCE, TARGET), DIFFERENT, strict=True)
    )
    cosines = source @ target.T
    of_sources = -np.sort(-cosines, axis=1)[:, :k].mean(axis=1)
    of_targets = -np.sort(-cosines, axis=0)[:k].mean(axis=0)
    table = cosines / ((of_sources[:, None] + of_targets) / 2)
    return {
        (i, j): table[row, column]
        for row, i in enumerate(DIFFERENT[0])
        for column, j in enumerate(DIFFERENT[1])
    }


def test_the_best_of_each_source_are_found_by_hand(client: TestClient, encoder: Encoder) -> None:
    table = ratios(encoder, k=4)  # all targets are neighbours
    best = {i: max(DIFFERENT[1], key=lambda j: table[i, j]) for i in DIFFERENT[0]}
    answer = mine(client, mode="forward")
    assert {pair["source"]: pair["target"] for pair in answer["matches"]} == best
    for pair in answer["matches"]:
        assert pair["score"] == pytest.approx(table[pair["source"], pair["target"]], abs=2e-6)
    scores = [pair["score"] for pair in answer["matches"]]
    assert scores == sorted(scores, reverse=True)
    assert (answer["model"], answer["threshold"]) == (encoder.name, None)
    assert answer["layer"] == encoder.check_layer(None, "retrieval")


def test_copies_are_found_and_a_threshold_is_kept_to(client: TestClient) -> None:
    every = mine(client)["matches"]
    found = {(pair["source"], pair["target"]) for pair in every}
    assert {(0, 4), (3, 2), (5, 0)} <= found  # the sentences that stand on both sides
    threshold = every[1]["score"]
    answer = mine(client, threshold=threshold - 1e-6)
    assert answer["threshold"] == threshold - 1e-6
    assert answer["matches"] == every[:2]
    assert mine(client, threshold=100)["matches"] == []


def test_pairs_are_scored_in_order(client: TestClient, encoder: Encoder) -> None:
    source, target = SOURCE[:5], TARGET
    answer = mine(client, source=source, score_only=True, k=2, margin="absolute")
    places = [(pair["source"], pair["target"]) for pair in answer["matches"]]
    assert places == [(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)]
    cosines = (encoder.sentences(source) * encoder.sentences(target)).sum(axis=1)
    for pair, cosine in zip(answer["matches"], cosines.tolist(), strict=True):
        if pair["source"] == 1:
            assert pair["score"] is None  # nothing is in it
        else:
            assert pair["score"] == pytest.approx(cosine, abs=1e-5)


def test_what_filters_drop_is_counted(client: TestClient) -> None:
    every = mine(client, mode="forward")
    answer = mine(client, mode="forward", filters=["copies"])
    gone = [pair for pair in every["matches"] if pair not in answer["matches"]]
    assert {(pair["source"], pair["target"]) for pair in gone} >= {(0, 4), (3, 2), (5, 0)}
    assert answer["dropped"] == {"copies": len(gone)}
    assert every["dropped"] is None


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "union", "margin": "distance", "k": 2},
        {"mode": "intersection", "layer": 1, "pooling": "max"},
        {"threshold": 0.99, "prefix": "das "},
        {"centring": "mean", "mode": "backward"},
        {"score_only": True, "k": 3},
        {"precision": 0.1, "mode": "forward"},
        {"filters": ["copies", "short:least=2"], "mode": "forward", "top": 9},
        {"filters": ["default"], "coverage": 0.5, "mode": "union"},
    ],
)
def test_the_command_gives_the_same(
    client: TestClient,
    tiny_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: dict[str, Any],
) -> None:
    more = [f"haus {n} {'katze ' * (n % 4)}" for n in range(110)]
    source, target = [*SOURCE, *more], [*more[::-1], *TARGET, "ein haus", "a"]
    given = ["--model", str(tiny_model), "--json"]
    for name, value in options.items():
        option = f"--{name.replace('_', '-')}"
        written = " ".join(value) if isinstance(value, list) else str(value)
        given += [option] if value is True else [option, written]
    for name, lines in (("source", source), ("target", target)):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    with pytest.raises(SystemExit) as exit:
        main(["mine", str(tmp_path / "source"), str(tmp_path / "target"), *given])
    assert exit.value.code == 0
    command = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = mine(client, source=source, target=target, **options)["matches"]
    assert found
    # Many are much alike: in what order those of nearly one score come, rounding decides.
    scores = {(pair["source"], pair["target"]): pair["score"] for pair in found}
    of_command = {(pair["source_id"], pair["target_id"]): pair["score"] for pair in command}
    assert scores == pytest.approx(of_command, abs=2e-6)
    if "score_only" not in options:
        assert list(scores.values()) == sorted(scores.values(), reverse=True)


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"source": None}, 422, "field 'source': input should be a valid list, got null"),
        ({"source": "a"}, 422, "field 'source': input should be a valid list, got \"a\""),
        ({"source": []}, 422, "field 'source': expected at least one source sentence, got none"),
        ({"target": ["", "\t"]}, 422, "field 'target' has no sentence with anything in it"),
        ({"target": ["a", 3]}, 422, "field 'target.1': input should be a valid string, got 3"),
        ({"target": ["a\0"]}, 422, "field 'target.0': character 2 is a NUL, not text"),
        (
            {"source": ["a"] * 151},
            413,
            "151 source sentences are more than the 150 that are taken "
            "(BITEXT_MAX_MINE_SENTENCES); the command 'bitext mine' takes any number",
        ),
        ({"target": ["a", "b" * 401]}, 413, "target sentence 2: 401 characters are more than"),
        ({"k": 0}, 422, "field 'k': input should be greater than or equal to 1, got 0"),
        ({"k": 21}, 422, "field 'k': at most 20 (BITEXT_MAX_K), got 21"),
        ({"margin": "x"}, 422, "unknown margin 'x'; choose one of: absolute, distance, ratio"),
        ({"mode": "x"}, 422, "unknown mode 'x'; choose one of: backward, forward, inter"),
        ({"threshold": "1"}, 422, "field 'threshold': input should be a valid number, got \"1\""),
        ({"precision": 1}, 422, "field 'precision': input should be less than 1, got 1"),
        ({"precision": 0.9, "threshold": 1}, 422, "give a threshold or a precision, not both"),
        ({"centring": "x"}, 422, "unknown kind of centring 'x'; choose one of: components"),
        ({"centring": "mean"}, 422, "centring needs at least 10 vectors of 'source'"),
        ({"layer": 9}, 422, "model '{model}' has no layer 9; choose one from 0 to 2"),
        ({"pooling": "sum"}, 422, "field 'pooling': input should be 'mean', 'cls' or 'max'"),
        ({"model": "gpt"}, 422, "unknown model 'gpt'; choose one of: {model}"),
        ({"score_only": 1}, 422, "field 'score_only': input should be a valid boolean, got 1"),
        ({"score_only": True}, 422, "7 source and 5 target sentences cannot be paired one by one"),
        (
            {"score_only": True, "threshold": 1},
            422,
            "field 'threshold': score_only scores all pairs; it leaves none out",
        ),
        (
            {"too_long": "error", "source": ["", "a " * 70]},
            422,
            "source sentence 2 has 70 pieces, and model",
        ),
        ({"filters": ["x"]}, 422, "unknown filter 'x'; choose one of: copies, fanout, lan"),
        ({"filters": ["copies:x=1"]}, 422, "unknown setting of copies 'x'; choose one of: "),
        ({"filters": []}, 422, "field 'filters': expected at least 1 item, got none"),
        ({"filters": ["copies", "default"]}, 422, "field 'filters': copies is given twice"),
        ({"top": 0}, 422, "field 'top': input should be greater than or equal to 1, got 0"),
        ({"coverage": -1}, 422, "field 'coverage': input should be greater than or equal to 0"),
        ({"coverage": 1, "precision": 0.5}, 422, "a precision is estimated for margins alone"),
        (
            {"score_only": True, "filters": ["copies"]},
            422,
            "field 'filters': score_only scores all pairs; it leaves none out",
        ),
        ({"sources": []}, 422, "unknown field 'sources'; choose one of: centring, cov"),
    ],
)
def test_what_is_refused_is_named(
    client: TestClient, tiny_model: Path, change: Any, status: int, sentence: str
) -> None:
    response = client.post("/v1/mine", json={"source": SOURCE, "target": TARGET, **change})
    assert detail(response, status).startswith(sentence.format(model=tiny_model))


def test_long_sentences_are_read_in_windows_as_by_the_command(client: TestClient) -> None:
    assert mine(client, source=["a " * 70, "haus"], target=["haus"])["matches"]


@pytest.mark.parametrize("number", ["NaN", "1e999"])
def test_a_threshold_is_a_number(client: TestClient, number: str) -> None:
    body = f'{{"source": ["a"], "target": ["a"], "threshold": {number}}}'
    headers = {"content-type": "application/json"}
    refused = detail(client.post("/v1/mine", content=body, headers=headers), 422)
    assert refused.startswith("field 'threshold': input should be a finite number")


def test_the_schema_knows_the_choices_of_the_code() -> None:
    assert set(mining.MODES) == set(MODES)
