"""A stream of pairs, cut into pieces that are aligned together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from bitext.errors import InputError
from bitext.types import SentencePair

CHUNK_WORDS = 40_000
"""Words after which a chunk is full, so that long sentences do not fill the memory."""

_Item = TypeVar("_Item")


def chunked(
    items: Iterable[_Item], size: int, pair_of: Callable[[_Item], SentencePair]
) -> Iterator[list[_Item]]:
    """Lists of ``size`` items, or of fewer whose pairs have ``CHUNK_WORDS`` words.

    Of ``items`` no more is read than the list needs that is yielded.

    :raises InputError: if ``size`` is less than 1.
    """
    if size < 1:
        raise InputError(f"chunk must be at least 1, got {size}")
    chunk: list[_Item] = []
    words = 0
    for item in items:
        chunk.append(item)
        pair = pair_of(item)
        words += len(pair.source) + len(pair.target)
        if len(chunk) >= size or words >= CHUNK_WORDS:
            yield chunk
            chunk, words = [], 0
    if chunk:
        yield chunk
