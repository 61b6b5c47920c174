"""What a training run is made of: one TOML file, read strictly.

Every key has its type, default and meaning here (the objectives' own in their files) and nowhere
else; an unknown key is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, ValidationError, field_validator, model_validator

from bitext.bounds import Count, Layer, Positive, Rate, Seed, Size, Weight
from bitext.errors import UnknownNameError, choose_from
from encoders.objectives import OBJECTIVES
from encoders.objectives.objective import ObjectiveSettings, Share
from encoders.statistics.static import OVERSAMPLING
from encoders.strict import Name, Strict, describe, read_toml

Exponent = Annotated[float, Field(ge=0, le=1)]


class VocabularySettings(Strict):
    """The joint vocabulary (``encoders/training/vocabulary.py``)."""

    size: Size = 32000  # pieces
    characters: Positive = 15_000_000  # of text it is trained on
    alpha: Exponent = 0.5  # of the languages' shares of that text
    min_character_count: Positive = 6  # rarer characters are read as <unk>


class ModelSettings(Strict):
    """The network: an XLM-R of this size (``transformers.XLMRobertaConfig``)."""

    dim: Size = 256
    layers: Size = 4
    heads: Size = 4
    feed_forward: Size = 1024
    max_pieces: Size = 512  # special pieces included
    dropout: float = Field(0.1, ge=0, lt=1)


class LexiconSettings(Strict):
    """The statistical links that guide word objectives (``encoders/statistics/lexicon.py``)."""

    iterations: Positive = 5
    threshold: Share = 0.2  # of the product of both directions
    beside: float = Field(0.7, gt=0, le=1)  # of one direction, beside a link; 1: no such links


class Stage(Strict):
    """A run of steps with one mix of objectives."""

    name: Name
    steps: Positive
    batch_tokens: Positive = 8192  # padded pieces of both sides in one batch
    accumulate: Positive = 1  # batches in one step, shared out between the processes
    learning_rate: Weight = 1e-3  # the highest; it warms up, then falls linearly to nothing
    embedding_rate: Weight = 1.0  # of the word embeddings: times the learning rate
    warmup_steps: Count = 100
    weight_decay: Rate = 0.01
    alpha: Exponent = 0.5  # of the languages' shares of the batches: p ** alpha, normalised
    join_pieces: Count = 0  # short pairs are joined to pairs of up to this many pieces
    order: Literal["random", "document"] = "random"  # of the pairs that are joined
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # of matrix products
    objectives: dict[str, SerializeAsAny[ObjectiveSettings]] = Field(min_length=1)

    @field_validator("objectives", mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        """Each objective's settings, read by its own rules."""
        if not isinstance(given, dict):
            return given
        read: dict[str, ObjectiveSettings] = {}
        for name, settings in given.items():
            if name not in OBJECTIVES:
                raise ValueError(choose_from("objective", str(name), OBJECTIVES))
            kind = OBJECTIVES[name].Settings
            try:
                read[name] = kind.model_validate(settings)
            except ValidationError as error:
                raise ValueError(f"{name}.{describe(error, kind)}") from None
        return read


class DevAlignment(Strict):
    """Gold links to stop by: tokenised ``source`` and ``target`` and the ``gold`` file."""

    source: str
    target: str
    gold: str


class DevSettings(Strict):
    """Development data on which the best checkpoint of a stage is chosen."""

    measure: Literal["aer", "retrieval"] = "aer"
    every: Positive = 200  # steps
    patience: Positive = 5  # measurements without a better one, after which the stage ends
    layer: Layer | None = None  # whose hidden states are measured
    alignment: list[DevAlignment] = Field([])  # the mean of their AER is what counts
    retrieval: list[str] = Field([])  # bitext files; the mean accuracy of both directions, centred

    def files(self) -> list[str]:
        """The names of all files, relative to the data folder."""
        gold = [name for one in self.alignment for name in (one.source, one.target, one.gold)]
        return [*gold, *self.retrieval]

    @model_validator(mode="after")
    def _has_data(self) -> DevSettings:
        if self.measure == "aer" and not self.alignment:
            raise ValueError("measure 'aer' needs a list 'alignment' of source, target and gold")
        if self.measure == "retrieval" and not self.retrieval:
            raise ValueError("measure 'retrieval' needs a list 'retrieval' of bitext files")
        return self


class Training(Strict):
    """What training from nothing and adaptation share."""

    corpora: list[str] = Field([])  # patterns of files NAME.SRC-TGT.tsv[.gz|.zst]
    monolingual: list[str] = Field([])  # patterns of files NAME.LANG.txt[.gz|.zst]
    gold: list[str] = Field([])  # stems of files STEM.src, STEM.tgt and STEM.gold
    seed: Seed = 1
    max_sentence_pieces: int = Field(126, gt=0, lt=256)  # longer pairs are counted and left out
    lexicon: LexiconSettings = LexiconSettings()
    dev: DevSettings | None = None
    stages: list[Stage] = Field(min_length=1)
    checkpoint_steps: Positive = 500  # steps between checkpoints that a run can resume from
    tensorboard: bool = False  # also write the log as TensorBoard events

    @model_validator(mode="after")
    def _has_text(self) -> Training:
        if not (self.corpora or self.monolingual or self.gold):
            raise ValueError("name some text: corpora (parallel), monolingual or gold")
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError("stages need different names, got " + ", ".join(names))
        for stage in self.stages:
            for name in stage.objectives:
                self._has_text_for(stage.name, name)
        return self

    def _has_text_for(self, stage: str, name: str) -> None:
        reads = OBJECTIVES[name].reads
        if reads in ("pairs", "links") and not self.corpora:
            have = "monolingual text" if self.monolingual else "gold links"
            raise ValueError(
                f"stage '{stage}': objective '{name}' learns from parallel text (corpora), and "
                f"there is only {have}"
            )
        if reads == "gold" and not self.gold:
            raise ValueError(
                f"stage '{stage}': objective '{name}' learns from gold, which is empty"
            )
        if reads == "text" and not (self.monolingual or self.corpora):
            raise ValueError(f"stage '{stage}': objective '{name}' learns from text, not from gold")

    def reads(self, kind: str) -> bool:
        """Whether an objective of any stage learns from ``kind``."""
        return any(OBJECTIVES[n].reads == kind for stage in self.stages for n in stage.objectives)


class Recipe(Training):
    """A model trained from nothing."""

    vocabulary: VocabularySettings = VocabularySettings()
    model: ModelSettings = ModelSettings()

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        """Refuse at once what would otherwise fail after the preparation."""
        model = self.model
        if not self.corpora:
            raise ValueError("corpora: a model that starts from nothing needs parallel text")
        if model.dim % model.heads:
            raise ValueError(f"model.dim {model.dim} is not a multiple of {model.heads} heads")
        check_lengths(self, model.max_pieces, "model.max_pieces")
        if model.dim + OVERSAMPLING > self.vocabulary.size:
            raise ValueError(
                f"vocabulary.size {self.vocabulary.size} is too small for model.dim {model.dim}: "
                f"it needs {OVERSAMPLING} more pieces than dimensions"
            )
        return self


def check_lengths(training: Training, most: int, what: str) -> None:
    """:raises ValueError: if a sentence or a joined row can be longer than ``most`` pieces."""
    joined = (stage.join_pieces for stage in training.stages)
    longest = max([training.max_sentence_pieces, *joined])
    if longest + 2 > most:
        raise ValueError(
            f"sentences of {longest} pieces and 2 special ones do not fit into "
            f"{what} {most} (max_sentence_pieces, join_pieces)"
        )


def check_layers(training: Training, layers: int) -> None:
    """:raises UnknownNameError: if an objective names a layer that the model does not have."""
    for stage in training.stages:
        for name, settings in stage.objectives.items():
            layer = getattr(settings, "layer", None)
            if layer is not None and layer > layers:
                raise UnknownNameError(
                    f"stage '{stage.name}': objective '{name}' names layer {layer}, "
                    f"and the model has 0 to {layers}"
                )


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe of :func:`encoders.training.pretraining.pretrain`.

    :raises InputError: if the file is missing, is not TOML, or has a key or value that is not
        allowed; the sentence names the key.
    """
    recipe = read_toml(path, Recipe)
    check_layers(recipe, recipe.model.layers)
    return recipe
