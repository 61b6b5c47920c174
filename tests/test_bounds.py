"""No number of a settings file or a request is without a largest value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import BaseModel, TypeAdapter, ValidationError

from aligners.methods import MATCHERS, settings_of
from bitext.bounds import LARGEST_SEED, Seed
from encoders.objectives import OBJECTIVES
from encoders.training.recipe import Recipe
from service.app import create_app
from service.jobs.kinds import KINDS, kind_named
from service.settings import Settings

ENDS = {"maximum", "exclusiveMaximum", "const", "enum"}


def endless(schema: Any, where: str) -> Iterator[str]:
    """Where in a JSON schema there is a number of any size."""
    if isinstance(schema, dict):
        if schema.get("type") in ("integer", "number") and not ENDS & set(schema):
            yield where
        for key, value in schema.items():
            if key not in ("default", "example", "examples"):
                yield from endless(value, f"{where}.{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from endless(value, f"{where}.{number}")


def asked(part: Any, schemas: dict[str, Any], seen: dict[str, Any]) -> dict[str, Any]:
    """The schemas that ``part`` of an OpenAPI document refers to, and those that they do."""
    if isinstance(part, dict):
        name = str(part.get("$ref", "")).rpartition("/")[2]
        if name and name not in seen:
            seen[name] = schemas[name]
            asked(schemas[name], schemas, seen)
    values = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for value in values:
        asked(value, schemas, seen)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_of_a_job_have_an_end(kind: str) -> None:
    assert not list(endless(kind_named(kind).whole().model_json_schema(), kind))


def test_the_numbers_of_files_and_methods_have_an_end() -> None:
    models: dict[str, type[BaseModel]] = {"recipe": Recipe}
    models |= {f"objective {name}": one.Settings for name, one in OBJECTIVES.items()}
    models |= {f"method {name}": settings_of(name) for name in MATCHERS}
    for name, model in models.items():
        assert not list(endless(model.model_json_schema(), name))


def test_the_numbers_of_requests_have_an_end(tmp_path: Path) -> None:
    document = create_app(Settings(data_dir=tmp_path, sample=False)).openapi()
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    parts = [{"parameters": one.get("parameters"), "body": one.get("requestBody")}
             for one in operations]  # fmt: skip
    schemas = document["components"]["schemas"]
    assert not list(endless(parts, "request"))
    assert not list(endless(asked(parts, schemas, {}), "body"))


def test_a_seed_is_one_for_every_generator() -> None:
    torch.Generator().manual_seed(LARGEST_SEED)
    np.random.default_rng((LARGEST_SEED, 1, 2))
    for seed in (-1, LARGEST_SEED + 1):
        with pytest.raises(ValidationError):
            TypeAdapter(Seed).validate_python(seed)
