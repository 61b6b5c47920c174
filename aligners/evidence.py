"""What other tasks ask of word alignment: its links, and how far two sentences' words translate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from aligners.aligner import Aligner
from bitext.segmentation import segment
from bitext.types import Alignment, SentencePair, Side

if TYPE_CHECKING:
    from encoders.encoder import Encoder


def coverage(encoder: Encoder) -> Callable[[Sequence[SentencePair]], list[float]]:
    """A function of pairs of raw text: how much of both sides is surely translated, 0 to 1.

    It is the score of a pair (:meth:`aligners.detail.PairDetail.score`), by the model's own method:
    the share of the words of both sides that have a link, each weighted by how near and how sure.
    Long sentences are read in windows.
    """
    aligner = Aligner(encoder, too_long="windows")

    def of(pairs: Sequence[SentencePair]) -> list[float]:
        split = [SentencePair(_words(pair.source), _words(pair.target)) for pair in pairs]
        details = aligner.details(split)
        return [detail.score(detail.alignments[aligner.method]) for detail in details]

    return of


def links(encoder: Encoder) -> Callable[[Sequence[SentencePair]], list[Alignment]]:
    """A function of pairs: their word links, by the model's own method."""
    aligner = Aligner(encoder, too_long="windows")

    def of(pairs: Sequence[SentencePair]) -> list[Alignment]:
        return aligner.align(pairs)

    return of


def _words(side: Side) -> list[str]:
    assert isinstance(side, str), "raw text"
    return [word.text for word in segment(side)]
