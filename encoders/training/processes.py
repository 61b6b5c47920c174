"""Training over several processes (``torchrun``, ``accelerate launch``): who am I, add up, gather.

Every process holds the whole model. Of each step's batches it computes its share; gradients are
added up over all processes before the optimizer moves, so that the result is that of one process
which computes all of them (``Stage.accumulate`` says how many there are).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if _several() else 0


def world() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _several() else 1


@contextmanager
def together(device: torch.device) -> Iterator[None]:
    """Join the processes that a launcher started, if one did; leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def one_after_the_other() -> Iterator[None]:
    """The first process runs the block before the others, which find its files then."""
    if rank() > 0:
        distributed.barrier()
    yield
    if rank() == 0 and _several():
        distributed.barrier()


def any_process(flag: bool) -> bool:
    """Whether ``flag`` is set in at least one process; all must ask."""
    if not _several():
        return flag
    told = torch.tensor(int(flag), device=_device())
    distributed.all_reduce(told, distributed.ReduceOp.MAX)
    return bool(told)


def add_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each parameter's gradient by the sum over all processes.

    A parameter without a gradient counts as one of zeros, unless no process has one.
    """
    if not _several():
        return
    own = [p for p in parameters if p.requires_grad]
    has = torch.tensor([p.grad is not None for p in own], dtype=torch.int32, device=_device())
    distributed.all_reduce(has, distributed.ReduceOp.MAX)
    for parameter, there in zip(own, has.tolist(), strict=True):
        if there:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            distributed.all_reduce(parameter.grad)


def add_up(*numbers: float) -> tuple[Any, ...]:
    """Each number summed over all processes; whole numbers stay whole."""
    if not _several():
        return numbers
    told = torch.tensor(numbers, dtype=torch.float64)
    if distributed.get_backend() == "nccl":
        told = told.to(_device())
    distributed.all_reduce(told)
    sums = told.tolist()
    return tuple(type(own)(found) for own, found in zip(numbers, sums, strict=True))


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, in the order of the processes.

    :param rows: shape (own rows, dim); processes may have different numbers of rows.
    """
    if not _several():
        return rows
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(world())]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    most = max(int(count) for count in counts)
    padded = torch.zeros((most, *rows.shape[1:]), dtype=rows.dtype, device=rows.device)
    padded[: len(rows)] = rows
    everyones = [torch.zeros_like(padded) for _ in range(world())]
    distributed.all_gather(everyones, padded)
    return torch.cat([one[: int(n)] for one, n in zip(everyones, counts, strict=True)])


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _device() -> torch.device:
    cuda = distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
