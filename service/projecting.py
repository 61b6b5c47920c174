"""Spans, tags, answers and markup carried over alignments, as ``bitext project`` does it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from aligners.labels import TagError, spans_of, tags_of
from aligners.markup import Markup, MarkupError, Node, parse_markup, parse_plain
from aligners.markup import Text as PlainText
from aligners.passages import Passage, align_passages
from aligners.placement import Placed, place_markup
from aligners.projection import Projection, Rules, Span, project
from aligners.projection_inputs import covering, in_characters
from aligners.records import TextSpan, check_span
from bitext.errors import InputError, TooLongError
from bitext.types import Alignment, SentencePair
from service.aligning import Words, aligner_of, check_settings, split
from service.limits import check_cells, check_spans, check_words
from service.schemas.project import (
    AnswerIn,
    ProjectedPair,
    ProjectedSpan,
    ProjectPair,
    ProjectRequest,
    ProjectResponse,
    Stretch,
)

if TYPE_CHECKING:
    from aligners.aligner import Aligner
    from service.state import State

KINDS = ("spans", "tags", "answers")

_Place = tuple[int, int, str]
"""Where a span begins and ends in the source as it came, and its label."""

Carry = Callable[[Alignment, Rules], ProjectedPair]


class _Work(NamedTuple):
    """A pair, and what makes its answer of an alignment."""

    source: Words
    target: Words
    passages: tuple[Passage, Passage] | None
    """The two sides where both are texts: they are aligned sentence by sentence."""
    spans: int
    """How many there are to carry over."""
    carry: Carry


def project_pairs(request: ProjectRequest, state: State) -> ProjectResponse:
    """What becomes of the spans of ``request``, in order; for use in a thread.

    :raises UnknownNameError: if a strategy, scheme, method or another choice does not exist.
    :raises InputError: if a span is outside of its sentence, a tag or markup cannot be, or a pair
        has nothing to carry over, or two kinds of it.
    :raises TooLargeError: if there are too many words or spans.
    :raises TooLongError: if a sentence has more pieces than the model takes, and may not.
    """
    rules = Rules(request.strategy, request.gap, request.punctuation, disjoint=not request.overlap)
    check_settings(request, [request.method])
    works = [_work(pair, n, request, state) for n, pair in enumerate(request.each(), 1)]
    check_spans(sum(work.spans for work in works), state.settings)
    cells = sum(len(work.source.words) * len(work.target.words) for work in works)
    check_cells(cells, 1, state.settings, detail=False)
    aligner = aligner_of(request, state)
    alignments = _aligned(aligner, works)
    return ProjectResponse(
        projections=[
            work.carry(alignment, rules) for work, alignment in zip(works, alignments, strict=True)
        ],
        model=aligner.encoder.name,
        method=aligner.method,
        layer=aligner.layer,
        strategy=rules.strategy,
    )


def _work(pair: ProjectPair, number: int, request: ProjectRequest, state: State) -> _Work:
    where = f"pair {number}"
    given = [kind for kind in KINDS if getattr(pair, kind) is not None]
    if request.markup is not None:
        if given:
            raise InputError(f"{where}: with 'markup' the tags are carried over, not '{given[0]}'")
        return _marked(pair, where, state, html=request.markup == "html")
    if len(given) != 1:
        came = " and ".join(f"'{kind}'" for kind in given) or "none of them"
        raise InputError(f"{where}: expected one of 'spans', 'tags' and 'answers', got {came}")
    if request.overlap and given != ["spans"]:
        raise InputError(f"field 'overlap' is for 'spans'; {where} has '{given[0]}'")
    work = {"spans": _spans, "tags": _tags, "answers": _answers}[given[0]]
    return work(pair, where, request, state)


# --- alignments


def _aligned(aligner: Aligner, works: Sequence[_Work]) -> list[Alignment]:
    """One alignment a pair: texts sentence by sentence, lists of words as they are."""
    found: dict[int, Alignment] = {}
    texts = [n for n, work in enumerate(works) if work.passages is not None]
    words = [n for n, work in enumerate(works) if work.passages is None]
    passages = [work.passages for work in works if work.passages is not None]
    pairs = [SentencePair(works[n].source.words, works[n].target.words) for n in words]
    found.update(zip(texts, _named(texts, lambda: align_passages(aligner, passages)), strict=True))
    found.update(zip(words, _named(words, lambda: aligner.align(pairs)), strict=True))
    return [found[n] for n in range(len(works))]


def _named(pairs: Sequence[int], align: Callable[[], list[Alignment]]) -> list[Alignment]:
    """What ``align`` gives for some pairs, its errors with the numbers that these have."""
    if not pairs:
        return []
    try:
        return align()
    except TooLongError as error:
        side = error.name.rpartition(", ")[2]
        number = pairs[error.sentence % len(pairs)] + 1
        raise error.called(f"pair {number}, {side}") from None


def _sides(
    pair: ProjectPair, where: str, state: State
) -> tuple[Words, Words, tuple[Passage, Passage] | None]:
    if isinstance(pair.source, str) and isinstance(pair.target, str):
        return _passages(pair.source, pair.target, where, state)
    sides = [split(getattr(pair, name), f"{where}, {name}", state) for name in ("source", "target")]
    return sides[0], sides[1], None


def _passages(
    source: str, target: str, where: str, state: State
) -> tuple[Words, Words, tuple[Passage, Passage]]:
    passages = Passage.of(source), Passage.of(target)
    for side, passage in zip(("source", "target"), passages, strict=True):
        check_words(f"{where}, {side}", len(passage.words), state.settings)
    return Words.of(passages[0].words), Words.of(passages[1].words), passages


# --- spans and answers


def _spans(pair: ProjectPair, where: str, request: ProjectRequest, state: State) -> _Work:
    places = [(span.start, span.end, span.label) for span in pair.spans or []]
    return _placed(pair, places, "spans", where, state)


def _answers(pair: ProjectPair, where: str, request: ProjectRequest, state: State) -> _Work:
    if not isinstance(pair.source, str):
        raise InputError(f"{where}: 'answers' are of a text, and the source is a list of words")
    places = []
    for number, answer in enumerate(pair.answers or []):
        end = answer.answer_start + len(answer.text)
        _check_answer(answer, pair.source, f"{where}, answers.{number}")
        places.append((answer.answer_start, end, answer.id))
    return _placed(pair, places, "answers", where, state)


def _check_answer(answer: AnswerIn, source: str, where: str) -> None:
    start, end = answer.answer_start, answer.answer_start + len(answer.text)
    if source[start:end] != answer.text:
        raise InputError(f"{where}: the source has '{source[start:end]}' there, not the answer")


def _placed(
    pair: ProjectPair,
    places: Sequence[_Place],
    kind: str,
    where: str,
    state: State,
) -> _Work:
    """Spans by place: characters of a text, words of a list."""
    source, target, passages = _sides(pair, where, state)
    spans = [
        _in_words(TextSpan(start, end, {"label": label}, f"{where}, {kind}.{n}"), pair, source)
        for n, (start, end, label) in enumerate(places)
    ]

    def carry(alignment: Alignment, rules: Rules) -> ProjectedPair:
        found = project(spans, alignment, source.words, target.words, rules)
        return ProjectedPair(spans=_all_spans(places, found, pair, target))

    return _Work(source, target, passages, len(spans), carry)


def _in_words(span: TextSpan, pair: ProjectPair, source: Words) -> Span:
    """:raises InputError: if the span is empty, or reaches beyond the source or a line of it."""
    if isinstance(pair.source, str):
        check_span(span, pair.source)
        return covering(source.located(), span.start, span.end)
    if not 0 <= span.start < span.end:
        raise InputError(
            f"{span.place}: start {span.start} and end {span.end} must be 0 <= start < end"
        )
    if span.end > len(source.words):
        raise InputError(f"{span.place}: end {span.end} is beyond the {len(source.words)} words")
    return Span(span.start, span.end)


def _all_spans(
    places: Sequence[_Place], found: Sequence[Projection], pair: ProjectPair, target: Words
) -> list[ProjectedSpan]:
    return [
        _span(label, _stretch(pair.source, start, end), one, pair, target)
        for (start, end, label), one in zip(places, found, strict=True)
    ]


def _span(
    label: str, source: Stretch, found: Projection, pair: ProjectPair, target: Words
) -> ProjectedSpan:
    if found.target is None:
        return _lost(label, source, found.notes)
    start, end = found.target.start, found.target.end
    if target.offsets is not None:
        place = in_characters(found, target.located()).place
        assert place is not None, "it has a target"
        start, end = place
    return ProjectedSpan(
        label=label,
        source=source,
        target=_stretch(pair.target, start, end),
        score=round(found.confidence, 4),
        notes=list(found.notes),
    )


def _lost(label: str, source: Stretch, notes: Sequence[str]) -> ProjectedSpan:
    return ProjectedSpan(
        label=label, source=source, target=None, score=0.0, notes=[], reason=" ".join(notes)
    )


def _stretch(side: str | Sequence[str], start: int, end: int) -> Stretch:
    text = side[start:end] if isinstance(side, str) else " ".join(side[start:end])
    return Stretch(start=start, end=end, text=text)


# --- tags


def _tags(pair: ProjectPair, where: str, request: ProjectRequest, state: State) -> _Work:
    if isinstance(pair.source, str):
        raise InputError(f"{where}: 'tags' are of a list of words, and the source is a text")
    source, target, _ = _sides(pair, where, state)
    tags = pair.tags or []
    if len(tags) != len(source.words):
        raise InputError(f"{where}: {len(tags)} tags for the {len(source.words)} words of source")
    try:
        spans = spans_of(tags, request.scheme)
    except TagError as error:
        raise InputError(f"{where}, tags.{error.place}: {error}") from None

    def carry(alignment: Alignment, rules: Rules) -> ProjectedPair:
        found = project(spans, alignment, source.words, target.words, rules)
        kept = [one.target for one in found if one.target is not None]
        places = [(span.start, span.end, span.label) for span in spans]
        return ProjectedPair(
            spans=_all_spans(places, found, pair, target),
            tags=tags_of(kept, len(target.words), request.scheme),
            target_words=target.words,
        )

    return _Work(source, target, None, len(spans), carry)


# --- markup


def _marked(pair: ProjectPair, where: str, state: State, *, html: bool) -> _Work:
    if not isinstance(pair.source, str) or not isinstance(pair.target, str):
        raise InputError(f"{where}: 'markup' is of texts, and a side is a list of words")
    try:
        markup = parse_markup(pair.source, html=html)
    except MarkupError as error:
        raise InputError(f"{where}, source, character {error.column}: {error.reason}") from None
    try:
        plain = parse_plain(pair.target)
    except MarkupError as error:
        raise InputError(f"{where}, target, character {error.column}: {error.reason}") from None
    tags = _count(markup.nodes)
    check_spans(tags, state.settings)  # before anything walks down the tree
    sides = _passages(markup.text.plain, plain.plain, where, state)

    def carry(alignment: Alignment, rules: Rules) -> ProjectedPair:
        words = (sides[2][0].words, sides[2][1].words)
        text, placed = place_markup(markup, plain, words, alignment, rules)
        return ProjectedPair(spans=[_tag(one, markup, plain) for one in placed], text=text)

    return _Work(*sides, tags, carry)


def _count(nodes: Sequence[Node]) -> int:
    """All nodes of a tree, however deep."""
    count, waiting = 0, list(nodes)
    while waiting:
        count += 1
        waiting += waiting.pop().children
    return count


def _tag(placed: Placed, markup: Markup, target: PlainText) -> ProjectedSpan:
    node = placed.node
    source = _stretch(markup.text.plain, node.start, node.end)
    if placed.characters is None:
        return _lost(node.opening, source, placed.notes)
    return ProjectedSpan(
        label=node.opening,
        source=source,
        target=_stretch(target.plain, *placed.characters),
        score=round(placed.confidence, 4),
        notes=list(placed.notes),
    )
