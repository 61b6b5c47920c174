"""Dropout that draws its random numbers four at a time.

On a CPU, torch draws one Bernoulli number after the other, and a training step in bfloat16 spends
a twelfth of its time on that. Sixteen random bits say as well what is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_STEPS = 1 << 16
"""The rate of dropout is a multiple of one by this: 0.1 is 0.100006."""


class QuickDropout(TorchFunctionMode):
    """While it is entered, every dropout of a model on a CPU is :func:`quick_dropout`.

    Networks of ``transformers`` call torch's function by its name, so this is where they meet.
    Dropout within the fused attention is torch's own.
    """

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if function is functional.dropout:
            return _dropout(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))


def _dropout(
    input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> torch.Tensor:
    """The arguments are those of ``torch.nn.functional.dropout``."""
    if training and 0 < p < 1 and not inplace and input.device.type == "cpu":
        return quick_dropout(input, p)
    return functional.dropout(input, p, training, inplace)


def quick_dropout(states: torch.Tensor, rate: float) -> torch.Tensor:
    """Zeros in the place of a share of the numbers; the rest grows, so that the mean stays.

    What is dropped is a function of torch's seed.

    :param rate: the share, above 0 and below 1.
    """
    dropped = min(round(rate * _STEPS), _STEPS - 1)
    drawn = torch.empty(-(-states.numel() // 4), dtype=torch.int64)
    sixteens = drawn.random_(-(2**63), None).view(torch.int16)[: states.numel()]
    kept = sixteens.ge_(dropped - _STEPS // 2)  # 1 or 0; bool would be slow to multiply by
    noise = kept.view(states.shape).to(states.dtype).mul_(_STEPS / (_STEPS - dropped))
    return states * noise
