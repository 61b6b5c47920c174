"""The nearest targets of every source and the nearest sources of every target, from one product.

Exact, and independent of how the work is cut. Each tile of the table of cosines is multiplied once,
in bfloat16 where that is fast. How far such a product may be off is bounded by the rounding that
took place, so a cell below the worst cosine kept of its row, and of its column, by more than that
is left (:mod:`retrieval.mining.tiled_search`, :mod:`retrieval.mining.tiles`). The few
others are computed again in float64 and rounded to float32. These scores alone decide, and of equal
ones the smaller id is nearer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from bitext.errors import InputError, MismatchError, UnknownNameError, choose_from
from bitext.types import Neighbours
from encoders.precision import multiplies_bfloat16
from retrieval.mining.interruption import Interruption
from retrieval.mining.sides import RowTable
from retrieval.mining.tiled_search import TiledSearch

MEMORY = 64 * 2**20
"""Bytes that a tile and the rows behind it may take, besides the results."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Dtype = Literal["auto", "float32", "bfloat16"]


class BothWays(NamedTuple):
    """Of each source its nearest targets (``forward``), of each target its nearest sources."""

    forward: Neighbours
    backward: Neighbours


def nearest_both_ways(
    source: RowTable,
    target: RowTable,
    k: int,
    *,
    dtype: Dtype = "auto",
    device: str = "cpu",
    memory: int = MEMORY,
    checkpoint: Path | None = None,
    identity: str = "",
    progress: Callable[[int], None] | None = None,
) -> BothWays:
    """The ``k`` nearest of each source among the targets, and of each target among the sources.

    :param source: shape (sources, dim); a row of zeros has cosine 0 with everything.
    :param target: shape (targets, dim).
    :param k: cut to the vectors there are on the other side.
    :param dtype: of the product; it changes how long the search takes, never what it finds.
        ``auto`` is bfloat16 where the device has instructions for it.
    :param memory: bytes for tiles and the rows behind them.
    :param checkpoint: a folder in which the search leaves, now and then, how far it has come. If it
        holds some of the same search, that is gone on with. It stays there at the end, until
        :func:`retrieval.mining.interruption.discard`.
    :param identity: what tells these vectors from others, such as both checksums.
    :param progress: told how many more sources are done.
    :raises InputError: if the vectors are not such rows, ``k`` is less than 1, or the checkpoint
        cannot be read.
    :raises UnknownNameError: if there is no such ``dtype``.
    :raises MismatchError: if the dims differ, or the checkpoint is of another search.
    """
    check_sides(source, target, k)
    place = torch.device(device)
    search = TiledSearch(source, target, k, _resolve(dtype, place), place, memory)
    tell = progress or (lambda more: None)
    interruption = Interruption(checkpoint, identity, search.forward, search.backward)
    done = interruption.load()
    tell(done)
    with _full_sums():
        while done < source.shape[0] and target.shape[0]:
            more = search.strip(done)
            done += more
            tell(more)
            interruption.save_now_and_then(done)
    search.finish()
    return BothWays(search.forward.neighbours(), search.backward.neighbours())


def check_sides(source: RowTable, target: RowTable, k: int) -> None:
    """Whether the two are tables of one dim.

    :raises InputError: if one is no table, or ``k`` is less than 1.
    :raises MismatchError: if the dims differ.
    """
    if k < 1:
        raise InputError(f"k must be at least 1, got {k}")
    for name, vectors in (("source", source), ("target", target)):
        if len(vectors.shape) != 2:
            raise InputError(f"the {name} vectors must be rows of a table, got {vectors.shape}")
    if source.shape[1] != target.shape[1]:
        raise MismatchError(
            f"source vectors of dim {source.shape[1]}, target vectors of dim {target.shape[1]}"
        )


def _resolve(dtype: str, device: torch.device) -> torch.dtype:
    if dtype == "auto":
        dtype = "bfloat16" if multiplies_bfloat16(device) else "float32"
    if dtype not in DTYPES:
        raise UnknownNameError(choose_from("dtype", dtype, ["auto", *DTYPES]))
    return DTYPES[dtype]


@contextmanager
def _full_sums() -> Iterator[None]:
    """Let torch sum products in float32 while the block runs: the bound on errors counts on it."""
    matmul = torch.backends.cuda.matmul
    reduced = matmul.allow_bf16_reduced_precision_reduction
    precision = torch.get_float32_matmul_precision()
    matmul.allow_bf16_reduced_precision_reduction = False
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = reduced
        torch.set_float32_matmul_precision(precision)
