"""Where settings come from: options, then ``BITEXT_*`` variables, then one TOML file."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bitext.errors import InputError, UnknownNameError, choose_from

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PREFIX = "BITEXT_"
CONFIG = "BITEXT_CONFIG"
"""The variable that names the file."""
OTHERS = (
    CONFIG,
    "BITEXT_DATA",  # the folder of measuring data
    "BITEXT_KEY",  # what a client of the service is told, as
    "BITEXT_SERVICE",
    "BITEXT_PROGRESS",  # where a command tells how far it is
    "BITEXT_TEST_POSTGRES",  # the server that tests may use
)
"""Variables with our prefix that are no setting of the service."""


class Given(NamedTuple):
    """A value as somebody wrote it."""

    value: Any
    where: str
    """How a message calls it before the value, such as ``--port `` or ``BITEXT_PORT=``."""

    @property
    def source(self) -> str:
        """Who gave it, such as ``--port``, ``BITEXT_PORT`` or the file."""
        return self.where.rstrip("= ").partition(": ")[0]


def gather(
    fields: Collection[str],
    environ: Mapping[str, str],
    config: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Given]:
    """What is given of ``fields``, each by the first who gives it.

    :param config: the file; by default the one that ``BITEXT_CONFIG`` names, if it does.
    :param options: those that are ``None`` are not given.
    :raises UnknownNameError: if a variable with our prefix, or a key of the file, is no setting.
    :raises InputError: if the file cannot be read.
    """
    config = config or environ.get(CONFIG) or None
    return {
        **(_in_file(fields, Path(config)) if config else {}),
        **_in_variables(fields, environ),
        **{
            field: Given(value, f"--{field.replace('_', '-')} ")
            for field, value in (options or {}).items()
            if value is not None
        },
    }


def _in_variables(fields: Collection[str], environ: Mapping[str, str]) -> dict[str, Given]:
    names = {f"{PREFIX}{field.upper()}": field for field in fields}
    ours = {key: value for key, value in environ.items() if key.startswith(PREFIX)}
    for key in set(ours) - set(names) - set(OTHERS):
        raise UnknownNameError(choose_from("variable", key, names))
    return {names[key]: Given(value, f"{key}=") for key, value in ours.items() if key in names}


def _in_file(fields: Collection[str], path: Path) -> dict[str, Given]:
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the settings in {path}: {error.strerror}") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise InputError(f"{path} is not a TOML file: {error}") from None
    for key in found:
        if key not in fields:
            raise UnknownNameError(f"{path}: {choose_from('setting', key, fields)}")
    return {key: Given(value, f"{path}: {key} = ") for key, value in found.items()}
