"""Agreement of the two attention directions (AMBER; Hu et al., 2021): ``clwa``.

In ``<s> x </s> </s> y </s>`` a block's head ``h`` attends from ``x`` to ``y`` and back. Of its
attention only that across is kept and made to sum to 1 again: ``P`` (m x n) from the pieces of
``x`` to those of ``y``, ``Q`` (n x m) from ``y`` to ``x``. Then

    loss = 1 - mean_h trace(P_h Q_h) / min(m, n)

is 0 when every piece of the shorter sentence looks at one piece that looks back, and at nothing
else. Simplified: pieces stand for words; special pieces count on neither side.

``transformers`` gives attention probabilities only from its slow ``eager`` code, for all blocks and
after dropout. Here the model's attention function is replaced, once, by one that does the same
(``sdpa``) and, while this objective runs, also keeps the queries and keys of the last block it came
to. The cost is one forward pass of the joined pairs up to the chosen layer, and the scores of that
one block; other objectives pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from bitext.bounds import Size
from bitext.errors import InputError
from encoders.objectives.masked import join_pairs
from encoders.objectives.network import Network
from encoders.objectives.objective import Objective, ObjectiveSettings, Reads
from encoders.objectives.step import Step

_NAME = "sdpa_kept"


class AgreedAttentionSettings(ObjectiveSettings):
    layer: Size | None = None  # the block whose attention it is; the top one


class AgreedAttention(Objective[AgreedAttentionSettings]):
    """The loss above, a mean over heads and pairs.

    :raises InputError: if the model's attention cannot be read.
    """

    Settings = AgreedAttentionSettings
    reads: ClassVar[Reads] = "pairs"

    def __init__(self, settings: AgreedAttentionSettings, network: Network) -> None:
        super().__init__(settings, network)
        keep_attention(network.model)

    def forward(self, step: Step) -> torch.Tensor:
        ids, positions, sides = join_pairs(step)
        with keeping() as kept:
            step.encode(ids, frozenset({self.layer}), positions=positions)
        own = sides.masked_fill(step.special.are(ids), -1).to(step.device)
        return disagreement(raw_scores(*kept[0]), own)


def disagreement(scores: torch.Tensor, sides: torch.Tensor) -> torch.Tensor:
    """The loss of scores before their softmax.

    :param scores: from each piece to each, shape (rows, heads, length, length).
    :param sides: 0 at pieces of ``x``, 1 at those of ``y``, -1 elsewhere, shape (rows, length).
    """
    across = (sides[:, :, None] >= 0) & (sides[:, None, :] == 1 - sides[:, :, None])
    across = across[:, None]
    lowest = torch.finfo(torch.float32).min
    chances = scores.float().masked_fill(~across, lowest).softmax(-1) * across
    # P and Q lie in one matrix, so the trace is found twice
    agreed = (chances * chances.transpose(-1, -2)).sum((-1, -2)) / 2
    shorter = torch.minimum((sides == 0).sum(1), (sides == 1).sum(1)).clamp(min=1)
    return 1 - (agreed / shorter[:, None]).mean()


def keep_attention(model: Any) -> None:
    """Give the model the attention function that :func:`keeping` can listen to.

    :raises InputError: if it does not take one.
    """
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)
    if model.base_model.config._attn_implementation != _NAME:
        kind = getattr(model.config, "model_type", type(model).__name__)
        raise InputError(f"the attention of a {kind} model cannot be read, as clwa needs")


def raw_scores(query: torch.Tensor, key: torch.Tensor, scaling: float) -> torch.Tensor:
    """Scores before their softmax, float32, shape (rows, heads, length, length).

    :param query: shape (rows, heads, length, dim of a head); ``key`` likewise.
    """
    return (query.float() @ key.float().transpose(-1, -2)) * scaling


Kept = list[tuple[torch.Tensor, torch.Tensor, float]]
"""Queries, keys and scaling of the block that ran last; nothing before the first."""
_kept: ContextVar[Kept | None] = ContextVar("_kept", default=None)


@contextmanager
def keeping() -> Iterator[Kept]:
    """What is kept of the blocks that run inside it."""
    kept: Kept = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """``sdpa`` of ``transformers``, which is listened to where that is asked for."""
    kept = _kept.get()
    if kept is not None:
        # a model may have fewer heads of keys, each for several of queries
        shared = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
        kept[:] = [(query, shared, options.get("scaling") or query.shape[-1] ** -0.5)]
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
