"""Recipes are read strictly, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitext.errors import BitextError
from encoders.objectives import OBJECTIVES
from encoders.training.recipe import Recipe, read_recipe

STAGE = """
[[stages]]
name = "all"
steps = 2
objectives.words = {}
"""


def read(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


def test_what_is_not_said_has_its_default(tmp_path: Path) -> None:
    recipe = read(tmp_path, 'corpora = ["x.en-de.tsv"]' + STAGE)
    assert recipe.vocabulary.size == 32000
    words = recipe.stages[0].objectives["words"]
    assert words == OBJECTIVES["words"].Settings()


def test_the_bundled_models_recipe_is_a_recipe() -> None:
    path = Path(__file__).parents[1] / "encoders" / "bundled" / "recipe.toml"
    recipe = read_recipe(path)
    assert [stage.name for stage in recipe.stages] == ["vectors", "network", "sentences"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corpora = [", "not a TOML file"),
        (STAGE, r"name some text: corpora \(parallel\), monolingual or gold"),
        (
            'monolingual = ["x"]' + STAGE,
            r"stage 'all': objective 'words' learns from parallel text \(corpora\), and there is "
            "only monolingual text",
        ),
        (
            'monolingual = ["x"]' + STAGE.replace("words", "mlm"),
            "corpora: a model that starts from nothing needs parallel text",
        ),
        ('corpora = ["x"]' + STAGE.replace("words", "gold"), "learns from gold, which is empty"),
        ('corpora = ["x"]' + STAGE + STAGE, "stages need different names, got all, all"),
        (
            'corpora = ["x"]\nsede = 2' + STAGE,
            "sede: unknown key; choose one of: checkpoint_steps, corpora, dev, gold",
        ),
        (
            'corpora = ["x"]' + STAGE.replace("steps", "step"),
            "stages.0.steps: Field required|stages.0.step: unknown key; choose one of: accumulate",
        ),
        (
            'corpora = ["x"]\ndev = {}' + STAGE,
            "dev: measure 'aer' needs a list 'alignment' of source, target and gold",
        ),
        (
            'corpora = ["x"]' + STAGE.replace("2", '"many"'),
            "stages.0.steps: Input should be a valid integer.* got 'many'",
        ),
        (
            'corpora = ["x"]' + STAGE.replace("words", "wrods"),
            r"stages.0.objectives: unknown objective 'wrods'; choose one of: .*mlm, .*words",
        ),
        (
            'corpora = ["x"]' + STAGE.replace("{}", "{ layer = 9 }"),
            "stage 'all': objective 'words' names layer 9, and the model has 0 to 4",
        ),
        (
            'corpora = ["x"]' + STAGE.replace("words = {}", "mlm = { temperature = 3 }"),
            r"stages.0.objectives: mlm.temperature: unknown key; choose one of: every, prob",
        ),
        (
            'corpora = ["x"]' + STAGE.replace("{}", "{ weight = 0 }"),
            "stages.0.objectives: words.weight: Input should be greater than 0, got 0",
        ),
        (
            'corpora = ["x"]' + STAGE.replace("{}", "{ weight = inf }"),
            "words.weight: Input should be a finite number, got inf",
        ),
        (
            'corpora = ["x"]' + STAGE.replace('"all"', '"a\\u0007b"'),
            "stages.0.name: expected 1 to 200",
        ),
        ('corpora = ["x"]\nseed = -1' + STAGE, "seed: Input should be .* equal to 0, got -1"),
        (
            f'corpora = ["x"]\nseed = {10**40}' + STAGE,
            f"seed: Input should be less than or equal to {2**63 - 1}, got {10**40}",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BitextError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("model.heads = 3", "recipe.toml: model.dim 256 is not a multiple of 3 heads"),
        (
            "model.max_pieces = 100",
            "sentences of 126 pieces and 2 special ones do not fit into model.max_pieces 100",
        ),
        (
            "vocabulary.size = 260",
            "vocabulary.size 260 is too small for model.dim 256: it needs 10 more pieces",
        ),
    ],
)
def test_settings_that_do_not_fit_together(tmp_path: Path, settings: str, message: str) -> None:
    with pytest.raises(BitextError, match=message):
        read(tmp_path, f'corpora = ["x"]\n{settings}' + STAGE)


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BitextError, match=r"gone.toml: No such file or directory"):
        read_recipe(tmp_path / "gone.toml")
