"""Encoder: sentences or words to vectors, batched by length, up to the asked-for layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from bitext.errors import InputError, TooLongError, UnknownNameError, choose_from
from encoders.batching import batch_cost, batch_sizes
from encoders.checkpoint import Checkpoint
from encoders.graph import GraphTap
from encoders.int8 import Int8Tap
from encoders.layers import LayerTap
from encoders.pooling import (
    SENTENCE_POOLINGS,
    WORD_POOLINGS,
    Vectors,
    normalise,
    pool_sentence,
    pool_words,
)
from encoders.precision import INT8
from encoders.subwords import Subwords, SubwordSplitter

TOO_LONG = ("error", "windows")
UNBOUNDED_PIECES = 4096
"""Pieces that a model without a stated limit (T5's relative positions) takes at once."""


class Pieces(NamedTuple):
    """The contextual vectors of one sentence's pieces, special pieces left out.

    Sentences of the same pieces share the array of vectors.
    """

    vectors: Vectors
    """Shape (pieces, dim)."""
    word_of: NDArray[np.int64]
    """The word each piece belongs to, ascending, shape (pieces,)."""


class Window(NamedTuple):
    """A run of one sentence's pieces that the model can take, and the part it answers for."""

    sentence: int
    ids: list[int]
    start: int  # of the window, in the sentence's pieces
    keep: slice  # of the window's pieces: those no neighbouring window has more context for


class Reading(NamedTuple):
    """What is wanted of the hidden states of a batch."""

    layers: tuple[int, ...]
    poolings: tuple[str, ...] = ()
    """Of ``SENTENCE_POOLINGS``; none: the vector of each piece."""


Read = Mapping[tuple[int, str], Vectors]
"""What a reading gives, by layer and pooling: shape (windows, dim). Without pooling, by layer and
the empty string: shape (windows, length, dim), padded."""
Passes = Callable[[Sequence[Window], Reading], Iterator[tuple[Sequence[Window], Read]]]
"""Puts windows through a model in batches; each window comes back once, with its row of a reading,
in any order."""


class _Work(NamedTuple):
    """What is to be computed for a list of sentences: each distinct one once."""

    windows: list[Window]  # of the first of equal sentences
    first: NDArray[np.int64]  # for every sentence, the first one equal to it


class Encoder:
    """Turns sentences or words into vectors with one loaded model.

    Stated behaviour: an empty sentence, or one of nothing but whitespace, has no pieces and is a
    row of zeros (or an empty matrix of pieces); a word without pieces is a row of zeros;
    characters the vocabulary lacks become the unknown piece. Results come in the order given and
    do not depend on what else was in the batch, but for rounding. Threads may share an encoder.

    :param batch_tokens: padded pieces that go through the model at once; ``None`` for what suits
        the device.
    """

    def __init__(self, checkpoint: Checkpoint, *, batch_tokens: int | None = None) -> None:
        self.checkpoint = checkpoint
        self.batch_cost = batch_cost(checkpoint.key.device)
        if batch_tokens is not None:
            self.batch_cost = self.batch_cost._replace(most=batch_tokens)
        self.name = checkpoint.key.name
        self.revision = checkpoint.key.revision
        self.dtype = checkpoint.key.dtype
        self.device = checkpoint.key.device
        self.fingerprint = checkpoint.fingerprint
        self.bytes = checkpoint.bytes
        self.preset = checkpoint.preset
        self._tap: LayerTap | GraphTap | Int8Tap = (
            Int8Tap(checkpoint.model, checkpoint.fingerprint)
            if checkpoint.key.dtype == INT8
            else LayerTap(checkpoint.model)
        )
        self._splitter = SubwordSplitter(checkpoint.tokenizer, checkpoint.preset.transliterate)
        self.layers = self._tap.layers
        self.has_cls = bool(self._splitter.prefix)
        config: Any = checkpoint.model.config
        self.dim = int(config.hidden_size)
        framing = len(self._splitter.prefix) + len(self._splitter.suffix)
        self.max_pieces = positions(checkpoint) - framing
        self.framing = framing
        self._shared: Passes | None = None

    def by_way_of(self, passes: Passes, splitter: SubwordSplitter | None = None) -> Encoder:
        """The same encoder and model, whose windows go through it by ``passes``.

        So :class:`encoders.gathering.Gatherer` lets many threads share batches.

        :param splitter: to take the place of the encoder's own.
        """
        other = copy.copy(self)
        other._shared = passes
        other._splitter = self._splitter if splitter is None else splitter
        return other

    def in_one_go(self) -> Encoder:
        """The same encoder and model, whose passes need Python's lock once (``graph.py``)."""
        if not isinstance(self._tap, LayerTap):
            return self
        other = copy.copy(self)
        other._tap = GraphTap(self._tap, self.max_pieces + self.framing)
        return other

    @property
    def splitter(self) -> SubwordSplitter:
        """What makes pieces of text."""
        return self._splitter

    def check_layer(self, layer: int | None, task: str) -> int:
        """``layer`` if the model has it; without one, the layer that suits ``task``.

        That is what the checkpoint's preset says or, for a model without one, two thirds of the way
        up: layer 8 of 12, where word alignment and raw retrieval are best in multilingual BERT and
        XLM-R (Jalili Sabet et al., 2020; Hu et al., 2020).

        :param task: ``alignment`` or ``retrieval``.
        :raises UnknownNameError: if the model has no such layer.
        """
        if layer is None:
            layer = getattr(self.preset, task).layer
        if layer is None:
            return round(self.layers * 2 / 3)
        if not 0 <= layer <= self.layers:
            raise UnknownNameError(
                f"model '{self.name}' has no layer {layer}; choose one from 0 to {self.layers}"
            )
        return layer

    def sentences(
        self,
        texts: Sequence[str],
        *,
        layer: int | None = None,
        pooling: str = "mean",
        prefix: str | None = None,
        too_long: str = "error",
        progress: Callable[[int], None] | None = None,
    ) -> Vectors:
        """One unit vector a sentence, in the order given.

        :param layer: 0 (embeddings) to ``self.layers``; ``None`` for the model's preset.
        :param pooling: one of ``SENTENCE_POOLINGS``, over pieces, special ones left out.
        :param prefix: written once before each sentence and pooled with it, as the E5 models were
            trained; ``None`` for the model's preset. A sentence without pieces stays without.
        :param too_long: ``error``, or ``windows``: overlapping ones, their pieces pooled together.
        :param progress: called with the number of sentences done since the last call.
        :return: shape (sentences, dim).
        :raises TooLongError: if a sentence has more pieces than the model takes.
        :raises UnknownNameError: if layer, pooling or ``too_long`` does not exist.
        """
        layer = self.check_layer(layer, "retrieval")
        found = self.sentences_of_layers(
            texts,
            layers=(layer,),
            poolings=(pooling,),
            prefix=prefix,
            too_long=too_long,
            progress=progress,
        )
        return found[layer, pooling]

    def sentences_of_layers(
        self,
        texts: Sequence[str],
        *,
        layers: Sequence[int],
        poolings: Sequence[str] = ("mean",),
        prefix: str | None = None,
        too_long: str = "error",
        progress: Callable[[int], None] | None = None,
    ) -> dict[tuple[int, str], Vectors]:
        """What :meth:`sentences` gives for each layer and pooling, from one pass of the model.

        :return: by (layer, pooling), each of shape (sentences, dim).
        """
        layers = [self.check_layer(layer, "retrieval") for layer in layers]
        for pooling in poolings:
            _check("pooling", pooling, SENTENCE_POOLINGS)
            if pooling == "cls" and not self.has_cls:
                raise InputError(
                    f"model '{self.name}' has no cls piece; choose pooling mean or max"
                )
        work = self._work(self._prefixed(texts, prefix), too_long)
        copies = np.bincount(work.first, minlength=len(texts))
        shape = (len(texts), self.dim)
        totals = {
            (layer, pooling): np.full(shape, -np.inf if pooling == "max" else 0, np.float32)
            for layer in layers
            for pooling in poolings
        }
        for batch, read in self._passes(work.windows, Reading(tuple(layers), tuple(poolings))):
            for (layer, pooling), total in totals.items():
                _add_windows(total, batch, read[layer, pooling], pooling)
            if progress is not None:
                progress(sum(int(copies[w.sentence]) for w in batch if w.start == 0))
        for total in totals.values():
            total[np.isinf(total)] = 0
        return {key: normalise(total)[work.first] for key, total in totals.items()}

    def _prefixed(self, texts: Sequence[str], prefix: str | None) -> list[Subwords]:
        """The pieces of raw sentences with ``prefix`` before them."""
        if prefix is None:
            prefix = self.preset.retrieval.prefix
        if not prefix:
            return self._splitter.texts(texts)
        alone, *found = self._splitter.texts([prefix, *(prefix + text for text in texts)])
        # whoever adds nothing to the prefix has no pieces of its own
        return [s if s.ids != alone.ids else Subwords([], s.word_of[:0]) for s in found]

    def words(
        self,
        sentences: Sequence[Sequence[str]],
        *,
        layer: int | None = None,
        pooling: str = "mean",
        too_long: str = "error",
    ) -> list[Vectors]:
        """The vectors of each sentence's words, each of shape (words, dim), not normalised.

        :param pooling: one of ``WORD_POOLINGS``, over the word's pieces.
        :raises TooLongError: if a sentence has more pieces than the model takes.
        """
        _check("pooling", pooling, WORD_POOLINGS)
        return [
            pool_words(pieces.vectors, pieces.word_of, len(sentence), pooling)
            for sentence, pieces in zip(
                sentences, self.pieces(sentences, layer=layer, too_long=too_long), strict=True
            )
        ]

    def pieces(
        self,
        sentences: Sequence[Sequence[str]],
        *,
        layer: int | None = None,
        too_long: str = "error",
    ) -> list[Pieces]:
        """The vectors of each sentence's pieces, and the word each piece belongs to.

        :raises TooLongError: if a sentence has more pieces than the model takes.
        """
        layer = self.check_layer(layer, "alignment")
        return self.pieces_of_layers(sentences, layers=(layer,), too_long=too_long)[layer]

    def piece_counts(self, sentences: Sequence[Sequence[str]]) -> list[int]:
        """How many pieces each sentence has, special ones left out; nothing is encoded."""
        return [len(subwords.ids) for subwords in self._splitter.words(sentences)]

    def sentence_piece_counts(
        self, texts: Sequence[str], *, prefix: str | None = None
    ) -> list[int]:
        """The same of raw sentences with ``prefix`` before them, as :meth:`sentences` reads them.

        :param prefix: ``None`` for the model's preset.
        """
        return [len(subwords.ids) for subwords in self._prefixed(texts, prefix)]

    def pieces_of_layers(
        self,
        sentences: Sequence[Sequence[str]],
        *,
        layers: Sequence[int],
        too_long: str = "error",
    ) -> dict[int, list[Pieces]]:
        """What :meth:`pieces` gives for each of ``layers``, from one pass of the model."""
        layers = [self.check_layer(layer, "alignment") for layer in layers]
        subwords = self._splitter.words(sentences)
        work = self._work(subwords, too_long)
        vectors = {
            layer: {
                i: np.empty((len(subwords[i].ids), self.dim), dtype=np.float32)
                for i in np.unique(work.first).tolist()
            }
            for layer in layers
        }
        first = len(self._splitter.prefix)
        for batch, read in self._passes(work.windows, Reading(tuple(layers))):
            for layer, of_layer in vectors.items():
                for part, rows in zip(batch, read[layer, ""], strict=True):
                    own = rows[first : first + len(part.ids)][part.keep]
                    at = part.start + part.keep.start
                    of_layer[part.sentence][at : at + len(own)] = own
        return {
            layer: [
                Pieces(of_layer[i], s.word_of)
                for i, s in zip(work.first.tolist(), subwords, strict=True)
            ]
            for layer, of_layer in vectors.items()
        }

    def _work(self, subwords: Sequence[Subwords], too_long: str) -> _Work:
        _check("too_long", too_long, TOO_LONG)
        windows: list[Window] = []
        seen: dict[tuple[int, ...], int] = {}
        first = np.arange(len(subwords))
        for number, (ids, _) in enumerate(subwords):
            first[number] = seen.setdefault(tuple(ids), number)
            if first[number] != number:
                continue
            if len(ids) <= self.max_pieces:
                if ids:
                    windows.append(Window(number, ids, 0, slice(0, len(ids))))
            elif too_long == "error":
                raise TooLongError(
                    f"has {len(ids)} pieces, and model '{self.name}' takes {self.max_pieces}; "
                    "split it, or let it be read in windows (too_long, --too-long windows)",
                    sentence=number,
                )
            else:
                windows.extend(_split_windows(number, ids, self.max_pieces))
        return _Work(windows, first)

    def _passes(
        self, windows: Sequence[Window], reading: Reading
    ) -> Iterator[tuple[Sequence[Window], Read]]:
        passes = self.passes if self._shared is None else self._shared
        return passes(windows, reading)

    def passes(
        self, windows: Sequence[Window], reading: Reading
    ) -> Iterator[tuple[Sequence[Window], Read]]:
        """Put windows through the model in this thread, in batches with little padding.

        Sorted by length, longest first.
        """
        ordered = sorted(windows, key=lambda w: -len(w.ids))
        left = iter(ordered)
        for size in batch_sizes([len(w.ids) + self.framing for w in ordered], self.batch_cost):
            batch = list(islice(left, size))
            yield batch, self.read(batch, [reading])[reading]

    def read(self, batch: Sequence[Window], readings: Collection[Reading]) -> dict[Reading, Read]:
        """What several readings make of one pass of ``batch``, all at once.

        :param readings: of the same layers, or else those of all of them are computed.
        """
        layers = sorted({layer for reading in readings for layer in reading.layers})
        states, mask = self._forward(batch, layers)
        return {reading: _read(states, mask, reading) for reading in set(readings)}

    def _forward(
        self, batch: Sequence[Window], layers: Collection[int]
    ) -> tuple[dict[int, torch.Tensor], torch.Tensor]:
        """Hidden states (batch, length, dim) by layer, and where each window's kept pieces are."""
        prefix, suffix = self._splitter.prefix, self._splitter.suffix
        length = max(len(window.ids) for window in batch) + len(prefix) + len(suffix)
        ids = np.full((len(batch), length), self._splitter.pad, dtype=np.int64)
        attention = np.zeros((len(batch), length), dtype=np.int64)
        kept = np.zeros((len(batch), length), dtype=bool)
        for row, window in enumerate(batch):
            framed = [*prefix, *window.ids, *suffix]
            ids[row, : len(framed)] = framed
            attention[row, : len(framed)] = 1
            kept[row, len(prefix) + window.keep.start : len(prefix) + window.keep.stop] = True
        device = self.checkpoint.model.device
        with torch.inference_mode():
            states = self._tap(
                layers,
                input_ids=torch.from_numpy(ids).to(device),  # type: ignore[arg-type]
                attention_mask=torch.from_numpy(attention).to(device),  # type: ignore[arg-type]
            )
        return states, torch.from_numpy(kept).to(device)  # type: ignore[arg-type]


def _read(states: Mapping[int, torch.Tensor], mask: torch.Tensor, reading: Reading) -> Read:
    if not reading.poolings:
        return {(layer, ""): states[layer].float().cpu().numpy() for layer in reading.layers}
    return {
        (layer, pooling): pool_sentence(states[layer], mask, pooling).float().cpu().numpy()
        for layer in reading.layers
        for pooling in reading.poolings
    }


def _add_windows(total: Vectors, batch: Sequence[Window], pooled: Vectors, pooling: str) -> None:
    """Put the pooled vectors of windows into the rows of their sentences."""
    for window, vector in zip(batch, pooled, strict=True):
        if pooling == "max":
            np.maximum(total[window.sentence], vector, out=total[window.sentence])
        else:
            total[window.sentence] += vector * (window.keep.stop - window.keep.start)


def positions(checkpoint: Checkpoint) -> int:
    """The longest input the model takes, special pieces included."""
    stated = int(min(getattr(checkpoint.tokenizer, "model_max_length", 1e9), 1e9))
    config = checkpoint.model.config
    known = getattr(config, "max_position_embeddings", None)
    room = int(known) if isinstance(known, int) and known > 0 else UNBOUNDED_PIECES
    for name, module in checkpoint.model.named_modules():
        padding: Any = getattr(module, "padding_idx", None)
        if name.endswith("position_embeddings") and padding is not None:
            room -= int(padding) + 1  # RoBERTa counts from there
    return min(stated, room)


def _split_windows(number: int, ids: list[int], size: int) -> Iterator[Window]:
    """Windows that overlap by half, each answering for its middle, the outer ones for their end."""
    step = max(1, size // 2)
    starts = [*range(0, len(ids) - size, step), len(ids) - size]
    edges = [0, *((a + size + b) // 2 for a, b in pairwise(starts)), len(ids)]
    for start, (begin, end) in zip(starts, pairwise(edges), strict=True):
        yield Window(number, ids[start : start + size], start, slice(begin - start, end - start))


def _check(what: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        raise UnknownNameError(choose_from(what, given, choices))
