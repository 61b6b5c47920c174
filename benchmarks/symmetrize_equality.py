"""Are our symmetrised links those of fast_align's atools, of Moses' symal and of Lilt's program?

Aligns gold pairs in both directions with fast_align, which lies beside atools, symmetrises them
with every program that is given, and compares:

    python benchmarks/symmetrize_equality.py fast_align/build/atools \\
        [--symal SYMAL] [--lilt combine_bidirectional_alignments.py] [--sets deen enfr zhen]

None of the programs is among this project's dependencies. The exit code is 1 if any pair differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from aligners.symmetrize import symmetrize
from bitext.text import data_folder, read_parallel, words
from bitext.types import Alignment

Directions = tuple[list[Alignment], list[Alignment]]

ATOOLS = {  # ours -> theirs
    "union": "union",
    "intersection": "intersect",
    "grow-diag": "grow-diag",
    "grow-diag-final": "grow-diag-final",
    "grow-diag-final-and": "grow-diag-final-and",
}
SYMAL = {  # ours -> alignment, diagonal, final, both
    "union": ("u", "no", "no", "no"),
    "intersection": ("i", "no", "no", "no"),
    "grow-diag-moses": ("g", "yes", "no", "no"),
    "grow-diag-final-moses": ("g", "yes", "yes", "no"),
    "grow-diag-final-and-moses": ("g", "yes", "yes", "yes"),
}
LILT = {"grow-diag-lilt": "grow-diagonal", "grow-diag-final-lilt": "grow-diagonal-final"}


def main() -> int:
    arguments = parse_arguments()
    forward, backward, lengths = align_sets(arguments.atools.parent / "fast_align", arguments.sets)
    links = sum(len(a.links) for a in (*forward, *backward))
    print(f"{len(forward)} pairs of {', '.join(arguments.sets)}; {links} links in both directions")
    with tempfile.TemporaryDirectory() as temporary:
        files = write_directions(Path(temporary), forward, backward)
        differing = 0
        for method, name in ATOOLS.items():
            theirs = run([arguments.atools, "-c", name, "-i", files[0], "-j", files[1]])
            differing += report("atools", method, (forward, backward), theirs.splitlines())
        for method, choices in SYMAL.items() if arguments.symal else ():
            theirs = run_symal(arguments.symal, choices, (forward, backward), lengths)
            differing += report("symal", method, (forward, backward), theirs.splitlines())
        for method, name in LILT.items() if arguments.lilt else ():
            command = [sys.executable, arguments.lilt, files[0], files[2], "--method", name]
            differing += report("lilt", method, (forward, backward), run(command).splitlines())
    return 1 if differing else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("atools", type=Path, help="fast_align's program; fast_align lies beside it")
    parser.add_argument("--symal", type=Path, help="Moses' program")
    parser.add_argument("--lilt", type=Path, help="Lilt's program")
    parser.add_argument("--sets", nargs="+", default=["deen", "enfr", "zhen"], help="gold sets")
    return parser.parse_args()


def align_sets(
    fast_align: Path, names: Iterable[str]
) -> tuple[list[Alignment], list[Alignment], list[tuple[int, int]]]:
    """A link a source word, a link a target word, and the lengths, of all pairs of the sets."""
    forward: list[Alignment] = []
    backward: list[Alignment] = []
    lengths: list[tuple[int, int]] = []
    for name in names:
        stem = data_folder() / "alignment" / name
        read = read_parallel(f"{stem}.src", f"{stem}.tgt")
        pairs = [(words(str(pair.source)), words(str(pair.target))) for pair in read]
        text = "".join(f"{' '.join(s)} ||| {' '.join(t)}\n" for s, t in pairs)
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            # Without -r each target word chooses a source word, with it each source word a target.
            command = [fast_align, "-i", file.name, "-d", "-o", "-v"]
            backward += map(Alignment.parse, run(command).splitlines())
            forward += map(Alignment.parse, run([*command, "-r"]).splitlines())
        lengths += [(len(source), len(target)) for source, target in pairs]
    return forward, backward, lengths


def write_directions(
    folder: Path, forward: Iterable[Alignment], backward: Iterable[Alignment]
) -> tuple[Path, Path, Path]:
    """Both directions, and the backward one again with its links turned round."""
    paths = folder / "forward", folder / "backward", folder / "turned"
    paths[0].write_text("".join(f"{a}\n" for a in forward))
    paths[1].write_text("".join(f"{a}\n" for a in backward))
    turned = (" ".join(f"{j}-{i}" for i, j in a.links) for a in backward)
    paths[2].write_text("".join(f"{line}\n" for line in turned))
    return paths


def run_symal(
    symal: Path,
    choices: Sequence[str],
    directions: Directions,
    lengths: Sequence[tuple[int, int]],
) -> str:
    """Ask symal, which reads each side's words and the number of the word each is linked to."""
    lines = []
    for forward, backward, (rows, columns) in zip(*directions, lengths, strict=True):
        of_source = dict(forward.links)
        of_target = {j: i for i, j in backward.links}
        for length, chosen in ((columns, of_target), (rows, of_source)):
            numbers = " ".join(str(chosen.get(k, -1) + 1) for k in range(length))
            lines.append(f"{length} {'w ' * length} # {numbers}")
    text = "".join(f"1\n{t}\n{s}\n" for t, s in zip(lines[::2], lines[1::2], strict=True))
    names = ("alignment", "diagonal", "final", "both")
    options = [f"-{name}={choice}" for name, choice in zip(names, choices, strict=True)]
    return run([symal, *options], text)


def run(command: Sequence[object], text: str = "") -> str:
    done = subprocess.run(
        list(map(str, command)), input=text, capture_output=True, text=True, check=True
    )
    return done.stdout


def report(program: str, method: str, directions: Directions, theirs: Sequence[str]) -> int:
    """Print how many pairs are the same; return how many are not."""
    ours = [symmetrize(f, b, method) for f, b in zip(*directions, strict=True)]
    other = [Alignment.parse(line) for line in theirs]
    same = sum(a.links == b.links for a, b in zip(ours, other, strict=True))
    links = sum(len(a.links) for a in ours)
    print(f"{program}\t{method}\tidentical {same} of {len(ours)} pairs\t{links} links")
    return len(ours) - same


if __name__ == "__main__":
    sys.exit(main())
