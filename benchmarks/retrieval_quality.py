"""Retrieval accuracy of a model between English and other languages, as a Markdown table.

python benchmarks/retrieval_quality.py choose            # the best layer, on NTREX
python benchmarks/retrieval_quality.py report            # Tatoeba and NTREX, the preset's layer
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bitext.text import data_folder, open_lines
from encoders.registry import default_registry
from retrieval.evaluation.recall import RetrievalScore, evaluate

# Tatoeba's names of the languages that the bundled encoder was trained on.
LANGUAGES = [
    *("deu", "fra", "spa", "ron", "ces", "rus", "cmn", "jpn", "hin", "ita", "por", "nld", "swe"),
    *("dan", "fin", "hun", "tur", "ara", "bul", "pol", "ukr", "est", "kor", "vie", "ind"),
]
NTREX_NAMES = {"cmn": "zho-CN", "ara": "arb", "por": "por-BR"}
NOT_IN_NTREX = ("nld", "swe", "fin", "hun")


def read_sides(corpus: str, language: str) -> tuple[list[str], list[str]]:
    """The sentences of ``language`` and their English translations."""
    folder = data_folder() / "retrieval" / corpus
    if corpus == "tatoeba":
        other, english = folder / f"{language}.txt", folder / f"{language}.eng.txt"
    else:
        other = folder / f"{NTREX_NAMES.get(language, language)}.txt"
        english = folder / "eng.txt"
    return list(open_lines(other)), list(open_lines(english))


def mean_accuracy(scores: Sequence[RetrievalScore], centred: bool) -> float:
    """Mean of both directions over languages."""
    chosen = [s for s in scores if s.centred == centred]
    return sum(sum(s.recall[d][1] for d in s.recall) / 2 for s in chosen) / len(chosen)


def choose(model: str, languages: Sequence[str], pooling: str) -> None:
    encoder = default_registry().encoder(model)
    print("| layer | NTREX raw | NTREX centred |\n|--:|--:|--:|")
    for layer in range(encoder.layers + 1):
        scores = []
        for language in sorted(set(languages) - set(NOT_IN_NTREX)):
            sides = read_sides("ntrex", language)
            scores.extend(evaluate(encoder, *sides, layer=layer, pooling=pooling))
        raw, centred = (100 * mean_accuracy(scores, c) for c in (False, True))
        print(f"| {layer} | {raw:.1f} | {centred:.1f} |", flush=True)


def report(model: str, languages: Sequence[str], pooling: str, layer: int | None) -> None:
    encoder = default_registry().encoder(model)
    print("| language | Tatoeba xx→en raw | en→xx | centred | en→xx ", end="")
    print("| NTREX xx→en raw | en→xx | centred | en→xx |\n|---" + "|--:" * 8 + "|")
    scores: dict[str, list[RetrievalScore]] = {"tatoeba": [], "ntrex": []}
    for language in languages:
        cells: list[str] = []
        for corpus, all_of in scores.items():
            if corpus == "ntrex" and language in NOT_IN_NTREX:
                cells += [""] * 4
                continue
            found = evaluate(encoder, *read_sides(corpus, language), layer=layer, pooling=pooling)
            all_of.extend(found)
            cells += [f"{100 * score.recall[d][1]:.1f}" for score in found for d in score.recall]
        print("| " + " | ".join([language, *cells]) + " |", flush=True)
    for corpus, all_of in scores.items():
        raw, centred = (100 * mean_accuracy(all_of, c) for c in (False, True))
        print(f"\n{corpus}, mean of both directions: raw {raw:.1f}, centred {centred:.1f}")
    print(f"\nAccuracy in %; {scores['tatoeba'][0].signature}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["choose", "report"])
    parser.add_argument("--model", default="bundled", help="a hub name or folder")
    parser.add_argument("--languages", nargs="+", default=LANGUAGES)
    parser.add_argument("--pooling", default="mean")
    parser.add_argument("--layer", type=int)
    options = parser.parse_args()
    if options.what == "choose":
        choose(options.model, options.languages, options.pooling)
    else:
        report(options.model, options.languages, options.pooling, options.layer)


if __name__ == "__main__":
    main()
