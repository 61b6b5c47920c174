"""The command ``bitext serve``."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import UnknownNameError, choose_from

if TYPE_CHECKING:
    from service.settings import Settings

LOG_LEVELS = ("critical", "error", "warning", "info", "debug")
MISTAKE = 2
"""The exit code of a mistake of the caller, as in bitext/cli.py."""


def serve(
    host: Annotated[
        str | None, typer.Option(help="Address to listen at. [default: 127.0.0.1]")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port to listen at; 0: a free one. [default: 8000]")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder or hub name. [default: bundled]")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:0, ... [default: cpu]")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="auto, bfloat16, float32 or int8. [default: float32]")
    ] = None,
    index_dir: Annotated[
        Path | None, typer.Option(help="Where indexes lie. [default: indexes/ in the data folder]")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="The data folder. [default: ~/.local/share/bitext]")
    ] = None,
    sample: Annotated[
        bool | None, typer.Option(help="Keep an index of the sample corpus. [default: sample]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings. [default: none]")
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Do not serve: say what would be used and what is wrong."),
    ] = False,
    log_level: Annotated[
        str, typer.Option(help="critical, error, warning, info or debug.")
    ] = "info",
) -> None:
    """Answer over HTTP, with a page to try it at the address that is printed.

    Every option, and all limits, can also be set by a variable, --port by BITEXT_PORT, and in a
    file, by port = 8000. Options come before variables, and these before the file. Ctrl-C stops the
    service.

    With --check, print each setting with its value and who gave it, what each folder, model and
    index is like, and on stderr a sentence for each problem; exit with 2 if there is one.
    """
    from service.batching.cores import available_cores, limit_libraries
    from service.settings import Settings

    _set_log_level(log_level)
    options = {
        "host": host,
        "port": port,
        "model": model,
        "device": device,
        "dtype": dtype,
        "index_dir": index_dir,
        "data_dir": data_dir,
        "sample": sample,
    }
    settings = Settings.load(os.environ, config, **options)
    if check:
        _check(settings, config, options)
        return
    from service.backup.restoring import at_work
    from service.freeing import free_regularly, hold_few_primitives
    from service.listening import listen

    limit_libraries(settings.cores or available_cores())
    hold_few_primitives()
    free_regularly()
    with listen(settings.host, settings.port) as listener, at_work(settings):
        from service.access.guard import warn_if_open
        from service.app import create_app  # only now: a port in use shows before what is heavy
        from service.observing import logs
        from service.server import run

        logs.begin(settings)
        warn_if_open(settings)
        run(create_app(settings), listener)


def _check(settings: Settings, config: Path | None, options: Mapping[str, object]) -> None:
    """Print settings and what they lead to, and each problem on stderr; exit 2 if there is one."""
    from service.checking import describe, look
    from service.sources import gather

    for row in describe(settings, gather(type(settings).model_fields, os.environ, config, options)):
        print(*row, sep="\t")
    has_problems = False
    for found in look(settings):
        if found.is_problem:
            has_problems = True
            print(f"bitext serve: {found.sentence}", file=sys.stderr)
        else:
            print(found.what, found.state, sep="\t")
    if has_problems:
        raise SystemExit(MISTAKE)


def _set_log_level(name: str) -> None:
    if name not in LOG_LEVELS:
        raise UnknownNameError(choose_from("log level", name, LOG_LEVELS))
    for logger in ("service", "uvicorn"):
        logging.getLogger(logger).setLevel(name.upper())
