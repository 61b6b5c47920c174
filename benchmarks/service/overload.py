"""Ten times as many requests as the service can answer, for a while.

    python benchmarks/service/overload.py --seconds 120

The queue holds 64 requests; ten times as many clients send pairs of Multi30k, and whoever is
refused sends again at once, which no client should. Prints the statuses, the times of those that
were let in, memory (PSS), and whether one client is answered as fast afterwards as before. Exits
with 1 if there was another status than 200 and 429, if memory grew by more than a tenth between the
first quarter and the last, or if the service did not recover.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from compare_load import align_bodies
from servers import Server, bitext_server, put_load

QUEUE = 64
CLIENTS = 10 * QUEUE


def watch(server: Server, stop: threading.Event, memory: list[float]) -> None:
    """A reading of memory each half second."""
    while not stop.wait(0.5):
        memory.append(server.memory())


def under_load(
    server: Server, bodies: Path, clients: int, seconds: float
) -> tuple[dict[str, Any], list[float]]:
    stop = threading.Event()
    memory: list[float] = []
    watcher = threading.Thread(target=watch, args=(server, stop, memory))
    watcher.start()
    found = put_load(server, "/align", bodies, clients=clients, seconds=seconds)
    stop.set()
    watcher.join()
    return found, memory


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bodies = align_bodies(Path(folder) / "align.jsonl", ours=True)
        with bitext_server(Path(folder) / "data", BITEXT_MAX_QUEUE=str(QUEUE)) as server:
            code = run(server, bodies, options.seconds)
    sys.exit(code)


def run(server: Server, bodies: Path, seconds: float) -> int:
    put_load(server, "/align", bodies, clients=QUEUE, seconds=10)
    before = put_load(server, "/align", bodies, clients=1, seconds=5)
    full = put_load(server, "/align", bodies, clients=QUEUE, seconds=10)
    print(f"{QUEUE} clients: {full['rate']}/s, p99 {full['p99']} ms, {server.memory():.0f} MiB")
    found, memory = under_load(server, bodies, CLIENTS, seconds)
    quarter = max(1, len(memory) // 4)
    early, late = max(memory[:quarter]), max(memory[-quarter:])
    print(
        f"{CLIENTS} clients: {found['statuses']}, accepted {found['rate']}/s, "
        f"p50 {found['p50']} ms, p99 {found['p99']} ms, longest {found['longest']} ms, "
        f"Retry-After {found['retry_after']}, memory {early:.0f} to {late:.0f} MiB"
    )
    began = time.perf_counter()
    is_there = server.get("/ready")[0] == 200
    print(f"/ready {1000 * (time.perf_counter() - began):.1f} ms after the end")
    after = put_load(server, "/align", bodies, clients=1, seconds=5)
    print(f"1 client: p50 {before['p50']} ms before, {after['p50']} ms after; {after['statuses']}")
    is_right = (
        set(found["statuses"]) <= {"200", "429"}
        and late < 1.1 * early
        and is_there
        and set(after["statuses"]) == {"200"}
        and after["p50"] < 2 * before["p50"]
    )
    return 0 if is_right else 1


if __name__ == "__main__":
    main()
