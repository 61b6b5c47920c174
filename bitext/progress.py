"""How far a long command has come, how fast, and how long it will still take, on stderr.

Another program can look on: where the variable ``BITEXT_PROGRESS`` names a file, JSON lines go
there, at most one a second and one at the end: ::

    {"stage": "source sentences", "unit": "source sentences", "done": 4000, "total": 10000}
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

VARIABLE = "BITEXT_PROGRESS"
"""Names the file that lines go to."""
LINE_SECONDS = 1.0
LARGEST = 1 << 20
"""Bytes after which the file begins anew; who looks on wants the last line."""
RATE_SECONDS = 600.0
"""How far back the rate looks; a training step of a large model may take a minute."""


@contextmanager
def report_progress(
    what: str, total: int | None = None, *, show: bool | None = None, unit: str | None = None
) -> Iterator[Callable[[int], None]]:
    """Draw a bar on stderr while the block runs; give a function that takes how many more are done.

    Beside the bar stand the rate, the time since the start and, where ``total`` is known, the time
    left. The rate counts from the first call on, so what that one reports may have been done by an
    earlier run.

    :param what: what is counted, such as ``sentences``.
    :param total: how many there are, where that is known.
    :param show: ``None`` draws only where stderr is a terminal.
    :param unit: what is counted, where ``what`` is a stage of the work; otherwise the same.
    """
    with _told(what, total, unit or what) as tell, _drawn(what, total, show) as draw:

        def advance(more: int) -> None:
            tell(more)
            draw(more)

        yield advance


@contextmanager
def _told(stage: str, total: int | None, unit: str) -> Iterator[Callable[[int], None]]:
    """Lines for another program, if one looks on."""
    path = os.environ.get(VARIABLE)
    if not path:
        yield lambda more: None
        return
    done, last = 0, -LINE_SECONDS

    def write() -> None:
        line = json.dumps({"stage": stage, "unit": unit, "done": done, "total": total})
        with suppress(OSError), open(path, "a", encoding="utf-8") as file:  # never the work's end
            if file.tell() > LARGEST:
                file.truncate(0)
            file.write(line + "\n")

    def tell(more: int) -> None:
        nonlocal done, last
        done += more
        if (moment := time.monotonic()) - last >= LINE_SECONDS:
            last = moment
            write()

    tell(0)
    try:
        yield tell
    finally:
        write()


@contextmanager
def _drawn(what: str, total: int | None, show: bool | None) -> Iterator[Callable[[int], None]]:
    """The bar, if there is somebody to see it."""
    if show is False or (show is None and not sys.stderr.isatty()):
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import Progress

    # Rich would otherwise take stdout along, and results meant for a file would go to the terminal
    bar = Progress(
        *_columns(what, total),
        console=Console(stderr=True),
        redirect_stdout=False,
        redirect_stderr=False,
        speed_estimate_period=RATE_SECONDS,
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)


def _columns(what: str, total: int | None) -> list[ProgressColumn]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(describe_rate(task.finished_speed or task.speed))

    known = [TextColumn(what), BarColumn(bar_width=20), MofNCompleteColumn(), RateColumn()]
    left = [TextColumn("left"), TimeRemainingColumn()]
    return [*known, TimeElapsedColumn(), *(left if total is not None else [])]


def describe_rate(rate: float | None) -> str:
    """How many a second: whole numbers of large rates, two digits of small ones.

    Example: ``1234.5`` -> ``"1,234/s"``, ``0.0512`` -> ``"0.051/s"``, ``None`` -> ``"?/s"``
    """
    if rate is None:
        return "?/s"
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
