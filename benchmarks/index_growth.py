"""How each kind of index grows: time to build and to answer, memory and recall.

Vectors are synthetic, d = 256: clusters of 100 around centres that share 64 topics. A query is one
of the vectors with noise, cosine 0.8, as a translation would be. Each cell (kind and size) is a
process of its own, on one thread; what it measured goes to a file of JSON lines, and a cell that is
there already is not measured again, so that a run that was killed goes on::

    python benchmarks/index_growth.py --sizes 10000 100000 1000000 --output growth.jsonl

``--vectors`` and ``--queries`` take folders that ``bitext embed`` wrote (dim 256) instead: the
first rows of one are searched with the first thousand of the other.

Prints a Markdown table, and for each kind the slopes of log time and log memory against log size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitext.memory import give_back
from retrieval.vectors.files import Vectors

DIM = 256
CHUNK = 10_000
CLUSTER = 100
TOPICS = 64
QUERIES = 1_000
K = 10
ROUNDS = 3
KINDS = ("flat", "ivf", "pq", "opq", "hnsw")
CELL = Path(__file__)

Rows = NDArray[np.float32]
Record = dict[str, float | str]


def unit(rows: Rows) -> Rows:
    lengths: Rows = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths


def directions(random: np.random.Generator, count: int) -> Rows:
    return unit(random.standard_normal((count, DIM), dtype=np.float32))


def chunk(number: int) -> Rows:
    """Rows ``number * CHUNK`` and on; the same every time."""
    topics = directions(np.random.default_rng(0), TOPICS)
    random = np.random.default_rng([1, number])
    clusters = CHUNK // CLUSTER
    centres = unit(topics[random.integers(TOPICS, size=clusters)] + directions(random, clusters))
    return unit(centres[random.integers(clusters, size=CHUNK)] + directions(random, CHUNK))


def prepare(folder: Path, count: int, real: tuple[Path, Path] | None) -> None:
    """Write vectors, queries and what an exact search finds for them, unless they are there.

    :param real: folders of vectors and queries; ``None`` for synthetic ones.
    """
    truth = folder / f"{count}.truth.npy"
    if truth.exists():
        return
    given = [Vectors.load(path).rows for path in real or ()]
    with open(folder / f"{count}.f32", "wb") as file:
        for number in range(count // CHUNK):
            place = slice(number * CHUNK, (number + 1) * CHUNK)
            file.write((given[0][place] if given else chunk(number)).tobytes())
    rows = vectors(folder, count)
    queries = given[1][:QUERIES] if given else noisy(rows)
    np.save(folder / f"{count}.queries.npy", queries)
    np.save(truth, exactly(queries, rows))


def noisy(rows: Rows) -> Rows:
    """Some of the rows with noise: cosine 0.8 with themselves."""
    random = np.random.default_rng(2)
    asked = np.sort(random.choice(len(rows), QUERIES, replace=False))
    return unit(rows[asked] + 0.75 * directions(random, QUERIES))


def vectors(folder: Path, count: int) -> Rows:
    return np.memmap(folder / f"{count}.f32", np.float32, "r", shape=(count, DIM))


def exactly(queries: Rows, rows: Rows) -> NDArray[np.int64]:
    """The ids of the best, without any code of ours."""
    scores = np.full((len(queries), K), -np.inf, np.float32)
    ids = np.zeros((len(queries), K), np.int64)
    for start in range(0, len(rows), CHUNK):
        found = queries @ rows[start : start + CHUNK].T
        places = np.argpartition(-found, K, axis=1)[:, :K]
        scores = np.hstack([scores, np.take_along_axis(found, places, 1)])
        ids = np.hstack([ids, places + start])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :K]
        scores, ids = np.take_along_axis(scores, order, 1), np.take_along_axis(ids, order, 1)
    return ids


def own_bytes() -> int:
    """Memory of this process that no file stands for."""
    give_back()
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


def measure(folder: Path, kind: str, count: int) -> list[Record]:
    """One cell; kinds that keep bytes give two records, without exact vectors and with them."""
    from retrieval.index.index import Index
    from retrieval.index.kinds import Kind

    rows = vectors(folder, count)
    queries = np.load(folder / f"{count}.queries.npy")
    truth = np.load(folder / f"{count}.truth.npy")
    Index.build(directions(np.random.default_rng(0), 2000), kind="ivf").search(queries, K)  # load
    before, wall, cpu = own_bytes(), time.perf_counter(), time.process_time()
    index = Index.build(rows, kind=kind)
    record: Record = {
        "kind": kind,
        "count": count,
        "build_wall": time.perf_counter() - wall,
        "build_cpu": time.process_time() - cpu,
        "bytes": (own_bytes() - before) / count,
    }
    records = [{**record, **answers(index, queries, truth)}]
    if Kind.parse(kind).quantised:
        index._rows = lambda ids: rows[ids]
        records.append({**record, "kind": f"{kind} + file", **answers(index, queries, truth)})
    return records


def answers(index: object, queries: Rows, truth: NDArray[np.int64]) -> Record:
    """Milliseconds of processor time a query, and recall."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        ids = index.search(queries, K).ids  # type: ignore[attr-defined]
        times.append(1000 * (time.process_time() - began) / len(queries))
    shared = [len(np.intersect1d(*pair)) for pair in zip(ids, truth, strict=True)]
    return {
        "query_ms": min(times),
        "recall@1": float((ids[:, 0] == truth[:, 0]).mean()),
        "recall@10": float(np.mean(shared)) / K,
    }


def table(records: Iterable[Record]) -> None:
    print("| kind | vectors | build, CPU s | bytes a vector | ms a query | recall@1 | recall@10 |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for r in records:
        print(
            f"| {r['kind']} | {r['count']:,} | {r['build_cpu']:.1f} | {r['bytes']:.0f} "
            f"| {r['query_ms']:.3f} | {100 * float(r['recall@1']):.1f} "
            f"| {100 * float(r['recall@10']):.1f} |"
        )


def lines(records: list[Record]) -> None:
    """For each kind, ``value = a · count^b`` by least squares of the logarithms."""
    print("\n| kind | build, CPU s | ms a query | memory, bytes |")
    print("|---|---|---|---|")
    for kind in dict.fromkeys(str(r["kind"]) for r in records):
        own = [r for r in records if r["kind"] == kind]
        if len(own) < 2:
            continue
        count = np.log([float(r["count"]) for r in own])
        build, query = ([float(r[key]) for r in own] for key in ("build_cpu", "query_ms"))
        memory = [float(r["bytes"]) * float(r["count"]) for r in own]
        shown = []
        for values in (build, query, memory):
            slope, height = np.polyfit(count, np.log(values), 1)
            shown.append(f"{np.exp(height):.2g} · n^{slope:.2f}")
        print(f"| {kind} | {' | '.join(shown)} |")


def known(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--kinds", nargs="+", default=KINDS, help="with settings, if you like")
    parser.add_argument("--output", type=Path, default=Path("growth.jsonl"))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "index_growth")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--queries", type=Path)
    parser.add_argument("--cell", nargs=2, metavar=("KIND", "SIZE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell:
        kind, size = arguments.cell
        for record in measure(arguments.folder, kind, int(size)):
            print(json.dumps(record))
        return
    if wrong := [size for size in arguments.sizes if size % CHUNK]:
        parser.error(f"sizes are multiples of {CHUNK}, not {wrong[0]}")
    real = (arguments.vectors, arguments.queries) if arguments.vectors else None
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for size in sorted(arguments.sizes):
        for kind in arguments.kinds:
            if any((r["kind"], r["count"]) == (kind, size) for r in known(arguments.output)):
                continue
            prepare(arguments.folder, size, real)
            print(f"measuring {kind} {size:,}", file=sys.stderr, flush=True)
            run(arguments.folder, kind, size, arguments.output)
    records = known(arguments.output)
    records.sort(key=lambda r: (str(r["kind"]), r["count"]))
    table(records)
    lines(records)


def run(folder: Path, kind: str, size: int, output: Path) -> None:
    command = [sys.executable, str(CELL), "--folder", str(folder), "--cell", kind, str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    with open(output, "a") as file:
        file.write(done.stdout)


if __name__ == "__main__":
    main()
