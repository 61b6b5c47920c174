"""What starting from the encoder brings in translation: training runs on Multi30k, and their table.

python benchmarks/translation_quality.py train OUTPUT 'en-de-3000-*'   # runs whose names match
python benchmarks/translation_quality.py score OUTPUT                  # those that are done
python benchmarks/translation_quality.py table OUTPUT                  # Markdown, from the scores
python benchmarks/translation_quality.py plot OUTPUT docs/images/low-resource.svg

A run is named LANGUAGES-PAIRS-START-SEED. All runs of one size differ in what they start from and
in nothing else: network (the bundled encoder's width, 4 encoder and 2 decoder layers), vocabulary
(made of the very pairs it learns from), steps, rates. The settings were chosen on Multi30k's
validation set, by runs from nothing; it also chooses the checkpoint (greedy BLEU). Tests are read
by ``score`` alone. A run that was stopped goes on when it is called again.

START+bt adds back-translation: a model of the other direction, made of the same pairs with the same
start, translates the target side of all other pairs of Multi30k; what it makes is filtered by the
bundled encoder's cosine and tagged.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
from fnmatch import fnmatch
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from bitext.text import atomic_write, data_folder, open_lines, read_sentences
from nmt.evaluation.evaluate import published_bleu, translation_score
from nmt.training.config import TrainConfig
from nmt.training.train import train
from nmt.translation.translator import TranslationModel

SETS = ("2016_flickr", "2017_flickr")
ADDED = "+bt"
LEAST = "0.4"
"""Cosine that a back-translated pair must have; docs/back-translation.md says what it costs."""
ALL = 29000
STARTS: dict[str, dict[str, Any]] = {
    "scratch": {"encoder": False, "decoder": False, "embeddings": False},
    "embeddings": {"encoder": False, "decoder": False, "embeddings": True},
    "encoder": {"encoder": True, "decoder": False, "embeddings": True},
    "decoder": {"encoder": False, "decoder": True, "cross_attention": "random"},
    "both": {"encoder": True, "decoder": True, "cross_attention": "random"},
    # the attention to the source copied from the decoder's attention to itself
    "decoder_self": {"encoder": False, "decoder": True, "cross_attention": "self"},
    "both_self": {"encoder": True, "decoder": True, "cross_attention": "self"},
}


class Size(NamedTuple):
    """Settings that go with a number of pairs."""

    vocabulary: int
    batch_tokens: int
    steps: int
    every: int  # steps between measurements


SIZES = {
    1000: Size(2000, 1024, 2000, 250),
    3000: Size(4000, 1024, 3000, 250),
    10000: Size(8000, 2048, 4000, 500),
    ALL: Size(8000, 4096, 4500, 500),
}


class Run(NamedTuple):
    """One training run."""

    source: str
    target: str
    pairs: int
    start: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.source}-{self.target}-{self.pairs}-{self.start}-{self.seed}"

    @property
    def back_translates(self) -> bool:
        return self.start.endswith(ADDED)

    @property
    def reverse(self) -> Run:
        """The run whose model makes its back-translations."""
        start = self.start.removesuffix(ADDED)
        return self._replace(source=self.target, target=self.source, start=start)

    @classmethod
    def parse(cls, name: str) -> Run:
        source, target, pairs, start, seed = name.split("-")
        return cls(source, target, int(pairs), start, int(seed))


def runs() -> list[Run]:
    """All runs, in the order in which they say most."""
    languages = [("en", "de"), ("en", "fr")]
    curve = [
        Run(*pair, size, start, seed)
        for seed in (1, 2, 3)
        for sizes in ((3000, 1000), (ALL, 10000))
        for pair in languages
        for size in sizes
        for start in STARTS
    ]
    back = [
        one
        for pairs in (3000, 10000)
        for start in ("scratch", "encoder")
        for one in (Run("de", "en", pairs, start, 1), Run("en", "de", pairs, start + ADDED, 1))
    ]
    return curve + back


def corpus_of(run: Run) -> dict[str, Any]:
    """The pairs of a run, as its config names them."""
    swap = run.target == "en"
    pair = f"{run.target}-{run.source}" if swap else f"{run.source}-{run.target}"
    corpus: dict[str, Any] = {"file": f"parallel/multi30k/train.{pair}.tsv.gz", "swap": swap}
    return corpus if run.pairs == ALL else {**corpus, "first": run.pairs}


def back_translate(run: Run, output: Path, device: str) -> Path:
    """Pairs made of the target side of what the run has no pairs of."""
    made = output / f"{run.name}.made.tsv"
    if not made.is_file():
        text = output / f"{run.name}.{run.target}"
        lines = open_lines(data_folder() / corpus_of(run)["file"])
        with atomic_write(text) as file:
            file.writelines(line.split("\t")[1] + "\n" for line in islice(lines, run.pairs, None))
        model = output / run.reverse.name / "model"
        how = ["--beam-size", "1", "--min-score", LEAST, "--output", str(made), "--device", device]
        command = [sys.executable, "-m", "bitext", "back-translate", str(model), str(text), *how]
        subprocess.run(command, check=True)
    return made


def settings_of(run: Run) -> Size:
    """Back-translated, 3,000 pairs become many: they are trained on as 10,000 are."""
    pairs = max(run.pairs, 10000) if run.back_translates else run.pairs
    return SIZES[pairs]


def config_of(run: Run, output: Path, device: str = "cpu") -> TrainConfig:
    """Its settings."""
    size = settings_of(run)
    corpora = [corpus_of(run)]
    if run.back_translates:
        made = back_translate(run, output, device)
        corpora.append({"file": str(made.absolute()), "tag": "<bt>"})
    return TrainConfig.model_validate(
        {
            "seed": run.seed,
            "checkpoint_steps": 500,
            "data": {
                "source_lang": run.source,
                "target_lang": run.target,
                "corpora": corpora,
                "dev": [
                    {
                        "source": f"mt/multi30k_val.{run.source}",
                        "target": f"mt/multi30k_val.{run.target}",
                    }
                ],
            },
            "vocabulary": {"source": "corpus", "size": size.vocabulary},
            "model": {"encoder_layers": 4, "decoder_layers": 2, "dropout": 0.2},
            "initialize": {"model": "bundled", **STARTS[run.start.removesuffix(ADDED)]},
            "stages": [
                {
                    "steps": size.steps,
                    "batch_tokens": size.batch_tokens,
                    "learning_rate": 1e-3,
                    "schedule": "cosine",
                    "warmup_steps": 500,
                    "precision": "bfloat16",
                }
            ],
            "validation": {"every": size.every, "patience": 100},
        }
    )


def train_runs(output: Path, pattern: str, device: str) -> None:
    """Train those that are not done; the first goes first."""
    for run in runs():
        folder = output / run.name
        if fnmatch(run.name, pattern) and not (folder / "model" / "config.json").is_file():
            print(run.name, flush=True)
            train(
                config_of(run, output, device),
                data=data_folder(),
                output=folder,
                device=device,
                progress=False,
            )


def score_runs(output: Path, beam_size: int, device: str) -> None:
    """Translate the test sets by every model that is not scored yet."""
    for folder in sorted(output.glob("*/model")):
        result = folder.parent / f"scores-beam{beam_size}.json"
        if result.is_file():
            continue
        run = Run.parse(folder.parent.name)
        scores = {name: score_set(folder, run, name, beam_size, device) for name in SETS}
        with atomic_write(result) as file:
            json.dump(scores, file, indent=1)
        print(run.name, {name: round(one["bleu"], 2) for name, one in scores.items()}, flush=True)


def score_set(folder: Path, run: Run, name: str, beam_size: int, device: str) -> dict[str, Any]:
    """One model on one test set; the translations are kept beside the score."""
    stem = data_folder() / "mt" / f"multi30k_test_{name}"
    sources, references = (
        list(read_sentences(f"{stem}.{lang}")) for lang in (run.source, run.target)
    )
    model = TranslationModel.load(folder, device=device)
    found = model.translate(sources, beam_size=beam_size)
    hypotheses = [one[0].text for one in found]
    with atomic_write(folder.parent / f"{name}.beam{beam_size}.{run.target}") as file:
        file.writelines(f"{line}\n" for line in hypotheses)
    score = translation_score(hypotheses, references, metrics=("bleu", "chrf"))
    published = published_bleu(hypotheses, references, language=run.target)
    return {
        "bleu": score.bleu,
        "chrf": score.chrf,
        "published": published.score,
        "signatures": {**score.signatures, "published": published.signature},
    }


def table(output: Path, beam_size: int) -> None:
    """Mean and spread of the seeds: BLEU, chrF2, BLEU by the published protocol."""
    print("| pair | pairs | start | seeds | " + " | ".join(SETS) + " |")
    print("|---|--:|---|--:|" + "---|" * len(SETS))
    for (pair, pairs, start), every in sorted(_by_setting(output, beam_size).items()):
        cells = [
            " / ".join(_mean([one[name][what] for one in every.values()]) for what in _COLUMNS)
            for name in SETS
        ]
        print(f"| {pair} | {pairs:,} | {start} | {len(every)} | " + " | ".join(cells) + " |")


_COLUMNS = ("bleu", "chrf", "published")


def _mean(values: list[float]) -> str:
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{spread}"


def _by_setting(output: Path, beam_size: int) -> dict[tuple[str, int, str], dict[int, Any]]:
    """Scores by seed."""
    found: dict[tuple[str, int, str], dict[int, Any]] = {}
    for path in sorted(output.glob(f"*/scores-beam{beam_size}.json")):
        run = Run.parse(path.parent.name)
        key = (f"{run.source}-{run.target}", run.pairs, run.start)
        found.setdefault(key, {})[run.seed] = json.loads(path.read_text(encoding="utf-8"))
    return found


def plot(output: Path, beam_size: int, picture: Path) -> None:
    """By the number of pairs: BLEU on test 2016, and what each start has more than none.

    The first is the mean of all seeds, the second of those that both were run with.
    """
    from matplotlib.figure import Figure

    bleu = {
        key: {seed: one[SETS[0]]["bleu"] for seed, one in every.items()}
        for key, every in _by_setting(output, beam_size).items()
    }
    languages = sorted({pair for pair, _, _ in bleu if not pair.endswith("-en")})
    figure = Figure(figsize=(5 * len(languages), 6.5), layout="constrained")
    rows = figure.subplots(2, len(languages), squeeze=False, sharex=True, height_ratios=(2, 1))
    for pair, scores, gaps in zip(languages, *rows, strict=True):
        for number, start in enumerate(STARTS):
            sizes = sorted(size for p, size, s in bleu if (p, s) == (pair, start))
            if len(sizes) < len(SIZES):
                continue
            style = {"marker": "o", "color": f"C{number}", "label": start}
            every = [(bleu[pair, n, start], bleu[pair, n, "scratch"]) for n in sizes]
            scores.plot(sizes, [statistics.mean(own.values()) for own, _ in every], **style)
            more = [[own[seed] - none[seed] for seed in own.keys() & none] for own, none in every]
            gaps.plot(sizes, [statistics.mean(values) for values in more], **style)
        scores.set(xscale="log", ylabel="BLEU, test 2016", title=pair)
        scores.legend(title="starts from")
        gaps.set(xlabel="sentence pairs", ylabel="more than from scratch")
        gaps.set_xticks(list(SIZES), [f"{size // 1000}k" for size in SIZES])
        for axis in (scores, gaps):
            axis.minorticks_off()
            axis.grid(alpha=0.3)
    figure.savefig(picture)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["train", "score", "table", "plot"])
    parser.add_argument("output", type=Path)
    parser.add_argument("argument", nargs="?", default="*", help="pattern of runs, or the picture")
    parser.add_argument("--beam-size", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if given.what == "train":
        train_runs(given.output, given.argument, given.device)
    elif given.what == "score":
        score_runs(given.output, given.beam_size, given.device)
    elif given.what == "table":
        table(given.output, given.beam_size)
    else:
        plot(given.output, given.beam_size, Path(given.argument))


if __name__ == "__main__":
    main()
