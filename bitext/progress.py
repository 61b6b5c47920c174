"""How far a long command has come, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def report_progress(
    what: str, total: int | None = None, *, show: bool | None = None
) -> Iterator[Callable[[int], None]]:
    """Draw a bar on stderr while the block runs; give a function that takes how many more are done.

    :param what: what is counted, such as ``sentences``.
    :param total: how many there are, where that is known.
    :param show: ``None`` draws only where stderr is a terminal.
    """
    if show is False or (show is None and not sys.stderr.isatty()):
        yield lambda more: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # Rich would otherwise take stdout along, and results meant for a file would go to the terminal
    bar = Progress(
        *columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False
    )
    with bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)
