"""How near the sentences of a pair are, by a model's vectors: evidence for a pair that was made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from bitext.errors import UnknownNameError, choose_from
from bitext.types import SentencePair
from retrieval.filters.filters import sides
from retrieval.mining.margin import MARGINS
from retrieval.mining.miner import score_pairs
from retrieval.mining.sides import exact_cosines
from retrieval.vectors.encoding import encode, space_of

if TYPE_CHECKING:
    from encoders.encoder import Encoder


def similarity(
    encoder: Encoder, margin: str = "absolute", k: int = 4
) -> Callable[[Sequence[SentencePair]], list[float]]:
    """A function of pairs to their scores, larger is nearer.

    The vectors are those that the model's preset has for retrieval; long sentences are read in
    windows.

    :param margin: ``absolute`` is the cosine of each pair for itself. The others look at the
        neighbourhoods of its sentences among all pairs of the call, so that these should be some
        hundreds.
    :raises UnknownNameError: if there is no such margin.
    """
    if margin not in MARGINS:
        raise UnknownNameError(choose_from("margin", margin, MARGINS))
    space = space_of(encoder, None, None)

    def of(pairs: Sequence[SentencePair]) -> list[float]:
        if not pairs:
            return []
        texts = zip(*map(sides, pairs), strict=True)
        source, target = (encode(encoder, one, space, too_long="windows") for one in texts)
        if margin == "absolute":
            rows = np.arange(len(pairs))
            return [float(cosine) for cosine in exact_cosines(source, target, rows, rows)]
        return [float(score) for score in score_pairs(source, target, k=k, margin=margin)]

    return of
