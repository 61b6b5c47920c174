"""What each objective brings to the network stage of the bundled recipe, as a Markdown table.

python benchmarks/objective_ablation.py --prepared trained/run --model trained-vectors/model

``--prepared`` is the run folder of a ``bitext pretrain encoders/bundled/recipe.toml``: its text,
cut into pieces and linked, is what is trained on. ``--model`` is where each mix starts: the model
after the recipe's first stage alone. AER is the mean of the six dev sets (mutual argmax, layer 4),
accuracy the mean of both directions over five languages of NTREX, its first 500 lines.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from alignment_quality import read_pairs
from lexicon_quality import DEV_SETS

from bitext.scoring import evaluate
from bitext.text import data_folder, open_lines, read_gold
from encoders.checkpoint import load_for_training
from encoders.encoder import Encoder
from encoders.inspection.probes import align_layers, encoder_retrieval
from encoders.objectives.network import Network
from encoders.training.preparation import prepared_streams
from encoders.training.recipe import Training
from encoders.training.run import RunFolder
from encoders.training.trainer import Trainer
from encoders.training.validation import encoder_of

LAYER = 4
LANGUAGES = ("deu", "rus", "zho-CN", "hin", "spa")
LINES = 500
WORDS = {"words": {"layer": LAYER}}
SENTENCES = {"sentences": {"layer": LAYER, "weight": 0.3, "temperature": 0.05}}
MIXES: dict[str, dict[str, dict[str, Any]]] = {
    "words": WORDS,
    "sentences": SENTENCES,
    "words, sentences": {**WORDS, **SENTENCES},
    "words, sentences, so": {**WORDS, **SENTENCES, "so": {"layer": LAYER, "weight": 0.5}},
    "words, sentences, mlm": {**WORDS, **SENTENCES, "mlm": {"weight": 0.1, "every": 2}},
    "words, sentences, tlm": {**WORDS, **SENTENCES, "tlm": {"weight": 0.1, "every": 2}},
}


def settings(objectives: dict[str, dict[str, Any]], steps: int) -> Training:
    """The recipe's network stage, shorter, with other objectives."""
    stage = {
        "name": "network",
        "steps": steps,
        "batch_tokens": 2048,
        "join_pieces": 64,
        "learning_rate": 2e-3,
        "embedding_rate": 10.0,
        "warmup_steps": 50,
        "precision": "bfloat16",
        "objectives": objectives,
    }
    return Training.model_validate({"corpora": ["*.tsv"], "stages": [stage]})


def measure(encoder: Encoder, layer: int) -> str:
    """Dev AER, and NTREX raw and centred, as cells."""
    folder = data_folder()
    errors = []
    for name in DEV_SETS:
        pairs = read_pairs(folder / "alignment", name)
        gold = read_gold(folder / "alignment" / f"{name}.gold", pairs=len(pairs))
        found = align_layers(encoder, pairs, layers=[layer], units=["word"])[layer, "word"]
        errors.append(evaluate(found, gold).aer)
    english = list(open_lines(folder / "retrieval" / "ntrex" / "eng.txt"))[:LINES]
    scores = []
    for language in LANGUAGES:
        other = list(open_lines(folder / "retrieval" / "ntrex" / f"{language}.txt"))[:LINES]
        scores.append(encoder_retrieval(encoder, other, english, layer=layer))
    raw, centred = (sum(getattr(s, n) for s in scores) / len(scores) for n in ("raw", "centred"))
    aer = sum(errors) / len(errors)
    return f"{100 * aer:.1f} | {100 * raw:.1f} | {100 * centred:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prepared", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--mixes", nargs="+", default=list(MIXES), choices=list(MIXES))
    options = parser.parse_args()
    print("| objectives | dev AER | NTREX raw | centred |\n|---|--:|--:|--:|")
    model, tokenizer, _ = load_for_training(options.model)
    start = encoder_of(Network(model.eval(), tokenizer))
    print(f"| where it starts, layer 0 | {measure(start, 0)} |", flush=True)
    for name in options.mixes:
        model, tokenizer, _ = load_for_training(options.model)
        network = Network(model, tokenizer)
        training = settings(MIXES[name], options.steps)
        with tempfile.TemporaryDirectory() as folder:
            run = RunFolder(Path(folder), training)
            streams = prepared_streams(options.prepared, training.seed)
            Trainer(network, streams, training, run, progress=False).fit()
        model.eval()
        print(f"| {name} | {measure(encoder_of(network), LAYER)} |", flush=True)


if __name__ == "__main__":
    main()
