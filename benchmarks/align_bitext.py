"""bitext as a worker of bench_align.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from align_worker import Links, Pair, Pass, serve

from aligners.aligner import Aligner
from bitext.types import SentencePair
from encoders.registry import default_registry

RUNNING: set[str] = set()
CHUNK = 256
"""Pairs at a time, as `bitext align` reads them."""


def load(job: Mapping[str, Any]) -> Pass:
    encoder = default_registry().encoder(job["model"], dtype=job["dtype"])
    measured = job["measured"]
    tap = encoder._tap

    def counting_tap(*args: Any, **inputs: Any) -> object:
        measured["pieces"] = measured.get("pieces", 0) + int(inputs["attention_mask"].sum())
        return tap(*args, **inputs)

    encoder.__dict__["_tap"] = timed(counting_tap, "encoder", measured)
    for name in ("pieces", "words", "pieces_of_layers"):
        encoder.__dict__[name] = timed(getattr(encoder, name), "vectors", measured)
    aligner = Aligner(encoder, layer=job["layer"], unit="piece", distortion=0.0)

    def align(pairs: Sequence[Pair], methods: Sequence[str]) -> Links:
        found: Links = {method: [] for method in methods}
        for start in range(0, len(pairs), CHUNK):
            part = [SentencePair(*pair) for pair in pairs[start : start + CHUNK]]
            for method, alignments in aligner.align_methods(part, methods).items():
                found[method].extend([list(link) for link in a.links] for a in alignments)
        return found

    return align


def timed(
    work: Callable[..., object], name: str, measured: dict[str, float]
) -> Callable[..., object]:
    """``work`` that adds its processor seconds to ``measured``; calls inside it count once.

    One name may be the work of several functions that call each other.
    """

    def run(*args: object, **kwargs: object) -> object:
        if name in RUNNING:
            return work(*args, **kwargs)
        RUNNING.add(name)
        began = time.process_time()
        try:
            return work(*args, **kwargs)
        finally:
            RUNNING.discard(name)
            measured[name] = measured.get(name, 0.0) + time.process_time() - began

    return run


if __name__ == "__main__":
    serve(load)
