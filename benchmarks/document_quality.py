"""Strict and lax F1 of aligned documents on Text+Berg (de-fr), as Markdown tables.

VECALIGN_PYTHON=/path/to/python python benchmarks/document_quality.py   # without it, ours alone

``dev`` is what settings were chosen on; ``test0`` to ``test6`` are reported, counted together.
Every system gets the same vectors of the same runs of sentences, raw, or with the mean of the
document's own sentences taken away. ``summed`` has runs summed up from the vectors of their
sentences. The intervals are of bootstrap resamples.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitext.significance import Resampling
from bitext.text import data_folder, read_sentences
from encoders.encoder import Encoder
from encoders.registry import default_registry
from retrieval.documents.aligner import DocumentAligner, centre_runs, sum_runs
from retrieval.documents.costs import Spans
from retrieval.documents.evaluation import DocumentScore, Pair, evaluate
from retrieval.documents.files import read_beads
from retrieval.documents.vectors import DocumentSettings, align_vectors

DEV, TEST = ["dev"], [f"test{number}" for number in range(7)]
MOST = (4, 8)
LANGUAGES = ("de", "fr")


class Document(NamedTuple):
    spans: list[Spans]
    lengths: list[list[int]]
    gold: list[Pair]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="bundled", help="a hub name or folder")
    options = parser.parse_args()
    encoder = default_registry().encoder(options.model)
    print("| vectors | system | up to | dev strict | dev lax | test strict | test lax |")
    print("|---|---|--:|--:|--:|--:|--:|")
    sets = [[read(encoder, name) for name in names] for names in (DEV, TEST)]
    report_all(sets)
    print(f"\nF1 in %, with 95 % intervals; model {described(encoder)}; {DocumentSettings()}")


def described(encoder: Encoder) -> str:
    layer = encoder.check_layer(None, "retrieval")
    return f"{encoder.name}@{encoder.fingerprint} | layer {layer} | pooling mean"


def read(encoder: Encoder, name: str) -> Document:
    """One document of the set with the raw vectors of its runs."""
    folder = data_folder() / "docalign" / "textberg"
    aligner = DocumentAligner(encoder, DocumentSettings(most=max(MOST)), centred=False)
    texts = [list(read_sentences(folder / f"{name}.{language}")) for language in LANGUAGES]
    spans = [aligner.spans("document", side, max(MOST) - 1) for side in texts]
    lengths = [[len(text.strip()) for text in side] for side in texts]
    return Document(spans, lengths, read_beads(folder / f"{name}.gold"))


def report_all(sets: Sequence[Sequence[Document]]) -> None:
    for centred in (False, True):
        for summed in (False, True):
            made = [
                [
                    document._replace(spans=[made_of(s, centred, summed) for s in document.spans])
                    for document in part
                ]
                for part in sets
            ]
            kind = f"{'centred' if centred else 'raw'}, {'summed' if summed else 'encoded'}"
            report(kind, made)


def made_of(spans: Spans, centred: bool, summed: bool) -> Spans:
    """What DocumentAligner makes with these options, from its raw vectors."""
    changed = np.zeros_like(spans)
    changed[0] = spans[0]
    if summed:
        sum_runs(changed)
    else:
        changed[:] = spans
    return centre_runs(changed) if centred else changed


def report(kind: str, sets: Sequence[Sequence[Document]]) -> None:
    for most in MOST:
        row(kind, "bitext", most, [score_ours(part, most, lengths=True) for part in sets])
        row(
            kind,
            "bitext, no lengths",
            most,
            [score_ours(part, most, lengths=False) for part in sets],
        )
        if python := os.environ.get("VECALIGN_PYTHON"):
            row(kind, "vecalign", most, [score_vecalign(part, most, python) for part in sets])


def row(kind: str, system: str, most: int, scores: Sequence[DocumentScore]) -> None:
    cells = []
    for score in scores:
        for name in ("strict_f1", "lax_f1"):
            low, high = score.intervals[name]
            cells.append(f"{100 * score.measures[name]:.1f} [{100 * low:.1f}, {100 * high:.1f}]")
    print(f"| {kind} | {system} | {most} | " + " | ".join(cells) + " |", flush=True)


def score_ours(documents: Sequence[Document], most: int, *, lengths: bool) -> DocumentScore:
    found = []
    for spans, own, _ in documents:
        source, target = (side[: most - 1] for side in spans)
        given = (own[0], own[1]) if lengths else None
        beads = align_vectors(source, target, DocumentSettings(most=most), lengths=given)
        found.append([(bead.source, bead.target) for bead in beads])
    return evaluate(found, [document.gold for document in documents], Resampling())


def score_vecalign(documents: Sequence[Document], most: int, python: str) -> DocumentScore:
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, document in enumerate(documents):
            files.append(str(Path(folder) / f"{number}.npz"))
            source, target = (side[: most - 1] for side in document.spans)
            np.savez(files[-1], source=source, target=target)
        command = [python, str(Path(__file__).with_name("align_vecalign.py")), str(most), *files]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ}
        )
    found = [
        [(tuple(source), tuple(target)) for source, target in json.loads(line)["beads"]]
        for line in done.stdout.splitlines()
    ]
    return evaluate(found, [document.gold for document in documents], Resampling())


if __name__ == "__main__":
    main()
