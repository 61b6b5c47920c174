"""Other miners of bitext on made-up vectors, each run in a process of its own.

LASER's script and sentence-transformers' example are read from their sources; the Python that runs
them needs numpy and faiss-cpu, and torch where LASER's import of it should count. What LASER
imports besides, and does not use when it mines vectors, is put in its way as an empty module.

As a program this is one such process: ``python mining_peers.py JOB.json``. It imports nothing of
ours but what mines.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

K = 4
Pairs = dict[tuple[int, int], float]

_EMPTY = {
    "laser_encoders/__init__.py": "",
    "laser_encoders/models.py": "class SentenceEncoder: ...\n",
}
_EMPTY_TORCH = {"torch.py": "class cuda:\n    is_available = staticmethod(lambda: False)\n"}


class Peers(NamedTuple):
    """Where other miners are."""

    python: str = sys.executable
    laser: Path | None = None
    """The folder ``source`` of LASER's repository."""
    example: Path | None = None
    """``bitext_mining_utils.py`` of sentence-transformers' examples."""


class Corpora(NamedTuple):
    """A folder with ``source.f32``, ``target.f32`` and texts, the numbers of their lines."""

    folder: Path
    size: int
    dim: int


class Run(NamedTuple):
    """What a process cost, and what it found; no pairs if it was only to search."""

    cpu: float
    wall: float
    peak: int  # bytes
    pairs: Pairs
    error: str = ""


def make_corpora(folder: Path, size: int, dim: int, seed: int = 1) -> Corpora:
    """Half the sentences have a noisy translation, shuffled; the others are like nothing else.

    The two languages differ by a shift. Made in a process of its own: the memory of this one would
    be counted to those that it starts.
    """
    run_job({"system": "make", "folder": str(folder), "size": size, "dim": dim, "seed": seed})
    return Corpora(folder, size, dim)


def run_ours(corpora: Corpora, threads: int, dtype: str, **job: Any) -> Run:
    return run_job({"system": "ours", "dtype": dtype, **_places(corpora), **job}, threads=threads)


def run_faiss(corpora: Corpora, threads: int, python: str = sys.executable) -> Run:
    """``faiss.knn`` in both directions, and nothing else."""
    return run_job({"system": "faiss", **_places(corpora)}, threads=threads, python=python)


def run_example(corpora: Corpora, threads: int, peers: Peers, **job: Any) -> Run:
    assert peers.example is not None
    job = {"system": "example", **_places(corpora), **job}
    paths = [peers.example.parent]
    return run_job(job, threads=threads, python=peers.python, paths=paths)


def run_laser(
    corpora: Corpora,
    threads: int,
    peers: Peers,
    *,
    margin: str = "ratio",
    retrieval: str = "max",
    mode: str = "mine",
    torch: bool = True,
) -> Run:
    """LASER's ``mine_bitexts.py``; with ``torch`` false it gets an empty module of that name."""
    assert peers.laser is not None
    folder = corpora.folder
    with tempfile.TemporaryDirectory() as temporary:
        for name, text in {**_EMPTY, **({} if torch else _EMPTY_TORCH)}.items():
            (Path(temporary) / name).parent.mkdir(exist_ok=True)
            (Path(temporary) / name).write_text(text, encoding="utf-8")
        out = Path(temporary) / "out.tsv"
        command = [peers.python, str(peers.laser / "mine_bitexts.py")]
        command += [str(folder / "source.txt"), str(folder / "target.txt")]
        command += ["--src-lang", "x", "--trg-lang", "y", "--output", str(out), "--mode", mode]
        command += ["--threshold=-1000"]  # 0 by default, above which not every distance is
        command += ["--margin", margin, "--retrieval", retrieval, "-k", str(K)]
        command += ["--src-embeddings", str(folder / "source.f32"), "--dim", str(corpora.dim)]
        command += ["--trg-embeddings", str(folder / "target.f32")]
        environment = {"LASER": str(peers.laser.parent), "PYTHONPATH": temporary}
        run = _measure(command, environment, threads)
        return run if run.error else run._replace(pairs=_read_pairs(out))


def run_job(
    job: dict[str, Any],
    *,
    threads: int = 1,
    python: str = sys.executable,
    paths: Sequence[Path] = (),
) -> Run:
    """This file in another process."""
    with tempfile.TemporaryDirectory() as temporary:
        out, file = Path(temporary) / "out.tsv", Path(temporary) / "job.json"
        file.write_text(json.dumps({**job, "threads": threads, "out": str(out)}), encoding="utf-8")
        environment = {"PYTHONPATH": os.pathsep.join(map(str, paths))}
        run = _measure([python, __file__, str(file)], environment, threads)
        return run if run.error else run._replace(pairs=_read_pairs(out))


def _places(corpora: Corpora) -> dict[str, Any]:
    return {"folder": str(corpora.folder), "size": corpora.size, "dim": corpora.dim}


def _measure(command: list[str], environment: dict[str, str], threads: int) -> Run:
    """Run ``command``; processor time and memory are those of the whole process."""
    numbers = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
    path = os.pathsep.join(filter(None, [environment["PYTHONPATH"], os.environ.get("PYTHONPATH")]))
    with tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, **numbers, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        lines = errors.read().strip().splitlines()
    error = (lines or ["no message"])[-1] if process.returncode else ""
    return Run(usage.ru_utime + usage.ru_stime, wall, usage.ru_maxrss * 1024, {}, error)


def _read_pairs(path: Path) -> Pairs:
    """Lines of ``score TAB source TAB target``, the sentences being their numbers."""
    pairs: Pairs = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            score, source, target = line.split("\t")
            pairs[int(source), int(target)] = float(score)
    return pairs


# --- in the other process


def _make(job: dict[str, Any]) -> list[Any]:
    size, dim, folder = job["size"], job["dim"], Path(job["folder"])
    rng = np.random.default_rng(job["seed"])
    half = size // 2
    meaning = rng.standard_normal((half, dim), np.float32)
    shift = 0.3 * rng.standard_normal(dim, np.float32)
    order = rng.permutation(size)
    for name in ("source", "target"):
        noise = rng.standard_normal((size, dim), np.float32)
        rows = np.concatenate([meaning + 0.9 * noise[:half], 1.35 * noise[half:]])
        rows = rows + shift if name == "source" else rows[order]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows.tofile(folder / f"{name}.f32")
        (folder / f"{name}.txt").write_text("".join(f"{i}\n" for i in range(size)))
    return []


def _ours(job: dict[str, Any]) -> list[Any]:
    import torch

    from retrieval.mining.miner import BitextMiner, score_pairs
    from retrieval.mining.neighbours import nearest_both_ways

    torch.set_num_threads(job["threads"])
    shape = (job["size"], job["dim"])
    source, target = (
        np.memmap(f"{job['folder']}/{name}.f32", np.float32, "r", shape=shape) for name in _SIDES
    )
    both = nearest_both_ways(source, target, K, dtype=job["dtype"])
    margin, mode = job.get("margin", "ratio"), job.get("mode", "max")
    if mode == "score":
        scores = score_pairs(source, target, margin=margin, both=both)
        return [(score, line, line) for line, score in enumerate(scores)]
    miner = BitextMiner(margin=margin, mode=mode)
    return [(match.score, match.source, match.target) for match in miner.matches(both)]


def _faiss(job: dict[str, Any]) -> list[Any]:
    import faiss

    faiss.omp_set_num_threads(job["threads"])
    source, target = _load(job)
    faiss.knn(source, target, K, faiss.METRIC_INNER_PRODUCT)
    faiss.knn(target, source, K, faiss.METRIC_INNER_PRODUCT)
    return []


def _example(job: dict[str, Any]) -> list[Any]:
    """What sentence-transformers' bitext_mining.py does once it has vectors."""
    import faiss

    example = importlib.import_module("bitext_mining_utils")
    faiss.omp_set_num_threads(job["threads"])
    source, target = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in _load(job))
    margins = {"absolute": lambda a, b: a, "distance": lambda a, b: a - b}
    margin = margins.get(job.get("margin", "ratio"), lambda a, b: a / b)
    ahead_cosines, ahead = example.kNN(source, target, K)
    back_cosines, back = example.kNN(target, source, K)
    means = ahead_cosines.mean(axis=1), back_cosines.mean(axis=1)
    ahead_scores = example.score_candidates(source, target, ahead, *means, margin)
    back_scores = example.score_candidates(target, source, back, means[1], means[0], margin)
    rows, columns = np.arange(len(source)), np.arange(len(target))
    best_target = ahead[rows, ahead_scores.argmax(1)]
    best_source = back[columns, back_scores.argmax(1)]
    of_rows = list(zip(ahead_scores.max(1), rows, best_target, strict=True))
    of_columns = list(zip(back_scores.max(1), best_source, columns, strict=True))
    mode = job.get("mode", "max")
    if mode != "max":
        return of_rows if mode == "forward" else of_columns
    kept, seen_source, seen_target = [], set(), set()
    for pair in sorted(of_rows + of_columns, key=lambda pair: -pair[0]):
        if pair[1] not in seen_source and pair[2] not in seen_target:
            seen_source.add(pair[1])
            seen_target.add(pair[2])
            kept.append(pair)
    return kept


_SIDES = ("source", "target")
_SYSTEMS = {"make": _make, "ours": _ours, "faiss": _faiss, "example": _example}


def _load(job: dict[str, Any]) -> list[Any]:
    files = [f"{job['folder']}/{name}.f32" for name in _SIDES]
    return [np.fromfile(file, np.float32).reshape(job["size"], job["dim"]) for file in files]


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    with open(job["out"], "w", encoding="utf-8") as out:
        for score, source, target in _SYSTEMS[job["system"]](job):
            out.write(f"{float(score)!r}\t{source}\t{target}\n")


if __name__ == "__main__":
    main()
