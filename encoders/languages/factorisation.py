"""A vocabulary for an unseen script, learnt in the space that a model's embeddings already span.

"UNKs everywhere" (Pfeiffer et al., 2021): the embedding matrix ``X`` is factorised, ``X ~ F G``.
``G``, shape (rank, dim), holds what embeddings have in common; ``F``, shape (pieces, rank), what is
a piece's own. A new language keeps ``G`` and learns rows ``F'`` for its pieces: ``rank`` numbers
a piece instead of ``dim``, which little text can teach. Pieces that both vocabularies have (digits,
punctuation, names) keep their rows; the others begin at random.

The factorisation is the paper's, semi-NMF with one ``G`` for all pieces (its ``MF1``); its variants
with one ``G`` a cluster are not here. Two things differ. Known pieces are not trained further; and
by default they keep what the factorisation does not explain of them, ``X - F G``, so that for old
text the model is what it was.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import nn

from bitext.errors import InputError, MismatchError
from encoders.checkpoint import quietly

EPSILON = 1e-9
CHUNK = 16384  # rows in double precision at a time


class Factors(NamedTuple):
    """What is a piece's own, and what embeddings have in common."""

    own: torch.Tensor
    """``F``, shape (pieces, rank)."""
    shared: torch.Tensor
    """``G``, shape (rank, dim), not negative."""


def factorise(embeddings: torch.Tensor, *, rank: int, iterations: int = 100) -> Factors:
    """Semi-NMF (Ding et al., 2010): ``X ~ F G`` with ``G >= 0`` and the squared error small.

    It begins from the truncated SVD of rank ``rank - 1``, made not negative by one direction more
    (Gillis and Kumar, 2015), so it is never worse than that and a matrix of lower rank is exact.
    Each iteration is one of Ding et al.: ``F`` by least squares, then ``G`` by their multiplicative
    rule, which lowers the error. Nothing is random.

    :param embeddings: shape (pieces, dim).
    :raises InputError: if the rank is not from 2 to the smaller side of the matrix.
    """
    if not 2 <= rank <= min(embeddings.shape):
        raise InputError(
            f"rank {rank} does not suit embeddings of {len(embeddings)} pieces and dim "
            f"{embeddings.shape[1]}; choose one from 2 to {min(embeddings.shape)}"
        )
    # the rules read the embeddings by their products alone, so that an iteration's cost does not
    # depend on the number of pieces
    gram = _products(embeddings.detach())
    shared = _start(gram, rank)
    for _ in range(iterations):
        solve = torch.linalg.pinv(shared @ shared.T) @ shared  # F = X solve^T
        cross = solve @ gram  # F^T X
        square = cross @ solve.T  # F^T F
        up = cross.clamp(min=0) + (-square).clamp(min=0) @ shared
        down = (-cross).clamp(min=0) + square.clamp(min=0) @ shared
        shared = shared * ((up + EPSILON) / (down + EPSILON)).sqrt()
    back = torch.linalg.pinv(shared).to(embeddings)
    return Factors(embeddings.detach() @ back, shared.to(embeddings))


def _products(table: torch.Tensor) -> torch.Tensor:
    """``X^T X`` in double precision, which ``X`` itself may be too large for; shape (dim, dim)."""
    gram = torch.zeros(table.shape[1], table.shape[1], dtype=torch.float64)
    for chunk in torch.split(table, CHUNK):
        rows = chunk.double().cpu()
        gram += rows.T @ rows
    return gram


def _start(gram: torch.Tensor, rank: int) -> torch.Tensor:
    """``G`` of the SVD start, not negative, shape (rank, dim).

    If ``X ~ A B``, then also ``X ~ [A, -A 1] ([B; 0] + 1 s)`` for any row ``s``; one that is large
    enough makes the right factor positive. Zeros would stay zeros under the multiplicative rule.
    """
    _, vectors = torch.linalg.eigh(gram)
    directions = torch.zeros(rank, len(gram), dtype=gram.dtype)
    directions[:-1] = vectors.flip(1).T[: rank - 1]
    lift = (-directions.amin(0)).clamp(min=0) + directions.abs().mean()
    return directions + lift


class FactorisedEmbedding(nn.Module):
    """An embedding whose row ``i`` is ``F'[i] G + residual[i]``; only new rows of ``F'`` learn.

    :param factors: ``F'``, shape (pieces, rank), and ``G``.
    :param new: which pieces are new, boolean, shape (pieces,).
    :param residual: what known pieces keep beside their factors, shape (pieces, dim).
    """

    factors: torch.Tensor
    shared: torch.Tensor
    ids: torch.Tensor
    place: torch.Tensor
    residual: torch.Tensor | None

    def __init__(
        self, factors: Factors, new: torch.Tensor, residual: torch.Tensor | None = None
    ) -> None:
        super().__init__()
        ids = new.nonzero().flatten()
        place = torch.full((len(new),), -1, dtype=torch.long)
        place[ids] = torch.arange(len(ids))
        self.register_buffer("factors", factors.own.detach().clone())
        self.register_buffer("shared", factors.shared.detach().clone())
        self.register_buffer("ids", ids)
        self.register_buffer("place", place)
        self.register_buffer("residual", residual)
        self.new = nn.Parameter(factors.own[ids].detach().clone())

    @property
    def weight(self) -> torch.Tensor:
        """The whole embedding matrix, shape (pieces, dim)."""
        table = self.factors.index_copy(0, self.ids, self.new) @ self.shared
        return table if self.residual is None else table + self.residual

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """:return: shape (*the shape of ids*, dim)."""
        place = self.place[ids]
        own = torch.where(
            (place >= 0)[..., None],
            nn.functional.embedding(place.clamp(min=0), self.new),
            nn.functional.embedding(ids, self.factors),
        )
        rows = own @ self.shared
        if self.residual is None:
            return rows
        return rows + nn.functional.embedding(ids, self.residual)


class FactorisedOutput(nn.Module):
    """The output matrix that is tied to a :class:`FactorisedEmbedding`.

    :param bias: of every piece, shape (pieces,); it learns.
    """

    def __init__(self, embedding: FactorisedEmbedding, bias: torch.Tensor | None) -> None:
        super().__init__()
        self._embedding = (embedding,)  # in a tuple, so that its parameters are counted once
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """:return: one score a piece, shape (..., pieces)."""
        return nn.functional.linear(states, self._embedding[0].weight, self.bias)


def factorise_model(
    model: Any,
    old_tokenizer: Any,
    new_tokenizer: Any,
    *,
    rank: int = 100,
    iterations: int = 100,
    exact: bool = True,
    seed: int = 1,
) -> FactorisedEmbedding:
    """Put a factorised embedding of the new vocabulary in the place of the model's embedding.

    The new tokenizer may be quite another one, or the old one with more pieces. Train the result's
    one parameter (and what else of the model shall learn), then :func:`merge`. Both put in
    another embedding module: an adapter is added after this, and removed before the merge.

    :param rank: the paper takes 100 for models of dim 768.
    :param exact: known pieces keep their old embeddings to the last digit, not ``F G``.
    :param seed: of the new rows, drawn with the mean and deviation of the known ones' coordinates.
    :raises InputError: if the model has an output matrix that is not its embedding matrix, or the
        new tokenizer has no new piece.
    :raises MismatchError: if the old tokenizer has ids that the model has no row for.
    """
    table = model.get_input_embeddings().weight.detach()
    output = model.get_output_embeddings()
    if output is not None and output.weight.data_ptr() != table.data_ptr():
        raise InputError("a model with an output matrix of its own cannot be factorised")
    sources = _shared_pieces(old_tokenizer, new_tokenizer)
    if int(sources.max()) >= len(table):
        raise MismatchError(
            f"the tokenizer has ids up to {int(sources.max())}, and the model {len(table)} rows"
        )
    new, known = sources < 0, sources.clamp(min=0).to(table.device)
    if not new.any():
        raise InputError("the new vocabulary has no piece that the old one lacks")
    factors = factorise(table, rank=rank, iterations=iterations)
    own = factors.own[known]
    own[new] = _draw(factors.own, int(new.sum()), seed)
    residual = None
    if exact:
        residual = table[known] - own @ factors.shared
        residual[new] = 0
    embedding = FactorisedEmbedding(Factors(own, factors.shared), new, residual).to(table.device)
    _replace(model, embedding, _biases(output, known, new), len(sources))
    return embedding


def merge(model: Any) -> None:
    """Write ``F' G`` back as an ordinary embedding matrix, tied to the output where it was.

    :raises InputError: if the model has no factorised embedding.
    """
    embedding = model.get_input_embeddings()
    if not isinstance(embedding, FactorisedEmbedding):
        raise InputError("the model has no factorised embedding to merge")
    weight = embedding.weight.detach().clone()
    model.set_input_embeddings(nn.Embedding(len(weight), weight.shape[1], _weight=weight))
    output = model.get_output_embeddings()
    if isinstance(output, FactorisedOutput):
        plain = nn.Linear(weight.shape[1], len(weight), bias=output.bias is not None)
        if output.bias is not None:
            plain.bias = nn.Parameter(output.bias.detach().clone())
        _set_output(model, plain.to(weight))
        with quietly():
            model.tie_weights()


def _shared_pieces(old_tokenizer: Any, new_tokenizer: Any) -> torch.Tensor:
    """For each new id the old id of the same piece, or -1, shape (new ids,)."""
    old, new = old_tokenizer.get_vocab(), new_tokenizer.get_vocab()
    sources = torch.full((max(new.values()) + 1,), -1, dtype=torch.long)
    for piece, number in new.items():
        sources[number] = old.get(piece, -1)
    for role, piece in new_tokenizer.special_tokens_map.items():
        # "[MASK]" may be called "<mask>" there
        if isinstance(piece, str) and getattr(old_tokenizer, role, None) is not None:
            sources[new[piece]] = old[getattr(old_tokenizer, role)]
    return sources


def _draw(own: torch.Tensor, count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, own.shape[1], generator=generator).to(own)
    return own.mean(0) + own.std(0) * normal


def _biases(output: Any, known: torch.Tensor, new: torch.Tensor) -> torch.Tensor | None:
    """Known pieces keep their output bias, new ones begin at the mean."""
    if output is None or output.bias is None:
        return None
    old: torch.Tensor = output.bias.detach()
    biases = old[known].clone()
    biases[new] = old.mean()
    return biases


def _replace(
    model: Any, embedding: FactorisedEmbedding, bias: torch.Tensor | None, pieces: int
) -> None:
    model.set_input_embeddings(embedding)
    if model.get_output_embeddings() is not None:
        _set_output(model, FactorisedOutput(embedding, bias))
    model.config.vocab_size = pieces


def _set_output(model: Any, output: FactorisedOutput | nn.Linear) -> None:
    """Heads keep their bias a second time, in the module around the output matrix."""
    before = model.get_output_embeddings()
    for module in model.modules():
        if before in module.children() and isinstance(getattr(module, "bias", None), nn.Parameter):
            module.bias = output.bias
    model.set_output_embeddings(output)
