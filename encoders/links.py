"""Links between the words of sentence pairs, in padded batches of torch tensors.

The rules are those of SimAlign's Argmax (Jalili Sabet et al., 2020) as :mod:`aligners` has them for
one pair at a time in numpy; here a batch of pairs is linked at once, on any device, while a model
is probed or trained. Masks are true where a unit is and false where a row or column is padding.
"""

from __future__ import annotations

import torch


def similarities(source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cosines moved to [0, 1]: ``(cos + 1) / 2``; a vector of zeros has 0.5 with every other.

    :param source: shape (pairs, m, dim).
    :param target: shape (pairs, n, dim).
    :return: shape (pairs, m, n).
    """
    cosines = _unit_rows(source) @ _unit_rows(target).transpose(1, 2)
    return (cosines + 1) / 2


def distort(
    similarity: torch.Tensor,
    source_mask: torch.Tensor,
    target_mask: torch.Tensor,
    distortion: float,
) -> torch.Tensor:
    """Lower each similarity by how far apart the two relative positions are.

    ``S_ij * (1 - distortion * (i / (m - 1) - j / (n - 1)) ** 2)`` with the pair's own lengths m and
    n; a pair with a side of fewer than two units stays as it is.

    :param similarity: shape (pairs, m, n).
    :param source_mask: true at units, which come before the padding, shape (pairs, m).
    :param target_mask: the same, shape (pairs, n).
    :param distortion: from 0, which changes nothing, to 1.
    :return: float64, unless ``distortion`` is 0.
    """
    if distortion == 0:
        return similarity
    vertical = _relative_positions(source_mask).unsqueeze(2)
    horizontal = _relative_positions(target_mask).unsqueeze(1)
    moved = (source_mask.sum(1) > 1) & (target_mask.sum(1) > 1)
    penalty = (horizontal - vertical) ** 2 * distortion
    return similarity * (1.0 - penalty * moved[:, None, None])


def mutual_argmax(
    similarity: torch.Tensor, source_mask: torch.Tensor, target_mask: torch.Tensor
) -> torch.Tensor:
    """Link the units that are each other's most similar one.

    Of equal similarities the one with the smaller index wins; padding is never linked.

    :param similarity: larger is closer, shape (pairs, m, n).
    :param source_mask: shape (pairs, m).
    :param target_mask: shape (pairs, n).
    :return: true at links, shape (pairs, m, n).
    """
    there = source_mask.unsqueeze(2) & target_mask.unsqueeze(1)
    if not there.numel():
        return there
    compared = similarity.masked_fill(~there, -torch.inf)
    # torch.argmax gives the first of equal values
    forward = torch.zeros_like(there).scatter_(2, compared.argmax(2, keepdim=True), True)
    backward = torch.zeros_like(there).scatter_(1, compared.argmax(1, keepdim=True), True)
    return forward & backward & there


def _relative_positions(mask: torch.Tensor) -> torch.Tensor:
    """0 for a side's first unit, 1 for its last one; float64, shape (pairs, units)."""
    positions = torch.arange(mask.shape[1], device=mask.device, dtype=torch.float64)
    return positions / (mask.sum(1, keepdim=True) - 1).clamp(min=1)


def mutual_probability(
    similarity: torch.Tensor,
    source_mask: torch.Tensor,
    target_mask: torch.Tensor,
    temperature: float,
) -> torch.Tensor:
    """How probable each link is in both directions together, as ``softmax`` of :mod:`aligners`.

    The root of the product of the softmax over row i and that over column j, of cosines divided by
    ``temperature``; 0 at padding.

    :param similarity: cosines moved to [0, 1], shape (pairs, m, n).
    :param source_mask: shape (pairs, m).
    :param target_mask: shape (pairs, n).
    """
    both = source_mask[:, :, None] & target_mask[:, None, :]
    logits = (2 * similarity.double() - 1) / temperature
    logits = logits.masked_fill(~both, torch.finfo(logits.dtype).min)
    return (logits.softmax(2) * logits.softmax(1)).sqrt() * both


def _unit_rows(vectors: torch.Tensor) -> torch.Tensor:
    norms = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    tiny = norms < 10 * torch.finfo(norms.dtype).eps
    rows: torch.Tensor = vectors / norms.masked_fill(tiny, 1)
    return rows
