"""Vectors of positions that tell near from far before anything is learned."""

from __future__ import annotations

import torch


def sinusoids(positions: int, dim: int) -> torch.Tensor:
    """Sine and cosine of each position at ``dim / 2`` wavelengths (Vaswani et al., 2017).

    Near positions have similar vectors, which gives words of the same place in two sentences a
    head start. Shape (positions, dim).
    """
    wavelengths = 10000 ** (torch.arange(0, dim, 2) / dim)
    angles = torch.arange(positions)[:, None] / wavelengths
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(positions, -1)[:, :dim]
