"""An index under load: threads that write and search, a kill, and what is there after it.

    python -m benchmarks.index_load                  4 writers and 8 readers, 300 seconds
    python -m benchmarks.index_load --seconds 60 --sentences 20000

Four threads upsert (1 to 8 sentences), one change in five deletes; six threads search beside them,
and two in a second process. Each writer notes in a file what it is about to do, and that it was
done. Then both processes get SIGKILL; the index is loaded again, and must hold every sentence that
was acknowledged, as it was last, and none whose deletion was. Vectors come from a hash of the text,
so that it is the index that is measured and no model.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from encoders.preset import Preset
from retrieval.store.addition import Entry
from retrieval.store.selection import Filter
from retrieval.store.text_index import TextIndex

WRITERS, READERS_HERE, READERS_THERE = 4, 6, 2
LANGUAGES = ("de", "en", "fr", "hi")


class HashEncoder:
    """Unit vectors that only depend on the text."""

    name, fingerprint, revision = "hash", "hash", None
    preset = Preset()

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def check_layer(self, layer: int | None, task: str) -> int:
        return 0

    def sentences(self, texts: Sequence[str], **_: Any) -> np.ndarray:
        rows = np.empty((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            np.random.default_rng(zlib.crc32(text.encode())).standard_normal(out=row, dtype="f4")
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        return rows


# --- the processes that are killed


class Times:
    """How long calls took, by kind; written to a file every second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seconds: dict[str, list[float]] = {}
        self.wrong = 0
        self._start = time.perf_counter()

    def note(self, kind: str, start: float) -> None:
        self.seconds.setdefault(kind, []).append(time.perf_counter() - start)

    def keep_writing(self) -> None:
        while True:
            time.sleep(1)
            spent = time.perf_counter() - self._start
            kinds = {kind: _summary(list(times), spent) for kind, times in self.seconds.items()}
            report = {"kinds": kinds, "wrong": self.wrong, "mb": _resident() / 1e6}
            partial = self.path.with_suffix(".partial")
            partial.write_text(json.dumps(report))
            partial.rename(self.path)


def _resident() -> int:
    """Bytes of this process in memory; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _summary(times: Sequence[float], spent: float) -> dict[str, float]:
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return {"calls/s": len(times) / spent, "p50 ms": p50, "p99 ms": p99, "max ms": max(times) * 1e3}


def write(index: TextIndex, encoder: Any, writer: int, top: int, log: Path, times: Times) -> None:
    """Change sentences whose ids leave ``writer`` over when divided by ``WRITERS``, for ever."""
    chance = random.Random(writer)
    with open(log, "a", buffering=1) as file:
        for change in range(sys.maxsize):
            ids = [chance.randrange(top) * WRITERS + writer for _ in range(chance.randint(1, 8))]
            ids = sorted(set(ids))
            kind = "delete" if chance.random() < 0.2 else "upsert"
            texts = [None if kind == "delete" else f"{number} {change}" for number in ids]
            file.write(json.dumps([change, ids, texts]) + "\n")
            start = time.perf_counter()
            if kind == "delete":
                index.delete(ids=ids)
            else:
                rows = [Entry(LANGUAGES[n % 4], str(t), n) for n, t in zip(ids, texts, strict=True)]
                index.add_mixed(rows, encoder=encoder, replace=True)
            times.note(kind, start)
            file.write(f"{change}\n")


def read(index: TextIndex, encoder: Any, reader: str, times: Times) -> None:
    """Search for ever, one time in four within a language."""
    chance = random.Random(f"reader {reader}")
    while True:
        where = Filter(languages=(chance.choice(LANGUAGES),)) if chance.random() < 0.25 else None
        start = time.perf_counter()
        [hits] = index.retrieve([str(chance.random())], k=10, encoder=encoder, where=where)
        times.note("search" if where is None else "search, filtered", start)
        times.wrong += sum(hit.text.split()[0] != str(hit.id) for hit in hits)


def work(folder: Path, name: str, sentences: int, dim: int) -> None:
    """What each of the two processes does until it is killed."""
    index, encoder = TextIndex.load(folder / "index"), HashEncoder(dim)
    times = Times(folder / f"{name}.json")
    jobs: list[tuple[Any, ...]] = []
    if name == "writers":
        top = sentences // WRITERS
        jobs += [
            (write, index, encoder, n, top, folder / f"{n}.log", times) for n in range(WRITERS)
        ]
    readers = READERS_HERE if name == "writers" else READERS_THERE
    jobs += [(read, index, encoder, f"{name} {n}", times) for n in range(readers)]
    for function, *arguments in jobs:
        threading.Thread(target=function, args=arguments, daemon=True).start()
    times.keep_writing()


# --- the process that kills them


def changes(log: Path) -> Iterator[tuple[bool, dict[int, str | None]]]:
    """The changes of one writer in order, and whether each was acknowledged."""
    lines = log.read_text().split("\n")[:-1]
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("["):
            change, ids, texts = json.loads(line)
            yield following == str(change), dict(zip(ids, texts, strict=True))


def check(index: TextIndex, first: dict[int, str | None], logs: Sequence[Path]) -> tuple[int, int]:
    """How many changes were acknowledged, and how many sentences are not as they must be."""
    expected = {number: {text} for number, text in first.items()}
    acknowledged = 0
    for log in logs:
        for was_done, texts in changes(log):
            acknowledged += was_done
            for number, text in texts.items():
                before = set() if was_done else expected.get(number, {None})
                expected[number] = before | {text}
    held = {sentence.id: sentence.text for sentence in index.sentences()}
    wrong = sum(held.get(number) not in texts for number, texts in expected.items())
    return acknowledged, wrong + len(held.keys() - expected.keys())


def build(folder: Path, sentences: int, encoder: Any) -> tuple[TextIndex, dict[int, str | None]]:
    index = TextIndex.create(folder / "index", encoder)
    rows = [Entry(LANGUAGES[n % 4], f"{n} first", n) for n in range(sentences)]
    index.add_mixed(rows, encoder=encoder)
    return index, {row.id: row.text for row in rows if row.id is not None}


def run(folder: Path, sentences: int, dim: int, seconds: float) -> bool:
    start = time.perf_counter()
    index, first = build(folder, sentences, HashEncoder(dim))
    print(f"built {sentences} sentences of dim {dim} in {time.perf_counter() - start:.1f} s")
    command = [sys.executable, "-m", "benchmarks.index_load", "--folder", str(folder)]
    command += ["--sentences", str(sentences), "--dim", str(dim), "--work"]
    processes = [subprocess.Popen([*command, name]) for name in ("writers", "readers")]
    while not all((folder / f"{name}.json").exists() for name in ("writers", "readers")):
        time.sleep(0.1)  # to import takes its time
    time.sleep(seconds)
    for process in processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for name in ("writers", "readers"):
        report = json.loads((folder / f"{name}.json").read_text())
        for kind, figures in sorted(report["kinds"].items()):
            print(name, kind, *(f"{value:.1f} {unit}" for unit, value in figures.items()), sep="\t")
        print(name, f"{report['mb']:.0f} MB resident", f"{report['wrong']} wrong hits", sep="\t")
    start = time.perf_counter()
    index = TextIndex.load(folder / "index")
    print(f"after kill -9: loaded {index.count()} sentences in {time.perf_counter() - start:.2f} s")
    acknowledged, wrong = check(index, first, sorted(folder.glob("*.log")))
    print(f"{acknowledged} changes were acknowledged; {wrong} sentences are not as they must be")
    files = {path.name: path.stat().st_size / 1e6 for path in sorted((folder / "index").iterdir())}
    print(*(f"{name} {size:.1f} MB" for name, size in files.items()), sep="\t")
    return wrong == 0


def main() -> None:
    parser = argparse.ArgumentParser(description="An index under load, and after a kill.")
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--sentences", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--folder", type=Path, help="default: a temporary one")
    parser.add_argument("--work", choices=["writers", "readers"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        return work(options.folder, options.work, options.sentences, options.dim)
    with tempfile.TemporaryDirectory(dir=options.folder or os.getcwd()) as folder:
        sys.exit(not run(Path(folder), options.sentences, options.dim, options.seconds))


if __name__ == "__main__":
    main()
