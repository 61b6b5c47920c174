"""``/v1/jobs``: what takes longer than a request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from service.schemas.fields import Body, Text

Kind = Literal["adapt", "index", "mine", "train"]
State = Literal["queued", "running", "cancelling", "done", "failed", "cancelled"]

_TRAINING: dict[str, Any] = {
    "kind": "train",
    "name": "English to German",
    "settings": {
        "data": {
            "source_lang": "en",
            "target_lang": "de",
            "corpora": [{"file": "input:pairs.tsv"}],
            "dev": [{"file": "input:pairs.tsv"}],
        },
        "stages": [{"steps": 2000}],
        "publish": "en-de",
    },
}


class JobRequest(Body):
    """What is to be done: one of bitext's commands, and its settings."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "mine",
                    "settings": {"source": "input:en.txt", "target": "input:de.txt", "top": 100},
                },
                {
                    "kind": "index",
                    "settings": {"index": "mine", "file": "input:de.txt", "language": "de"},
                },
                _TRAINING,
                {
                    "kind": "adapt",
                    "settings": {
                        "corpora": ["input:pairs.en-de.tsv"],
                        "stages": [{"name": "all", "steps": 100, "objectives": {"tlm": {}}}],
                    },
                },
            ]
        }
    )

    kind: Annotated[str, Field(json_schema_extra={"enum": ["adapt", "index", "mine", "train"]})]
    settings: dict[str, Any] = Field(
        description="Of the kind: the options of `bitext mine` or `bitext index`, or the keys of "
        "the file of `bitext adapt` or `bitext train`. A file is `upload:ID` or `input:path`."
    )
    name: Annotated[Text, StringConstraints(min_length=1, max_length=200)] | None = Field(
        None, description="For people."
    )


class Progress(BaseModel):
    """How far a job is."""

    done: int
    total: int | None
    unit: str = Field(description="What is counted.")
    rate: float | None = Field(description="How many a second.")
    eta_seconds: float | None
    stage: str


class Artefact(BaseModel):
    """A file or folder that a job has left."""

    name: str
    bytes: int = Field(
        description="As it lies on the server; log.txt and config.json are sent with names in "
        "place of the server's paths, and so may be shorter."
    )


class JobInfo(BaseModel):
    """A job as it is now. Times are ISO 8601, UTC."""

    id: str
    kind: Kind
    name: str | None
    state: State
    created: str
    started: str | None
    finished: str | None
    attempts: int = Field(description="How often a worker has begun it or gone on with it.")
    progress: Progress | None
    error: str | None = Field(description="Why it failed, in one sentence.")
    settings: dict[str, Any]
    artefacts: list[Artefact]


class JobList(BaseModel):
    """Some jobs, the latest first."""

    jobs: list[JobInfo]
    next: str | None = Field(description="`after` of the next page; null: there is none.")


class LogLines(BaseModel):
    """Some lines of what a job's commands have said."""

    lines: list[str]
    next: int = Field(description="`after` of the lines that come next.")


class Measurements(BaseModel):
    """What a training has measured."""

    series: list[dict[str, Any]] = Field(
        description="One object a time: stage, step, and figures by name."
    )
