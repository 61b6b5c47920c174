"""From chunks of pairs to the text of a file of alignments: the work of one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from aligners.detail import PairDetail
from aligners.inputs import Chunk
from aligners.methods import Method
from aligners.options import AlignerChoice
from aligners.output import Style
from bitext.errors import InputError, TooLargeError, TooLongError
from bitext.memory import give_back
from bitext.resumable import Mark, Setting
from bitext.types import Alignment

CHUNKS_BETWEEN = 8
"""Chunks after which freed memory is given back."""


@dataclass(frozen=True, slots=True)
class Task:
    """All that a process must know to make text of chunks.

    :param names: what messages call the file, or the files of both sides.
    :param keep: whether the alignments are wanted beside their text.
    """

    choice: AlignerChoice
    style: Style
    names: tuple[str, ...]
    keep: bool = False

    def on(self, device: str) -> Task:
        return replace(self, choice=self.choice.on(device))


class Made(NamedTuple):
    """The text of a chunk."""

    text: str
    pairs: int
    mark: Mark
    alignments: Mapping[str, list[Alignment]]
    """By method, if they are wanted."""


class Maker:
    """An aligner at work on a task."""

    def __init__(self, task: Task) -> None:
        """:raises BitextError: if the model cannot be loaded, or does not suit the task."""
        self.task = task
        self.aligner = task.choice.load()
        self._made = 0
        methods = [str(Method.parse(name)) for name in task.choice.methods]
        self.methods = methods or [self.aligner.method]

    @property
    def signatures(self) -> dict[str, str]:
        """All that changes the links, by method."""
        return {method: self.aligner.signature_of(method) for method in self.methods}

    @property
    def settings(self) -> dict[str, Setting]:
        """All that changes the text of a chunk, by name."""
        style = self.task.style
        temperature = f"{self.aligner.temperature:g}" if style.needs_details else "none"
        return {
            "aligner": "; ".join(self.signatures.values()),
            "too_long": self.aligner.too_long,
            "format": style.format,
            "detail": style.detail,
            "pair_scores": style.pair_scores,
            "temperature": temperature,
        }

    def make(self, chunk: Chunk) -> Made:
        """Align a chunk.

        :raises BitextError: if a pair cannot be aligned or written; it says which, and of what
            file.
        """
        self._made += 1
        if self._made % CHUNKS_BETWEEN == 0:
            give_back()
        try:
            return self._make(chunk)
        except TooLongError as error:
            raise error.called(self._place(chunk, error.sentence)) from None
        except (InputError, TooLargeError) as error:
            raise type(error)(f"{' and '.join(self.task.names)}, {error}") from None

    def _make(self, chunk: Chunk) -> Made:
        details, found = self._align(chunk)
        style = self.task.style
        lines = [
            style.text(
                chunk.first + place,
                item,
                {method: alignments[place] for method, alignments in found.items()},
                details[place],
            )
            for place, item in enumerate(chunk.inputs)
        ]
        kept = found if self.task.keep else {}
        return Made("".join(lines), len(lines), chunk.mark, kept)

    def _align(
        self, chunk: Chunk
    ) -> tuple[Sequence[PairDetail | None], dict[str, list[Alignment]]]:
        pairs = [item.pair for item in chunk.inputs]
        given: dict[str, Any] = {"first": chunk.first, "priors": chunk.priors}
        if not self.task.style.needs_details:
            found = self.aligner.align_methods(pairs, self.methods, **given)
            return [None] * len(pairs), found
        details = self.aligner.details(pairs, self.methods, **given)
        return details, {
            method: [detail.alignments[method] for detail in details] for method in self.methods
        }

    def _place(self, chunk: Chunk, sentence: int) -> str:
        """Where a sentence stands that is so many after the first source sentence of its chunk."""
        side, pair = divmod(sentence, len(chunk.inputs))
        line = f"line {chunk.first + pair}"
        if len(self.task.names) == 2:
            return f"{self.task.names[side]}, {line}"
        return f"{self.task.names[0]}, {line}, {('source', 'target')[side]}"
