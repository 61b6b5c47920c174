"""How fast translation models are trained, beside Seq2SeqTrainer, fairseq and Eole.

    python benchmarks/bench_train_translation.py
    python benchmarks/bench_train_translation.py --fairseq PYTHON --eole PYTHON --threads 2

Multi30k en-de from BITEXT_DATA in a joint vocabulary of 8,000, and a new network of 6 + 6 layers,
256 wide; about 4,096 padded pieces an update, dropout 0.1, smoothed labels, AdamW, clipping. All
get the same pieces, and make their own batches of them. The peers run in environments of their own:
PYTHON is one that has fairseq 0.12.2 (``make fairseq`` makes it), or Eole 0.6 with aiohttp.

Counted are pieces of both sides, padding left out, for each second of processor time with one
thread, so that other work on the machine matters little, and of wall time with more. Trainers take
turns of some updates; rates are medians over the rounds, and ratios medians of the ratios within a
round. Beside them stands the share of what the machine reaches in matrix products of the network's
shapes, by the operations that these pieces need: padding and attention scores win nothing.
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
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import torch
from machine import large_product, product_rate

from bitext.text import data_folder
from nmt.interop.fairseq_data import Side, write_data
from nmt.interop.fairseq_dictionary import make_dictionary
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings
from nmt.pieces.vocabulary import train_vocabulary
from nmt.training.config import Corpus, DataSettings
from nmt.training.data import EncodedBitext, encode_corpus, read_pairs

HERE = Path(__file__).resolve().parent
CORPUS = "parallel/multi30k/train.en-de.tsv.gz"
BATCH = 4096
"""Padded pieces of both sides in an update."""
SIZE = {"layers": 6, "dim": 256, "heads": 4, "feed_forward": 1024, "pieces": 8000}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

Answer = dict[str, float]


class System(NamedTuple):
    """A trainer, and how its process is started."""

    name: str
    script: str
    python: str | None = sys.executable
    dtype: str = "float32"
    sampling: str = "random"
    kind: str = "bart"
    path: str = ""  # where its Python finds sources


class TrainerProcess:
    """A process that makes some updates whenever it is asked to; see train_turns.py."""

    def __init__(self, system: System, job: dict[str, Any], folder: Path) -> None:
        self.system = system
        file = folder / f"{system.name}.json"
        more = {"dtype": system.dtype, "sampling": system.sampling, "kind": system.kind}
        file.write_text(json.dumps({**job, **more}), encoding="utf-8")
        paths = [system.path, os.environ.get("PYTHONPATH", "")]
        threads = {f"{name}_NUM_THREADS": str(job["threads"]) for name in ("OMP", "OPENBLAS")}
        self._errors = (folder / f"{system.name}.errors").open("w+")
        self._process = subprocess.Popen(
            [str(system.python), str(HERE / system.script), str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={
                **os.environ,
                **threads,
                "HF_HUB_OFFLINE": "1",
                "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            },
            text=True,
        )
        self.ended = ""
        self._read()  # after a few updates that are not counted

    def run(self, updates: int) -> Answer | None:
        """So many updates; none if it has ended, and ``ended`` says how."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{updates}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._errors.close()

    def _read(self) -> Answer | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            self.ended = self._errors.read().strip().rpartition("\n")[2] or "it ended"
            return None
        answer: Answer = json.loads(line)
        return answer


class Data(NamedTuple):
    """The pieces that all trainers get."""

    pairs: int
    source: int
    target: int  # predicted: pieces and the end


def main() -> None:
    options = read_options()
    if not (data_folder() / CORPUS).is_file():
        print(f"no data: {data_folder() / CORPUS} is not there (set BITEXT_DATA)")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        data = write_pieces(folder)
        for threads in options.threads:
            best = Best(threads)
            compare(list(systems(options)), folder, data, threads, best, options)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    fairseq = HERE.parent / ".venv-fairseq" / "bin" / "python"
    found = str(fairseq) if fairseq.is_file() else None
    parser.add_argument("--fairseq", metavar="PYTHON", default=found)
    parser.add_argument("--eole", metavar="PYTHON")
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--updates", type=int, default=8, help="in one turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="the trainers that run")
    parser.add_argument("--folder", type=Path, help="where the data is kept for another time")
    return parser.parse_args()


def systems(options: argparse.Namespace) -> Iterator[System]:
    """The trainers that are compared, ours first; those that are not there are named."""
    own, plain = "train_bitext.py", "train_transformers.py"
    shim = str(HERE.parent / "nmt" / "interop" / "fairseq_plugin")
    every = [
        System("bitext", own),
        System("bitext-bfloat16", own, dtype="bfloat16"),
        System("transformers", plain),
        System("transformers-grouped", plain, sampling="group_by_length"),
        System(
            "transformers-grouped-bfloat16", plain, dtype="bfloat16", sampling="group_by_length"
        ),
        System("bert2bert-grouped", plain, sampling="group_by_length", kind="bert2bert"),
        System("fairseq", "train_fairseq.py", python=options.fairseq, path=shim),
        System("eole", "train_eole.py", python=options.eole),
    ]
    for system in every:
        if options.only and system.name not in options.only:
            continue
        if system.python is None:
            print(f"{system.name} is left out: give --{system.name} PYTHON, one that has it")
            continue
        yield system


def write_pieces(folder: Path) -> Data:
    """The corpus in pieces, as text and as fairseq's binary, and the tokenizer they are of."""
    folder.mkdir(exist_ok=True)
    if not (folder / "counts.json").is_file():
        corpus = Corpus(file=CORPUS)
        settings = DataSettings(source_lang="en", target_lang="de", corpora=[corpus])
        texts = chain.from_iterable(read_pairs(corpus, data_folder()))
        tokenizer = train_vocabulary(texts, size=SIZE["pieces"])
        named = TranslationSettings(
            source_langs=("en",),
            target_langs=("de",),
            tags="none",
            max_source=settings.max_pieces,
            max_target=settings.max_pieces,
        )
        codec = TaggedCodec(tokenizer, named)
        encoded, _ = encode_corpus(corpus, settings, codec, data_folder())
        data = _write(folder, encoded, codec)
        (folder / "counts.json").write_text(json.dumps(data), encoding="utf-8")
    return Data(*json.loads((folder / "counts.json").read_text(encoding="utf-8")))


def _write(folder: Path, encoded: EncodedBitext, codec: TaggedCodec) -> Data:
    codec.save(folder)
    frame = codec.frame("de")
    rows = range(len(encoded))
    sources = [encoded.source[row].tolist() for row in rows]
    # without the frame, which every trainer puts around a target by itself
    inner = slice(len(frame.before), -len(frame.after))
    targets = [encoded.target[row].tolist()[inner] for row in rows]
    files = folder / "train.en", folder / "train.de"
    for file, sentences in zip(files, (sources, targets), strict=True):
        lines = (" ".join(map(str, ids)) + "\n" for ids in sentences)
        file.write_text("".join(lines), encoding="utf-8")
    every = map(str, range(len(codec.tokenizer)))
    (folder / "eole.vocab").write_text("".join(f"{one}\t1\n" for one in every), encoding="utf-8")
    # fairseq's special ids are XLM-R's, and so are ours
    dictionary = make_dictionary(str(one) for one in range(4, len(codec.tokenizer)))
    source = Side("en", dictionary, lambda line: [int(piece) for piece in line.split()])
    target = Side("de", dictionary, lambda line: [*map(int, line.split()), codec.end])
    write_data(folder / "fairseq", source, target, {"train": files})
    return Data(
        len(rows), sum(map(len, sources)), sum(len(ids) + len(frame.after) for ids in targets)
    )


class Best:
    """What this machine reaches in matrix products, a second of the clock that counts."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        clock = time.process_time if threads == 1 else time.perf_counter
        rows, dim, wide = BATCH // 2, SIZE["dim"], SIZE["feed_forward"]
        shapes = [(rows, dim, dim)] * 8 + [(rows, dim, wide), (rows, wide, dim)]
        head = [(rows, dim, SIZE["pieces"])]
        self.rates = {}
        for name, dtype in DTYPES.items():
            large, layers, output = (
                1e-9 * product_rate(one, dtype, clock) for one in (large_product(), shapes, head)
            )
            self.rates[name] = layers
            print(
                f"matrix products, {threads} threads, {name}: GFLOP/s {large:.0f} large,"
                f" {layers:.0f} of the layers' shapes, {output:.0f} of the output's"
            )

    def share(self, answer: Answer, seconds: float, dtype: str) -> float:
        done = operations(answer["source"], answer["target"])
        return 1e-9 * done / seconds / self.rates[dtype]


def operations(source: float, target: float) -> float:
    """Of the matrix products that so many pieces need, forward and twice as many backward."""
    square, dim = SIZE["dim"] ** 2, SIZE["dim"]
    block = 4 * square + 2 * dim * SIZE["feed_forward"]
    # keys and values of cross-attention are made of the source, queries and outputs of the target
    of_source = SIZE["layers"] * (block + 2 * square)
    of_target = SIZE["layers"] * (block + 2 * square) + dim * SIZE["pieces"]
    return 3 * 2 * (source * of_source + target * of_target)


def compare(
    those: list[System],
    folder: Path,
    data: Data,
    threads: int,
    best: Best,
    options: argparse.Namespace,
) -> None:
    clock = "cpu" if threads == 1 else "wall"
    sentences = round(BATCH * data.pairs / (data.source + data.target))
    job = {"folder": str(folder), "threads": threads, "size": SIZE, "sentences": sentences}
    running = [TrainerProcess(one, job, folder) for one in those]
    answers: dict[str, list[Answer]] = {one.name: [] for one in those}
    try:
        for number in range(1, options.rounds + 1):
            for process in running:
                answer = None if process.ended else process.run(options.updates)
                if answer is not None:
                    name = process.system.name
                    answers[name].append(answer)
                    print(f"round {number}, {name}: {rate(answer, clock):.0f}", file=sys.stderr)
    finally:
        for process in running:
            process.close()
    what = "processor second" if threads == 1 else "second"
    print(
        f"{threads} threads, {options.rounds} rounds of {options.updates} updates:"
        f" pieces a {what}, without padding"
    )
    for process in running:
        name = process.system.name
        if process.ended or not answers[name]:
            print(f"  {name:30} is left out: {process.ended}")
            continue
        print(f"  {name:30} {describe(answers, process.system, clock, best, options.updates)}")


def describe(
    answers: dict[str, list[Answer]], system: System, clock: str, best: Best, updates: int
) -> str:
    own = answers[system.name]
    rates = [rate(one, clock) for one in own]
    share = statistics.median(best.share(one, one[clock], system.dtype) for one in own)
    size = statistics.mean(one["source"] + one["target"] for one in own) / updates
    said = (
        f"{statistics.median(rates):6.0f} ({min(rates):.0f}-{max(rates):.0f}),"
        f" {size:5.0f} an update, {100 * share:3.0f} % of the products' rate"
    )
    for reference in ("bitext", "bitext-bfloat16"):
        if reference in answers and reference != system.name:
            ratios = [
                rate(ours, clock) / theirs
                for ours, theirs in zip(answers[reference], rates, strict=False)
            ]
            if ratios:
                said += f"; {reference} is {statistics.median(ratios):.2f} times as fast"
    return said


def rate(answer: Answer, clock: str) -> float:
    return (answer["source"] + answer["target"]) / answer[clock]


if __name__ == "__main__":
    main()
