"""The loop that every timed aligner runs, in a process and an environment of its own.

Standard library only: an aligner of others is run by a Python that has no bitext. The first
argument names a file with the job, as JSON: ``model`` and ``layer``, ``threads``, ``dtype``, and
``pairs``, a list of two word lists each. After loading, each line on standard input names methods,
asking for one pass over all pairs. One JSON line on standard output answers: processor and wall
seconds, peak memory of the process in MiB, loading included, what the aligner measured in itself,
and the links by method, sorted.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Pair = tuple[list[str], list[str]]
Links = dict[str, list[list[list[int]]]]
"""By method, for each pair, the links as [source, target]."""
Pass = Callable[[Sequence[Pair], Sequence[str]], Links]
"""Aligns all pairs once, by the methods named."""


def serve(load: Callable[[Mapping[str, Any]], Pass]) -> None:
    """Answer requests for passes until standard input ends.

    :param load: gets the job and returns what aligns. What it adds to the dict ``job["measured"]``
        in a pass is part of the answer.
    """
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints does not mix with the answers
    import torch

    torch.set_num_threads(job["threads"])
    job["measured"] = {}
    align = load(job)
    pairs = [(source, target) for source, target in job["pairs"]]
    for request in sys.stdin:
        job["measured"].clear()
        wall, processor = time.perf_counter(), time.process_time()
        links = align(pairs, request.split())
        answer = {
            "cpu": time.process_time() - processor,
            "wall": time.perf_counter() - wall,
            "measured": job["measured"],
            "mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "links": {name: [sorted(map(list, one)) for one in own] for name, own in links.items()},
        }
        print(json.dumps(answer), file=answers, flush=True)
