"""How fast pairs are aligned, beside SimAlign and awesome-align on the same checkpoint.

    python benchmarks/bench_align.py
    python benchmarks/bench_align.py --simalign PYTHON --awesome PYTHON FOLDER --threads 1 2

The checkpoint has mBERT's shape and random weights: speed does not depend on them. The peers run in
environments of their own: PYTHON is one that has simalign 0.4, or what awesome-align needs, and
FOLDER holds awesome-align's sources. Each round lets every aligner go over the same pairs once;
rates are medians over the rounds, and ratios medians of the ratios within a round. All is counted
per second of processor time, so that other work on the machine matters little.

Text is read from BITEXT_DATA: gold pairs as they are tokenised, and Tatoeba's segmented.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from machine import large_product, product_rate
from random_model import MBERT, make_random_model

from bitext.segmentation import segment
from bitext.text import data_folder, read_bitext, read_parallel, words

HERE = Path(__file__).resolve().parent
LAYER = 8
METHODS = (("argmax", "itermax"), ("argmax", "itermax", "mwmf"))
GOLD = ("enfr", "zhen")
TATOEBA = ("de", "fr", "ja", "zh")
PIECES = 30_000

Pair = tuple[list[str], list[str]]
Answer = dict[str, Any]


class System(NamedTuple):
    """An aligner, and how its process is started."""

    name: str
    command: list[str]
    dtype: str = "float32"
    path: str | None = None  # where its Python finds sources


class Worker:
    """A process that aligns one list of pairs whenever it is asked to; see align_worker.py."""

    def __init__(self, system: System, job: dict[str, Any], folder: Path) -> None:
        self.system = system
        file = folder / "job.json"
        file.write_text(json.dumps({**job, "dtype": system.dtype}), encoding="utf-8")
        paths = [system.path or "", os.environ.get("PYTHONPATH", "")]
        threads = {
            f"{name}_NUM_THREADS": str(job["threads"]) for name in ("OMP", "OPENBLAS", "MKL")
        }
        environment = {
            **os.environ,
            **threads,
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }
        self._errors = (folder / "errors").open("w+")
        self._process = subprocess.Popen(
            [*system.command, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment,
            text=True,
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def align(self, methods: Sequence[str]) -> Answer:
        """One pass over the pairs."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(methods) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            self._errors.seek(0)
            sys.exit(f"{self.system.name} ended:\n{self._errors.read()[-2000:]}")
        answer: Answer = json.loads(line)
        return answer


def main() -> None:
    options = parse_arguments()
    missing = [*find_missing(options)]
    if missing:
        print(*missing, sep="\n", file=sys.stderr)
        sys.exit(2)
    texts = {name: list(islice(read_gold_pairs(name), options.pairs)) for name in GOLD}
    tatoeba = list(islice(read_tatoeba(), max(options.pairs or 0, options.tatoeba)))
    texts["tatoeba"] = tatoeba[: options.pairs]
    systems = [*own_systems(options.dtypes), *peer_systems(options)]
    with tempfile.TemporaryDirectory() as temporary:
        model = Path(temporary) / "model"
        model.mkdir()
        everything = [pair for pairs in (*texts.values(), tatoeba) for pair in pairs]
        lines = [" ".join(side) for pair in everything for side in pair]
        make_random_model("bert", lines, model, size=MBERT, pieces=PIECES)
        for threads in options.threads:
            bench = Bench(model, Path(temporary), threads, options.rounds)
            bench.print_machine()
            for name, pairs in texts.items():
                bench.compare(name, pairs, systems)
            if options.tatoeba:
                for system in own_systems(options.dtypes):
                    bench.compare("tatoeba", tatoeba, [system], METHODS[:1], rounds=1)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simalign", metavar="PYTHON", help="that has simalign 0.4")
    parser.add_argument("--awesome", nargs=2, metavar=("PYTHON", "FOLDER"))
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--pairs", type=int, default=100, help="of each set that all align")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tatoeba", type=int, default=2000, help="pairs that bitext aligns alone")
    return parser.parse_args()


def find_missing(options: argparse.Namespace) -> Iterator[str]:
    """A sentence for each thing that was asked for and is not there."""
    for path in [data_folder() / "alignment" / "enfr.src", data_folder() / "parallel" / "tatoeba"]:
        if not path.exists():
            yield f"no data: {path} is not there (set BITEXT_DATA)"
    peers: list[tuple[str, str, str]] = []  # module, Python, sources
    if options.simalign:
        peers.append(("simalign", options.simalign, ""))
    if options.awesome:
        peers.append(("awesome_align", *options.awesome))
    for module, python, sources in peers:
        environment = {**os.environ, "PYTHONPATH": sources}
        command = [python, "-c", f"import {module}"]
        try:
            found = subprocess.run(command, env=environment, capture_output=True, text=True)
        except OSError as error:
            yield f"{module}: {error}"
            continue
        if found.returncode:
            yield f"{module}: {python} cannot import it: {found.stderr.strip().splitlines()[-1]}"


def own_systems(dtypes: Sequence[str]) -> list[System]:
    command = [sys.executable, str(HERE / "align_bitext.py")]
    return [System(f"bitext {dtype}", command, dtype, str(HERE.parent)) for dtype in dtypes]


def peer_systems(options: argparse.Namespace) -> list[System]:
    found = []
    if options.simalign:
        found.append(System("SimAlign", [options.simalign, str(HERE / "align_simalign.py")]))
    if options.awesome:
        python, folder = options.awesome
        command = [python, str(HERE / "align_awesome.py")]
        found.append(System("awesome-align", command, path=folder))
    return found


def read_gold_pairs(name: str) -> Iterator[Pair]:
    folder = data_folder() / "alignment"
    for pair in read_parallel(folder / f"{name}.src", folder / f"{name}.tgt"):
        yield words(str(pair.source)), words(str(pair.target))


def read_tatoeba() -> Iterator[Pair]:
    """Pairs of several languages in turn, each file from its start."""
    folder = data_folder() / "parallel" / "tatoeba"
    files = [iter(read_bitext(folder / f"train.en-{language}.tsv.gz")) for language in TATOEBA]
    while files:
        for file in list(files):
            pair = next(file, None)
            if pair is None:
                files.remove(file)
                continue
            source, target = segment(str(pair.source)), segment(str(pair.target))
            yield [word.text for word in source], [word.text for word in target]


class Bench:
    """Comparisons on one checkpoint with a number of threads."""

    def __init__(self, model: Path, folder: Path, threads: int, rounds: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.model = model
        self.folder = folder
        self.threads = threads
        self.rounds = rounds
        self.limits = {
            name: product_rate(large_product(), dtype, clock=time.process_time)
            for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
        }
        self.weights = LAYER * sum(
            rows * columns
            for rows, columns in (
                *4 * [(MBERT["hidden_size"], MBERT["hidden_size"])],
                *2 * [(MBERT["hidden_size"], MBERT["intermediate_size"])],
            )
        )

    def print_machine(self) -> None:
        limits = ", ".join(f"{name} {rate / 1e9:.0f}" for name, rate in self.limits.items())
        print(f"\n{self.threads} threads, layer {LAYER} of a random mBERT; GFLOP per processor")
        print(f"second of a large product: {limits}\n")
        print(
            "| pairs | methods | system | pairs per CPU s | pairs per s | × SimAlign | "
            "× awesome-align | links as SimAlign's | encoder, % of large product | "
            "extraction, % | peak MiB |"
        )
        print("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)

    def compare(
        self,
        name: str,
        pairs: Sequence[Pair],
        systems: Sequence[System],
        variants: Sequence[Sequence[str]] = METHODS,
        rounds: int | None = None,
    ) -> None:
        """Print a row for each variant of methods and each system."""
        job = {"model": str(self.model), "layer": LAYER, "threads": self.threads, "pairs": pairs}
        with ExitStack() as stack:
            scratch = [
                Path(stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
                for _ in systems
            ]
            workers = [
                stack.enter_context(Worker(system, {**job, "scratch": str(folder)}, folder))
                for system, folder in zip(systems, scratch, strict=True)
            ]
            for worker in workers:
                worker.align(variants[0])  # is not counted
            for methods in variants:
                answers: dict[str, list[Answer]] = {worker.system.name: [] for worker in workers}
                for _ in range(rounds or self.rounds):
                    for worker in workers:
                        answers[worker.system.name].append(worker.align(methods))
                for system in systems:
                    row = self.row(system, len(pairs), answers)
                    print(f"| {name}, {len(pairs):,} | {' '.join(methods)} | {row} |", flush=True)

    def row(self, system: System, pairs: int, answers: dict[str, list[Answer]]) -> str:
        own = answers[system.name]
        cells = [
            system.name,
            f"{pairs / statistics.median(a['cpu'] for a in own):.2f}",
            f"{pairs / statistics.median(a['wall'] for a in own):.2f}",
            ratio(answers.get("SimAlign"), own),
            ratio(answers.get("awesome-align"), own),
            same_links(answers.get("SimAlign"), own),
            self.share_of_limit(system, own),
            share_of_extraction(own),
            f"{max(a['mebibytes'] for a in own):.0f}",
        ]
        return " | ".join(cells)

    def share_of_limit(self, system: System, answers: Sequence[Answer]) -> str:
        """Operations of the blocks' matrices on true pieces; padding and attention do not count."""
        measured = [answer["measured"] for answer in answers]
        if "encoder" not in measured[0]:
            return "–"
        rates = [2 * self.weights * m["pieces"] / m["encoder"] for m in measured]
        rate = statistics.median(rates)
        if system.dtype not in self.limits:
            return f"{rate / 1e9:.0f} GFLOP/s"
        return f"{100 * rate / self.limits[system.dtype]:.0f}"


def ratio(theirs: Sequence[Answer] | None, ours: Sequence[Answer]) -> str:
    """How many times the processor time they take: median, least and most over the rounds."""
    if theirs is None:
        return "–"
    ratios = [their["cpu"] / our["cpu"] for their, our in zip(theirs, ours, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def same_links(theirs: Sequence[Answer] | None, ours: Sequence[Answer]) -> str:
    """Of the methods both have, how many pairs get the same links."""
    if theirs is None or theirs is ours:
        return "–"
    both = [name for name in theirs[0]["links"] if name in ours[0]["links"]]
    if not both:
        return "–"
    same = [
        their == our
        for name in both
        for their, our in zip(theirs[0]["links"][name], ours[0]["links"][name], strict=True)
    ]
    return f"{sum(same)} of {len(same)}"


def share_of_extraction(answers: Sequence[Answer]) -> str:
    """What is left of the processor time when the vectors are there."""
    if "vectors" not in answers[0]["measured"]:
        return "–"
    shares = [1 - answer["measured"]["vectors"] / answer["cpu"] for answer in answers]
    return f"{100 * statistics.median(shares):.1f}"


if __name__ == "__main__":
    main()
