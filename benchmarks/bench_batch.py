"""Whether ``bitext align`` is fit for millions of pairs: memory, speed, and runs that are killed.

Aligns so many Tatoeba pairs (BITEXT_DATA; from the start again when they are used up) with the
bundled model, once in one go, and once killed (kill -9) in the middle and gone on with. Prints the
memory of all processes at ten points of the first run, pairs a second of wall time and of CPU time,
and whether both files are the same::

    python benchmarks/bench_batch.py 1000000 --processes 2
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import chain, cycle, islice
from pathlib import Path
from typing import NamedTuple

from bitext.text import data_folder, open_lines

POINTS = 10
LOOK_SECONDS = 0.5


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    seconds: float
    cpu: float


def tatoeba() -> Iterator[str]:
    files = sorted((data_folder() / "parallel" / "tatoeba").glob("train.*.tsv.gz"))
    if not files:
        sys.exit("no data: there is no parallel/tatoeba (set BITEXT_DATA)")
    return chain.from_iterable(open_lines(path) for path in cycle(files))


def run(pairs: Path, output: Path, options: list[str], look: Callable[[int, int], None]) -> Ended:
    """Align; now and then, ``look`` at the process and at the pairs its journal says are done."""
    command = [sys.executable, "-m", "bitext", "align", str(pairs), "--output", str(output)]
    process = subprocess.Popen([*command, *options])
    began = time.perf_counter()
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return Ended(code, time.perf_counter() - began, usage.ru_utime + usage.ru_stime)
        look(process.pid, done(output))
        time.sleep(LOOK_SECONDS)


def done(output: Path) -> int:
    try:
        return int(json.loads(Path(f"{output}.part.json").read_text())["items"])
    except FileNotFoundError:
        return 0


def megabytes(pid: int) -> float:
    """Of memory that a process and those it started hold."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    own = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    return sum(own) / 1024 + sum(megabytes(int(child)) for child in children)


def measure(pairs: Path, output: Path, count: int, options: list[str]) -> None:
    """One unbroken run."""
    seen: dict[int, float] = {}  # tenth -> the most memory until it was reached
    peak = 0.0

    def look(pid: int, items: int) -> None:
        nonlocal peak
        peak = max(peak, megabytes(pid))
        if (point := POINTS * items // count) not in seen:
            seen[point] = peak
            print(
                f"{items:9,} pairs  now {megabytes(pid):6.0f} MB  peak {peak:6.0f} MB", flush=True
            )

    ended = run(pairs, output, options, look)
    assert ended.code == 0, "the unbroken run failed"
    print(f"{count:9,} pairs                 peak {peak:6.0f} MB")
    print(
        f"{count / ended.seconds:.0f} pairs/s of wall time, {count / ended.cpu:.0f} of CPU time, "
        f"starting included ({ended.seconds:.0f} s, {ended.cpu:.0f} s)"
    )


def break_and_go_on(pairs: Path, output: Path, count: int, options: list[str]) -> None:
    def kill_in_the_middle(pid: int, items: int) -> None:
        if 2 * items >= count:
            os.kill(pid, signal.SIGKILL)

    ended = run(pairs, output, options, kill_in_the_middle)
    assert ended.code == -signal.SIGKILL, "it ended before it was killed; take more pairs"
    print(f"killed after {done(output):,} pairs that were known to be on the disk")
    ended = run(pairs, output, options, lambda pid, items: None)
    assert ended.code == 0, "the run that went on failed"
    print(f"went on to the end in {ended.seconds:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=int)
    parser.add_argument("rest", nargs=argparse.REMAINDER, help="options of bitext align")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs, whole, broken = folder / "pairs.tsv", folder / "whole", folder / "broken"
        with open(pairs, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in islice(tatoeba(), arguments.pairs))
        measure(pairs, whole, arguments.pairs, arguments.rest)
        break_and_go_on(pairs, broken, arguments.pairs, arguments.rest)
        same = filecmp.cmp(whole, broken, shallow=False)
        print(
            f"the two files of {whole.stat().st_size:,} bytes are {'' if same else 'NOT '}the same"
        )
        sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
