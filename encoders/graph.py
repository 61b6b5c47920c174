"""A pass of the model in one go, without Python between its operations.

torch lets go of Python's lock (the GIL) in every operation and takes it again for the next one,
some two hundred times a pass of four layers. Where other threads run Python, as in a service, each
time may mean waiting for them: six pairs then took twice as long as alone. A graph that is traced
once takes the lock back once; it runs the same operations, so that the states are the same to the
last bit, which is looked at. Here a service answers a third more requests by it.

TorchScript, which this is, is no longer developed (torch.compile and torch.export are; one runs
Python between operations, the other needs a C++ compiler where it runs). Where it is not to be had,
or does not give the same, the model runs as it did.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Collection, Sequence
from typing import Any

import torch

from encoders.checkpoint import quietly
from encoders.layers import Cut, LayerTap, padded_input

logger = logging.getLogger(__name__)

UNSUPPORTED = (3, 14)
"""From this version of Python on, torch says, TorchScript may break."""
LONG = 300
"""Pieces of the longest input that a graph is tried with: more than what windows and buckets of
relative positions span."""


class GraphTap:
    """Reads hidden states as :class:`LayerTap` does; threads may share it.

    The graph for a set of layers is made when it is first asked for. A model whose graph does not
    give what the model gives is run without one.

    :param longest: pieces that the model takes at most.
    """

    def __init__(self, tap: LayerTap, longest: int) -> None:
        self._tap = tap
        self._longest = min(longest, LONG)
        self.layers = tap.layers
        self._graphs: dict[tuple[int, ...], Any] = {}
        self._making = threading.Lock()

    def __call__(self, layers: Collection[int], **inputs: torch.Tensor) -> dict[int, torch.Tensor]:
        """Hidden states of ``layers`` (each from 0 to ``self.layers``), by layer.

        :return: each of shape (batch, length, dim).
        """
        wanted = tuple(sorted(set(layers)))
        if wanted not in self._graphs:
            with self._making:
                if wanted not in self._graphs:
                    self._graphs[wanted] = self._make(wanted)
        graph = self._graphs[wanted]
        if graph is None:
            return self._tap(layers, **inputs)
        return dict(zip(wanted, _run(graph, inputs), strict=True))

    def _make(self, layers: tuple[int, ...]) -> Any:
        """A graph, or ``None`` where there is none that does the same."""
        if sys.version_info >= UNSUPPORTED:
            return None
        cut = Cut(self._tap, layers)
        try:
            with torch.inference_mode(), quietly():
                graph = torch.jit.trace(  # type: ignore[no-untyped-call]
                    cut, tuple(padded_input(self._device).values()), check_trace=False
                )
            if all(_is_same(cut(**one), _run(graph, one)) for one in self._probes()):
                return graph
            reason = "a trace of it depends on the shape"
        except Exception as error:  # whatever a tracer says of a model of somebody else's
            reason = str(error).strip().split("\n", 1)[0] or type(error).__name__
        kind = getattr(self._tap.model.config, "model_type", type(self._tap.model).__name__)
        logger.info("a %s model runs without a graph: %s", kind, reason)
        return None

    @property
    def _device(self) -> torch.device:
        return next(self._tap.model.parameters()).device

    def _probes(self) -> Sequence[dict[str, torch.Tensor]]:
        """Inputs of other shapes than that of the trace, with and without padding."""
        found = []
        for rows, length, own in [(2, 11, 4), (1, 9, 9), (2, self._longest, self._longest // 2)]:
            ids = torch.full((rows, length), 6, device=self._device)
            ids[:, ::3] = 5
            mask = torch.ones_like(ids)
            mask[1:, own:] = 0
            found.append({"input_ids": ids, "attention_mask": mask})
        return found


def _run(graph: Any, inputs: dict[str, torch.Tensor]) -> Sequence[torch.Tensor]:
    # as it was traced: nothing is specialised to shapes, which are ever others
    with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        found: Sequence[torch.Tensor] = graph(inputs["input_ids"], inputs["attention_mask"])
    return found


def _is_same(expected: Sequence[torch.Tensor], found: Sequence[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
