"""Alignments of the pairs of a request, and what other requests need of an aligner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from bitext.types import Alignment, SentencePair
from service.limits import check_cells, check_words
from service.schemas.align import (
    AlignedPair,
    AlignRequest,
    AlignResponse,
    AlignSettings,
    Link,
    MethodAnswer,
    Side,
)

if TYPE_CHECKING:
    from aligners.aligner import Aligner
    from aligners.comparison import WordMatrix
    from aligners.detail import PairDetail
    from bitext.segmentation import Word
    from service.state import State

MATRICES = ("similarity", "forward", "backward")
"""The fields of an answer, and of a ``PairDetail``, that have a number for each two words."""


class Words(NamedTuple):
    """The words of one side and, of raw text, where they stand."""

    words: list[str]
    offsets: list[tuple[int, int]] | None

    @classmethod
    def of(cls, found: Sequence[Word]) -> Words:
        """Those that a text was segmented into."""
        return cls([word.text for word in found], [(word.start, word.end) for word in found])

    def located(self) -> list[Word]:
        """The words of a text again, with their places."""
        from bitext.segmentation import Word

        assert self.offsets is not None, "only words of texts have places"
        return [Word(word, *at) for word, at in zip(self.words, self.offsets, strict=True)]


class _Found(NamedTuple):
    """The alignments of a pair by method, and what they were made of if that was asked for."""

    alignments: Mapping[str, Alignment]
    detail: PairDetail | None


def align(request: AlignRequest, state: State) -> AlignResponse:
    """The alignments of ``request``, in order; for use in a thread.

    :raises UnknownNameError: if a method, layer or another choice does not exist.
    :raises TooLargeError: if there are too many words, or too many of both sides together.
    :raises TooLongError: if a sentence has more pieces than the model takes, and may not.
    """
    check_settings(request, request.methods or [request.method])
    sides = [
        (
            split(pair.source, f"pair {number}, source", state),
            split(pair.target, f"pair {number}, target", state),
        )
        for number, pair in enumerate(request.each(), 1)
    ]
    cells = sum(len(source.words) * len(target.words) for source, target in sides)
    check_cells(cells, len(request.methods or [1]), state.settings, detail=request.detail)
    aligner = aligner_of(request, state)
    methods = request.methods or [aligner.method]
    pairs = [SentencePair(source.words, target.words) for source, target in sides]
    find = _in_detail if request.detail else _links_only
    return AlignResponse(
        alignments=[
            _answer(*pair, found, several=request.methods is not None)
            for pair, found in zip(sides, find(aligner, pairs, methods), strict=True)
        ],
        model=aligner.encoder.name,
        method=methods[0],
        layer=aligner.layer,
        temperature=aligner.temperature if request.detail else None,
    )


def check_settings(settings: AlignSettings, methods: Sequence[str | None]) -> None:
    """Refuse what no model could make right, before one is loaded."""
    from aligners.aligner import check_choices

    for method in methods:
        check_choices(
            method=method,
            unit=settings.unit,
            similarity=settings.similarity,
            distortion=settings.distortion,
            threshold=settings.threshold,
        )


def aligner_of(settings: AlignSettings, state: State) -> Aligner:
    """The aligner that ``settings`` mean; its model is loaded if it is not there yet."""
    from aligners.aligner import Aligner

    return Aligner(
        state.models.encoder(settings.model),
        method=settings.method,
        layer=settings.layer,
        unit=settings.unit,
        similarity=settings.similarity,
        distortion=settings.distortion,
        threshold=settings.threshold,
        too_long=settings.too_long,
    )


def split(side: Side, where: str, state: State) -> Words:
    """The words of a side: its own, or those it is segmented into.

    :raises TooLargeError: if there are too many.
    """
    from bitext.segmentation import segment

    if not isinstance(side, str):
        return Words(side, None)
    words = segment(side)
    check_words(where, len(words), state.settings)
    return Words.of(words)


def aligned(source: Words, target: Words, alignment: Alignment) -> AlignedPair:
    """The answer for one pair and its one alignment."""
    return _answer(source, target, _Found({"": alignment}, None), several=False)


def _links_only(
    aligner: Aligner, pairs: Sequence[SentencePair], methods: Sequence[str]
) -> list[_Found]:
    found = aligner.align_methods(pairs, methods)
    return [
        _Found({name: found[name][number] for name in methods}, None)
        for number in range(len(pairs))
    ]


def _in_detail(
    aligner: Aligner, pairs: Sequence[SentencePair], methods: Sequence[str]
) -> list[_Found]:
    return [_Found(detail.alignments, detail) for detail in aligner.details(pairs, methods)]


def _answer(source: Words, target: Words, found: _Found, *, several: bool) -> AlignedPair:
    answers = {name: _of_method(one, found.detail) for name, one in found.alignments.items()}
    matrices = {}
    if found.detail is not None:
        matrices = {name: _rows(getattr(found.detail, name)) for name in MATRICES}
    return AlignedPair(
        source_words=source.words,
        target_words=target.words,
        source_offsets=source.offsets,
        target_offsets=target.offsets,
        by_method=answers if several else None,
        **dict(next(iter(answers.values()))),
        **matrices,
    )


def _of_method(alignment: Alignment, detail: PairDetail | None) -> MethodAnswer:
    links = [
        Link(source=i, target=j, score=round(score, 6))  # as bitext align --json
        for (i, j), score in zip(alignment.links, alignment.scores, strict=True)
    ]
    if detail is None:
        return MethodAnswer(links=links)
    for link in links:
        link.forward = round(float(detail.forward[link.source, link.target]), 4)
        link.backward = round(float(detail.backward[link.source, link.target]), 4)
    null_source, null_target = detail.null_words(alignment)
    return MethodAnswer(
        links=links,
        score=round(detail.score(alignment), 6),
        null_source=null_source,
        null_target=null_target,
    )


def _rows(matrix: WordMatrix) -> list[list[float]]:
    return [[round(value, 4) for value in row] for row in matrix.tolist()]
