"""Passes in one go: what has no graph runs without one, and threads share what there is."""

from __future__ import annotations

import logging
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from encoders import graph as graphs
from encoders.graph import GraphTap
from encoders.layers import LayerTap

needs_graphs = pytest.mark.skipif(
    sys.version_info >= graphs.UNSUPPORTED, reason="torch has no TorchScript for this Python"
)


class Toy(nn.Module):
    """Two layers; what is added before them may depend on the shape."""

    def __init__(self, shift: Any) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_hidden_layers=2, model_type="toy")
        torch.manual_seed(0)
        self.embedding = nn.Embedding(20, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.shift = shift

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, return_dict: bool
    ) -> Any:
        state = self.embedding(input_ids) * attention_mask[..., None] + self.shift(input_ids)
        for block in self.blocks:
            state = block(state)
        return SimpleNamespace(last_hidden_state=state)


def inputs(rows: int, length: int) -> dict[str, torch.Tensor]:
    ids = torch.arange(rows * length).reshape(rows, length) % 20
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def assert_same(tap: GraphTap, exact: LayerTap, layers: tuple[int, ...]) -> None:
    for shape in [(1, 1), (3, 7), (2, 30)]:
        found, expected = tap(layers, **inputs(*shape)), exact(layers, **inputs(*shape))
        assert found.keys() == expected.keys() == set(layers)
        assert all(torch.equal(found[layer], expected[layer]) for layer in layers)


@needs_graphs
def test_states_come_from_the_graph_and_are_the_same() -> None:
    exact = LayerTap(Toy(lambda ids: 0))
    tap = GraphTap(exact, 40)
    for layers in [(0,), (1,), (2,), (0, 2)]:
        assert_same(tap, exact, layers)
    made = list(tap._graphs.values())
    assert len(made) == 4
    assert None not in made
    with torch.no_grad():  # a graph has the weights of the model, no copy of them
        exact.model.get_parameter("blocks.1.bias").add_(1)
    assert_same(tap, exact, (2,))


@needs_graphs
def test_a_trace_that_depends_on_the_shape_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    exact = LayerTap(Toy(lambda ids: float(ids.shape[1])))
    tap = GraphTap(exact, 40)
    with caplog.at_level(logging.INFO, logger="encoders.graph"):
        assert_same(tap, exact, (2,))
    assert tap._graphs == {(2,): None}
    [told] = caplog.messages
    assert told == "a toy model runs without a graph: a trace of it depends on the shape"


@needs_graphs
def test_what_only_long_inputs_do_is_noticed() -> None:
    exact = LayerTap(Toy(lambda ids: 1.0 if ids.shape[1] > 25 else 0.0))
    tap = GraphTap(exact, 40)
    assert_same(tap, exact, (2,))
    assert tap._graphs == {(2,): None}


@needs_graphs
def test_a_tracer_that_fails_is_survived(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operation\nand a long story")

    monkeypatch.setattr(torch.jit, "trace", fail)
    exact = LayerTap(Toy(lambda ids: 0))
    with caplog.at_level(logging.INFO, logger="encoders.graph"):
        assert_same(GraphTap(exact, 40), exact, (1,))
    assert caplog.messages == ["a toy model runs without a graph: no such operation"]


def test_a_python_that_torch_has_no_graphs_for_does_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(graphs, "UNSUPPORTED", (3, 0))
    exact = LayerTap(Toy(lambda ids: 0))
    tap = GraphTap(exact, 40)
    assert_same(tap, exact, (2,))
    assert tap._graphs == {(2,): None}


@needs_graphs
def test_threads_that_ask_at_once_share_one_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    make = GraphTap._make

    def count(self: GraphTap, layers: tuple[int, ...]) -> Any:
        made.append(layers)
        return make(self, layers)

    monkeypatch.setattr(GraphTap, "_make", count)
    exact = LayerTap(Toy(lambda ids: 0))
    tap = GraphTap(exact, 40)
    expected = {layer: exact((layer,), **inputs(2, 5))[layer] for layer in (1, 2)}
    start = threading.Barrier(8)
    wrong: list[int] = []

    def ask(layer: int) -> None:
        start.wait()
        for _ in range(20):
            if not torch.equal(tap((layer,), **inputs(2, 5))[layer], expected[layer]):
                wrong.append(layer)

    threads = [threading.Thread(target=ask, args=(1 + n % 2,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert sorted(made) == [(1,), (2,)]
