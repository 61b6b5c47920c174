"""Whether a model does what an objective relies on: better asked before training than assumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from bitext.errors import InputError
from encoders.objectives.network import Network
from encoders.objectives.step import Step
from encoders.training.batches import Batch


def check_masks(network: Network) -> None:
    """See that a piece can be kept from looking at another.

    Two inputs differ in their last piece, which only that piece may look at: the others' hidden
    states must be the same.

    :raises InputError: if the model fails at such a mask, or pays no attention to it.
    """
    special = network.special
    pieces = torch.arange(special.vocabulary)
    first, second = pieces[~special.are(pieces)][:2].tolist()
    ids = torch.tensor([[special.begin, first, first], [special.begin, first, second]])
    left = torch.ones(2, 3, 3, dtype=torch.bool).tril()
    step = Step(_nothing(), network, torch.Generator())
    try:
        with torch.no_grad(), without_dropout(network.model):
            states = step.encode(ids, attention=left)[network.layers][:, :2].float()
        kept = torch.allclose(states[0], states[1], rtol=1e-3, atol=1e-3)
    except (AssertionError, RuntimeError, TypeError, ValueError):
        kept = False
    if not kept:
        kind = getattr(network.model.config, "model_type", type(network.model).__name__)
        raise InputError(
            f"a {kind} model does not let pieces be hidden from each other, as clm, camlm and "
            "btmlm need"
        )


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """Leaves the model in the mode in which it came."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _nothing() -> Batch:
    side, keys = np.zeros((0, 0), dtype=np.int64), np.zeros(0, dtype=np.int64)
    links = np.zeros((0, 3), dtype=np.int64)
    return Batch(side, side, side, side, side, side, links, keys.astype(np.float32), keys, keys)
