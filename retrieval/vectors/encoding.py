"""Sentences to vectors, with the number of the sentence in whatever goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from bitext.errors import InputError, TooLongError, UnknownNameError, choose_from
from encoders.pooling import SENTENCE_POOLINGS
from retrieval.vectors.files import Rows
from retrieval.vectors.manifest import Space

if TYPE_CHECKING:
    from encoders.encoder import Encoder

CHUNK = 1024
"""Sentences encoded at once, so that a file of any size takes the same memory."""

Progress = Callable[[int], None]
Item = TypeVar("Item")


def chunks(items: Iterable[Item], size: int = CHUNK) -> Iterator[list[Item]]:
    """``items`` in lists of ``size``, the last one shorter."""
    items = iter(items)
    while chunk := list(islice(items, size)):
        yield chunk


def space_of(
    encoder: Encoder,
    layer: int | None,
    pooling: str | None,
    *,
    prefix: str | None = None,
    centre: str | None = None,
) -> Space:
    """Where the sentence vectors of ``encoder`` come from.

    :param layer: ``None`` for the model's preset; so ``pooling`` and ``prefix``.
    :raises UnknownNameError: if layer or pooling does not exist.
    """
    if pooling is None:
        pooling = encoder.preset.retrieval.pooling
    if prefix is None:
        prefix = encoder.preset.retrieval.prefix
    if pooling not in SENTENCE_POOLINGS:
        raise UnknownNameError(choose_from("pooling", pooling, SENTENCE_POOLINGS))
    return Space(
        model=encoder.name,
        fingerprint=encoder.fingerprint,
        revision=encoder.revision,
        layer=encoder.check_layer(layer, "retrieval"),
        pooling=pooling,
        prefix=prefix,
        centre=centre,
    )


def is_preset(encoder: Encoder, space: Space) -> bool:
    """Whether vectors are made as the model's preset says.

    Its centring and its threshold were measured with such vectors, and say nothing of others.
    """
    own = space_of(encoder, None, None)
    names = ("layer", "pooling", "prefix")
    return all(getattr(space, name) == getattr(own, name) for name in names)


def centring_of(
    encoder: Encoder, layer: int | None, pooling: str | None, centring: bool | None
) -> bool:
    """``centring``; without one, what suits the model.

    :param layer: ``None`` for the model's preset; so ``pooling``.
    """
    if centring is not None:
        return centring
    preset = encoder.preset.retrieval
    return preset.centred and is_preset(encoder, space_of(encoder, layer, pooling))


def encode(
    encoder: Encoder,
    texts: Sequence[str],
    space: Space,
    *,
    too_long: str = "error",
    what: str = "sentence",
    before: int = 0,
    progress: Progress | None = None,
) -> Rows:
    """The unit vectors of ``texts``, not centred, shape (len(texts), dim).

    :param before: how many sentences came before these, for the number in a message.
    :raises TooLongError: if a sentence has more pieces than the model takes.
    """
    try:
        return encoder.sentences(
            texts,
            layer=space.layer,
            pooling=space.pooling,
            prefix=space.prefix,
            too_long=too_long,
            progress=progress,
        )
    except TooLongError as error:
        number = before + error.sentence
        raise TooLongError(error.reason, sentence=number, name=f"{what} {number + 1}") from None


class NothingThereError(InputError):
    """A sentence without pieces: nothing resembles it."""


def check_directions(
    vectors: Rows, texts: Sequence[str], *, what: str = "sentence", before: int = 0
) -> None:
    """:raises NothingThereError: if a sentence has no pieces."""
    empty = np.flatnonzero(~vectors.any(axis=1)).tolist()
    if empty:
        number, text = before + empty[0] + 1, texts[empty[0]][:40]
        raise NothingThereError(f"{what} {number} ({text!r}) has nothing in it to compare")
