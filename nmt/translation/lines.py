"""Translations as lines of text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from bitext.bridges import Links
from bitext.text import words
from bitext.types import Alignment, Hypothesis, SentencePair


class Style(NamedTuple):
    """How translations are written."""

    as_json: bool = False
    numbered: bool = False
    """Each with the number of its sentence and its score, as there are several of a sentence."""
    links: Links | None = None
    """With the links between the words that spaces separate, by this aligner."""

    def lines(
        self, sources: Sequence[str], found: Sequence[Sequence[Hypothesis]], first: int
    ) -> Iterator[str]:
        """One line a sentence, or a hypothesis where they are numbered.

        :param first: the number of the first sentence.
        """
        alignments = self._alignments(sources, found)
        for number, (source, own) in enumerate(zip(sources, found, strict=True), start=first):
            linked = [next(alignments) if self.links else None for _ in own]
            if self.as_json:
                yield _object(source, own, linked)
                continue
            for hypothesis, alignment in zip(own, linked, strict=True):
                yield self._line(number, hypothesis, alignment)

    def _alignments(
        self, sources: Sequence[str], found: Sequence[Sequence[Hypothesis]]
    ) -> Iterator[Alignment]:
        if self.links is None:
            return iter(())
        pairs = [
            SentencePair(words(source), words(hypothesis.text))
            for source, own in zip(sources, found, strict=True)
            for hypothesis in own
        ]
        return iter(self.links(pairs))

    def _line(self, number: int, hypothesis: Hypothesis, alignment: Alignment | None) -> str:
        fields = [str(number), f"{hypothesis.score:.4f}"] if self.numbered else []
        fields.append(hypothesis.text)
        if alignment is not None:
            fields.append(str(alignment))
        return "\t".join(fields)


def _object(source: str, found: Sequence[Hypothesis], linked: Sequence[Alignment | None]) -> str:
    hypotheses = []
    for hypothesis, alignment in zip(found, linked, strict=True):
        own: dict[str, Any] = {"text": hypothesis.text, "score": round(hypothesis.score, 6)}
        if hypothesis.truncated:
            own["truncated"] = True
        if alignment is not None:
            own["alignment"] = str(alignment)
        hypotheses.append(own)
    return json.dumps({"source": source, "hypotheses": hypotheses}, ensure_ascii=False)
