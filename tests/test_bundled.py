"""The model that comes with the package: its size, its use, and that it is as good as we say."""

from __future__ import annotations

from pathlib import Path

import pytest

from aligners.aligner import Aligner
from bitext.scoring import evaluate
from bitext.text import read_gold, read_parallel, words
from bitext.types import SentencePair
from encoders.encoder import Encoder
from encoders.hub import find_folder
from encoders.registry import ModelRegistry
from retrieval.evaluation.recall import score_vectors


@pytest.fixture(scope="module")
def bundled(registry: ModelRegistry) -> Encoder:
    return registry.encoder()


def test_it_takes_at_most_30_mb_in_the_repository() -> None:
    assert sum(path.stat().st_size for path in find_folder("bundled").iterdir()) <= 30e6


def test_its_card_and_recipe_are_there() -> None:
    card = (find_folder("bundled") / "README.md").read_text(encoding="utf-8")
    assert "CC BY 2.0 FR" in card
    assert (find_folder("bundled") / "recipe.toml").is_file()


def test_the_figures_in_the_documentation_are_of_this_model(bundled: Encoder) -> None:
    results = Path(__file__).parents[1] / "docs" / "results.md"
    assert bundled.fingerprint in results.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("the house is small", "das Haus ist klein"),
        ("the house is small", "la maison est petite"),
        ("I drink water", "Я пью воду"),
    ],
)
def test_it_aligns_word_by_word(bundled: Encoder, source: str, target: str) -> None:
    pair = SentencePair(source.split(), target.split())
    links = Aligner(bundled).align([pair])[0].links
    assert links == tuple((i, i) for i in range(len(pair.source)))


def test_it_aligns_against_the_order_of_words(bundled: Encoder) -> None:
    pair = SentencePair(
        ["he", "bought", "a", "new", "car"], ["il", "a", "acheté", "une", "voiture"]
    )
    links = set(Aligner(bundled).align([pair])[0].links)
    assert {(0, 0), (1, 2), (4, 4)} <= links


# --- as good as docs/results.md says; a little room is left for other processors' rounding


def test_word_alignment_of_hansards(bundled: Encoder, data: Path) -> None:
    folder = data / "alignment"
    pairs = [
        SentencePair(words(str(pair.source)), words(str(pair.target)))
        for pair in read_parallel(folder / "enfr.src", folder / "enfr.tgt")
    ]
    score = evaluate(Aligner(bundled).align(pairs), read_gold(folder / "enfr.gold"))
    assert score.aer == pytest.approx(0.111, abs=0.002)


def test_retrieval_of_tatoeba(bundled: Encoder, data: Path) -> None:
    folder = data / "retrieval" / "tatoeba"
    german, english = (
        bundled.sentences((folder / name).read_text(encoding="utf-8").splitlines())
        for name in ("deu.txt", "deu.eng.txt")
    )
    score = score_vectors(german, english)
    assert score.recall["forward"][1] == pytest.approx(0.967, abs=0.003)
    assert score.recall["backward"][1] == pytest.approx(0.964, abs=0.003)
