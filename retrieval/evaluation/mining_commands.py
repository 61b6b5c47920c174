"""The command ``bitext evaluate mining``."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bitext.errors import InputError, UnknownNameError, choose_from
from bitext.progress import report_progress
from bitext.text import name_of
from encoders.options import (
    AllowDownload,
    AsJson,
    Device,
    Dtype,
    Layer,
    Model,
    Revision,
    ShowProgress,
    TooLong,
)
from encoders.preset import BUNDLED
from retrieval.command_input import naming
from retrieval.evaluation.commands import (
    Confidence,
    Resamples,
    Seed,
    brackets,
    kinds_of,
    resampling,
)
from retrieval.options import ModelChoice, Pooling

if TYPE_CHECKING:
    from bitext.significance import Resampling
    from encoders.encoder import Encoder
    from retrieval.evaluation.mining import Judged, MiningScore
    from retrieval.evaluation.mining_files import CorpusWithIds
    from retrieval.vectors.files import Rows
    from retrieval.vectors.manifest import Space

ALL = "all"


class _Set(NamedTuple):
    """Two corpora with gold, and pairs that somebody mined from them, if so."""

    source: CorpusWithIds
    target: CorpusWithIds
    gold: list[tuple[int, int]]
    mined: str | None


class _Way(NamedTuple):
    """How pairs were mined."""

    vectors: str
    margin: str
    mode: str


MINED = _Way("", "", "")


def evaluate_mining(
    source: Annotated[str, typer.Argument(help="'id TAB sentence' or one sentence a line.")],
    target: Annotated[str, typer.Argument(help="The other side, in the same form.")],
    gold: Annotated[str, typer.Argument(help="'source id TAB target id' a line.")],
    mined: Annotated[
        str | None, typer.Option(help="Pairs to score; otherwise the model mines them.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Score what is at or above; default: the best for gold.")
    ] = None,
    threshold_from: Annotated[
        list[str] | None,
        typer.Option(help="SOURCE,TARGET,GOLD that choose the threshold; may be repeated."),
    ] = None,
    threshold_mined: Annotated[
        list[str] | None, typer.Option(help="With --mined: what was mined from each of those.")
    ] = None,
    margin: Annotated[str, typer.Option(help="With commas between, or 'all'.")] = "ratio",
    mode: Annotated[str, typer.Option(help="With commas between, or 'all'.")] = "max",
    centring: Annotated[
        str, typer.Option(help="With commas between: raw, mean, whitening, ...")
    ] = "raw",
    k: Annotated[int, typer.Option("-k", "--k", min=1, help="Neighbours in a margin.")] = 4,
    confidence: Confidence = None,
    resamples: Resamples = None,
    seed: Seed = None,
    model: Model = BUNDLED,
    revision: Revision = None,
    layer: Layer = None,
    pooling: Pooling = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "error",
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Score mined pairs against gold, as the BUCC shared task: precision, recall and F1.

    Prints a header and a line for each way of centring, margin and mode, in percent, with tabs
    between; each side is encoded and searched once. The threshold is given, chosen on other sets,
    or the best for this gold, which flatters; the line says which, and always what the best gives.
    """
    how = resampling(confidence, resamples, seed)
    sets = _read_sets((source, target, gold), mined, threshold_from or [], threshold_mined or [])
    if threshold is not None and not math.isfinite(threshold):
        raise InputError(f"threshold must be a finite number, got {threshold:g}")
    if threshold is not None and threshold_from:
        raise InputError("give --threshold or --threshold-from, not both")
    table = _Table(how, threshold, as_json)
    if mined is not None:
        from bitext import __version__

        judged = [_judge_mined(one) for one in sets]
        table.line(MINED, judged, sets[0], f"bitext {__version__} | {name_of(mined)}")
        return
    ways = _ways(margin, mode, centring)
    encoder = ModelChoice(model, revision, dtype, device, allow_download).load()
    sentences = sum(len(side.texts) for one in sets for side in one[:2])
    with report_progress("sentences", sentences, show=progress) as done:
        mining = _Mining.of(encoder, layer, pooling, too_long, k, done)
        found = [dict(mining.judge(one, ways)) for one in sets]
    for way in ways:
        signature = f"{mining.signature} | {way.vectors} | {way.margin} margin, k {k}, {way.mode}"
        table.line(way, [judged[way] for judged in found], sets[0], signature)


# --- reading


def _read_sets(
    names: tuple[str, str, str],
    mined: str | None,
    others: Sequence[str],
    others_mined: Sequence[str],
) -> list[_Set]:
    """The set that is scored, then those that choose the threshold."""
    if len(others_mined) != (len(others) if mined is not None else 0):
        raise InputError(
            "--threshold-mined goes with --mined, once for each --threshold-from; "
            f"got {len(others_mined)} for {len(others)}"
        )
    sets = [_read_set(names, mined)]
    for number, other in enumerate(others):
        parts = other.split(",")
        if len(parts) != 3:
            raise InputError(f"--threshold-from takes SOURCE,TARGET,GOLD, got '{other}'")
        file = others_mined[number] if others_mined else None
        sets.append(_read_set((parts[0], parts[1], parts[2]), file))
    return sets


def _read_set(names: tuple[str, str, str], mined: str | None) -> _Set:
    from retrieval.evaluation.mining_files import read_corpus, read_gold_pairs

    source, target = read_corpus(names[0]), read_corpus(names[1])
    return _Set(source, target, read_gold_pairs(names[2], source, target), mined)


def _judge_mined(one: _Set) -> Judged:
    from retrieval.evaluation.mining import judge
    from retrieval.evaluation.mining_files import read_mined

    assert one.mined is not None, "checked before"
    found = read_mined(one.mined, one.source, one.target)
    if found.left_out:
        print(
            f"{name_of(one.mined)}: {found.left_out} lines left out, with a sentence that is not "
            "in its corpus or more than once",
            file=sys.stderr,
        )
    return judge(found.matches, one.gold)


def _ways(margin: str, mode: str, centring: str) -> list[_Way]:
    from retrieval.evaluation.folders import check_kinds
    from retrieval.mining.margin import MARGINS
    from retrieval.mining.miner import MODES

    margins, modes = _named("margin", margin, MARGINS), _named("mode", mode, MODES)
    kinds = kinds_of(centring)
    check_kinds(kinds)
    return [_Way(*way) for way in product(kinds, margins, modes)]


def _named(what: str, given: str, choices: Iterable[str]) -> list[str]:
    """:raises UnknownNameError: if one of the names does not exist."""
    names = list(choices) if given == ALL else list(dict.fromkeys(given.split(",")))
    for name in names:
        if name not in choices:
            raise UnknownNameError(choose_from(what, name, [*choices, ALL]))
    return names


# --- mining


@dataclass(frozen=True)
class _Mining:
    encoder: Encoder
    space: Space
    too_long: str
    k: int
    progress: Callable[[int], None]
    signature: str

    @classmethod
    def of(
        cls,
        encoder: Encoder,
        layer: int | None,
        pooling: str | None,
        too_long: str,
        k: int,
        progress: Callable[[int], None],
    ) -> _Mining:
        from retrieval.evaluation.recall import signature_of
        from retrieval.vectors.encoding import space_of

        space = space_of(encoder, layer, pooling)
        return cls(encoder, space, too_long, k, progress, signature_of(encoder, space))

    def judge(self, one: _Set, ways: Sequence[_Way]) -> Iterator[tuple[_Way, Judged]]:
        """What each way mines; a search for each way of centring."""
        from bitext.types import Match
        from retrieval.evaluation.folders import centred_sides
        from retrieval.evaluation.mining import judge
        from retrieval.mining.miner import candidates
        from retrieval.mining.neighbours import nearest_both_ways

        sides = {"source": self._encode(one.source), "target": self._encode(one.target)}
        for kind in dict.fromkeys(way.vectors for way in ways):
            centred = centred_sides(sides, kind, self.space)
            both = nearest_both_ways(centred["source"], centred["target"], self.k)
            for way in ways:
                if way.vectors == kind:
                    found = candidates(both, way.margin, way.mode)
                    columns = (column.tolist() for column in found)
                    yield way, judge(map(Match, *columns), one.gold)

    def _encode(self, corpus: CorpusWithIds) -> Rows:
        from retrieval.evaluation.recall import encode_all

        with naming(name_of(corpus.path)):
            return encode_all(
                self.encoder,
                corpus.texts,
                self.space,
                what="line",
                too_long=self.too_long,
                empty=True,
                progress=self.progress,
            )


# --- writing


class _Table:
    """A header and lines, or objects."""

    def __init__(self, how: Resampling | None, threshold: float | None, as_json: bool) -> None:
        self.how = how
        self.threshold = threshold
        self.as_json = as_json
        self._header = False

    def line(self, way: _Way, judged: Sequence[Judged], one: _Set, signature: str) -> None:
        """:param judged: of the set that is scored, then of those that choose the threshold."""
        from retrieval.evaluation.mining import best_threshold, count_at, score_at

        threshold, chosen = self._threshold(judged)
        score = score_at(
            judged[0],
            threshold,
            sources=len(one.source.ids),
            how=self.how,
            signature=f"{signature} | {chosen}",
        )
        best = best_threshold(judged[0])
        best_f1 = count_at(judged[0], best).f1
        columns = self._columns(way, score, best, best_f1)
        if self.as_json:
            named = way._asdict() if way != MINED else {}
            at_best = {"threshold": best if best < float("inf") else None, "f1": best_f1}
            print(json.dumps({**named, **score.as_dict(), "best": at_best}, ensure_ascii=False))
            return
        if not self._header:
            print(*columns, sep="\t")
            self._header = True
        print(*columns.values(), sep="\t")

    def _threshold(self, judged: Sequence[Judged]) -> tuple[float, str]:
        from retrieval.evaluation.mining import best_threshold, shared_threshold

        if self.threshold is not None:
            return self.threshold, "threshold given"
        if len(judged) > 1:
            return shared_threshold(judged[1:]), f"threshold from {len(judged) - 1} other sets"
        return best_threshold(judged[0]), "threshold the best for this gold"

    def _columns(
        self, way: _Way, score: MiningScore, best: float, best_f1: float
    ) -> dict[str, object]:
        named = way._asdict() if way != MINED else {}
        figures: dict[str, object] = {}
        for name in ("precision", "recall", "f1"):
            figures[name] = f"{100 * getattr(score.counts, name):.2f}"
            if score.intervals is not None:
                figures[name] = f"{figures[name]} {brackets(score.intervals[name])}"
        return {
            **named,
            "threshold": f"{score.threshold:.4f}",
            **figures,
            **score.counts._asdict(),
            "best threshold": f"{best:.4f}",
            "best f1": f"{100 * best_f1:.2f}",
            "signature": score.signature,
        }
