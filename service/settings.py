"""Settings of the service. Options come before variables, these before the file, then defaults."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    ValidationError,
)

from bitext.errors import InputError
from service.sources import gather


def _listed(value: object) -> object:
    """``"a, b"`` -> ``["a", "b"]``, as lists are written in a variable."""
    if isinstance(value, str):
        return [item.strip() for item in value.split(",") if item.strip()]
    return value


def _network(value: str) -> str:
    """``value`` if it is an address or a network, such as ``10.0.0.0/8``."""
    ipaddress.ip_network(value)
    return value


def _named(value: object) -> object:
    """``"en-de=/models/a, owner/model"`` -> by name; a model without a name has its own."""
    items = _listed(value)
    if not isinstance(items, list | tuple):
        return value
    pairs = [item.partition("=") for item in items if isinstance(item, str)]
    if len(pairs) < len(items):
        return value
    named = {name.strip(): model.strip() if equals else name for name, equals, model in pairs}
    if len(named) < len(pairs):
        raise ValueError("two models have the same name")
    return named


def _user_data() -> Path:
    """Where programs keep a user's data (XDG base directories)."""
    given = Path(os.environ.get("XDG_DATA_HOME", ""))
    folder = given if given.is_absolute() else Path.home() / ".local" / "share"
    return folder / "bitext"


Name = Annotated[str, StringConstraints(min_length=1)]
Listed = Annotated[tuple[Name, ...], BeforeValidator(_listed)]
Network = Annotated[Name, AfterValidator(_network)]
Networks = Annotated[tuple[Network, ...], BeforeValidator(_listed)]
Origin = Annotated[Name, StringConstraints(pattern=r"^(\*|https?://[A-Za-z0-9.:\[\]-]+)$")]
Origins = Annotated[tuple[Origin, ...], BeforeValidator(_listed)]
Named = Annotated[dict[Name, Name], BeforeValidator(_named)]


class Settings(BaseModel):
    """What an operator may choose. The variable of ``max_pairs`` is ``BITEXT_MAX_PAIRS``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: Name = "127.0.0.1"  # the address to listen at: this machine only
    port: int = Field(8000, ge=0, le=65535)  # 0: one that is free
    allowed_hosts: Listed = ()  # names that clients may call us by; none given: see access/guard.py
    trusted_proxies: Networks = ()  # whose X-Forwarded-For and -Proto are believed

    keys: Literal["off", "required"] = "off"  # `bitext keys make` makes them
    cors_origins: Origins = ()  # pages of other sites that may call; "*": all
    requests_per_minute: NonNegativeInt = 0  # of one key, or without keys one address; 0: any
    characters_per_minute: NonNegativeInt = 0  # the same, counted in bodies of JSON
    header_seconds: PositiveFloat = 10  # for the head of a request to come
    body_seconds: PositiveFloat = 60  # for its body, or of an upload the next piece
    max_connections: PositiveInt = 4_000  # at a time; more are turned away

    log: Literal["text", "json"] = "text"
    log_texts: bool = False  # also what users sent

    model: Name = "bundled"  # used where a request names none, and loaded at the start
    models: Listed = ()  # more that requests may name: folders, or hub names in the local cache
    translation_models: Named = Field(default_factory=dict)  # NAME=FOLDER, or a hub name
    device: Name = "cpu"
    dtype: Name = "float32"
    cores: PositiveInt | None = None  # to compute with; default: those this process is given
    batch_pieces: PositiveInt | None = None  # in a batch; default: what suits the device
    threads: PositiveInt = 64  # requests that are worked on at the same time
    max_queue: PositiveInt = 512  # requests that are worked on or wait; beyond: 429
    max_queue_bytes: PositiveInt = 2**20  # of their bodies together, the last one's not counted
    max_model_bytes: PositiveInt | None = None  # of all models in memory; none: no limit
    grace_seconds: PositiveInt = 30  # that what is admitted may take once the service is stopped

    data_dir: Path = Field(default_factory=_user_data)
    database: Name | None = None  # a URL; default: the file bitext.db in data_dir
    database_password_file: Path | None = None  # holds the password that is not in the URL
    index_dir: Path | None = None  # default: indexes/ in data_dir
    snapshot_dir: Path | None = None  # default: snapshots/ in data_dir
    sample: bool = True  # keep an index of the sample corpus
    input_dir: Path | None = None  # files that jobs may read; none given: uploads only

    worker_jobs: PositiveInt = 1  # at the same time, besides one on the GPU
    worker_lease: float = Field(60.0, ge=3)  # seconds after which a silent worker's job is free
    max_crashes: PositiveInt = 5  # of its worker or process, after which a job has failed
    max_jobs: PositiveInt = 100  # that wait or run
    max_upload_bytes: PositiveInt = 2 * 2**30
    max_uploads_bytes: PositiveInt = 20 * 2**30  # of all uploads together

    max_body_bytes: PositiveInt = 4 * 2**20
    max_characters: PositiveInt = 10_000  # in one text, or in the words of one side together
    max_words: PositiveInt = 1_000  # on one side of a pair
    max_pairs: PositiveInt = 256  # in one request
    max_cells: PositiveInt = 1_000_000  # words by words, of all pairs and methods of a request
    max_detail_cells: PositiveInt = 250_000  # words by words, of all pairs asked for in detail
    max_spans: PositiveInt = 256  # to carry over, of all pairs of a request
    max_queries: PositiveInt = 256  # in one request
    max_k: PositiveInt = 100  # neighbours of one query
    max_texts: PositiveInt = 256  # to translate in one request
    max_beams: PositiveInt = 16  # beams or samples of each text to translate
    max_inputs: PositiveInt = 2_048  # texts to embed in one request
    max_mine_sentences: PositiveInt = 2_000  # on one side of one request
    max_sentences: PositiveInt = 10_000  # added, or deleted by id, by one request
    max_page: PositiveInt = 1_000  # sentences of an index in one answer
    max_indexes: PositiveInt = 100
    max_index_sentences: PositiveInt = 1_000_000  # in one index; they are held in memory
    max_snapshots: PositiveInt = 20  # of all indexes together

    @property
    def indexes(self) -> Path:
        """The folder that holds one folder an index."""
        return (self.index_dir or self.data_dir / "indexes").expanduser()

    @property
    def snapshots(self) -> Path:
        """The folder that holds one folder an index, which holds its snapshots."""
        return (self.snapshot_dir or self.data_dir / "snapshots").expanduser()

    @property
    def jobs(self) -> Path:
        """The folder that holds one folder a job."""
        return self.data_dir.expanduser() / "jobs"

    @property
    def uploads(self) -> Path:
        """The folder that holds the files that were sent."""
        return self.data_dir.expanduser() / "uploads"

    @property
    def translators(self) -> Path:
        """The folder that holds one folder a translation model, beside those named by hand."""
        return self.data_dir.expanduser() / "translation-models"

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models that requests may name, the default one first."""
        return tuple(dict.fromkeys([self.model, *self.models]))

    @classmethod
    def load(
        cls, environ: Mapping[str, str], config: str | Path | None = None, **options: Any
    ) -> Settings:
        """Read options that are not ``None``, ``BITEXT_*`` variables, and a TOML file.

        :param config: the file; by default the one that ``BITEXT_CONFIG`` names, if it does.
        :raises UnknownNameError: if a variable with our prefix, or a key of the file, means
            nothing here.
        :raises InputError: if a value is not of its kind, naming the variable, key or option.
        """
        given = gather(cls.model_fields, environ, config, options)
        try:
            return cls(**{field: value for field, (value, _) in given.items()})
        except ValidationError as error:
            first = error.errors()[0]
            message = first["msg"].removeprefix("Value error, ")
            message = message[0].lower() + message[1:]
            if not first["loc"]:  # of several settings together
                raise InputError(message) from None
            where = given[str(first["loc"][0])].where
            raise InputError(f"{where}{first['input']!r}: {message}") from None
