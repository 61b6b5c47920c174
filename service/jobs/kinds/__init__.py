"""The kinds of jobs: what may be set, and which commands do the work.

A kind is a schema and a function ``steps(settings, work)`` that gives the commands in order. They
are run one after the other; each of them, run again, goes on where it was or does it anew.
"""

from __future__ import annotations

import importlib
import json
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ValidationError

from bitext.errors import InputError, TooLargeError, UnknownNameError, choose_from
from encoders.strict import describe
from service.errors import sentence_of
from service.jobs.work import Work

KINDS = ("adapt", "index", "mine", "train")
"""Each is a module of this package; imported when needed, as two of them bring torch."""

LARGEST = 64 * 1024
"""Characters of JSON that the settings of a job may have: some hundred files."""

Command = list[str]
"""What follows ``python -m``."""


class Kind(Protocol):
    """What a module of this package has."""

    Settings: type[BaseModel]
    """Enough to make commands of settings that were looked at before."""
    ARTEFACTS: dict[str, str]

    def whole(self) -> type[BaseModel]:
        """All that may be set."""

    def steps(self, settings: Any, work: Work) -> list[Command]: ...


class Plan(NamedTuple):
    """What a job comes to."""

    steps: list[Command]
    gpu: bool


def kind_named(name: str) -> Kind:
    """:raises UnknownNameError: if there is no such kind."""
    if name not in KINDS:
        raise UnknownNameError(f"field 'kind': {choose_from('kind', name[:80], KINDS)}")
    return importlib.import_module(f"service.jobs.kinds.{name}")


def plan(kind: str, settings: dict[str, Any], work: Work) -> Plan:
    """The commands of a job.

    :raises BitextError: if the settings are not what they should be; the sentence names the field.
    """
    found = kind_named(kind)
    schema = found.whole() if work.is_trial else found.Settings
    try:
        # As JSON, where a list may be a tuple, and a number is never made of a text.
        written = json.dumps(settings, allow_nan=False)
    except ValueError:
        raise InputError("field 'settings': expected finite numbers, got inf or nan") from None
    except RecursionError:
        raise InputError("field 'settings': nested too deeply") from None
    if len(written) > LARGEST:  # to read much that is wrong takes much longer than what is right
        raise TooLargeError(
            f"field 'settings': {len(written)} characters as JSON, more than the {LARGEST} that "
            "are taken"
        )
    try:
        read = schema.model_validate_json(written, strict=True)
    except ValidationError as error:
        raise InputError(_told(error, schema)) from None
    device = str(getattr(read, "device", "cpu"))
    return Plan(found.steps(read, work), gpu=device.startswith("cuda"))


def _told(error: ValidationError, settings: type[BaseModel]) -> str:
    first = error.errors()[0]
    if first["type"] in ("extra_forbidden", "value_error"):  # it knows what is allowed
        key = ".".join(map(str, first["loc"]))
        sentence = describe(error, settings).removeprefix(f"{key}: ")
        return f"field 'settings{'.' if key else ''}{key}': {sentence}"
    return sentence_of({**first, "loc": ("body", "settings", *first["loc"])})


def artefacts_of(kind: str) -> dict[str, str]:
    """What a job of this kind may leave: names and paths in its folder."""
    return kind_named(kind).ARTEFACTS if kind in KINDS else {}
