"""Where the tags of a source sentence go in its translation, so that they stay well-formed.

Elements are projected as spans. What then crosses is resolved in this order: an element is widened
until it holds all that it holds in the source; of two that lie side by side in the source, the
surer keeps the words that both want and the other is cut. No element is ever split in two. A point
(``<x/>``) that touches a word on one side only goes with that word, as a footnote's mark does; any
other to the gap between words that the fewest links cross, near ones counting more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aligners.markup import Markup, Node, Text
from aligners.projection import Projection, Rules, Span, project
from aligners.strategies import Interval
from bitext.segmentation import Word
from bitext.types import Alignment

NEARNESS = 0.5
"""By how much a link counts less for each word that it is farther from a point."""


@dataclass(slots=True)
class Placed:
    """A tag, where it stands in the target (words; for a point a gap twice), what became of it."""

    node: Node
    source: Span
    target: Interval | None = None
    confidence: float = 0.0
    notes: tuple[str, ...] = ()
    children: list[Placed] = field(default_factory=list)
    characters: tuple[int, int] | None = None  # the same place, in characters


def place_markup(
    markup: Markup,
    target: Text,
    words: tuple[Sequence[Word], Sequence[Word]],
    alignment: Alignment,
    rules: Rules = Rules(),  # noqa: B008  (frozen)
) -> tuple[str, list[Placed]]:
    """``target`` with the tags of ``markup``, and what became of each tag, in source order.

    Lost elements are left out, what they hold is not; points are never lost.

    :param words: of the text of ``markup``, and of ``target``.
    """
    source_words, target_words = words
    tree = [_planted(node, source_words) for node in markup.nodes]
    every = list(_walk(tree))
    elements = [placed for placed in every if not placed.node.is_point]
    texts = [[word.text for word in side] for side in words]
    found = project([e.source for e in elements], alignment, texts[0], texts[1], rules)
    for element, projection in zip(elements, found, strict=True):
        _remember(element, projection)
    for top in tree:
        _widen(top)
    settled = _settle(tree, (0, len(target_words)))
    points = _Points(alignment, markup.text.plain, source_words, target_words)
    _place_points(settled, (0, len(target_words)), points)
    return _write(settled, target, target_words, (0, len(target.plain)), points), every


def _planted(node: Node, words: Sequence[Word]) -> Placed:
    """A node with the words that it covers, or has before it."""
    if node.is_point:
        before = sum(word.end <= node.start for word in words)
        return Placed(node, Span(before, before, node.opening))
    inside = [n for n, word in enumerate(words) if word.start < node.end and word.end > node.start]
    first, end = (inside[0], inside[-1] + 1) if inside else (0, 0)
    children = [_planted(child, words) for child in node.children]
    return Placed(node, Span(first, end, node.opening), children=children)


def _walk(tree: Sequence[Placed]) -> list[Placed]:
    return [each for placed in tree for each in (placed, *_walk(placed.children))]


def _remember(element: Placed, projection: Projection) -> None:
    span = projection.target
    element.target = (span.start, span.end) if span else None
    element.confidence, element.notes = projection.confidence, projection.notes


# --- elements


def _widen(placed: Placed) -> None:
    """Stretch an element over the elements that it holds, innermost first."""
    for child in placed.children:
        _widen(child)
    if placed.target is None or placed.node.is_point:
        return
    held = [each.target for each in _walk(placed.children) if each.target]
    start = min([placed.target[0], *(interval[0] for interval in held)])
    end = max([placed.target[1], *(interval[1] for interval in held)])
    if (start, end) != placed.target:
        placed.target, placed.notes = (start, end), (*placed.notes, "widened")


def _settle(nodes: Sequence[Placed], bounds: Interval) -> list[Placed]:
    """Make the elements among ``nodes`` disjoint and keep them in ``bounds``; points pass.

    Of a lost element the children take its place.
    """
    kept: list[Placed] = []
    waiting = list(nodes)
    while waiting:
        waiting.sort(key=lambda placed: -placed.confidence)
        placed = waiting.pop(0)
        if placed.node.is_point or _fit(placed, [each.target for each in kept], bounds):
            kept.append(placed)
        else:
            waiting += placed.children
    for placed in kept:
        if placed.target is not None:
            placed.children = _settle(placed.children, placed.target)
    return kept


def _fit(placed: Placed, others: Sequence[Interval | None], bounds: Interval) -> bool:
    """Cut an element to the longest stretch that is free; false if there is none."""
    if placed.target is None:
        return False
    taken = {word for other in others if other for word in range(*other)}
    stretches: list[list[int]] = [[]]
    for word in range(*placed.target):
        if word in taken or not bounds[0] <= word < bounds[1]:
            stretches.append([])
        else:
            stretches[-1].append(word)
    longest = max(stretches, key=len)
    if not longest:
        placed.target, placed.confidence, placed.notes = None, 0.0, ("overlap",)
        return False
    free = (longest[0], longest[-1] + 1)
    if free != placed.target:
        placed.target, placed.notes = free, (*placed.notes, "cut")
    return True


# --- points


@dataclass(frozen=True, slots=True)
class _Points:
    """What is needed to find the place of a point."""

    alignment: Alignment
    source: str
    source_words: Sequence[Word]
    target_words: Sequence[Word]

    def leans_left(self, node: Node) -> bool:
        """Whether the point follows a word without a space between."""
        return node.start > 0 and not self.source[node.start - 1].isspace()

    def gap(self, placed: Placed, allowed: Sequence[int]) -> tuple[int, float]:
        """The best of the ``allowed`` gaps, and how sure it is."""
        touched = self._touched(placed)
        if touched is not None:
            beside = self._beside(touched, before=placed.source.start)
            if beside is not None and beside[0] in allowed:
                return beside
        return self._least_crossed(placed, allowed)

    def _touched(self, placed: Placed) -> int | None:
        """The one word that a point touches, if it does not touch two."""
        before, place = placed.source.start, placed.node.start
        left = self.source_words[before - 1] if before else None
        right = self.source_words[before] if before < len(self.source_words) else None
        touches_left = left is not None and left.end == place and _is_word(left)
        touches_right = right is not None and right.start == place and _is_word(right)
        if touches_left == touches_right:
            return None
        return before - 1 if touches_left else before

    def _beside(self, word: int, before: int) -> tuple[int, float] | None:
        """The gap on the same side of what translates ``word``, and the score of its link."""
        left = word < before
        scored = zip(self.alignment.links, self.alignment.scores, strict=True)
        linked = [(j + left, score) for (i, j), score in scored if i == word]
        return (max(linked) if left else min(linked)) if linked else None

    def _least_crossed(self, placed: Placed, allowed: Sequence[int]) -> tuple[int, float]:
        """The gap that the fewest links cross, and the share of link mass that does not."""
        before = placed.source.start
        scored = list(zip(self.alignment.links, self.alignment.scores, strict=True))
        weights = [score * NEARNESS ** _steps(i, before) for (i, _), score in scored]
        total = sum(weights)
        share = before / max(len(self.source_words), 1) * len(self.target_words)
        if not total:
            return min(allowed, key=lambda gap: abs(gap - share)), 0.0
        crossed = {
            gap: sum(
                weight
                for ((i, j), _), weight in zip(scored, weights, strict=True)
                if (i < before) != (j < gap)
            )
            for gap in allowed
        }
        best = min(crossed.values())
        equal = [gap for gap in allowed if crossed[gap] <= best + 1e-9]
        # Where that leaves a choice, stay with the next word, or the one that the point leans on.
        word = before - 1 if self.leans_left(placed.node) else before
        wanted = self._beside(word, before) or (share, 0.0)
        return min(equal, key=lambda gap: abs(gap - wanted[0])), max(0.0, 1 - best / total)


def _is_word(word: Word) -> bool:
    return any(character.isalnum() for character in word.text)


def _steps(word: int, before: int) -> int:
    """How many words lie between a word and the gap that has ``before`` words before it."""
    return before - word - 1 if word < before else word - before


def _place_points(nodes: Sequence[Placed], bounds: Interval, points: _Points) -> None:
    """Place the points among ``nodes``, outside of the elements there."""
    inner = {
        gap
        for placed in nodes
        if placed.target and not placed.node.is_point
        for gap in range(placed.target[0] + 1, placed.target[1])
    }
    allowed = [gap for gap in range(bounds[0], bounds[1] + 1) if gap not in inner]
    for placed in nodes:
        if not placed.node.is_point:
            assert placed.target is not None, "lost elements were left out"
            _place_points(placed.children, placed.target, points)
            continue
        gap, placed.confidence = points.gap(placed, allowed)
        placed.target = (gap, gap)
        placed.notes = () if placed.confidence else ("no-links",)


# --- writing


def _write(
    nodes: Sequence[Placed],
    text: Text,
    words: Sequence[Word],
    bounds: tuple[int, int],
    points: _Points,
) -> str:
    """The characters in ``bounds`` with the tags among ``nodes``."""
    located = [(_characters(placed, words, bounds, points), placed) for placed in nodes]
    # At one place points come first; those of one place keep the order of the source.
    located.sort(key=lambda each: (each[0][0], each[0][1] > each[0][0], each[1].node.start))
    out, cursor = [], bounds[0]
    for (start, end), placed in located:
        placed.characters = (start, end)
        inside = _write(placed.children, text, words, (start, end), points)
        out += [text.written(cursor, start), placed.node.opening, inside, placed.node.closing]
        cursor = end
    return "".join([*out, text.written(cursor, bounds[1])])


def _characters(
    placed: Placed, words: Sequence[Word], bounds: tuple[int, int], points: _Points
) -> tuple[int, int]:
    assert placed.target is not None, "lost elements were left out"
    start, end = placed.target
    if not placed.node.is_point:
        return words[start].start, words[end - 1].end
    if not words:
        place = bounds[0]
    elif start == len(words) or (start and points.leans_left(placed.node)):
        place = words[start - 1].end
    else:
        place = words[start].start
    place = min(max(place, bounds[0]), bounds[1])
    return place, place
