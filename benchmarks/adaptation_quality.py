"""What adaptation brings, and what it costs elsewhere: two Markdown tables.

python benchmarks/adaptation_quality.py pair        # 5,000 pairs of one language pair
python benchmarks/adaptation_quality.py language    # a language that the model does not know

``pair`` adapts the model to a text that is to be aligned: the 1,164 sentence pairs of the en-sv
gold, without the gold, and 3,836 others; in several ways. It scores en-sv and two other pairs.
``language`` takes Georgian, whose script the model has never seen, and Swahili: the first 1,000
lines of NTREX are trained on, the others and Tatoeba are searched.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from alignment_quality import read_pairs

from aligners.aligner import Aligner
from bitext.scoring import evaluate
from bitext.text import data_folder, open_lines, read_bitext, read_gold
from bitext.types import SentencePair
from encoders.encoder import Encoder
from encoders.inspection.probes import encoder_retrieval
from encoders.registry import default_registry
from encoders.training.adaptation import Adaptation, adapt

PAIRS = 5000
SETS = ("ensv", "enfr", "xlwa_enes_test")
LANGUAGES = {"kat": "kat", "swa": "swh"}  # NTREX's name, Tatoeba's
LEARNT = 1000  # lines of NTREX
WORDS: dict[str, Any] = {
    "name": "words",
    "steps": 150,
    "batch_tokens": 2048,
    "join_pieces": 64,
    "learning_rate": 5e-4,
    "embedding_rate": 10.0,
    "warmup_steps": 30,
    "precision": "bfloat16",
    "objectives": {
        "words": {"layer": 4},
        "sentences": {"layer": 4, "weight": 0.3, "temperature": 0.05},
    },
}


def adapt_pair(model: str, folder: Path) -> None:
    """Adapt to the text of en-sv, without its links, and score all pairs."""
    text = [(" ".join(p.source), " ".join(p.target)) for p in read_test("ensv")]
    write_pairs(folder / "new.en-sv.tsv", text + read_corpora("tatoeba", "sv", PAIRS - len(text)))
    for language in ("fr", "es"):
        old = read_corpora("tico19", language, 2500) + read_corpora("tatoeba", language, 2500)
        write_pairs(folder / f"old.en-{language}.tsv", old)
    replay = {"replay": {"corpora": ["old.en-*.tsv"], "share": 0.3}}
    near = {**WORDS, "objectives": {**WORDS["objectives"], "l2sp": {"weight": 3e-3}}}
    ways: dict[str, dict[str, Any]] = {
        "all weights": {},
        "all weights, replay": replay,
        "all weights, replay, l2sp": {**replay, "stages": [near]},
        "embeddings frozen": {"tune": {"embeddings": False}},
        "lora, rank 16": {"tune": {"method": "lora", "lora": {"rank": 16}}},
    }
    print("| | " + " | ".join(SETS) + " |\n|---|" + "--:|" * len(SETS))
    print_aer("before", default_registry().encoder(model))
    for name, changes in ways.items():
        given = {"corpora": ["new.en-sv.tsv"], "stages": [WORDS], **changes}
        out = folder / name.replace(" ", "-")
        settings = Adaptation.model_validate(given)
        print_aer(name, adapted(adapt(model, settings, data=folder, output=out)))
    print(f"\nAER in %, the model's preset; {PAIRS} pairs of en-sv, seed 1")


def adapt_language(model: str, folder: Path) -> None:
    """Add each language and search for its translations."""
    english = list(open_lines(data_folder() / "retrieval" / "ntrex" / "eng.txt"))
    print("| language | | NTREX raw | centred | Tatoeba raw | centred |\n|---|---|--:|--:|--:|--:|")
    for name, tatoeba in LANGUAGES.items():
        lines = list(open_lines(data_folder() / "retrieval" / "ntrex" / f"{name}.txt"))
        test = lines[LEARNT:], english[LEARNT:]
        other = [
            list(open_lines(data_folder() / "retrieval" / "tatoeba" / f"{tatoeba}{ending}.txt"))
            for ending in ("", ".eng")
        ]
        here = folder / name
        here.mkdir()
        pairs = list(zip(english[:LEARNT], lines[:LEARNT], strict=True))
        write_pairs(here / f"new.en-{name}.tsv", pairs)
        text = "".join(f"{line}\n" for line in lines[:LEARNT])
        (here / f"new.{name}.txt").write_text(text, encoding="utf-8")
        print_accuracy(name, "before", default_registry().encoder(model), test, other)
        for way, changes in language_ways(name).items():
            given = {
                "corpora": [f"new.en-{name}.tsv"],
                "stages": [WORDS],
                **changes,
            }
            settings = Adaptation.model_validate(given)
            out = here / way.replace(" ", "-")
            encoder = adapted(adapt(model, settings, data=here, output=out))
            print_accuracy(name, way, encoder, test, other)
    print(f"\nMean accuracy of both directions, in %; {LEARNT} lines of NTREX learnt, seed 1")


def language_ways(name: str) -> dict[str, dict[str, Any]]:
    text = [f"new.{name}.txt"]
    pieces = {"language": {"text": text, "pieces": 2000}}
    factors = {"language": {"text": text, "pieces": 2000, "factorise": 100}}
    return {
        "as it is": {},
        "2000 new pieces": pieces,
        "2000 new pieces, factorised": factors,
        "adapter": {"language": {"adapter": {}}},
        "latin letters": {"language": {"transliterate": "latin"}},
    }


def read_test(name: str) -> list[SentencePair]:
    return read_pairs(data_folder() / "alignment", name)


def read_corpora(corpus: str, language: str, count: int) -> list[tuple[str, str]]:
    path = data_folder() / "parallel" / corpus / f"train.en-{language}.tsv.gz"
    pairs = [(str(pair.source), str(pair.target)) for pair in read_bitext(path)]
    step = max(1, len(pairs) // count)
    return pairs[::step][:count]


def write_pairs(path: Path, pairs: list[tuple[str, str]]) -> None:
    path.write_text("".join(f"{s}\t{t}\n" for s, t in pairs), encoding="utf-8")


def adapted(folder: Path) -> Encoder:
    return default_registry().encoder(str(folder))


def print_aer(name: str, encoder: Encoder) -> None:
    cells = []
    for one in SETS:
        pairs = read_test(one)
        gold = read_gold(data_folder() / "alignment" / f"{one}.gold", pairs=len(pairs))
        found = Aligner(encoder).align(pairs)
        cells.append(f"{100 * evaluate(found, gold).aer:.1f}")
    print("| " + " | ".join([name, *cells]) + " |", flush=True)


def print_accuracy(
    language: str,
    way: str,
    encoder: Encoder,
    test: tuple[list[str], list[str]],
    other: list[list[str]],
) -> None:
    cells = []
    for sources, targets in (test, other):
        accuracy = encoder_retrieval(encoder, sources, targets)
        cells += [f"{100 * accuracy.raw:.1f}", f"{100 * accuracy.centred:.1f}"]
    print("| " + " | ".join([language, way, *cells]) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["pair", "language"])
    parser.add_argument("--model", default="bundled", help="a hub name or folder")
    parser.add_argument("--steps", type=int, default=WORDS["steps"], help="of each adaptation")
    options = parser.parse_args()
    WORDS["steps"] = options.steps
    with tempfile.TemporaryDirectory() as folder:
        run = adapt_pair if options.what == "pair" else adapt_language
        run(options.model, Path(folder))


if __name__ == "__main__":
    main()
