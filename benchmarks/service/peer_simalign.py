"""SimAlign behind plain FastAPI, as one would write it: run by a Python that has both.

    python benchmarks/service/peer_simalign.py MODEL LAYER PORT

It answers ``{"source": [words], "target": [words]}``. SimAlign encodes one pair at a time, and its
tokenizer cannot be shared by threads (without a lock, requests at the same time fail), so there is
one request at a time.
"""

from __future__ import annotations

import sys
import threading

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from simalign import SentenceAligner


class Pair(BaseModel):
    source: list[str]
    target: list[str]


def main() -> None:
    model, layer, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    aligner = SentenceAligner(model, "bpe", matching_methods="a", layer=layer)
    app = FastAPI()
    lock = threading.Lock()

    @app.get("/ready")
    def ready() -> str:
        return "ready"

    @app.post("/align")
    def align(pair: Pair) -> dict[str, list[tuple[int, int]]]:
        with lock:
            found: dict[str, list[tuple[int, int]]] = aligner.get_word_aligns(
                pair.source, pair.target
            )
        return found

    uvicorn.run(app, port=port, log_level="warning")


if __name__ == "__main__":
    main()
