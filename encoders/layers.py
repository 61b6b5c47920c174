"""Hidden states of chosen layers, computing none above the highest.

Layer ``k`` is what enters block ``k`` (so layer 0 is the embeddings), and layer ``n`` of a model of
``n`` blocks is its last hidden state: the numbering and the values of ``output_hidden_states=True``
in ``transformers``. A hook before each block keeps what was asked for and ends the forward pass by
an exception once nothing more is wanted; what is asked for is kept per thread, so that threads can
share the model.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn

from bitext.errors import InputError


class _Reached(Exception):
    """The highest layer asked for is there."""


class _Wanted(threading.local):
    def __init__(self) -> None:
        self.layers: Collection[int] = ()
        self.block = 0
        self.states: dict[int, torch.Tensor] = {}


class LayerTap:
    """Reads hidden states out of a model that many threads may share.

    :raises InputError: if the model's blocks cannot be found.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        config: Any = model.config
        self.layers = int(config.num_hidden_layers)
        self._wanted = _Wanted()
        for block in find_blocks(model, self.layers):
            block.register_forward_pre_hook(self._before_block, with_kwargs=True)

    def _before_block(
        self, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        wanted = self._wanted
        if not wanted.layers:
            return
        if wanted.block in wanted.layers:
            wanted.states[wanted.block] = args[0] if args else kwargs["hidden_states"]
            if wanted.block == max(wanted.layers):
                raise _Reached
        wanted.block += 1

    def __call__(self, layers: Collection[int], **inputs: torch.Tensor) -> dict[int, torch.Tensor]:
        """Hidden states of ``layers`` (each from 0 to ``self.layers``), by layer.

        :return: each of shape (batch, length, dim).
        """
        wanted = self._wanted
        wanted.layers, wanted.block, wanted.states = layers, 0, {}
        try:
            last = self.model(**inputs, return_dict=True).last_hidden_state
            wanted.states[self.layers] = last
        except _Reached:
            pass
        finally:
            wanted.layers = ()
        states, wanted.states = wanted.states, {}
        return states


# Of tracers, on shapes that are in fact constant, on themselves, and on a property of transformers:
# they look at all that a model has. They run beside other threads, and catch_warnings is for all.
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)
warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)


class Cut(nn.Module):
    """The model as a function from ids to the hidden states of some layers, as tracers want it."""

    def __init__(self, tap: LayerTap, layers: Sequence[int]) -> None:
        super().__init__()
        self.model = tap.model  # whose weights the tracer looks for here
        self._tap = tap
        self._layers = layers
        self.eval()

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        states = self._tap(self._layers, input_ids=input_ids, attention_mask=attention_mask)
        return tuple(states[layer] for layer in self._layers)


def padded_input(device: torch.device | None = None) -> dict[str, torch.Tensor]:
    """What to trace a model with: without padding it would leave the mask out of the trace."""
    ids = torch.full((3, 7), 5, device=device)
    mask = torch.ones_like(ids)
    mask[1:, 5:] = 0
    return {"input_ids": ids, "attention_mask": mask}


def find_blocks(model: nn.Module, layers: int) -> list[nn.Module]:
    """The model's blocks in the order they run; ALBERT runs one several times.

    :raises InputError: if there is no list of them.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and (
            len(module) == layers or name.endswith("albert_layer_groups")
        ):
            return list(module)
    kind = getattr(model.config, "model_type", type(model).__name__)
    raise InputError(f"a {kind} model has no list of {layers} blocks to read layers from")
