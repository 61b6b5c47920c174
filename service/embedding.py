"""Texts to vectors, in the shape that OpenAI's clients speak."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from bitext.errors import InputError
from service.schemas.embeddings import Embedding, EmbeddingsRequest, EmbeddingsResponse, Usage

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from retrieval.vectors.files import Rows

DIGITS = 9
"""Decimals of a number in an answer; base64 has all there is."""


def embed(request: EmbeddingsRequest, encoder: Encoder) -> EmbeddingsResponse:
    """Unit vectors of the texts of ``request``, in order.

    :raises InputError: if other dimensions are asked for, or a text has nothing in it.
    :raises TooLongError: if a text has more pieces than the model takes, and may not.
    """
    from retrieval.vectors.encoding import check_directions, encode, space_of

    _check_dimensions(request.dimensions, encoder)
    texts = request.each()
    space = space_of(encoder, request.layer, request.pooling, prefix=request.prefix)
    vectors = encode(encoder, texts, space, too_long=request.too_long, what="input")
    check_directions(vectors, texts, what="input")
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


def _in_numbers(vectors: Rows) -> list[list[float]]:
    numbers: list[list[float]] = vectors.astype("f8").round(DIGITS).tolist()
    return numbers


def _in_base64(vectors: Rows) -> list[str]:
    return [base64.b64encode(row.astype("<f4").tobytes()).decode("ascii") for row in vectors]
