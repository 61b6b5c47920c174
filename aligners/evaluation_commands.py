"""The command ``bitext evaluate alignment``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from bitext.errors import MismatchError
from bitext.formats.files import FORMATS, AlignedFile, read_together
from bitext.formats.records import Numbering
from bitext.gold import check_gold_index, gold_from_zero
from bitext.types import Alignment, GoldAlignment
from encoders.options import GoldIndex

if TYPE_CHECKING:
    from bitext.scoring import AlignmentScore
    from bitext.significance import Difference, Interval, Resampling

NAMES = {"aer": "AER", "precision": "P", "recall": "R", "f1": "F1"}

_FORMATS = ", ".join(sorted(FORMATS))
Format = Annotated[
    str | None, typer.Option(help=f"Of the links: {_FORMATS}; default: seen by the first line.")
]
Against = Annotated[
    str | None, typer.Option(help="Another system's links, to test the difference.")
]
Confidence = Annotated[
    float | None, typer.Option(help="Of the bootstrap intervals, in per cent; default: 95.")
]


class _Scored(NamedTuple):
    """The links of the systems, and the gold they are scored by; all words count from 0."""

    systems: list[list[Alignment]]
    gold: list[GoldAlignment]
    signature: str


def evaluate_alignment(
    hypothesis: Annotated[str, typer.Argument(help="Links such as '0-0 1-2', a line a pair.")],
    gold: Annotated[str, typer.Argument(help="Sure links '0-0' and possible ones '1p2'.")],
    against: Against = None,
    format: Format = None,
    against_format: Annotated[str | None, typer.Option(help="Of --against's links.")] = None,
    gold_format: Annotated[str | None, typer.Option(help="Of the gold links.")] = None,
    index: Annotated[
        int | None, typer.Option(min=0, max=1, help="The number of the first word in the links.")
    ] = None,
    gold_index: GoldIndex = None,
    first_pair: Annotated[
        int, typer.Option(min=0, help="The number of the first pair, in naacl and a3.")
    ] = 1,
    confidence: Confidence = None,
    resamples: Annotated[
        int | None, typer.Option(help="For intervals and tests; default: 1000.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the resamples; default: 0.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The score as an object.")] = False,
) -> None:
    """Score word alignments against gold: AER, precision, recall and F1 of the whole corpus.

    With --against, both systems are scored and the difference is tested, pair by pair. With
    --confidence, --resamples or --seed, each measure has its bootstrap interval.
    """
    from bitext.significance import Resampling  # brings numpy

    asked = {"resamples": resamples, "seed": seed, "confidence": confidence}
    given = {name: value for name, value in asked.items() if value is not None}
    how = Resampling(**given) if given or against is not None else None  # type: ignore[arg-type]
    files = [AlignedFile(hypothesis, format), AlignedFile(gold, gold_format, gold=True)]
    if against is not None:
        files.insert(1, AlignedFile(against, against_format))
    scored = _read(files, index, gold_index, first_pair)
    if against is None or how is None:
        print(_one(scored, how, as_json))
    else:
        print(_both(scored, how, [file.name for file in files[:2]], as_json))


def score_found(
    path: str | Path,
    found: Sequence[Alignment],
    gold: Sequence[GoldAlignment],
    gold_index: int | None,
    made_by: str,
) -> AlignmentScore:
    """The score of ``found``, by gold that was read from ``path`` and does count from 0.

    :raises InputError: if it rather seems to count from 1, and ``gold_index`` does not say.
    """
    from bitext.scoring import evaluate

    check_gold_index(path, gold, gold_index, hypotheses=found)
    return evaluate(found, gold, signature=f"{made_by} | gold from {gold_index or 0}")


def score_line(score: AlignmentScore, as_json: bool) -> str:
    return json.dumps(score.as_dict(), ensure_ascii=False) if as_json else str(score)


# --- reading


def _read(
    files: list[AlignedFile], index: int | None, gold_index: int | None, first_pair: int
) -> _Scored:
    """The systems' files and, last, that of gold."""
    from bitext import __version__

    gold_file = files[-1]
    numberings = [Numbering(index, first_pair)] * (len(files) - 1) + [Numbering(None, first_pair)]
    *found, expected = read_together(files, numberings)
    for file, pairs in zip(files, found, strict=False):
        if len(pairs) != len(expected):
            raise _unequal(file, len(pairs), gold_file, len(expected))
    systems = [[pair.alignment for pair in pairs] for pairs in found]
    gold = [pair.gold for pair in expected]
    gold = gold_from_zero(gold_file.name, gold, gold_index, gold_file.format)
    kind = f"gold {gold_file.format}"
    if FORMATS[gold_file.format].free:
        kind = f"gold from {gold_index or 0}"
        for system in systems:
            check_gold_index(gold_file.name, gold, gold_index, hypotheses=system)
    return _Scored(systems, gold, f"bitext {__version__} | {kind}")


def _unequal(first: AlignedFile, firsts: int, second: AlignedFile, seconds: int) -> MismatchError:
    by_line = all(file.format not in ("a3", "naacl") for file in (first, second))
    unit, which = ("lines", "one a pair") if by_line else ("pairs", "the same")
    return MismatchError(
        f"{first.name} and {second.name} have {firsts} and {seconds} {unit}; they must have {which}"
    )


# --- writing


def _one(scored: _Scored, how: Resampling | None, as_json: bool) -> str:
    (system,) = scored.systems
    score, intervals = _score(system, scored, how)
    if as_json:
        return json.dumps(_as_dict(score, intervals, how), ensure_ascii=False)
    return _line(score, intervals)


def _both(scored: _Scored, how: Resampling, names: list[str], as_json: bool) -> str:
    """Both scores, then what the tests say of each measure's difference."""
    from bitext.scoring import count_pairs
    from bitext.significance import compare

    scores = [_score(system, scored, how) for system in scored.systems]
    first, second = (count_pairs(system, scored.gold) for system in scored.systems)
    differences = compare(first, second, how)
    if as_json:
        hypothesis, against = (_as_dict(*score, how) for score in scores)
        tests = {name: _test_as_dict(test) for name, test in differences.items()}
        record = {"hypothesis": hypothesis, "against": against, "difference": tests}
        return json.dumps(record, ensure_ascii=False)
    lines = [f"{name}: {_line(*score)}" for name, score in zip(names, scores, strict=True)]
    lines += ["difference of the two, paired by sentence:"]
    lines += [_test_line(NAMES[name], test) for name, test in differences.items()]
    return "\n".join(lines)


def _score(
    system: list[Alignment], scored: _Scored, how: Resampling | None
) -> tuple[AlignmentScore, dict[str, Interval] | None]:
    from bitext.scoring import count_pairs, evaluate
    from bitext.significance import score_intervals

    signature = scored.signature if how is None else f"{scored.signature} | {how}"
    score = evaluate(system, scored.gold, signature=signature)
    if how is None:
        return score, None
    return score, score_intervals(count_pairs(system, scored.gold), how)


def _line(score: AlignmentScore, intervals: dict[str, Interval] | None) -> str:
    """The score as it prints itself, each measure followed by its interval if there is one."""
    if intervals is None:
        return str(score)
    figures = "  ".join(
        f"{short} {100 * getattr(score, name):.2f} {_brackets(intervals[name])}"
        for name, short in NAMES.items()
    )
    return f"{figures}  ({score.pairs} pairs, {score.links} links) | {score.signature}"


def _test_line(short: str, test: Difference) -> str:
    return (
        f"{short:<3} {100 * test.difference:+.2f} {_brackets(test.interval, '+')}  "
        f"p {test.bootstrap_p:.4f} (bootstrap)  {test.randomisation_p:.4f} (randomisation)  "
        f"better in {100 * test.better:.1f} % of resamples"
    )


def _brackets(interval: Interval, sign: str = "") -> str:
    return f"[{100 * interval.low:{sign}.2f}, {100 * interval.high:{sign}.2f}]"


def _as_dict(
    score: AlignmentScore, intervals: dict[str, Interval] | None, how: Resampling | None
) -> dict[str, Any]:
    record: dict[str, Any] = score.as_dict()
    if intervals is not None and how is not None:
        record["intervals"] = {name: list(interval) for name, interval in intervals.items()}
        record["confidence"] = how.confidence
        record["resamples"], record["seed"] = how.resamples, how.seed
    return record


def _test_as_dict(test: Difference) -> dict[str, Any]:
    return {**test._asdict(), "interval": list(test.interval)}
