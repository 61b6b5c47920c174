"""From vectors of pieces to vectors of words and sentences.

A vector without direction (all zeros) stands for what has no pieces: an empty sentence, or a word
that the tokenizer drops. It stays zero through every function here.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

SENTENCE_POOLINGS = ("mean", "cls", "max")
WORD_POOLINGS = ("mean", "first", "last")

Vectors = NDArray[np.float32]


def pool_sentence(hidden: torch.Tensor, pieces: torch.Tensor, pooling: str) -> torch.Tensor:
    """One vector a sentence; special pieces count only for ``cls``.

    :param hidden: hidden states, shape (batch, length, dim).
    :param pieces: true at the sentence's own pieces, shape (batch, length).
    :param pooling: one of ``SENTENCE_POOLINGS``; ``cls`` takes the vector at position 0.
    :return: shape (batch, dim).
    """
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "max":
        return hidden.masked_fill(~pieces.unsqueeze(-1), -torch.inf).amax(1)
    weights = pieces.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def pool_words(vectors: Vectors, word_of: NDArray[np.int64], words: int, pooling: str) -> Vectors:
    """One vector a word; a word without pieces is a row of zeros.

    :param vectors: shape (pieces, dim).
    :param word_of: the word each piece belongs to, ascending, shape (pieces,).
    :param pooling: one of ``WORD_POOLINGS``.
    :return: shape (words, dim).
    """
    pooled = np.zeros((words, vectors.shape[1]), dtype=np.float32)
    if not len(word_of):
        return pooled
    starts = np.flatnonzero(np.diff(word_of, prepend=-1))
    present = word_of[starts]
    if pooling == "first":
        pooled[present] = vectors[starts]
    elif pooling == "last":
        pooled[present] = vectors[np.append(starts[1:], len(word_of)) - 1]
    else:
        counts = np.diff(np.append(starts, len(word_of)))
        pooled[present] = np.add.reduceat(vectors, starts, axis=0) / counts[:, None]
    return pooled


def normalise(vectors: Vectors) -> Vectors:
    """Rows of length 1; a row of zeros stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def centre(vectors: Vectors, mean: Vectors) -> Vectors:
    """Unit rows of ``vectors - mean``; a row of zeros stays zero.

    Taking away the mean of a language's sentences removes much of what tells languages apart
    (Libovický et al., 2020).
    """
    there = np.any(vectors != 0, axis=1, keepdims=True)
    return normalise(np.asarray(np.where(there, vectors - mean, 0), dtype=np.float32))
