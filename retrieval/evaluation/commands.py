"""The command ``bitext evaluate retrieval``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bitext.errors import InputError
from bitext.progress import report_progress
from bitext.text import name_of, read_parallel
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
from retrieval.options import ModelChoice, Pooling

if TYPE_CHECKING:
    from bitext.significance import Interval, Resampling
    from encoders.encoder import Encoder
    from retrieval.evaluation.folders import MeanScore, Scoring
    from retrieval.evaluation.parallel_folder import Parallel, ParallelFolder
    from retrieval.evaluation.pool import PoolScore
    from retrieval.evaluation.recall import RetrievalScore
    from retrieval.vectors.files import Rows
    from retrieval.vectors.manifest import Space

Confidence = Annotated[
    float | None, typer.Option(help="Of the bootstrap intervals, in per cent; default: 95.")
]
Resamples = Annotated[int | None, typer.Option(help="For the intervals; default: 1000.")]
Seed = Annotated[int | None, typer.Option(help="Of the resamples; default: 0.")]


class _Texts(NamedTuple):
    """What is encoded: a name for messages, and sentences."""

    name: str
    texts: list[str]


class _Choices(NamedTuple):
    """What a folder is scored by."""

    pivot: str | None
    languages: str | None
    all_pairs: bool
    pool: bool


def evaluate_retrieval(
    source: Annotated[str, typer.Argument(help="One sentence a line, - is stdin; or a folder.")],
    target: Annotated[
        str | None, typer.Argument(help="Line i translates line i of SOURCE; none for a folder.")
    ] = None,
    k: Annotated[str, typer.Option("-k", "--k", help="Recall at these, such as 1,5.")] = "1,5",
    margin: Annotated[
        str, typer.Option(help="What the error goes by: absolute, distance or ratio.")
    ] = "absolute",
    centre: Annotated[
        bool | None,
        typer.Option(
            "--centre/--raw", help="Only with, or only without each side's mean taken away."
        ),
    ] = None,
    centring: Annotated[
        str | None,
        typer.Option(help="Ways to centre, with commas: raw, mean, components:1, whitening, ..."),
    ] = None,
    pivot: Annotated[
        str | None, typer.Option(help="Of a folder: what all are searched from; default: English.")
    ] = None,
    languages: Annotated[
        str | None, typer.Option(help="Of a folder: only these, such as deu,fra.")
    ] = None,
    all_pairs: Annotated[
        bool, typer.Option("--all-pairs", help="Of a folder: each language with each other.")
    ] = False,
    pool: Annotated[
        bool, typer.Option("--pool", help="Of a folder: mAP@20 in one pool of all languages.")
    ] = False,
    confidence: Confidence = None,
    resamples: Resamples = None,
    seed: Seed = None,
    model: Model = BUNDLED,
    revision: Revision = None,
    layer: Layer = None,
    layers: Annotated[
        str | None, typer.Option(help="Several: 'all', or numbers such as 0,2,4.")
    ] = None,
    pooling: Pooling = None,
    dtype: Dtype = "float32",
    device: Device = "cpu",
    too_long: TooLong = "error",
    allow_download: AllowDownload = False,
    as_json: AsJson = False,
    progress: ShowProgress = None,
) -> None:
    """Score retrieval between line-parallel files, both ways: recall@k and error, in percent.

    Prints a header and a line for each layer, raw or centred, and direction, with tabs between.
    With --json, prints an object for each layer, raw or centred, with shares of 1.

    Of a folder (deu.txt beside deu.eng.txt, as the Tatoeba test; or deu.txt, eng.txt, all
    line-parallel, as NTREX and FLORES), prints a line for each language and direction and their
    mean. With --pool, prints for each language how well its sentences find all their translations
    among the sentences of all languages.
    """
    from retrieval.evaluation.folders import Scoring, check_kinds
    from retrieval.evaluation.recall import signature_of
    from retrieval.vectors.encoding import space_of

    ks = _numbers("-k", k, least=1)
    kinds = _kinds(centre, centring)
    check_kinds(kinds)
    how = resampling(confidence, resamples, seed)
    choices = _Choices(pivot, languages, all_pairs, pool)
    work = _folder_work(source, choices) if _is_folder(source, target, choices) else None
    files = work.files if work else _both_sides(source, target)
    encoder = ModelChoice(model, revision, dtype, device, allow_download).load()
    spaces = [space_of(encoder, n, pooling) for n in _layers(layer, layers, encoder.layers)]
    sentences = len(spaces) * sum(len(file.texts) for file in files.values())
    table = _Table(as_json, how)
    with report_progress("sentences", sentences, show=progress) as done:
        for space in spaces:
            vectors_of = _Encoding(encoder, files, space, too_long, done)
            scoring = Scoring(space, kinds, ks, margin, signature_of(encoder, space))
            if work is None:
                _print_two(vectors_of, scoring, table)
            elif pool:
                _print_pool(work, vectors_of, scoring, table)
            else:
                _print_folder(work, vectors_of, scoring, table)


# --- what is scored


class _FolderWork(NamedTuple):
    folder: ParallelFolder
    pairs: Sequence[Parallel]
    files: dict[str, _Texts]
    """By path, in the order they are encoded."""


@dataclass(frozen=True)
class _Encoding:
    """Vectors of a file, by its key in ``files``."""

    encoder: Encoder
    files: dict[str, _Texts]
    space: Space
    too_long: str
    progress: Callable[[int], None]

    def __call__(self, key: str) -> Rows:
        from retrieval.evaluation.recall import encode_all

        name, texts = self.files[key]
        with naming(name):
            return encode_all(
                self.encoder,
                texts,
                self.space,
                what="line",
                too_long=self.too_long,
                progress=self.progress,
            )


def _is_folder(source: str, target: str | None, choices: _Choices) -> bool:
    """:raises InputError: if the arguments do not go together."""
    if Path(source).is_dir():
        if target is not None:
            raise InputError(f"{source} is a folder, which is scored without a TARGET")
        return True
    if target is None:
        raise InputError(f"{source} is no folder, so a TARGET is needed")
    if any(choices):
        raise InputError(
            "--pivot, --languages, --all-pairs and --pool are for a folder, and "
            f"{name_of(source)} is none"
        )
    return False


def _folder_work(source: str, choices: _Choices) -> _FolderWork:
    from retrieval.evaluation.parallel_folder import read_parallel_folder

    folder = read_parallel_folder(source, choices.pivot)
    chosen = choices.languages.split(",") if choices.languages else None
    if choices.pool:
        folder.check_shared()
        names = folder.chosen(chosen)
        files = {name: _read(folder.files[name]) for name in names}
        return _FolderWork(folder, (), files)
    pairs = folder.all_pairs(chosen) if choices.all_pairs else folder.against_pivot(chosen)
    paths = dict.fromkeys(path for pair in pairs for path in pair.files)
    return _FolderWork(folder, pairs, {str(path): _read(path) for path in paths})


def _read(path: Path) -> _Texts:
    """:raises InputError: if a line is empty, as it could be found by nobody."""
    from bitext.text import read_sentences

    texts = list(read_sentences(path))
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            raise InputError(f"{path}, line {number} is empty")
    return _Texts(str(path), texts)


def _both_sides(source: str, target: str | None) -> dict[str, _Texts]:
    """:raises InputError: if a line is empty, as it could be found by nobody."""
    assert target is not None, "checked before"
    sides: tuple[list[str], list[str]] = ([], [])
    for number, pair in enumerate(read_parallel(source, target), start=1):
        for path, text, side in zip(
            (source, target), (pair.source, pair.target), sides, strict=True
        ):
            assert isinstance(text, str), "files hold raw text"
            if not text.strip():
                raise InputError(f"{name_of(path)}, line {number} is empty")
            side.append(text)
    names = (name_of(source), name_of(target))
    return {
        key: _Texts(name, texts)
        for key, name, texts in zip(("source", "target"), names, sides, strict=True)
    }


# --- writing


class _Table:
    """Lines with tabs between and one header, or objects."""

    def __init__(self, as_json: bool, how: Resampling | None) -> None:
        self.as_json = as_json
        self.how = how
        self._header = False

    def record(self, record: dict[str, object]) -> None:
        print(json.dumps(record, ensure_ascii=False), flush=True)

    def row(self, columns: dict[str, object]) -> None:
        if not self._header:
            print(*columns, sep="\t")
            self._header = True
        print(*columns.values(), sep="\t")
        sys.stdout.flush()

    def figures(
        self, score: RetrievalScore | MeanScore, names: Iterable[str], direction: str
    ) -> dict[str, object]:
        """Shares in per cent, each followed by its interval if that was asked for."""
        shown = [f"{100 * share:.2f}" for share in score.figures(direction)]
        if self.how is not None:
            found = score.intervals(direction, self.how)
            shown = [f"{one} {brackets(i)}" for one, i in zip(shown, found, strict=True)]
        return dict(zip(names, shown, strict=True))

    def signed(self, signature: str) -> str:
        return signature if self.how is None else f"{signature} | {self.how}"


def brackets(interval: Interval) -> str:
    return f"[{100 * interval.low:.2f}, {100 * interval.high:.2f}]"


def _print_two(vectors_of: Callable[[str], Rows], scoring: Scoring, table: _Table) -> None:
    from retrieval.evaluation.folders import centred_sides

    sides = {name: vectors_of(name) for name in ("source", "target")}
    for kind in scoring.kinds:
        centred = centred_sides(sides, kind, scoring.space)
        score = scoring.score(centred["source"], centred["target"], kind)
        if table.as_json:
            table.record(score.as_dict(table.how))
            continue
        for columns in _rows(score, score, table):
            table.row(columns)


def _print_folder(
    work: _FolderWork, vectors_of: Callable[[str], Rows], scoring: Scoring, table: _Table
) -> None:
    from retrieval.evaluation.folders import MeanScore, score_folder

    scores: dict[str, list[RetrievalScore]] = {kind: [] for kind in scoring.kinds}
    found = score_folder(work.folder, work.pairs, lambda path: vectors_of(str(path)), scoring)
    for pair, score in found:
        scores[score.vectors].append(score)
        if table.as_json:
            names = {"source": pair.source_language, "target": pair.target_language}
            table.record({**names, **score.as_dict(table.how)})
        else:
            _print_named(f"{pair.source_language}-{pair.target_language}", score, score, table)
    for of_kind in scores.values():
        mean = MeanScore(of_kind, work.folder.shared)
        if table.as_json:
            table.record(mean.as_dict(table.how))
        else:
            _print_named(f"mean of {len(of_kind)}", mean, of_kind[0], table)


def _print_named(
    name: str, score: RetrievalScore | MeanScore, like: RetrievalScore, table: _Table
) -> None:
    for columns in _rows(score, like, table):
        table.row({"languages": name, **columns})


def _rows(
    score: RetrievalScore | MeanScore, like: RetrievalScore, table: _Table
) -> Iterator[dict[str, object]]:
    for direction in like.recall:
        yield {
            "layer": like.layer,
            "vectors": like.vectors,
            "direction": direction,
            **table.figures(score, like.names, direction),
            "pairs": like.pairs if score is like else "",
            "signature": table.signed(like.signature),
        }


def _print_pool(
    work: _FolderWork, vectors_of: Callable[[str], Rows], scoring: Scoring, table: _Table
) -> None:
    from retrieval.evaluation.folders import score_pool

    for score in score_pool({name: vectors_of(name) for name in work.files}, scoring):
        if table.as_json:
            table.record(score.as_dict(table.how))
            continue
        for name in [*score.languages, None]:
            queries = sum(map(len, score.precision.values())) if name is None else None
            table.row(
                {
                    "language": name or f"all {len(score.languages)}",
                    "layer": score.layer,
                    "vectors": score.vectors,
                    "mAP@20": _pool_figure(score, name, table.how),
                    "queries": queries or len(score.precision[name or ""]),
                    "candidates": score.candidates,
                    "signature": table.signed(score.signature),
                }
            )


def _pool_figure(score: PoolScore, language: str | None, how: Resampling | None) -> str:
    shown = f"{100 * (score.mean if language is None else score.of(language)):.2f}"
    return shown if how is None else f"{shown} {brackets(score.interval(language, how))}"


# --- options


def resampling(
    confidence: float | None, resamples: int | None, seed: int | None
) -> Resampling | None:
    """How to resample, if any of the options asks for it."""
    asked = {"confidence": confidence, "resamples": resamples, "seed": seed}
    given = {name: value for name, value in asked.items() if value is not None}
    if not given:
        return None
    from bitext.significance import Resampling

    return Resampling(**given)  # type: ignore[arg-type]


def _kinds(centre: bool | None, centring: str | None) -> list[str]:
    from retrieval.evaluation.recall import CENTRED, RAW

    if centring is None:
        return [RAW, CENTRED] if centre is None else [CENTRED if centre else RAW]
    if centre is not None:
        raise InputError("give --centring, or one of --centre and --raw, not both")
    return kinds_of(centring)


def kinds_of(centring: str) -> list[str]:
    """Ways to centre, of names with commas between; ``mean`` is what is shown as ``centred``."""
    from retrieval.evaluation.recall import CENTRED

    names = [CENTRED if name == "mean" else name for name in centring.split(",")]
    return list(dict.fromkeys(names))


def _layers(layer: int | None, layers: str | None, last: int) -> Sequence[int | None]:
    if layers is None:
        return [layer]
    if layer is not None:
        raise InputError("give --layer or --layers, not both")
    return range(last + 1) if layers == "all" else _numbers("--layers", layers, least=0)


def _numbers(option: str, given: str, *, least: int) -> list[int]:
    """Numbers with commas between.

    Example: ``_numbers("-k", "1,5", least=1)`` -> ``[1, 5]``
    """
    try:
        numbers = [int(item) for item in given.split(",")]
    except ValueError:
        raise InputError(f"{option} takes numbers such as 1,5, got '{given}'") from None
    if min(numbers) < least:
        raise InputError(f"{option} takes numbers from {least} up, got {min(numbers)}")
    return numbers
