"""The neighbours both ways on disk: numbers without a header of ours, and a hash of what they are.

forward.scores.npy, forward.ids.npy, backward.scores.npy, backward.ids.npy
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bitext.errors import InputError
from bitext.text import atomic_folder
from bitext.types import Neighbours
from retrieval.mining.neighbours import BothWays

_MARKER = "forward.scores.npy"


def save_both_ways(folder: Path, both: BothWays) -> None:
    """Write ``folder``, which appears when it is whole."""
    with atomic_folder(folder, marker=_MARKER) as new:
        for way, found in both._asdict().items():
            for part, numbers in found._asdict().items():
                np.save(new / f"{way}.{part}.npy", numbers, allow_pickle=False)


def load_both_ways(folder: Path) -> BothWays | None:
    """What :func:`save_both_ways` wrote, mapped into memory; ``None`` if it is not there.

    :raises InputError: if a file in it cannot be read.
    """
    if not folder.is_dir():
        return None
    try:
        return BothWays(*(_load(folder, way) for way in BothWays._fields))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {folder}, delete it to search again: {error}") from None


def _load(folder: Path, way: str) -> Neighbours:
    return Neighbours(
        *(
            np.load(folder / f"{way}.{part}.npy", mmap_mode="r", allow_pickle=False)
            for part in Neighbours._fields
        )
    )
