"""A job of mining: the command ``bitext mine`` between two files."""

from __future__ import annotations

from pydantic import Field

from bitext.bounds import Rate
from service.jobs.kinds.fields import Device, Dtype, File, Model, Word, options
from service.jobs.work import Work
from service.schemas.fields import LARGEST_ID, Body, Layer, PoolingField, TooLongField
from service.schemas.mining import MarginName, ModeName, Threshold

ARTEFACTS = {"mined.tsv": "out/mined.tsv", "mined.jsonl": "out/mined.jsonl"}


class Settings(Body):
    """As the options of `bitext mine`."""

    source: File
    target: File
    margin: MarginName = "ratio"
    mode: ModeName = "max"
    k: int = Field(4, ge=1, le=LARGEST_ID)
    threshold: Threshold = None
    precision: float | None = Field(None, gt=0, lt=1)
    surely: bool = False
    known: File | None = None
    top: int | None = Field(None, ge=1, le=LARGEST_ID)
    coverage: Rate = 0.0
    filters: Word | None = None
    score_only: bool = False
    repeats: bool = False
    centring: Word | None = Field(None, pattern=r"^(mean|components:[0-9]{1,4})$")
    search: Word = "auto"
    json_lines: bool = Field(False, description="Objects with line numbers instead of columns.")
    model: Model = None
    layer: Layer = None
    pooling: PoolingField = None
    prefix: Word | None = None
    store: str = Field("float32", pattern="^float(16|32)$")
    dtype: Dtype = "float32"
    device: Device = "cpu"
    too_long: TooLongField = "windows"


def whole() -> type[Settings]:
    return Settings


def steps(settings: Settings, work: Work) -> list[list[str]]:
    if work.is_trial:  # takes torch, which a worker has no time to wait for
        _check(settings)
    source = work.path(settings.source, "settings.source")
    target = work.path(settings.target, "settings.target")
    known = settings.known
    written = options(
        output=work.out / ("mined.jsonl" if settings.json_lines else "mined.tsv"),
        json=settings.json_lines,
        model=work.model(settings.model, "settings.model"),
        known=None if known is None else work.path(known, "settings.known"),
        **settings.model_dump(exclude={"source", "target", "known", "model", "json_lines"}),
    )
    return [["bitext", "mine", *written, "--", source, target]]


def _check(settings: Settings) -> None:
    """Tell at once what the command would refuse, as far as names go."""
    from bitext.errors import InputError
    from retrieval.filters.commands import chain_of
    from retrieval.mining.choices import search_kind
    from retrieval.mining.rules import Rules

    s = settings
    Rules(s.margin, s.mode, s.k, s.threshold, s.precision, s.surely, s.coverage)
    search_kind(s.search)
    if s.filters is not None and s.filters != "default":
        chain_of(s.filters, None)
    if s.known is not None and s.precision is None:
        raise InputError("field 'settings.known' is for precision, which is not given")
