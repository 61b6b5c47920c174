"""The commands ``bitext worker`` and ``bitext jobs ...``."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitext.errors import InputError
from encoders.options import AsJson

if TYPE_CHECKING:
    from service.jobs.client import Client

Service = Annotated[
    str | None,
    typer.Option(help="Its address. [default: BITEXT_SERVICE, or http://127.0.0.1:8000]"),
]
Key = Annotated[str | None, typer.Option(help="A key to it. [default: BITEXT_KEY]")]
Id = Annotated[str, typer.Argument(help="Of the job.")]
HERE = "http://127.0.0.1:8000"
LOOK = 1.0
"""Seconds between two looks at a log that is followed."""


def worker(
    data_dir: Annotated[
        Path | None, typer.Option(help="The service's data folder, or on the same disk.")
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="Its URL. [default: bitext.db in the data folder]")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(help="At the same time, besides one on a GPU. [default: 1]")
    ] = None,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="End when there is nothing to do.")
    ] = False,
) -> None:
    """Run the jobs of a service, until Ctrl-C; what runs then goes on with the next worker.

    Options and variables are those of 'bitext serve': both must say the same of folders, database
    and models.
    """
    import logging

    from service.backup.restoring import at_work
    from service.database.engine import database_of
    from service.jobs.worker import Worker, stop_on_signals
    from service.settings import Settings

    logging.getLogger("service").setLevel(logging.INFO)
    if jobs is not None and jobs < 1:
        raise InputError(f"--jobs {jobs}: at least one")
    settings = Settings.load(os.environ, data_dir=data_dir, database=database, worker_jobs=jobs)
    with at_work(settings):
        made = Worker(settings, database_of(settings))
        stop_on_signals(made)
        made.run(until_idle=until_idle)


def submit(
    kind: Annotated[str, typer.Argument(help="mine, index, adapt or train.")],
    settings: Annotated[
        Path, typer.Argument(help="A TOML or JSON file; file:PATH in it is uploaded.")
    ],
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    service: Service = None,
    key: Key = None,
) -> None:
    """Submit a job to a running service; print its id."""
    client = _client(service, key)
    print(client.submit(kind, _read(settings), name)["id"])


def show_list(
    state: Annotated[str | None, typer.Option(help="Only those in this state.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only those of this kind.")] = None,
    service: Service = None,
    key: Key = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, the latest first: id, kind, state, how far, name."""
    for job in _client(service, key).jobs(state, kind):
        if as_json:
            print(json.dumps(job, ensure_ascii=False))
        else:
            print(job["id"], job["kind"], job["state"], _far(job), job["name"] or "-", sep="\t")


def show(id: Id, service: Service = None, key: Key = None) -> None:
    """Print a job as JSON."""
    print(json.dumps(_client(service, key).job(id), ensure_ascii=False, indent=1))


def log(
    id: Id,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until it has ended.")] = False,
    service: Service = None,
    key: Key = None,
) -> None:
    """Print what a job's commands have said."""
    client = _client(service, key)
    after = 0
    while True:
        ended = client.job(id)["state"] in ("done", "failed", "cancelled")
        while (found := client.log(id, after))["next"] > after:
            after = found["next"]
            for line in found["lines"]:
                print(line)
        sys.stdout.flush()
        if ended or not follow:
            return
        time.sleep(LOOK)


def cancel(id: Id, service: Service = None, key: Key = None) -> None:
    """Take a job away, or have it stopped; print its state."""
    print(_client(service, key).change(id, "cancel")["state"])


def retry(id: Id, service: Service = None, key: Key = None) -> None:
    """Go on with a job that failed or was cancelled; print its state."""
    print(_client(service, key).change(id, "retry")["state"])


def _client(service: str | None, key: str | None) -> Client:
    from service.jobs.client import Client

    address = service or os.environ.get("BITEXT_SERVICE") or HERE
    return Client(address, key or os.environ.get("BITEXT_KEY"))


def _read(path: Path) -> dict[str, Any]:
    """:raises InputError: if it is neither TOML nor JSON."""
    from encoders.strict import parse_settings

    try:
        return parse_settings(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: neither TOML nor, as .json, JSON: {error}") from None


def _far(job: dict[str, Any]) -> str:
    progress = job["progress"]
    if progress is None:
        return "-"
    total = "?" if progress["total"] is None else progress["total"]
    return f"{progress['done']}/{total} {progress['unit']}"
