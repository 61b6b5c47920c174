"""Which pieces may come next, and which of them are best or drawn.

Logits have shape (sentences, beams, vocabulary); large vocabularies are passed over as few times as
can be, as each pass costs as much as a layer of a small model.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

_BLOCK = 64
_ALL_BELOW = 4096
"""A row of fewer numbers is sorted as it is."""


def forbid(logits: Tensor, pieces: Sequence[int]) -> None:
    """Set the logits of ``pieces`` to minus infinity, in place."""
    if pieces:
        logits[..., list(pieces)] = -torch.inf


def forbid_repeats(logits: Tensor, written: Tensor, size: int) -> None:
    """Forbid, in place, each piece that would end a run of ``size`` pieces for the second time.

    :param written: the pieces so far, with those the decoder was given; shape (sentences, beams,
        length).

    Example: size = 2, written = 5 6 7 5 -> 6 is forbidden, as 5 6 stands there already.
    """
    if written.shape[2] < size:
        return
    runs = written.unfold(2, size, 1)
    same = (runs[..., :-1] == written[:, :, None, written.shape[2] - size + 1 :]).all(dim=3)
    sentence, beam, run = same.nonzero(as_tuple=True)
    logits[sentence, beam, runs[sentence, beam, run, -1]] = -torch.inf


def best(log_probs: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The ``k`` best of each row, best first, and where they are.

    Of each 64 numbers the largest is looked at first: the ``k`` best lie in the ``k`` blocks with
    the largest ones. That is one fast pass instead of a slow one.

    :param log_probs: shape (rows, n), n at least ``k``.
    :return: both of shape (rows, k).
    """
    rows, n = log_probs.shape
    if n < _ALL_BELOW or n < 2 * k * _BLOCK:
        values, places = log_probs.topk(k, dim=1)
        return values, places
    whole = n // _BLOCK * _BLOCK
    largest = log_probs[:, :whole].view(rows, -1, _BLOCK).amax(dim=2)
    blocks = largest.topk(k, dim=1).indices
    inside = torch.arange(_BLOCK, device=log_probs.device)
    places = (blocks[..., None] * _BLOCK + inside).flatten(1)
    rest = torch.arange(whole, n, device=log_probs.device)
    places = torch.cat([places, rest.expand(rows, -1)], dim=1)
    values, order = log_probs.gather(1, places).topk(k, dim=1)
    return values, places.gather(1, order)


def drawn(logits: Tensor, uniform: Tensor, *, top_k: int, top_p: float) -> Tensor:
    """Draw a piece a row, by where a number falls on the sum of the probabilities.

    The same numbers give the same pieces, whatever else is in the batch. Of the pieces, the
    ``top_k`` likeliest take part (0: all), and of these the fewest that make up ``top_p``
    (Holtzman et al., 2020).

    :param logits: shape (rows, vocabulary).
    :param uniform: float64 in [0, 1), shape (rows,).
    :return: int64, shape (rows,).
    """
    places: Tensor | None = None
    if top_k or top_p < 1:
        k = min(top_k or logits.shape[1], logits.shape[1])
        logits, places = logits.topk(k, dim=1)
    shares = logits.double().softmax(dim=1)
    sums = shares.cumsum(dim=1)
    if top_p < 1:
        shares = shares.masked_fill(sums - shares >= top_p, 0)
        sums = shares.cumsum(dim=1)
    aim = uniform[:, None] * sums[:, -1:]
    # the first piece whose sum is above the aim; rounding must not lead past the last one
    place = torch.searchsorted(sums, aim, right=True)
    last = (shares > 0).long().cumsum(dim=1).argmax(dim=1, keepdim=True)
    place = torch.minimum(place, last)
    return (place if places is None else places.gather(1, place)).squeeze(1)
