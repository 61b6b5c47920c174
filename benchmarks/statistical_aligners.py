"""AER of fast_align and eflomal, trained on a recipe's parallel text plus the test text.

Both are programs of their own, not among this project's dependencies; give the folder that holds
``fast_align`` and ``atools``, and the Python of an environment that has eflomal 2.0:

    python benchmarks/statistical_aligners.py --fast-align FOLDER --eflomal PYTHON
    python benchmarks/statistical_aligners.py ... --recipe FILE --cache FOLDER --sets enfr deen

A gold set is aligned by a model of its two languages' pairs in the recipe's corpora, read in the
set's direction, and of the set itself. All is lower-cased. The five ways to join the two directions
are scored on gold and the best one is shown: a choice made on the test set, in the peers' favour.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bitext.errors import BitextError, InputError
from bitext.scoring import AlignmentScore, evaluate
from bitext.segmentation import segment
from bitext.text import (
    atomic_write,
    data_folder,
    open_lines,
    read_alignments,
    read_bitext,
    read_gold,
    read_parallel,
    words,
)
from encoders.training.corpus import CorpusFile, find_corpora

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

XLWA = ["enes", "ennl", "enpt", "enru", "enda"]
TEST_SETS = ["enfr", "deen", "zhen", "enhi", "ensv", *(f"xlwa_{pair}_test" for pair in XLWA)]
RECIPE = Path(__file__).resolve().parents[1] / "encoders" / "bundled" / "recipe.toml"
HEURISTICS = {  # our name -> the command of atools
    "intersection": "intersect",
    "grow-diag": "grow-diag",
    "grow-diag-final": "grow-diag-final",
    "grow-diag-final-and": "grow-diag-final-and",
    "union": "union",
}
MAX_WORDS = 100
"""Words a side: training pairs with more are left out, as is usual for these programs."""

Pair = tuple[str, str]  # two tokenised sentences, words parted by one space
Program = Callable[[Sequence[Pair], Path], tuple[Path, Path]]
"""Aligns pairs in a folder for its work; returns the Pharaoh files of both directions."""


class Result(NamedTuple):
    """The best of the joined alignments of one program, and the processor time of all."""

    heuristic: str
    score: AlignmentScore
    seconds: float

    def __str__(self) -> str:
        aer, precision, recall = (
            f"{100 * share:.1f}"
            for share in (self.score.aer, self.score.precision, self.score.recall)
        )
        return f"{aer} ({precision} / {recall}) {self.heuristic}"


def main() -> None:
    options = parse_arguments()
    try:
        run(options)
    except BitextError as error:
        sys.exit(f"{Path(__file__).name}: {error}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fast-align", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--eflomal", type=Path, required=True, metavar="PYTHON")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help="its `corpora` are read")
    parser.add_argument("--sets", nargs="+", default=TEST_SETS)
    parser.add_argument("--cache", type=Path, help="a folder that keeps the tokenised corpora")
    return parser.parse_args()


def run(options: argparse.Namespace) -> None:
    data = data_folder()
    corpora = find_corpora(read_patterns(options.recipe), data)
    atools = options.fast_align / "atools"
    programs: dict[str, Program] = {
        "fast_align": partial(run_fast_align, options.fast_align / "fast_align"),
        "eflomal": partial(run_eflomal, options.eflomal),
    }
    columns = [cell for name in programs for cell in (f"{name}, its best", "CPU s")]
    print("| set | pairs of text | left out | " + " | ".join(columns) + " |")
    print("|---|--:|--:|" + "---|--:|" * len(programs), flush=True)
    for name in options.sets:
        with tempfile.TemporaryDirectory() as temporary:
            work = Path(temporary)
            text, left_out = training_text(corpora, languages_of(name), options.cache or work)
            test = read_test(data / "alignment", name)
            gold_path = data / "alignment" / f"{name}.gold"
            cells = [name, f"{len(text):,}", f"{left_out:,}"]
            for program in programs.values():
                result = measure(program, atools, [*text, *test], gold_path, len(test), work)
                cells += [str(result), f"{result.seconds:.0f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    print("\nAER (precision / recall), in %, and the heuristic with the lowest AER on the set.")


def read_patterns(recipe: Path) -> list[str]:
    """The corpora of a recipe; no other key is looked at, so that any version's will do.

    :raises InputError: if there are none.
    """
    try:
        corpora = tomllib.loads(recipe.read_text(encoding="utf-8"))["corpora"]
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot read `corpora` of {recipe}: {error!r}") from error
    return [str(pattern) for pattern in corpora]


def languages_of(name: str) -> tuple[str, str]:
    """Example: ``languages_of("xlwa_enes_test")`` -> ``("en", "es")``

    :raises InputError: if the name is not of that form.
    """
    match = re.fullmatch(r"(?:xlwa_)?([a-z]{2})([a-z]{2})(?:_[a-z]+)?", name)
    if match is None:
        raise InputError(f"expected a gold set such as 'enfr' or 'xlwa_enes_test', got '{name}'")
    return match[1], match[2]


# --- the text


def training_text(
    corpora: Sequence[CorpusFile], languages: tuple[str, str], cache: Path
) -> tuple[list[Pair], int]:
    """The tokenised pairs of two languages in that order, and how many were empty or too long.

    :raises InputError: if no corpus has these languages.
    """
    files = [file for file in corpora if {file.source, file.target} == set(languages)]
    if not files:
        raise InputError(f"the recipe has no corpus of {' and '.join(languages)}")
    kept, left_out = [], 0
    for file in files:
        for source, target in tokenised(file, cache):
            lengths = [len(side.split(" ")) if side else 0 for side in (source, target)]
            if min(lengths) > 0 and max(lengths) <= MAX_WORDS:
                straight = (file.source, file.target) == languages
                kept.append((source, target) if straight else (target, source))
            else:
                left_out += 1
    return kept, left_out


def tokenised(file: CorpusFile, cache: Path) -> Iterator[Pair]:
    """The pairs of ``file``, split into words once and then read from the cache."""
    stat = file.path.stat()
    key = f"{file.path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    name = f"{file.source}-{file.target}.{hashlib.sha256(key.encode()).hexdigest()[:16]}.tsv"
    cache.mkdir(parents=True, exist_ok=True)
    if not (cache / name).exists():
        with atomic_write(cache / name) as output:
            for pair in read_bitext(file.path):
                sides = ([w.text for w in segment(str(s))] for s in (pair.source, pair.target))
                print("\t".join(map(one_line, sides)), file=output)
    for line in open_lines(cache / name):
        source, target = line.split("\t")
        yield source, target


def one_line(side: Sequence[str]) -> str:
    """Lower-cased words, parted by spaces; a space within a word becomes ``_``.

    eflomal splits at every white space of Unicode, fast_align at spaces only.
    """
    return " ".join("_".join(word.lower().split()) for word in side)


def read_test(folder: Path, name: str) -> list[Pair]:
    """The pairs of a gold set, whose words are as they are: XL-WA's have ``_`` for a space."""
    pairs = read_parallel(folder / f"{name}.src", folder / f"{name}.tgt")
    return [(one_line(words(str(p.source))), one_line(words(str(p.target)))) for p in pairs]


# --- the programs


def run_fast_align(program: Path, pairs: Sequence[Pair], work: Path) -> tuple[Path, Path]:
    """With the options that its README recommends; both files have source words first."""
    text = work / "text.joint"
    with atomic_write(text) as output:
        output.writelines(f"{source} ||| {target}\n" for source, target in pairs)
    forward, backward = work / "fast_align.forward", work / "fast_align.backward"
    call(forward, program, "-i", text, "-d", "-o", "-v")
    call(backward, program, "-i", text, "-d", "-o", "-v", "-r")
    return forward, backward


def run_eflomal(python: Path, pairs: Sequence[Pair], work: Path) -> tuple[Path, Path]:
    """With its defaults: IBM 1, HMM and fertility. It takes no seed: AERs vary by tenths."""
    sides = [work / "text.source", work / "text.target"]
    for side, path in enumerate(sides):
        with atomic_write(path) as output:
            output.writelines(f"{pair[side]}\n" for pair in pairs)
    forward, backward = work / "eflomal.forward", work / "eflomal.backward"
    program: list[str | Path] = [python, python.with_name("eflomal-align"), "--overwrite"]
    outputs: list[str | Path] = ["-f", forward, "-r", backward]
    call(work / "eflomal.log", *program, "-s", sides[0], "-t", sides[1], *outputs)
    return forward, backward


def call(output: Path, *command: str | Path) -> None:
    """Run a program, its standard output into a file.

    :raises InputError: if it cannot be run or fails.
    """
    try:
        with output.open("wb") as stream:
            done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, check=False)
    except OSError as error:
        raise InputError(f"cannot run {command[0]}: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing said"]
        raise InputError(f"{command[0]} failed with code {done.returncode}: {said[-1]}")


# --- the figures


def measure(
    program: Program, atools: Path, pairs: Sequence[Pair], gold_path: Path, count: int, work: Path
) -> Result:
    """Align ``pairs``, of which the last ``count`` are those of the gold alignments."""
    gold = read_gold(gold_path, pairs=count)
    began = _processor_seconds()
    directions = [keep_last(path, count) for path in program(pairs, work)]
    scores = {}
    for name, command in HEURISTICS.items():
        joined = work / f"joined.{name}"
        call(joined, atools, "-i", directions[0], "-j", directions[1], "-c", command)
        scores[name] = evaluate(list(read_alignments(joined)), gold)
    seconds = _processor_seconds() - began
    best = min(scores, key=lambda name: scores[name].aer)
    every = ", ".join(f"{name} {100 * score.aer:.1f}" for name, score in scores.items())
    print(f"{gold_path.stem}: {every}", file=sys.stderr, flush=True)
    return Result(best, scores[best], seconds)


def keep_last(path: Path, count: int) -> Path:
    """A file of the last ``count`` lines of the one at ``path``."""
    last = path.with_name(f"{path.name}.last")
    with atomic_write(last) as output:
        output.writelines(f"{line}\n" for line in list(open_lines(path))[-count:])
    return last


def _processor_seconds() -> float:
    """Of the programs that have ended, so that other work on the machine does not count."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    main()
