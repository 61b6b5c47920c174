"""What a pretraining run is made of: one TOML file, read strictly.

Every key has its type, default and meaning here and nowhere else; an unknown key is an error.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bitext.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

OVERSAMPLING = 10
"""Directions that the truncated SVD of the first vectors computes beyond those that are kept."""
Positive = Annotated[int, Field(gt=0)]
Weight = Annotated[float, Field(gt=0)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class VocabularySettings(_Strict):
    """The joint vocabulary (``encoders/vocabulary.py``)."""

    size: Positive = 32000  # pieces
    characters: Positive = 15_000_000  # of text it is trained on
    alpha: float = Field(0.5, ge=0, le=1)  # exponent of the languages' shares of that text
    min_character_count: Positive = 6  # rarer characters are read as <unk>


class ModelSettings(_Strict):
    """The network: an XLM-R of this size (``transformers.XLMRobertaConfig``)."""

    dim: Positive = 256
    layers: Positive = 4
    heads: Positive = 4
    feed_forward: Positive = 1024
    max_pieces: Positive = 512  # special pieces included
    dropout: float = Field(0.1, ge=0, lt=1)


class LexiconSettings(_Strict):
    """The statistical links that guide the word objective (``encoders/lexicon.py``)."""

    iterations: Positive = 5
    threshold: float = Field(0.1, gt=0, lt=1)  # of the product of both directions
    beside: float = Field(0.5, gt=0, le=1)  # of one direction, beside a link; 1: no such links


class ObjectiveSettings(_Strict):
    """One objective in the mix."""

    weight: Weight = 1.0  # of its loss
    every: Positive = 1  # steps from one batch of it to the next
    layer: int | None = Field(None, ge=0)  # whose hidden states it trains; the top one by default
    temperature: Weight = 0.1  # of contrastive objectives: cosines are divided by it
    probability: float = Field(0.15, gt=0, lt=1)  # of masked objectives: pieces to be predicted


class Stage(_Strict):
    """A run of steps with one mix of objectives."""

    name: str
    steps: Positive
    batch_tokens: Positive = 8192  # padded pieces of both sides in one step
    learning_rate: Weight = 1e-3  # the highest; it warms up, then falls linearly to nothing
    warmup_steps: int = Field(100, ge=0)
    alpha: float = Field(0.5, ge=0, le=1)  # exponent of the languages' shares of the batches
    join_pieces: int = Field(0, ge=0)  # short pairs are joined to pairs of up to this many pieces
    precision: Literal["float32", "bfloat16"] = "float32"  # of the network's matrix products
    objectives: dict[str, ObjectiveSettings] = Field(min_length=1)


class Recipe(_Strict):
    """A whole pretraining run."""

    corpora: list[str] = Field(min_length=1)  # patterns of files NAME.SRC-TGT.tsv[.gz|.zst]
    seed: int = 1
    max_sentence_pieces: int = Field(126, gt=0, lt=256)  # longer pairs are counted and left out
    vocabulary: VocabularySettings = VocabularySettings()
    model: ModelSettings = ModelSettings()
    lexicon: LexiconSettings = LexiconSettings()
    stages: list[Stage] = Field(min_length=1)
    checkpoint_steps: Positive = 500  # steps between checkpoints that a run can resume from

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        """Refuse at once what would otherwise fail after the preparation."""
        model = self.model
        if model.dim % model.heads:
            raise ValueError(f"model.dim {model.dim} is not a multiple of {model.heads} heads")
        longest = max([self.max_sentence_pieces, *(stage.join_pieces for stage in self.stages)])
        if longest + 2 > model.max_pieces:
            raise ValueError(
                f"sentences of {longest} pieces and 2 special ones do not fit into "
                f"model.max_pieces {model.max_pieces} (max_sentence_pieces, join_pieces)"
            )
        if model.dim + OVERSAMPLING > self.vocabulary.size:
            raise ValueError(
                f"vocabulary.size {self.vocabulary.size} is too small for model.dim {model.dim}: "
                f"it needs {OVERSAMPLING} more pieces than dimensions"
            )
        return self


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe.

    :raises InputError: if the file is missing, is not TOML, or has a key or value that is not
        allowed; the sentence names the key.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        settings: dict[str, Any] = tomllib.loads(text)
        return Recipe.model_validate(settings)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        if not key:  # the settings do not fit together
            raise InputError(f"{path}: {first['ctx']['error']}") from None
        got = "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise InputError(f"{path}: {key}: {first['msg']}{got}") from None
    except ValueError as error:  # not UTF-8, or not TOML
        raise InputError(f"{path}: not a TOML file: {error}") from None
