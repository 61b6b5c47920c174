"""Texts to vectors, in the shape that OpenAI's clients speak."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bitext.errors import InputError
from service.schemas.embeddings import Embedding, EmbeddingsRequest, EmbeddingsResponse, Usage

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from retrieval.vectors.files import Rows
    from retrieval.vectors.manifest import Space

DIGITS = 9
"""Decimals of a number in an answer; base64 has all there is."""


def embed(request: EmbeddingsRequest, encoder: Encoder) -> EmbeddingsResponse:
    """Unit vectors of the texts of ``request``, in order.

    :raises InputError: if other dimensions are asked for, a text has nothing in it, or there are
        too few of a language to centre them.
    :raises UnknownNameError: if there is no such pooling, layer or centring.
    :raises TooLongError: if a text has more pieces than the model takes, and may not.
    """
    from retrieval.vectors.encoding import check_directions, encode, space_of

    _check_dimensions(request.dimensions, encoder)
    texts = request.each()
    _check_languages(request)
    space = space_of(encoder, request.layer, request.pooling, prefix=request.prefix)
    vectors = encode(encoder, texts, space, too_long=request.too_long, what="input")
    check_directions(vectors, texts, what="input")
    if request.centring is not None:
        vectors = _centred(vectors, request.centring, _languages(request), space, encoder.dim)
    tokens = sum(encoder.sentence_piece_counts(texts, prefix=space.prefix))
    written = _in_base64(vectors) if request.encoding_format == "base64" else _in_numbers(vectors)
    return EmbeddingsResponse(
        data=[Embedding(index=i, embedding=vector) for i, vector in enumerate(written)],
        model=encoder.name,
        usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
    )


def _check_dimensions(dimensions: int | None, encoder: Encoder) -> None:
    if dimensions not in (None, encoder.dim):
        raise InputError(
            f"field 'dimensions': vectors of model '{encoder.name}' have {encoder.dim} and are not "
            f"cut, got {dimensions}"
        )


def _check_languages(request: EmbeddingsRequest) -> None:
    if request.languages is None:
        return
    if request.centring is None:
        raise InputError("field 'languages' is for 'centring', which is not asked for")
    texts = len(request.each())
    if len(request.languages) != texts:
        raise InputError(
            f"field 'languages': expected one for each of the {texts} texts, got "
            f"{len(request.languages)}"
        )


def _languages(request: EmbeddingsRequest) -> list[str]:
    return request.languages or ["texts"] * len(request.each())


def _centred(vectors: Rows, kind: str, languages: Sequence[str], space: Space, dim: int) -> Rows:
    """Vectors without what those of their language have in common, by what these texts show."""
    from retrieval.vectors.centring import fit_centring

    of = np.array(languages)
    rows = {language: np.flatnonzero(of == language) for language in dict.fromkeys(languages)}
    blocks = {language: [vectors[own]] for language, own in rows.items()}
    centring = fit_centring(kind, blocks, space, dim=dim)
    centred = np.empty_like(vectors)
    for language, own in rows.items():
        centred[own] = centring.apply(vectors[own], language)
    return centred


def _in_numbers(vectors: Rows) -> list[list[float]]:
    numbers: list[list[float]] = vectors.astype("f8").round(DIGITS).tolist()
    return numbers


def _in_base64(vectors: Rows) -> list[str]:
    return [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in vectors]
