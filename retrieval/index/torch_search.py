"""Exact search by matrix products of torch, on any device: the same code on a GPU and without one.

What is found here are candidates, with scores in float32 as the device rounds them;
:mod:`retrieval.index.exact` computes their cosines again.
"""

from __future__ import annotations

import numpy as np
import torch

from bitext.errors import InputError
from retrieval.index.slots import Ids, Mask
from retrieval.vectors.files import Rows

TILE_ROWS = 2**17
"""Rows that one matrix product takes at most, and one upload."""
TILE_BYTES = 256 * 2**20
"""Memory for the scores of one matrix product."""


def torch_device(name: str) -> torch.device:
    """The device called ``torch`` (the processor), ``cuda``, ``cuda:1`` or as torch calls it.

    :raises InputError: if it is not there.
    """
    try:
        device = torch.device("cpu" if name == "torch" else name)
    except RuntimeError as error:
        raise InputError(
            f"unknown device '{name}'; choose one of: cpu, torch, cuda, cuda:1, ..."
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        seen = torch.cuda.device_count()
        raise InputError(
            f"device '{name}' is not there: torch {torch.__version__} sees {seen} GPUs"
        )
    return device


class TorchSearch:
    """A copy of an index's rows on a device, in tiles; on the processor no copy, a view."""

    def __init__(self, device: str) -> None:
        """:raises InputError: if there is no such device."""
        self._device = torch_device(device)
        self._tiles: list[torch.Tensor] = []

    def take(self, rows: Rows, same: int = 0) -> None:
        """Search ``rows`` from now on, shape (count, dim).

        :param same: of how many at the start nothing has changed since the last call.
        """
        whole = same // TILE_ROWS if self._device.type != "cpu" else 0
        self._tiles = self._tiles[:whole]
        for start in range(whole * TILE_ROWS, len(rows), TILE_ROWS):
            tile = torch.from_numpy(rows[start : start + TILE_ROWS])
            self._tiles.append(tile.to(self._device))

    @torch.inference_mode()
    def nearest(self, queries: Rows, k: int, allowed: Mask | None = None) -> tuple[Rows, Ids]:
        """Rounded scores and rows of the best ``k``, both of shape (queries, k), best first.

        :param allowed: which rows may be found, ``k`` at least; ``None`` for all.
        """
        scores = np.empty((len(queries), k), np.float32)
        found = np.empty((len(queries), k), np.int64)
        batch = max(1, TILE_BYTES // (4 * TILE_ROWS))
        for start in range(0, len(queries), batch):
            part = slice(start, start + batch)
            moved = torch.from_numpy(queries[part]).to(self._device)
            best, rows = self._nearest(moved, k, allowed)
            scores[part], found[part] = best.cpu().numpy(), rows.cpu().numpy()
        return scores, found

    def _nearest(
        self, queries: torch.Tensor, k: int, allowed: Mask | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same for queries on the device: the best so far meet those of each tile."""
        best = queries.new_empty((len(queries), 0))
        rows = best.long()
        first = 0
        for tile in self._tiles:
            scores = queries @ tile.T
            if allowed is not None:
                here = torch.from_numpy(~allowed[first : first + len(tile)]).to(self._device)
                scores.masked_fill_(here, -torch.inf)
            own, places = scores.topk(min(k, len(tile)), dim=1)
            best = torch.cat([best, own], dim=1)
            rows = torch.cat([rows, places + first], dim=1)
            best, order = best.topk(min(k, best.shape[1]), dim=1)
            rows = rows.gather(1, order)
            first += len(tile)
        return best, rows
