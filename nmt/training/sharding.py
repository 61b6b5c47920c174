"""The optimizer's state, shared out between processes (ZeRO stage 1: Rajbhandari et al., 2020).

Each process keeps the moments of its own share of the weights, and moves those; the others get them
from it. A weight is moved by the very arithmetic of one process, so that nothing else changes:
not the batches, not the checkpoints, which are whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import distributed, nn

from encoders.training import processes
from encoders.training.run import Tensors

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What AdamW keeps of a weight."""


def share_out(sizes: Sequence[int], shares: int) -> list[int]:
    """The owner of each thing, so that owners have about equally much: the largest first."""
    owners, load = [0] * len(sizes), [0] * shares
    for number in sorted(range(len(sizes)), key=lambda k: -sizes[k]):
        owners[number] = load.index(min(load))
        load[owners[number]] += sizes[number]
    return owners


class Shares:
    """Who moves which weight.

    :param parameters: in an order that is the same in all processes.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        owners = share_out([one.numel() for one in parameters], processes.world())
        self._parameters = list(parameters)
        self._owner = {id(one): owner for one, owner in zip(parameters, owners, strict=True)}

    def owns(self, parameter: nn.Parameter) -> bool:
        """Whether this process moves it."""
        return self._owner[id(parameter)] == processes.rank()

    def spread(self, moved: Sequence[nn.Parameter]) -> None:
        """Give every process the weights that their owners have moved."""
        if processes.world() > 1:
            for parameter in moved:
                distributed.broadcast(parameter.detach(), self._owner[id(parameter)])

    def gather(self, state: Mapping[Any, Tensors]) -> dict[nn.Parameter, Tensors]:
        """The state of all weights, in the first process; in the others, nothing.

        :param state: the optimizer's own.
        """
        mine = processes.rank()
        there = [float(one in state) for one in self._parameters]
        found: dict[nn.Parameter, Tensors] = {}
        for parameter, has in zip(self._parameters, processes.add_up(*there), strict=True):
            owner = self._owner[id(parameter)]
            if not has:
                continue
            if owner == mine == 0:
                found[parameter] = state[parameter]
            elif owner == mine:
                for moment in MOMENTS:
                    distributed.send(state[parameter][moment], 0)
            elif mine == 0:
                found[parameter] = {
                    moment: torch.zeros((), device=parameter.device)
                    if moment == "step"
                    else torch.zeros_like(parameter.detach())
                    for moment in MOMENTS
                }
                for moment in MOMENTS:
                    distributed.recv(found[parameter][moment], owner)
        return found
