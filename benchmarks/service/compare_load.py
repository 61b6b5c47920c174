"""Requests a second and their times, of ours and of peers behind plain FastAPI, in turn.

    python benchmarks/service/compare_load.py --simalign PYTHON --sentence-transformers PYTHON

Each request holds one pair of Multi30k (/align, as words, method argmax of pieces, what SimAlign
calls inter) or one sentence (/v1/embeddings). In each round every server is started, warmed up,
loaded at each number of clients, and stopped, one server at a time; medians of the rounds are
printed, and how much of the machine's processors server and clients used.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from servers import bitext_server, multi30k, peer_server, put_load, write_bodies

from bitext.segmentation import segment

CLIENTS = (1, 8, 64, 256)
SHOWN = ("rate", "p50", "p99", "server_cpu", "clients_cpu")

Results = dict[tuple[str, int], list[dict[str, Any]]]


def words(text: str) -> list[str]:
    return [word.text for word in segment(text)]


def align_bodies(path: Path, ours: bool) -> Path:
    bodies: list[dict[str, Any]] = [
        {"source": words(source), "target": words(target)} for source, target in multi30k()
    ]
    if ours:
        bodies = [{**body, "method": "argmax", "unit": "piece"} for body in bodies]
    return write_bodies(path, bodies)


def embedding_bodies(path: Path) -> Path:
    return write_bodies(path, [{"input": [source]} for source, _ in multi30k()])


def run_round(
    name: str,
    start: Callable[[], Any],
    path: str,
    bodies: Path,
    options: argparse.Namespace,
    results: Results,
) -> None:
    with start() as server:
        put_load(server, path, bodies, clients=8, seconds=2)
        for clients in options.clients:
            found = put_load(server, path, bodies, clients=clients, seconds=options.seconds)
            if set(found["statuses"]) != {"200"}:
                print(f"{name}, {clients} clients: {found['statuses']}")
            results.setdefault((name, clients), []).append(found)


def report(path: str, results: Results) -> None:
    print(f"\n{path}: requests/s, ms at the median and at 99 %; processors used by server, clients")
    for (name, clients), rounds in sorted(results.items(), key=lambda item: item[0][1]):
        rate, p50, p99 = (statistics.median(float(one[key]) for one in rounds) for key in SHOWN[:3])
        server, client = (
            statistics.median(one[key] / one["seconds"] for one in rounds) for key in SHOWN[3:]
        )
        own = statistics.median(
            1000 * one["server_cpu"] / max(1, one["statuses"].get("200", 0)) for one in rounds
        )
        print(
            f"{clients:4} clients  {name:22} {rate:7.1f}/s  p50 {p50:8.1f}  p99 {p99:8.1f}  "
            f"server {server:4.2f}  clients {client:4.2f}  {own:6.2f} CPU ms a request"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simalign", type=Path)
    parser.add_argument("--sentence-transformers", type=Path)
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(options, Path(folder))


def run(options: argparse.Namespace, folder: Path) -> None:
    ours = partial(bitext_server, folder / "data")
    align = align_bodies(folder / "align.jsonl", ours=True)
    plain = align_bodies(folder / "plain.jsonl", ours=False)
    embed = embedding_bodies(folder / "embed.jsonl")
    tasks: dict[str, list[tuple[str, Callable[[], Any], Path]]] = {
        "/align": [("bitext", ours, align)],
        "/v1/embeddings": [("bitext", ours, embed)],
    }
    if options.simalign:
        tasks["/align"].append(
            ("SimAlign", partial(peer_server, options.simalign, "peer_simalign.py"), plain)
        )
    if options.sentence_transformers:
        peer = partial(peer_server, options.sentence_transformers, "peer_sentence_transformers.py")
        tasks["/v1/embeddings"].append(("sentence-transformers", peer, embed))
    for path, servers in tasks.items():
        results: Results = {}
        for _ in range(options.rounds):
            for name, start, bodies in servers:
                run_round(name, start, path, bodies, options, results)
        report(path, results)


if __name__ == "__main__":
    main()
