"""The command ``bitext evaluate translation``."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from bitext.errors import InputError, MismatchError
from bitext.text import STDIN, name_of, read_sentences

if TYPE_CHECKING:
    from nmt.evaluation.evaluate import MetricScore
    from nmt.evaluation.guard import GuardCounts

Metrics = dict[str, "MetricScore"]


class _Choices(NamedTuple):
    metrics: list[str]
    lowercase: bool
    tokenize: str
    published: str | None
    resamples: int
    seed: int


def evaluate_translation(
    hypotheses: Annotated[
        list[str], typer.Argument(help="Translations of each system, one a line; - is stdin.")
    ],
    reference: Annotated[
        list[str], typer.Option(help="Right translations, one a line. Repeatable.")
    ],
    source: Annotated[
        str | None, typer.Option(help="What was translated: copies and loops are counted, too.")
    ] = None,
    metric: Annotated[str, typer.Option(help="With commas: bleu, chrf, ter.")] = "bleu,chrf,ter",
    lowercase: Annotated[
        bool, typer.Option("--lowercase", help="BLEU and chrF without case.")
    ] = False,
    tokenize: Annotated[str, typer.Option(help="For BLEU: 13a, intl, zh, char, none, ...")] = "13a",
    published: Annotated[
        str | None,
        typer.Option(
            help="The target language, as de: BLEU lower-cased and Moses-tokenised, too, as papers "
            "on Multi30k have it; needs the extra xlm."
        ),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Resamples for intervals and tests, such as 1000.")
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(help="Of the resamples; default: 12345, sacreBLEU's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="An object a system.")] = False,
) -> None:
    """Score translations against references: BLEU, chrF and TER, by sacreBLEU.

    Prints a header and a line for each system and metric, with tabs between. With --bootstrap, each
    score has the mean and the 95 % interval of resamples; of several systems, each is tested
    against the first on the same resamples. With --source, stderr says how many translations are
    empty, copied, repeated, far too short or long, or have unknown pieces.
    """
    from nmt.evaluation.evaluate import SEED

    if seed is not None and not bootstrap:
        raise InputError("--seed is for --bootstrap, which is not given")
    names = metric.split(",")
    choices = _Choices(names, lowercase, tokenize, published, bootstrap, seed or SEED)
    if seed == 0:
        raise InputError("--seed must be at least 1, got 0")
    files = _read([*reference, *([source] if source else []), *hypotheses])
    systems = {name_of(path): files[path] for path in hypotheses}
    scores = _scores(systems, [files[path] for path in reference], choices)
    counts = _guarded(systems, files[source]) if source else {}
    if as_json:
        _print_objects(scores, counts, len(files[reference[0]]))
        return
    _print_table(scores, bool(bootstrap), len(systems) > 1)
    for name, count in counts.items():
        print(f"{name}: {count}", file=sys.stderr)


def _read(paths: Sequence[str]) -> dict[str, list[str]]:
    """The lines of each file.

    :raises MismatchError: if a file has not as many as the first one.
    """
    if paths.count(STDIN) > 1:
        raise InputError("only one of the files can be standard input")
    files: dict[str, list[str]] = {}
    for path in paths:
        if path in files:
            raise InputError(f"{name_of(path)} is given twice")
        files[path] = list(read_sentences(path))
        lines, expected = len(files[path]), len(files[paths[0]])
        if lines != expected:
            raise MismatchError(
                f"{name_of(paths[0])} and {name_of(path)} have {expected} and {lines} lines; "
                "they must have as many, as line n of one is for line n of the other"
            )
    return files


def _scores(
    systems: Mapping[str, list[str]], references: list[list[str]], how: _Choices
) -> dict[str, Metrics]:
    if how.resamples and len(systems) > 1:
        return _compared(systems, references, how)
    return {name: _alone(lines, references, how) for name, lines in systems.items()}


def _alone(lines: list[str], references: list[list[str]], how: _Choices) -> Metrics:
    from nmt.evaluation.evaluate import published_bleu, translation_score

    score = translation_score(
        lines,
        references,
        metrics=how.metrics,
        lowercase=how.lowercase,
        tokenize=how.tokenize,
        resamples=how.resamples,
        seed=how.seed,
    )
    found = dict(score.metrics)
    if how.published:
        found["published"] = published_bleu(
            lines, references, how.published, resamples=how.resamples, seed=how.seed
        )
    return found


def _compared(
    systems: Mapping[str, list[str]], references: list[list[str]], how: _Choices
) -> dict[str, Metrics]:
    from nmt.evaluation.evaluate import compare_published, compare_systems

    scores = compare_systems(
        systems,
        references,
        metrics=how.metrics,
        lowercase=how.lowercase,
        tokenize=how.tokenize,
        resamples=how.resamples,
        seed=how.seed,
    )
    found = {name: dict(score.metrics) for name, score in scores.items()}
    if how.published:
        published = compare_published(
            systems, references, how.published, resamples=how.resamples, seed=how.seed
        )
        for name, one in published.items():
            found[name]["published"] = one
    return found


def _guarded(systems: Mapping[str, list[str]], sources: list[str]) -> dict[str, GuardCounts]:
    from nmt.evaluation.guard import guard

    return {name: guard(sources, lines)[1] for name, lines in systems.items()}


def _print_table(scores: Mapping[str, Metrics], interval: bool, tested: bool) -> None:
    header = ["system", "metric", "score"]
    header += ["mean and 95 %"] * interval + ["p"] * (interval and tested) + ["signature"]
    print(*header, sep="\t")
    for system, metrics in scores.items():
        for name, metric in metrics.items():
            title = f"{metric.name} (published)" if name == "published" else metric.name
            row = [system, title, f"{metric.score:.2f}"]
            if interval:
                row.append(f"{metric.mean:.2f} ± {metric.margin:.2f}")
            if interval and tested:
                row.append("" if metric.p_value is None else f"{metric.p_value:.4f}")
            print(*row, metric.signature, sep="\t")


def _print_objects(
    scores: Mapping[str, Metrics], counts: Mapping[str, GuardCounts], lines: int
) -> None:
    for system, metrics in scores.items():
        record: dict[str, Any] = {"system": system, "lines": lines}
        record |= {name: metric.as_dict() for name, metric in metrics.items()}
        if system in counts:
            record["guard"] = counts[system].as_dict()
        print(json.dumps(record, ensure_ascii=False))
