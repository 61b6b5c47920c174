"""The recipes of examples/nmt: what they hold can be read, and the documentation lists them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmt.training.config import read_config
from nmt.training.train import check_files

ROOT = Path(__file__).resolve().parents[1]
RECIPES = sorted((ROOT / "examples" / "nmt").glob("*.toml"))
MADE_BY_THE_READER = {"back-translation"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_a_config(path: Path) -> None:
    config = read_config(path)
    assert config.validation.every <= config.stages[0].steps


@pytest.mark.parametrize(
    "path",
    [path for path in RECIPES if path.stem not in MADE_BY_THE_READER],
    ids=lambda path: path.stem,
)
def test_a_recipe_names_files_that_are_there(path: Path, data: Path) -> None:
    check_files(read_config(path), data)  # raises if one is not


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_says_how_it_is_run_and_is_documented(path: Path) -> None:
    command = f"bitext train examples/nmt/{path.name} --output "
    assert command in path.read_text(encoding="utf-8")
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    assert f"examples/nmt/{path.name}" in page


def test_every_recipe_is_looked_at() -> None:
    assert len(RECIPES) >= 8
