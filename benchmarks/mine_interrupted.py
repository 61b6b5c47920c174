"""Whether ``bitext mine`` gives the same file when it is killed, on real sentences.

Makes two files of so many different sentences each of the German and English training text
(BITEXT_DATA), in other orders; some of the sentences have no translation on the other side. They
are mined once in one go, and once killed (kill -9) after each of the given seconds and gone on
with. Prints how long both took, the memory, whether both files are the same bytes, and how many of
the known pairs were found at the best threshold::

    python benchmarks/mine_interrupted.py --sentences 200000 --kill 60 200 300
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from bitext.text import data_folder, open_lines

ALONE = 0.045
"""The share of each side's sentences whose translation is not there."""


class Ended(NamedTuple):
    """How a run ended."""

    code: int
    seconds: float
    cpu: float
    peak: float  # MB resident


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=200_000, help="on each side")
    parser.add_argument("--kill", type=float, nargs="+", default=[60, 200, 300], help="seconds")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        gold = write_corpora(folder, options.sentences)
        whole = mine(folder, "whole.jsonl", None)
        print(
            f"unbroken: {whole.seconds:.0f} s, {whole.cpu:.0f} CPU s, {whole.peak:.0f} MB",
            flush=True,
        )
        for seconds in [*options.kill, None]:
            ended = mine(folder, "killed.jsonl", seconds)
            how = "killed" if ended.code == -signal.SIGKILL else f"ended with {ended.code}"
            spent = f"{ended.seconds:.0f} s, {ended.cpu:.0f} CPU s, {ended.peak:.0f} MB"
            print(f"{how} after {spent}", flush=True)
            if ended.code != -signal.SIGKILL:
                break
        same = filecmp.cmp(folder / "whole.jsonl", folder / "killed.jsonl", shallow=False)
        print(f"the same file: {same}")
        print(best_f1(folder / "whole.jsonl", gold))
        if not same:
            sys.exit(1)


def write_corpora(folder: Path, sentences: int) -> set[tuple[int, int]]:
    """The line numbers of the pairs that are on both sides."""
    alone = int(ALONE * sentences)
    pairs = known_pairs(sentences + alone)
    both, german, english = (
        pairs[: sentences - alone],
        pairs[sentences - alone : sentences],
        pairs[sentences:],
    )
    sides = [
        [(text, number) for number, (text, _) in enumerate(both)]
        + [(text, -1) for text, _ in german],
        [(text, number) for number, (_, text) in enumerate(both)]
        + [(text, -1) for _, text in english],
    ]
    order = random.Random(0)
    lines: list[dict[int, int]] = []
    for name, side in zip(("de.txt", "en.txt"), sides, strict=True):
        order.shuffle(side)
        (folder / name).write_text("".join(text + "\n" for text, _ in side), encoding="utf-8")
        lines.append({number: line for line, (_, number) in enumerate(side) if number >= 0})
    return {(lines[0][number], lines[1][number]) for number in range(len(both))}


def known_pairs(count: int) -> list[tuple[str, str]]:
    """Pairs of which no side comes twice, in an order of chance."""
    files = sorted((data_folder() / "parallel").glob("*/train.en-de.tsv.gz"))
    seen: tuple[set[str], set[str]] = (set(), set())
    pairs = []
    for path in files:
        for line in open_lines(path):
            english, german = line.split("\t")
            if english not in seen[0] and german not in seen[1]:
                seen[0].add(english)
                seen[1].add(german)
                pairs.append((german, english))
    if len(pairs) < count:
        sys.exit(f"there are {len(pairs)} such pairs, {count} are needed")
    random.Random(0).shuffle(pairs)
    return pairs[:count]


def mine(folder: Path, output: str, kill: float | None) -> Ended:
    """Run ``bitext mine``; kill it after ``kill`` seconds if it is not done by then."""
    command = [sys.executable, "-m", "bitext", "mine", "de.txt", "en.txt", "--json"]
    process = subprocess.Popen([*command, "--output", output], cwd=folder)
    began = time.perf_counter()
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        seconds = time.perf_counter() - began
        if pid:
            code = os.waitstatus_to_exitcode(status)
            return Ended(code, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)
        if kill is not None and seconds >= kill:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.2)


def best_f1(path: Path, gold: set[tuple[int, int]]) -> str:
    """The F1 of the threshold with the best one: of known pairs; others may be right, too."""
    right, best = 0, (0.0, "nothing was found")
    with open(path, encoding="utf-8") as file:
        for mined, line in enumerate(file, start=1):
            record = json.loads(line)
            right += (record["source_id"], record["target_id"]) in gold
            f1 = 2 * right / (mined + len(gold))
            figures = f"P {100 * right / mined:.1f} R {100 * right / len(gold):.1f}"
            at = f"at margin {record['score']:.3f}"
            best = max(best, (f1, f"known pairs found: F1 {100 * f1:.1f}, {figures} {at}"))
    return best[1]


if __name__ == "__main__":
    main()
