"""SimAlign 0.4 as a worker of bench_align.py; its Python needs simalign, networkx, scikit-learn."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from align_worker import Links, Pair, Pass, serve

METHODS = {"argmax": "inter", "itermax": "itermax", "mwmf": "mwmf"}


def load(job: Mapping[str, Any]) -> Pass:
    from simalign import SentenceAligner

    logging.getLogger("simalign.simalign").setLevel(logging.WARNING)
    aligner = SentenceAligner(model=job["model"], token_type="bpe", layer=job["layer"])

    def align(pairs: Sequence[Pair], methods: Sequence[str]) -> Links:
        aligner.matching_methods = [METHODS[method] for method in methods]
        found: Links = {method: [] for method in methods}
        for source, target in pairs:
            aligned = aligner.get_word_aligns(source, target)
            for method, own in found.items():
                own.append(aligned[METHODS[method]])
        return found

    return align


if __name__ == "__main__":
    serve(load)
