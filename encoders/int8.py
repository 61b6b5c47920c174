"""Eight-bit inference on processors, by OpenVINO (``pip install "bitext[int8]"``).

The weights of every linear layer are rounded to eight bits, one scale an output (symmetric, the
greatest at 127). OpenVINO rounds what meets them as it runs, one scale for each ``GROUP`` numbers
of a row; sums and everything else stay float32. So nothing has to be calibrated.

The graph is traced through :class:`encoders.layers.LayerTap`: the hidden states are those that
torch gives, and none above the asked-for layer are computed. It is kept on disk beside the hub's
cache, by the model's fingerprint.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub.constants import HF_HOME
from numpy.typing import NDArray
from torch import nn

from bitext.errors import InputError
from bitext.text import atomic_folder
from encoders.checkpoint import quietly
from encoders.layers import Cut, LayerTap, padded_input

GROUP = 256
NEAR = 0.9
"""Cosine to float32 below which rounding is not what makes the difference."""
FORM = 1
"""Of what is kept on disk; a change of the rounding raises it."""


class Int8Tap:
    """Reads hidden states as :class:`LayerTap` does; threads may share it.

    The graph for a set of layers is made when it is first asked for.

    :raises InputError: if OpenVINO is not installed, or the model's blocks cannot be found.
    """

    def __init__(self, model: nn.Module, fingerprint: str, folder: Path | None = None) -> None:
        self._openvino = import_openvino()
        self._tap = LayerTap(model)
        self.layers = self._tap.layers
        self._kind = getattr(model.config, "model_type", type(model).__name__)
        self._fingerprint = fingerprint
        self._folder = Path(HF_HOME) / "bitext-int8" if folder is None else folder
        self._compiled: dict[tuple[int, ...], Any] = {}
        self._making = threading.Lock()

    def __call__(self, layers: Collection[int], **inputs: torch.Tensor) -> dict[int, torch.Tensor]:
        """Hidden states of ``layers`` (each from 0 to ``self.layers``), by layer.

        :return: each of shape (batch, length, dim).
        """
        wanted = tuple(sorted(set(layers)))
        with self._making:
            if wanted not in self._compiled:
                self._compiled[wanted] = self._compile(self._graph(wanted))
        return self._run(self._compiled[wanted], wanted, inputs)

    def _compile(self, graph: Any) -> Any:
        settings = {
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP,
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        return self._openvino.Core().compile_model(graph, "CPU", settings)

    def _check(self, graph: Any, layers: tuple[int, ...]) -> None:
        """A trace may hold constants of the shape it was made with: try another shape."""
        inputs = {"input_ids": torch.full((2, 11), 6), "attention_mask": torch.ones(2, 11).long()}
        with torch.inference_mode():
            expected = self._tap(layers, **inputs)
        found = self._run(self._compile(graph), layers, inputs)
        for layer in layers:
            cosine = torch.cosine_similarity(expected[layer].float(), found[layer], dim=-1)
            if not cosine.min() > NEAR:
                raise InputError(
                    f"a {self._kind} model does not come out right in int8: at layer {layer} "
                    f"vectors have a cosine of {cosine.min():.3f} to float32's"
                )

    def _run(
        self, compiled: Any, layers: tuple[int, ...], inputs: dict[str, torch.Tensor]
    ) -> dict[int, torch.Tensor]:
        request = compiled.create_infer_request()
        found = request.infer({name: tensor.numpy() for name, tensor in inputs.items()})
        return {layer: torch.from_numpy(found[i]) for i, layer in enumerate(layers)}

    def _graph(self, layers: tuple[int, ...]) -> Any:
        """The graph from disk or, the first time, from the model."""
        version = str(self._openvino.__version__).split("-")[0]
        name = "-".join([self._fingerprint, *map(str, layers), version, f"form{FORM}"])
        folder = self._folder / name
        if not (folder / "model.xml").is_file():
            graph = trace(self._openvino, self._tap, layers)
            round_weights(graph)
            self._check(graph, layers)
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_folder(folder, marker="model.xml") as new:
                self._openvino.save_model(graph, new / "model.xml", compress_to_fp16=False)
        return self._openvino.Core().read_model(folder / "model.xml")


def import_openvino() -> Any:
    """:raises InputError: if it is not installed."""
    # OpenVINO reports its use to its makers where it finds this package. Ours calls nobody.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise InputError(
            'dtype int8 needs OpenVINO; install it with: pip install "bitext[int8]"'
        ) from None
    return openvino


def trace(openvino: Any, tap: LayerTap, layers: tuple[int, ...]) -> Any:
    """The OpenVINO graph that gives the hidden states of ``layers`` in this order."""
    with torch.inference_mode(), quietly():
        return openvino.convert_model(Cut(tap, layers), example_input=padded_input())


def round_weights(graph: Any) -> int:
    """Put weights of eight bits and their scales in the place of each linear layer's.

    :return: how many layers there were.
    """
    from openvino import opset13

    count = 0
    for node in graph.get_ordered_ops():
        if node.get_type_name() != "MatMul":
            continue
        weight = node.input_value(1).get_node()
        if weight.get_type_name() != "Constant":
            continue  # a product of two computed matrices, in attention
        axis = 1 if node.get_attributes()["transpose_b"] else 0
        rounded, scale = round_matrix(weight.data.astype(np.float32), axis)
        back = opset13.convert(opset13.constant(rounded), "f32")
        scaled = opset13.multiply(back, opset13.constant(scale))
        node.input(1).replace_source_output(scaled.output(0))
        count += 1
    return count


def round_matrix(
    weight: NDArray[np.float32], axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Whole numbers from -127 to 127 and scales whose product is near ``weight``.

    :param axis: along which numbers share a scale.
    :return: the numbers, and scales of length 1 along ``axis``; the scale of zeros is 1.
    """
    scale = np.abs(weight).max(axis=axis, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(weight / scale).astype(np.int8), scale
