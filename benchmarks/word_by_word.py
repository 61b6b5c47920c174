"""How well text is translated word by word, by a lexicon made without pairs: Multi30k, en and fr.

python benchmarks/word_by_word.py                  # as reported: settings chosen on val
python benchmarks/word_by_word.py --all            # every setting on both sets
python benchmarks/word_by_word.py --output FOLDER  # the translations of the test set, too

English words are those of the first half of the training pairs, French ones those of the second:
no pair is seen. The encoder is the bundled one, which was trained on other English-French pairs
(``encoders/bundled/README.md``), so this is no unsupervised system from the ground up.
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path
from typing import NamedTuple

from bitext.text import atomic_write, data_folder, open_lines, read_bitext
from encoders.registry import default_registry
from nmt.evaluation.evaluate import published_bleu, translation_score
from nmt.translation.word_by_word import Lexis, WordByWord, induce, lexis_of

LAYERS = (4,)  # 0, 2 and 3 were tried, and are 2 to 4 points of BLEU worse
LEAST = (3, 10, 30)
NEIGHBOURS = (0, 10)
DIRECTIONS = (("en", "fr"), ("fr", "en"))


class Setting(NamedTuple):
    layer: int
    least: int  # occurrences of a word that is translated into
    neighbours: int  # of CSLS; 0 is the cosine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--data", type=Path, default=data_folder())
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--all", action="store_true", help="every setting on both sets")
    parser.add_argument("--output", type=Path, help="where hypotheses of the test set go")
    options = parser.parse_args()
    started = time.process_time()
    lexes = lexes_of(options.model, halves(options.data))
    print(f"word vectors of {len(LAYERS)} layers: {time.process_time() - started:.0f} s of CPU")
    print("| direction | layer | least | score | set | BLEU | chrF | published BLEU |")
    print("|---|--:|--:|---|---|--:|--:|--:|")
    for source, target in DIRECTIONS:
        settings = [Setting(*one) for one in itertools.product(LAYERS, LEAST, NEIGHBOURS)]
        made = {one: translator(lexes, one, source, target) for one in settings}
        on_val = {one: bleu(options.data, "val", made[one], source, target) for one in settings}
        best = max(settings, key=on_val.__getitem__)
        for one in settings if options.all else [best]:
            for name in ("val", "test_2016_flickr"):
                print(row(options.data, name, one, made[one], source, target), flush=True)
        if options.output is not None:
            lines = translated(options.data, "test_2016_flickr", made[best], source)
            with atomic_write(options.output / f"word_by_word.{source}-{target}") as file:
                file.writelines(f"{line}\n" for line in lines)


def halves(data: Path) -> dict[str, list[str]]:
    """English of the first half of the pairs, French of the second."""
    pairs = list(read_bitext(data / "parallel" / "multi30k" / "train.en-fr.tsv.gz"))
    half = len(pairs) // 2
    return {
        "en": [str(pair.source) for pair in pairs[:half]],
        "fr": [str(pair.target) for pair in pairs[half:]],
    }


def lexes_of(model: str, texts: dict[str, list[str]]) -> dict[tuple[str, int], Lexis]:
    encoder = default_registry().encoder(model)
    return {
        (language, layer): lexis_of(encoder, lines, layer=layer)
        for language, lines in texts.items()
        for layer in LAYERS
    }


def translator(
    lexes: dict[tuple[str, int], Lexis], how: Setting, source: str, target: str
) -> WordByWord:
    words = lexes[target, how.layer].common(how.least)
    return WordByWord(induce(lexes[source, how.layer], words, neighbours=how.neighbours))


def read(data: Path, name: str, language: str) -> list[str]:
    return list(open_lines(data / "mt" / f"multi30k_{name}.{language}"))


def translated(data: Path, name: str, made: WordByWord, source: str) -> list[str]:
    return [best.text for (best,) in made.translate(read(data, name, source))]


def bleu(data: Path, name: str, made: WordByWord, source: str, target: str) -> float:
    hypotheses = translated(data, name, made, source)
    return translation_score(hypotheses, read(data, name, target), metrics=["bleu"]).bleu


def row(data: Path, name: str, how: Setting, made: WordByWord, source: str, target: str) -> str:
    hypotheses, references = translated(data, name, made, source), read(data, name, target)
    score = translation_score(hypotheses, references, metrics=["bleu", "chrf"])
    published = published_bleu(hypotheses, references, target).score
    kind = f"CSLS {how.neighbours}" if how.neighbours else "cosine"
    return (
        f"| {source}-{target} | {how.layer} | {how.least} | {kind} | {name} | "
        f"{score.bleu:.2f} | {score.chrf:.2f} | {published:.2f} |"
    )


if __name__ == "__main__":
    main()
