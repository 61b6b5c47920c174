"""What objectives remember between steps: the last rows of something, copies of weights.

All of it is buffers, so that checkpoints of a run hold it.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from encoders.training.processes import gather_rows


class Queue(nn.Module):
    """The last ``size`` rows that were pushed; a new one takes the place of the oldest."""

    rows: torch.Tensor
    pushed: torch.Tensor

    def __init__(self, size: int, dim: int, device: torch.device) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(size, dim, device=device))
        self.register_buffer("pushed", torch.zeros((), dtype=torch.long, device=device))

    def filled(self) -> torch.Tensor:
        """The rows so far, shape (at most ``size``, dim), in no particular order.

        A copy: what is pushed later does not change it under a loss that is still to be derived.
        """
        return self.rows[: min(int(self.pushed), len(self.rows))].clone()

    @torch.no_grad()
    def push(self, rows: torch.Tensor) -> None:
        """Take in ``rows``, shape (any number, dim), the last one being the newest."""
        size = len(self.rows)
        numbers = int(self.pushed) + torch.arange(len(rows), device=rows.device)
        self.rows[numbers[-size:] % size] = rows[-size:].to(self.rows.dtype)
        self.pushed += len(rows)


class Collected:
    """Rows that the passes of one step found, for a queue to take in once the step is done."""

    def __init__(self) -> None:
        self._rows: list[torch.Tensor] = []

    def add(self, rows: torch.Tensor) -> None:
        self._rows.append(rows.detach().float())

    def move_to(self, queue: Queue) -> None:
        """Push the rows of all processes; each of them must call this, rows or none."""
        queue.push(gather_rows(torch.cat([queue.rows[:0], *self._rows])))
        self._rows.clear()


class WeightCopy(nn.Module):
    """One tensor for each of some weights, found by the weight's name.

    :param tensors: by the names of ``named_parameters``; they are copied.
    :param persistent: whether checkpoints of the run hold them.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor], *, persistent: bool = True) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            copy = tensor.detach().clone()
            # a buffer's name may have no dot
            self.register_buffer(name.replace(".", "/"), copy, persistent=persistent)

    def by_name(self) -> dict[str, torch.Tensor]:
        """The tensors themselves, no copies."""
        return {name.replace("/", "."): tensor for name, tensor in self.named_buffers()}


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that training moves, by name, tied ones once."""
    return {name: one for name, one in model.named_parameters() if one.requires_grad}


@torch.no_grad()
def follow(
    slow: Mapping[str, torch.Tensor], fast: Mapping[str, torch.Tensor], momentum: float
) -> None:
    """``slow = momentum * slow + (1 - momentum) * fast``, in place."""
    for name, tensor in slow.items():
        tensor.lerp_(fast[name].detach().to(tensor.dtype), 1 - momentum)
