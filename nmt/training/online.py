"""On-the-fly back-translation: a model learns from what it has just translated itself.

Text of one language is translated into another by the present model; the pair of that translation
and the text trains the other direction (Sennrich et al., 2016; Lample et al., 2018). Translations
are made ahead, for all batches of some steps at once: in large batches of one length they cost a
fraction of what they would cost step by step. They are a function of the seed, the step and the
weights at that step, and a checkpoint keeps those that are ready, so that a resumed run goes on
with the same ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.training import processes
from encoders.training.loop import seed_of
from nmt.pieces.tokenization import Codec
from nmt.search.frontier import Batch as Sentences
from nmt.search.search import SearchSettings, search
from nmt.training.batches import Batch, BatchSource, BitextBatches, Plan, Row, cut, make_batch
from nmt.training.config import BackTranslate
from nmt.training.data import Pieces
from nmt.training.monolingual import Around, EncodedText, around

AHEAD_TOKENS = 8192
"""Padded pieces of the sources that are translated at one time."""
_LEEWAY = 5
"""Pieces that a translation may have beyond its share of the text's."""


class Ready(NamedTuple):
    """The batches that are translated."""

    stage: int
    first: int  # number of the first batch
    plans: list[Plan]
    sources: Pieces  # whole encoder inputs, row by row of the plans


@dataclass(frozen=True, slots=True)
class Way:
    """From one language to another, and back."""

    to: str
    there: Around  # around a text that is to be translated
    given: list[int]  # to the decoder that does so
    back: Around  # around a translation that becomes a source


class OnlineBackTranslation(BatchSource):
    """Batches of translations by the model itself (sources) and the texts they are of (targets).

    Texts are drawn as :class:`nmt.training.batches.BitextBatches` draws bitext, and cut into
    batches as though a translation were as long as its text. Where there are more than two
    languages, each text goes to one of the others, drawn anew each time it comes.

    :param forbidden: pieces that no translation may have.
    """

    def __init__(
        self,
        texts: Sequence[EncodedText],
        codec: Codec,
        how: BackTranslate,
        *,
        seed: int,
        temperature: float = 1.0,
        forbidden: Sequence[int] = (),
    ) -> None:
        copies = [text.copies for text in texts]
        self._drawn = BitextBatches(copies, pad=codec.pad, seed=seed, temperature=temperature)
        self._texts, self._codec, self._how = list(texts), codec, how
        self._seed, self._forbidden = seed, list(forbidden)
        langs = list(dict.fromkeys(one.source_lang for one in copies))
        self._ways = {
            lang: [_way(codec, lang, other) for other in langs if other != lang] for lang in langs
        }
        self._ready = Ready(-1, 0, [], Pieces.of([]))
        self._stream: tuple[tuple[int, int, int], Iterator[Plan]] = ((-1, 0, 0), iter(()))

    def plans(self, *, tokens: int, stage: int, start: int) -> Iterator[int]:
        """Numbers: what is in the batches is known when they are made ready."""
        yield from count(start)

    def build(self, plan: int) -> Batch:
        at = plan - self._ready.first
        rows = self._ready.plans[at]
        done = sum(map(len, self._ready.plans[:at]))
        copies = [self._texts[row.corpus].copies for row in rows]
        return make_batch(
            [self._ready.sources[done + k] for k in range(len(rows))],
            [one.target[row.pair] for one, row in zip(copies, rows, strict=True)],
            [one.prefix for one in copies],
            pad=self._codec.pad,
        )

    def look_ahead(
        self, model: Any, *, tokens: int, stage: int, first: int, last: int
    ) -> dict[str, float]:
        """Translate the texts of the batches from number ``first`` to before ``last``.

        :return: ``back-translation: copied``, the share of a translation's pieces that stand in
            its text, and ``back-translation: length``, pieces for each of the text.
        """
        plans = self._next(tokens, stage, first, last)
        rows = [row for plan in plans for row in plan]
        ways = self._drawn_ways(rows, stage, first)
        found = self._translate(model, rows, ways, seed_of(self._seed, stage, first))
        sources = [way.back.put(ids) for way, ids in zip(ways, found, strict=True)]
        self._ready = Ready(stage, first, plans, Pieces.of(sources))
        return self._figures(rows, found)

    def state(self) -> dict[str, torch.Tensor]:
        ready = self._ready
        sizes = [len(plan) for plan in ready.plans]
        rows = [tuple(row) for plan in ready.plans for row in plan]
        return {
            "place": torch.tensor([ready.stage, ready.first]),
            "sizes": torch.tensor(sizes, dtype=torch.int64),
            "rows": torch.tensor(rows, dtype=torch.int64).reshape(-1, 2),
            "ids": torch.from_numpy(ready.sources.ids),
            "offsets": torch.from_numpy(ready.sources.offsets),
        }

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        stage, first = state["place"].tolist()
        rows = iter(Row(*row) for row in state["rows"].tolist())
        plans = [list(islice(rows, size)) for size in state["sizes"].tolist()]
        sources = Pieces(state["ids"].cpu().numpy(), state["offsets"].cpu().numpy())
        self._ready = Ready(stage, first, plans, sources)

    def _next(self, tokens: int, stage: int, first: int, last: int) -> list[Plan]:
        """The batches' texts; those that follow the last ones come without a new start."""
        place, stream = self._stream
        if place != (tokens, stage, first):
            stream = self._drawn.plans(tokens=tokens, stage=stage, start=first)
        plans = list(islice(stream, last - first))
        self._stream = ((tokens, stage, last), stream)
        return plans

    def _drawn_ways(self, rows: Sequence[Row], stage: int, first: int) -> list[Way]:
        random = np.random.default_rng((self._seed, stage, first)).random(len(rows))
        ways = [self._ways[self._texts[row.corpus].copies.source_lang] for row in rows]
        return [own[int(u * len(own))] for own, u in zip(ways, random, strict=True)]

    def _translate(
        self, model: Any, rows: Sequence[Row], ways: Sequence[Way], seed: int
    ) -> list[list[int]]:
        """The pieces of a translation of each row's text, the same over all processes."""
        sources, limits = [], []
        for row, way in zip(rows, ways, strict=True):
            pieces = self._texts[row.corpus].pieces(row.pair).tolist()
            sources.append(way.there.put(pieces))
            most = math.ceil(self._how.max_ratio * len(pieces)) + _LEEWAY
            room = self._codec.max_source - len(way.back.put([]))
            limits.append(min(most, room, self._codec.max_target - len(way.given)))
        how = SearchSettings(
            beam_size=1, sample=self._how.sample, temperature=self._how.temperature, seed=seed
        )
        return translate_ahead(
            model,
            sources,
            [way.given for way in ways],
            limits,
            how,
            codec=self._codec,
            forbidden=self._forbidden,
            together=True,
        )

    def _figures(self, rows: Sequence[Row], found: Sequence[Sequence[int]]) -> dict[str, float]:
        if not rows:
            return {}
        texts = [self._texts[row.corpus].pieces(row.pair).tolist() for row in rows]
        written = max(1, sum(map(len, found)))
        same = sum(copied(text, ids) for text, ids in zip(texts, found, strict=True))
        return {
            "back-translation: copied": same / written,
            "back-translation: length": written / max(1, sum(map(len, texts))),
        }


def copied(source: Sequence[Any], translation: Sequence[Any]) -> int:
    """How many pieces or words of a translation stand in its source, each as often as there."""
    return (Counter(source) & Counter(translation)).total()


def translate_ahead(
    model: Any,
    sources: Sequence[Sequence[int]],
    given: Sequence[Sequence[int]],
    limits: Sequence[int],
    how: SearchSettings,
    *,
    codec: Codec,
    forbidden: Sequence[int] = (),
    together: bool = False,
) -> list[list[int]]:
    """The pieces of the best translation of each source.

    :param model: in any mode, which it keeps.
    :param sources: whole encoder inputs.
    :param given: what each decoder is given.
    :param limits: most pieces of each translation; what is longer ends there.
    :param together: each process does a share; all must call it then.
    """
    lengths = np.array([[len(one), 0] for one in sources]).reshape(-1, 2)
    batches = cut(lengths, AHEAD_TOKENS, np.random.default_rng(0)) if len(sources) else []
    own = batches[processes.rank() :: processes.world()] if together else batches
    longest = max(limits, default=0)
    # number of the source, length, pieces: rows that processes can exchange
    told = np.zeros((sum(map(len, own)), 2 + longest), dtype=np.int64)
    at = 0
    training = model.training
    model.eval()
    for numbers in own:
        batch = _sentences(numbers, sources, given, limits, codec.pad, model.device)
        for number, found in zip(
            numbers, search(model, batch, how, end=codec.end, forbidden=forbidden), strict=True
        ):
            ids = found[0].ids[: limits[number]]
            told[at, :2] = number, len(ids)
            told[at, 2 : 2 + len(ids)] = ids
            at += 1
    model.train(training)
    rows = torch.from_numpy(told)
    if together:
        rows = processes.gather_rows(rows.to(model.device)).cpu()
    translations: list[list[int]] = [[] for _ in sources]
    for number, length, *ids in rows.tolist():
        translations[number] = ids[:length]
    return translations


def _sentences(
    numbers: NDArray[np.int64],
    sources: Sequence[Sequence[int]],
    given: Sequence[Sequence[int]],
    limits: Sequence[int],
    pad: int,
    device: torch.device,
) -> Sentences:
    rows = [torch.tensor(sources[number]) for number in numbers]
    source = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(source.shape[1]) < lengths[:, None]
    own = [given[number] for number in numbers]
    return Sentences(
        source.to(device), mask.to(device), own, 0, [limits[number] for number in numbers]
    )


def _way(codec: Codec, lang: str, other: str) -> Way:
    there, back = around(codec, lang, other), around(codec, other, lang)
    return Way(other, there, codec.prefix(other), back)
