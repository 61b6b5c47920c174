"""A job that fills an index of the service: the command ``bitext index`` with a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from bitext.errors import InputError, MismatchError
from service.errors import UnknownIndexError
from service.indexes import Indexes
from service.jobs.kinds.fields import Device, Dtype, File, Model, Word, options
from service.jobs.work import Work
from service.schemas.fields import Body, IndexName, Language, Layer, PoolingField, TooLongField

ARTEFACTS: dict[str, str] = {}


class Settings(Body):
    """As the options of `bitext index`."""

    index: IndexName
    file: File
    mode: Literal["build", "add", "upsert"] = Field(
        "build", description="A new index; sentences more; or some in the place of others."
    )
    lines: Literal["sentences", "languages", "json"] = Field(
        "sentences", description="One a line; 'language TAB sentence'; or objects, as --from-json."
    )
    language: Language | None = Field(None, description="Of all sentences.")
    centre: bool | None = Field(None, description="None: as suits the model.")
    search: Word | None = Field(None, description="The kind of search of a new index.")
    skip_empty: bool = False
    model: Model = None
    layer: Layer = None
    pooling: PoolingField = None
    dtype: Dtype = "float32"
    device: Device = "cpu"
    too_long: TooLongField = "error"


def whole() -> type[Settings]:
    return Settings


def steps(settings: Settings, work: Work) -> list[list[str]]:
    place = _place(settings, work)
    built = work.folder / "built"
    is_new = settings.mode == "build"
    model = settings.model
    written = options(
        output=built if is_new else place,
        overwrite=is_new,
        add=settings.mode == "add",
        upsert=settings.mode == "upsert",
        once=f"job {work.folder.name}" if settings.mode == "add" else None,
        limit=work.service.max_index_sentences,
        with_language=settings.lines == "languages",
        from_json=settings.lines == "json",
        language=settings.language,
        centre=settings.centre,
        raw=settings.centre is False,
        kind=settings.search,
        skip_empty=settings.skip_empty,
        model=work.model(model, "settings.model") if is_new or model is not None else None,
        layer=settings.layer,
        pooling=settings.pooling,
        dtype=settings.dtype,
        device=settings.device,
        too_long=settings.too_long,
    )
    steps = [["bitext", "index", *written, "--", work.path(settings.file, "settings.file")]]
    if is_new:
        most = str(work.service.max_indexes)
        steps.append(["service.jobs.placing", str(built), str(place), most])
    return steps


def _place(settings: Settings, work: Work) -> Path:
    """:raises BitextError: if there is no such index, or there is one."""
    indexes = Indexes(work.service)
    place = indexes.check_changeable(settings.index)
    is_there = settings.index in indexes.names()
    if settings.mode != "build" and not is_there:
        raise UnknownIndexError(f"field 'settings.index': there is no index '{settings.index}'")
    if settings.mode == "build" and is_there and work.is_trial:
        raise MismatchError(
            f"field 'settings.index': there is an index '{settings.index}'; say mode 'add' or "
            "'upsert', or remove it"
        )
    if not is_there and work.is_trial:
        indexes.check_room()
    if settings.mode != "build" and settings.search is not None:
        raise InputError("field 'settings.search' is for a new index")
    if work.is_trial and settings.search is not None:  # takes FAISS, as _check of a job of mining
        from retrieval.index.kinds import Kind

        Kind.parse(settings.search)
    if settings.lines == "languages" and settings.language is not None:
        raise InputError("field 'settings.language': every line says its own")
    return place
