"""The pairs of one or two files, as they are aligned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from aligners.chunks import chunked
from bitext.formats.records import Offsets
from bitext.resumable import Mark, Watched
from bitext.text import name_of, read_bitext, read_parallel, words
from bitext.types import SentencePair, Side

if TYPE_CHECKING:
    from aligners.comparison import Prior
    from aligners.prior import CorpusPrior


class Input(NamedTuple):
    """One pair as it is aligned and, of raw text, where its words stand."""

    pair: SentencePair
    offsets: tuple[Offsets, Offsets] | None = None


class Chunk(NamedTuple):
    """Pairs that are aligned together, and how far the input has been read with them."""

    inputs: list[Input]
    mark: Mark
    priors: list[Prior] | None = None
    """How probable the links of each pair are by the corpus, if that was learnt."""

    @property
    def first(self) -> int:
        """The number of the first pair, from 1."""
        return self.mark.items - len(self.inputs) + 1


class Source:
    """The pairs of one file, or of two whose lines correspond, in chunks.

    The first pair is read at once, so that bad input shows early.

    :param raw: whether words are found by Unicode's rules, rather than by spaces.
    :param chunk: pairs that are aligned together, at least 1.
    :raises InputError: if the first pair cannot be read.
    """

    def __init__(self, file: str, target: str | None, *, raw: bool, chunk: int) -> None:
        self.names = tuple(name_of(path) for path in (file, target) if path is not None)
        """What messages call the files."""
        self._prepare = _segmented if raw else _split
        self._chunk = chunk
        pairs = read_bitext(file) if target is None else read_parallel(file, target)
        self.pairs = _watched(chain([next(pairs)], pairs))
        """Raw, and hashed as they are read."""
        self._prior: CorpusPrior | None = None

    def hold(self) -> list[SentencePair]:
        """Read all pairs, which then can be read once more; as they are aligned."""
        held = list(self.pairs)
        self.pairs = _watched(held)
        return [self._prepare(pair).pair for pair in held]

    def learn_prior(self, held: list[SentencePair]) -> None:
        """Learn what all pairs tell of their words; chunks then have priors.

        :param held: what :meth:`hold` gave.
        """
        from aligners.prior import CorpusPrior

        self._prior = CorpusPrior.learn(held)

    def chunks(self) -> Iterator[Chunk]:
        inputs = map(self._prepare, self.pairs)
        for items in chunked(inputs, self._chunk, lambda item: item.pair):
            chunk = Chunk(items, self.pairs.mark)
            yield chunk._replace(priors=self._priors_of(chunk))

    def _priors_of(self, chunk: Chunk) -> list[Prior] | None:
        if self._prior is None:
            return None
        return [
            self._prior.of(number, (len(item.pair.source), len(item.pair.target)))
            for number, item in enumerate(chunk.inputs, chunk.first - 1)
        ]


def _watched(pairs: Iterable[SentencePair]) -> Watched[SentencePair]:
    return Watched(pairs, "{0.source}\0{0.target}".format)  # no line holds a NUL


def _split(pair: SentencePair) -> Input:
    """Words are what spaces and tabs separate."""
    return Input(SentencePair(words(_text(pair.source)), words(_text(pair.target))))


def _segmented(pair: SentencePair) -> Input:
    """Words are found by Unicode's rules."""
    from bitext.segmentation import segment

    source, target = segment(_text(pair.source)), segment(_text(pair.target))
    offsets = ([(w.start, w.end) for w in source], [(w.start, w.end) for w in target])
    return Input(SentencePair([w.text for w in source], [w.text for w in target]), offsets)


def _text(side: Side) -> str:
    assert isinstance(side, str), "files hold raw text"
    return side
