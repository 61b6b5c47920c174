"""What moves the weights: groups with rates of their own, schedules, bfloat16 copies, averages."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from nmt.training.config import Part, Stage

_LAYER = re.compile(r"\.(encoder|decoder)\.(?:layers|block)\.(\d+)\.")


def part_of(name: str) -> Part:
    """The part of the network that a parameter belongs to, by its name."""
    if "encoder_attn" in name or "EncDecAttention" in name:
        return "cross_attention"
    if "shared" in name or "embed" in name or "lm_head" in name:
        return "embeddings"
    return "encoder" if ".encoder." in name or name.startswith("encoder.") else "decoder"


def frozen_parts(stage: Stage, step: int) -> frozenset[Part]:
    """What does not move at this step of the stage."""
    thawed = bool(stage.thaw_step) and step >= stage.thaw_step
    return frozenset() if thawed else frozenset(stage.freeze)


def freeze(model: nn.Module, stage: Stage, step: int) -> None:
    """Let move what moves at this step of the stage, and nothing else."""
    frozen = frozen_parts(stage, step)
    fixed = fixed_parameters(model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) not in frozen and name not in fixed)


def set_modes(model: Any, stage: Stage, step: int) -> None:
    """Train mode, but for frozen parts, whose dropout rests (Imamura & Sumita, 2019)."""
    frozen = frozen_parts(stage, step)
    model.train()
    model.get_encoder().train("encoder" not in frozen)
    model.get_decoder().train("decoder" not in frozen)
    for name, module in model.named_modules():
        if name.endswith(("encoder_attn", "EncDecAttention")):
            module.train("cross_attention" not in frozen)


def fixed_parameters(model: nn.Module) -> set[str]:
    """Names of weights that are a formula and never saved: Marian's sinusoidal positions."""
    return {
        f"{name}.weight"
        for name, one in model.named_modules()
        if "Sinusoidal" in type(one).__name__
    }


def build_optimizer(
    model: nn.Module,
    stage: Stage,
    new: Iterable[str] = (),
    *,
    own: Callable[[nn.Parameter], bool] | None = None,
) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, 2019); biases and normalisations do not decay.

    Parameters of one factor share a group, whose ``rate`` is that factor of the learning rate.

    :param new: names of parameters that were not pretrained.
    :param own: which ones this process moves, by default all; all processes have the same groups.
    """
    layers = count_layers(model)
    fresh, fixed = frozenset(new), fixed_parameters(model)
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        part = part_of(name)
        if name in fixed or (part in stage.freeze and not stage.thaw_step):
            continue
        rate = stage.rates.get(part, 1.0) * stage.layer_decay ** depth_of(name, layers)
        if name in fresh:
            rate = stage.rates.get("new", rate)
        group = groups.setdefault((rate, parameter.ndim > 1), [])
        if own is None or own(parameter):
            group.append(parameter)
    return torch.optim.AdamW(
        [
            {"params": those, "rate": rate, "weight_decay": stage.weight_decay * decays}
            for (rate, decays), those in groups.items()
        ],
        lr=stage.learning_rate,
        betas=stage.betas,
        eps=1e-9,
        fused=True,
    )


def count_layers(model: nn.Module) -> dict[str, int]:
    """How many layers each side has."""
    layers = {"encoder": 0, "decoder": 0}
    for name, _ in model.named_parameters():
        found = _LAYER.search(f".{name}")
        if found:
            layers[found[1]] = max(layers[found[1]], int(found[2]) + 1)
    return layers


def depth_of(name: str, layers: Mapping[str, int]) -> int:
    """How many layers of its side lie above a parameter; embeddings lie below all."""
    found = _LAYER.search(f".{name}")
    if found:
        return layers[found[1]] - 1 - int(found[2])
    return max(layers.values()) if part_of(name) == "embeddings" else 0


def schedule(step: int, stage: Stage) -> float:
    """The factor of the learning rate at a step, from 0: a linear warm-up, then a fall."""
    warm = max(1, stage.warmup_steps)
    if step < stage.warmup_steps:
        return (step + 1) / warm
    done = (step - stage.warmup_steps) / max(1, stage.steps - stage.warmup_steps)
    if stage.schedule == "inverse_sqrt":  # Vaswani et al. (2017)
        return math.sqrt(warm / (step + 1))
    if stage.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1 - done if stage.schedule == "linear" else 1.0


class WorkingCopy:
    """The network that computes, beside the float32 weights that the optimizer moves.

    In bfloat16 it is a copy, renewed after each move: products of it need no casts, which take a
    tenth of the time under autocast. In float32 it is the network itself.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype) -> None:
        self.master = model
        self.model: Any = model
        if dtype != torch.float32:
            self.model = copy.deepcopy(model).to(dtype)
            self.model.train(model.training)
        pairs = {id(own): (theirs, own) for theirs, own in self._pairs()}
        self._masters: list[torch.Tensor] = [theirs for theirs, _ in pairs.values()]
        self._copies: list[torch.Tensor] = [own for _, own in pairs.values()]

    def _pairs(self) -> Iterable[tuple[nn.Parameter, nn.Parameter]]:
        return zip(self.master.parameters(), self.model.parameters(), strict=True)

    @property
    def _is_copy(self) -> bool:
        return self.model is not self.master

    def freeze(self) -> None:
        """Let the same weights move as in the master."""
        for master, own in zip(self._masters, self._copies, strict=True):
            own.requires_grad_(master.requires_grad)

    def collect(self) -> None:
        """Add the copy's gradients to the master's, in float32."""
        if not self._is_copy:
            return
        for master, own in zip(self._masters, self._copies, strict=True):
            if own.grad is None:
                continue
            if master.grad is None:
                master.grad = own.grad.float()
            else:
                master.grad += own.grad
            own.grad = None

    def renew(self) -> None:
        """Take over the weights of the master."""
        if self._is_copy:
            with torch.no_grad():
                torch._foreach_copy_(self._copies, self._masters)


class MovingAverage:
    """An exponential moving average of the weights (Polyak & Juditsky, 1992)."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {name: one.detach().clone() for name, one in model.named_parameters()}

    def update(self, model: nn.Module, step: int) -> None:
        """Move towards the weights as they are; faster at first, while there is little to mean."""
        decay = min(self.decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                self.weights[name].lerp_(parameter, 1 - decay)
