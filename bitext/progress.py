"""How far a long command has come, how fast, and how long it will still take, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

RATE_SECONDS = 600.0
"""How far back the rate looks; a training step of a large model may take a minute."""


@contextmanager
def report_progress(
    what: str, total: int | None = None, *, show: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """Draw a bar on stderr while the block runs; give a function that takes how many more are done.

    Beside the bar stand the rate, the time since the start and, where ``total`` is known, the time
    left. The rate counts from the first call on, so what that one reports may have been done by an
    earlier run.

    :param what: what is counted, such as ``sentences``.
    :param total: how many there are, where that is known.
    :param show: ``None`` draws only where stderr is a terminal.
    """
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
