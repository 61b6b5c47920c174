"""Sentences a CPU-second of ``generate``, of bitext's search and of CTranslate2: greedy and beam 5.

    python benchmarks/bench_translate.py MODEL SOURCE [REFERENCE] [--first N] [--rounds N]

``generate`` gets batches of 32 sentences, in their order as a user would write it, and sorted by
length. One thread; CPU seconds (user and system) are counted, tokenisation included, and the median
of the rounds is printed. Beside it stand the share of the lines whose hypotheses are those of
``generate``, and of those of bitext with ``early_stopping``, which is how CTranslate2 stops; with a
reference also BLEU.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from machine import seconds_in_rounds

from bitext.text import open_lines
from nmt.evaluation.evaluate import translation_score
from nmt.interop.ctranslate2 import export_ctranslate2
from nmt.network.model import TranslationCheckpoint, load_translation_checkpoint
from nmt.translation.translator import TranslationModel

BATCH = 32
BEAMS = (1, 5)


def generate(
    checkpoint: TranslationCheckpoint,
    sentences: list[str],
    languages: tuple[str, str],
    beams: int,
    *,
    by_length: bool,
) -> list[str]:
    """What a user of transformers writes."""
    codec, model = checkpoint.codec, checkpoint.model
    pieces = codec.source(sentences, *languages)
    order = list(range(len(sentences)))
    if by_length:
        order.sort(key=lambda i: -len(pieces[i]))
    found = [""] * len(sentences)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        rows = [torch.tensor(pieces[i]) for i in places]
        ids = torch.nn.utils.rnn.pad_sequence(rows, True, codec.pad)
        output = model.generate(
            ids,
            attention_mask=(ids != codec.pad).long(),
            num_beams=beams,
            do_sample=False,
            max_length=codec.max_target,
        )
        for i, row in zip(places, output.tolist(), strict=True):
            found[i] = codec.text(row)
    return found


def translate(model: TranslationModel, sentences: list[str], **how: Any) -> list[str]:
    return [own[0].text for own in model.translate(sentences, **how)]


def works_of(
    name: str, folder: Path, sentences: list[str], beams: int
) -> dict[str, Callable[[], list[str]]]:
    checkpoint = load_translation_checkpoint(name)
    ours = TranslationModel.load(name)
    by_generate = partial(generate, checkpoint, sentences, ours.direction(None, None), beams)
    works: dict[str, Callable[[], list[str]]] = {
        "generate": partial(by_generate, by_length=False),
        "generate, by length": partial(by_generate, by_length=True),
        "bitext": partial(translate, ours, sentences, beam_size=beams),
        "bitext, early": partial(translate, ours, sentences, beam_size=beams, early_stopping=True),
    }
    for kind in ("float32", "int8"):
        if not (folder / kind).exists():
            export_ctranslate2(load_translation_checkpoint(name), folder / kind, quantization=kind)
        exported = TranslationModel.load(folder / kind)
        works[f"CTranslate2 {kind}"] = partial(translate, exported, sentences, beam_size=beams)
    return works


def remember(found: dict[str, list[str]], name: str, work: Callable[[], list[str]]) -> None:
    found[name] = work()


def same(found: list[str], expected: list[str]) -> float:
    return sum(a == b for a, b in zip(found, expected, strict=True)) / len(expected)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?")
    parser.add_argument("source", nargs="?")
    parser.add_argument("reference", nargs="?")
    parser.add_argument("--first", type=int, help="how many sentences; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    if not given.source:
        print("nothing to do: name a translation model and a file of sentences")
        return
    torch.set_num_threads(1)
    sentences = list(islice(open_lines(given.source), given.first))
    references = given.reference and list(islice(open_lines(given.reference), given.first))
    print(f"{len(sentences)} sentences, {torch.get_num_threads()} thread")
    with tempfile.TemporaryDirectory() as folder:
        for beams in BEAMS:
            works = works_of(given.model, Path(folder), sentences, beams)
            found: dict[str, list[str]] = {}

            timed = {name: partial(remember, found, name, work) for name, work in works.items()}
            times = seconds_in_rounds(timed, given.rounds, time.process_time)
            for name, took in times.items():
                like = same(found[name], found["generate"])
                early = same(found[name], found["bitext, early"])
                line = (
                    f"beam {beams}  {name:20} {len(sentences) / took:7.1f} sentences/CPU-s"
                    f"  {times['generate'] / took:5.2f} x  same as generate {like:7.2%}"
                    f"  as bitext, early {early:7.2%}"
                )
                if references:
                    score = translation_score(found[name], references, metrics=["bleu"])
                    line += f"  BLEU {score.bleu:.2f}"
                print(line, flush=True)


if __name__ == "__main__":
    main()
