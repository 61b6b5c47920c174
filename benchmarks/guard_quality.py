"""How many human translations the quality guard flags: NTREX, from English, as a Markdown table.

python benchmarks/guard_quality.py                    # the languages of the bundled model
python benchmarks/guard_quality.py --languages all    # every file of NTREX
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bitext.text import data_folder, open_lines
from nmt.evaluation.guard import FLAGS, GuardCounts, guard

LANGUAGES = (
    "deu,fra,spa,jpn,zho-CN,ron,rus,ita,por,hin,tur,ces,ukr,arb,hun,nld,fin,dan,pol,swe,est,bul,"
    "ind,vie,kor"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--languages", default=LANGUAGES)
    options = parser.parse_args()
    folder = options.data / "retrieval" / "ntrex"
    names = options.languages.split(",")
    if names == ["all"]:
        names = sorted(path.stem for path in folder.glob("*.txt") if path.stem != "eng")
    english = list(open_lines(folder / "eng.txt"))
    total = GuardCounts()
    print("| language | translations | flagged |", *(f" {flag} |" for flag in FLAGS), sep="")
    print("|---|--:|--:|" + "--:|" * len(FLAGS))
    for name in names:
        path = folder / f"{name}.txt"
        if not path.is_file():
            print(f"| {name} | not in NTREX |")
            continue
        flags, counts = guard(english, open_lines(path))
        for one in flags:
            total.add(one)
        print(row(name, counts), flush=True)
    print(row("all", total))


def row(name: str, counts: GuardCounts) -> str:
    cells = [counts.translations, counts.flagged, *counts.flags.values()]
    return f"| {name} | " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
