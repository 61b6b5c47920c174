"""How the alignments of a pair are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aligners.detail import PairDetail
from aligners.inputs import Input
from bitext.errors import InputError
from bitext.formats.files import FORMATS, find_format
from bitext.formats.jsonl import record_of
from bitext.formats.records import AlignedPair
from bitext.types import Alignment

LINE_A_PAIR = ("pharaoh", "scored", "talp")
"""Formats before whose lines the score of a pair can stand."""


@dataclass(frozen=True, slots=True)
class Style:
    """A format, and what is told beside the links.

    :param format: one of ``FORMATS``.
    :param detail: with ``jsonl``, the probabilities of each link, null words and the pair's score.
    :param pair_scores: before the links, the score of the pair and a tab.
    """

    format: str = "pharaoh"
    detail: bool = False
    pair_scores: bool = False

    @classmethod
    def of(
        cls, format: str | None, *, as_json: bool, scores: bool, detail: bool, pair_scores: bool
    ) -> Style:
        """The style that the options of ``bitext align`` ask for.

        :raises InputError: if they contradict each other.
        """
        short = [("--json", "jsonl", as_json), ("--scores", "scored", scores)]
        asked = {option: name for option, name, given in short if given}
        if format is not None:
            find_format(format)
            asked[f"--format {format}"] = format
        if len(set(asked.values())) > 1:
            raise InputError(f"{' and '.join(asked)} ask for different formats; say one of them")
        style = cls(next(iter(asked.values()), "pharaoh"), detail, pair_scores)
        if detail and style.format != "jsonl":
            raise InputError(f"--detail needs --format jsonl, not {style.format}")
        if pair_scores and style.format not in LINE_A_PAIR:
            allowed = ", ".join(LINE_A_PAIR)
            raise InputError(f"--pair-scores needs a format of {allowed}, not {style.format}")
        return style

    @property
    def needs_details(self) -> bool:
        return self.detail or self.pair_scores

    def check_methods(self, count: int) -> None:
        """:raises InputError: if the format cannot hold the links of so many methods."""
        if count > 1 and self.format != "jsonl":
            raise InputError(f"{count} methods need --format jsonl, not {self.format}")

    def text(
        self,
        number: int,
        item: Input,
        alignments: Mapping[str, Alignment],
        detail: PairDetail | None = None,
    ) -> str:
        """The whole lines of a pair.

        :param number: of the pair, from 1.
        :param alignments: by method.
        :param detail: where :attr:`needs_details`.
        :raises InputError: if the format cannot hold the pair.
        """
        if self.format == "jsonl":
            return json.dumps(self._record(item, alignments, detail), ensure_ascii=False) + "\n"
        (alignment,) = alignments.values()
        form = FORMATS[self.format]
        try:
            text = form.write(_aligned(item, alignment), number, form.first_word)
        except InputError as error:
            raise InputError(f"pair {number}: {error}") from None
        if self.pair_scores and detail is not None:
            return f"{detail.score(alignment):.4f}\t{text}"
        return text

    def _record(
        self, item: Input, alignments: Mapping[str, Alignment], detail: PairDetail | None
    ) -> dict[str, Any]:
        """One object; with several methods, what differs between them stands under ``methods``."""
        records = {
            method: self._detailed(record_of(_aligned(item, alignment)), alignment, detail)
            for method, alignment in alignments.items()
        }
        if len(records) == 1:
            return next(iter(records.values()))
        shared = record_of(_aligned(item, Alignment()))
        del shared["links"]
        own = {
            method: {key: value for key, value in record.items() if key not in shared}
            for method, record in records.items()
        }
        return {**shared, "methods": own}

    def _detailed(
        self, record: dict[str, Any], alignment: Alignment, detail: PairDetail | None
    ) -> dict[str, Any]:
        if not self.detail or detail is None:
            return record
        for link, place in zip(record["links"], alignment.links, strict=True):
            link["forward"] = round(float(detail.forward[place]), 6)
            link["backward"] = round(float(detail.backward[place]), 6)
        record["null_source"], record["null_target"] = detail.null_words(alignment)
        record["score"] = round(detail.score(alignment), 6)
        return record


def _aligned(item: Input, alignment: Alignment) -> AlignedPair:
    source, target = list(item.pair.source), list(item.pair.target)
    return AlignedPair(alignment, (source, target), offsets=item.offsets)
