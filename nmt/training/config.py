"""What a training run is made of: one TOML file, read strictly.

Every key has its type, default and meaning here and nowhere else; an unknown key is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from bitext.bounds import LARGEST_WEIGHT, Count, Layer, Positive, Rate, Seed, Size, Weight
from encoders.preset import BUNDLED
from encoders.strict import Name, Strict, read_toml
from nmt.training.noise import MbartNoise, XlmNoise

Share = Annotated[float, Field(ge=0, lt=1)]
Schedule = Rate | Annotated[list[tuple[Count, Rate]], Field(min_length=1)]
"""A number, or points ``[step, number]``: straight lines between them, level before and after."""

Part = Literal["encoder", "decoder", "embeddings", "cross_attention"]
"""A part of the network, for freezing and for learning rates of its own."""


class Bitext(Strict):
    """Sentence pairs: one file of ``source TAB target`` lines, or two line-parallel files."""

    file: str | None = None
    source: str | None = None
    target: str | None = None
    source_lang: Name | None = None  # by default, that of [data]
    target_lang: Name | None = None
    swap: bool = False  # the file's first column is what is translated into

    @model_validator(mode="after")
    def _has_files(self) -> Bitext:
        sides = [side for side in (self.source, self.target) if side is not None]
        if len(sides) == (2 if self.file is None else 0):
            return self
        raise ValueError("name either file, or both source and target")


class Corpus(Bitext):
    """Bitext to train on."""

    first: Positive | None = None  # how many pairs of it are used; all by default
    weight: Rate = 1.0  # times its share of the batches
    tag: Annotated[str, Field(min_length=1)] | None = (
        None  # a piece before each source, such as <bt> (Caswell et al., 2019)
    )


class Text(Strict):
    """Text of one language: a sentence a line, or a column of a TSV file."""

    file: str
    lang: Name
    column: Positive | None = None  # of a TSV file, from 1; without it, the whole line
    skip: Count = 0  # lines that are left out at the beginning
    first: Positive | None = None  # how many of the lines after them are used; all by default


class Monolingual(Text):
    """Text of one language to train on."""

    weight: Rate = 1.0  # times its share of the batches


class DataSettings(Strict):
    """Text, its languages and what is left out of it."""

    source_lang: Name
    target_lang: Name
    corpora: list[Corpus] = Field([])
    monolingual: list[Monolingual] = Field([])  # for denoising and back-translation
    dev: list[Bitext] = Field([])
    dev_monolingual: list[Text] = Field([])  # to measure on where there is no bitext
    # a corpus's share of the batches: pairs ** (1 / this)
    temperature: float = Field(1.0, ge=1, le=LARGEST_WEIGHT)
    max_pieces: Size = 256  # of a side, special ones included; longer pairs are left out
    # pieces of the longer side by those of the shorter
    max_ratio: float = Field(9.0, gt=1, le=LARGEST_WEIGHT)
    unique: bool = True  # a pair that stands twice in a corpus counts once


class VocabularySettings(Strict):
    """The joint vocabulary of source and target (``nmt/pieces/vocabulary.py``)."""

    source: Literal["auto", "corpus", "encoder"] = "auto"
    size: Size = 8000  # pieces of a vocabulary that is made of the corpus
    text: list[str] = Field([])  # more files, of sentences or bitext, that it is made for
    min_count: Positive = 1  # how often the text has a piece of the encoder's that is kept
    # training text is segmented anew, at random, each time the corpus has been gone through
    sampling_alpha: float | None = Field(
        None, gt=0, lt=1
    )  # unigram (Kudo, 2018); less: more random
    bpe_dropout: Share = 0.0  # share of BPE's merges left out (Provilkov et al., 2020: 0.1)
    tags: Literal["auto", "none", "source", "decoder"] = "auto"


class ModelSettings(Strict):
    """The network. What is left out is the encoder's, or a small Transformer's without one."""

    dim: Size | None = None
    heads: Size | None = None
    feed_forward: Size | None = None
    encoder_layers: Size | None = None
    decoder_layers: Size | None = None
    activation: str | None = None
    max_pieces: Size | None = None
    dropout: Share = 0.1
    attention_dropout: Share = 0.0
    activation_dropout: Share = 0.0


DROPOUTS = {"dropout", "attention_dropout", "activation_dropout"}


class InitializeSettings(Strict):
    """What the network starts from (``nmt/network/initialize.py``)."""

    model: str | None = BUNDLED  # an encoder, or a whole encoder-decoder; none: all is new
    revision: str | None = None
    encoder: bool = True
    decoder: bool = True
    embeddings: bool = True
    cross_attention: Literal["self", "random"] = "random"
    decoder_from: Literal["spread", "first", "last"] | list[Layer] = "spread"
    shared: bool = False  # encoder and decoder are one, cross-attention apart (Rothe et al., 2020)


class FuseSettings(Strict):
    """A frozen encoder that the model also attends to (``nmt/network/fused.py``; Zhu et al., 2020).

    ``initialize.model`` is then the folder of a trained translation model.
    """

    encoder: str = BUNDLED
    revision: str | None = None
    layer: Layer | None = None  # whose states are attended to; by default the last
    drop_net: float = Field(0.5, ge=0, le=0.5)  # how often one attention is taken alone, each
    memory: Count = 1024  # MiB of features that are kept for later epochs


class Task(Strict):
    """One of the things that a stage learns."""

    share: Schedule = 1.0  # of the batches, beside the other tasks' shares
    weight: Schedule = 1.0  # times its loss

    @model_validator(mode="after")
    def _goes_forward(self) -> Task:
        for name in ("share", "weight"):
            schedule = getattr(self, name)
            steps = [step for step, _ in schedule] if isinstance(schedule, list) else []
            if steps != sorted(set(steps)):
                raise ValueError(f"{name}: the steps of a schedule must grow, got {steps}")
        return self


class Denoise(Task):
    """Undo noise: monolingual text from a noisy copy of itself (``nmt/training/noise.py``)."""

    noise: Annotated[XlmNoise | MbartNoise, Field(discriminator="kind")] = XlmNoise()
    join_pieces: Count = 0  # consecutive lines are one text of up to this many pieces; 0: one line


class BackTranslate(Task):
    """Translate what the model itself has just translated the other way."""

    every: Positive = 100  # steps between two times of translating ahead
    sample: bool = False  # draw pieces by their probability; otherwise the likeliest one
    temperature: Weight = 1.0  # of the draw
    max_ratio: Weight = 1.5  # pieces of a translation, at most, for each of the text


class Tasks(Strict):
    """What a stage learns, each task with its share of the batches."""

    translate: Task | None = None  # the corpora
    denoise: Denoise | None = None  # the monolingual text
    back_translate: BackTranslate | None = None  # the monolingual text

    @model_validator(mode="after")
    def _is_something(self) -> Tasks:
        if any(task is not None for _, task in self):
            return self
        raise ValueError("name at least one task: " + ", ".join(type(self).model_fields))


class Stage(Strict):
    """A run of steps with one set of rates; a new stage begins with a new optimizer."""

    name: Name = "train"
    steps: Positive
    tasks: Tasks = Tasks(translate=Task())
    batch_tokens: Positive = 4096  # padded pieces of both sides in one batch
    accumulate: Positive = 1  # batches in one step, shared out between the processes
    learning_rate: Rate = 1e-3  # the highest
    schedule: Literal["inverse_sqrt", "cosine", "linear", "constant"] = "inverse_sqrt"
    warmup_steps: Count = 400
    rates: dict[Part | Literal["new"], Rate] = Field({})  # times the learning rate
    layer_decay: float = Field(1.0, gt=0, le=1)  # of the rate, a layer further from the output
    freeze: list[Part] = Field([])
    thaw_step: Count = 0  # from which on nothing is frozen; 0: never
    label_smoothing: Share = 0.1
    weight_decay: Rate = 0.01
    betas: tuple[Share, Share] = (0.9, 0.98)
    clip: Rate = 1.0  # of the gradient's norm; 0: none
    precision: Literal["float32", "bfloat16"] = "float32"
    best: bool = True  # it ends early, with the best weights; else after all steps, with the last

    @model_validator(mode="after")
    def _has_turns(self) -> Stage:
        """At every step some task has a share: shares are straight between their points."""
        tasks = tasks_of(self).values()
        points = {0, self.steps - 1}
        for task in tasks:
            for schedule in (task.share, task.weight):
                if isinstance(schedule, list):
                    points |= {step for step, _ in schedule if step < self.steps}
        for step in sorted(points):
            if not any(share_at(task, step) for task in tasks):
                raise ValueError(f"at step {step} no task has a share and a weight above 0")
        return self


def tasks_of(stage: Stage) -> dict[str, Task]:
    """The tasks of a stage, by their names."""
    return {name: task for name, task in stage.tasks if task is not None}


def share_at(task: Task, step: int) -> float:
    """The share of a task at a step; a task without weight has none."""
    return value_at(task.share, step) if value_at(task.weight, step) else 0.0


def value_at(schedule: Schedule, step: int) -> float:
    """What a schedule says at a step, from 0."""
    if not isinstance(schedule, list):
        return schedule
    before, value = schedule[0]
    for point, there in schedule:
        if step < point:
            done = (step - before) / (point - before) if point > before else 1.0
            return value + done * (there - value)
        before, value = point, there
    return value


class ValidationSettings(Strict):
    """When the model is measured on the development data, and what is kept."""

    every: Positive = 500  # steps
    # of data.dev; the last two of data.dev_monolingual
    measure: Literal["bleu", "chrf", "loss", "round_trip", "denoising"] = "bleu"
    beam_size: Size = 1
    patience: Positive = 10  # measurements without a better one, after which the stage ends
    keep: Positive = 5  # the best checkpoints so far; the rest goes
    average: bool = True  # the final model may be the mean of the kept ones, if that is better
    ema: Share = 0.0  # decay of a moving average of the weights, which is measured and kept


class TrainConfig(Strict):
    """A training run."""

    seed: Seed = 1
    data: DataSettings
    vocabulary: VocabularySettings = VocabularySettings()
    model: ModelSettings = ModelSettings()
    initialize: InitializeSettings = InitializeSettings()
    fuse: FuseSettings | None = None
    stages: list[Stage] = Field(min_length=1)
    validation: ValidationSettings = ValidationSettings()
    checkpoint_steps: Positive = 500  # steps between checkpoints that a run can resume from
    sharded: bool = False  # several processes share out the optimizer's state
    tensorboard: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> TrainConfig:
        names = [stage.name for stage in self.stages]
        if len(set(names)) < len(names):
            raise ValueError("stages need different names, got " + ", ".join(names))
        if self.initialize.model is None and self.vocabulary.source == "encoder":
            raise ValueError("vocabulary.source 'encoder' needs an encoder: initialize.model")
        if self.vocabulary.sampling_alpha is not None and self.vocabulary.bpe_dropout:
            raise ValueError("set vocabulary.sampling_alpha or vocabulary.bpe_dropout, not both")
        dim, heads = self.model.dim, self.model.heads
        if dim is not None and heads is not None and dim % heads:
            raise ValueError(f"model.dim {dim} is not a multiple of {heads} heads")
        return self

    @model_validator(mode="after")
    def _fuses_a_model(self) -> TrainConfig:
        if self.fuse is None:
            return self
        if self.initialize.model in (None, BUNDLED):
            raise ValueError("fuse needs initialize.model, the folder of a translation model")
        free = {"initialize": {"model", "revision"}, "model": DROPOUTS, "vocabulary": set[str]()}
        for section, names in free.items():
            for name in sorted(getattr(self, section).model_fields_set - names):
                raise ValueError(
                    f"{section}.{name} is that of the model that is fused; leave it out"
                )
        return self

    @model_validator(mode="after")
    def _has_text(self) -> TrainConfig:
        """Every task has what it learns from, and so has the measure."""
        data = self.data
        if not data.corpora and not data.monolingual:
            raise ValueError("there is nothing to train on: name data.corpora or data.monolingual")
        langs = {one.lang for one in data.monolingual if one.weight}
        for stage in self.stages:
            tasks = stage.tasks
            where = f"stage '{stage.name}'"
            if tasks.translate is not None and not any(one.weight for one in data.corpora):
                raise ValueError(
                    f"{where}: the task translate needs data.corpora with a weight above 0"
                )
            if tasks.denoise is not None and not langs:
                raise ValueError(
                    f"{where}: the task denoise needs data.monolingual with a weight above 0"
                )
            if tasks.back_translate is not None and len(langs) < 2:
                raise ValueError(
                    f"{where}: the task back_translate needs data.monolingual in two languages, "
                    f"got {', '.join(sorted(langs)) or 'none'}"
                )
        if len(langs) > 1 and self.vocabulary.tags == "none":
            raise ValueError(
                f"vocabulary.tags 'none' cannot tell {', '.join(sorted(langs))} of "
                "data.monolingual apart; choose 'decoder' or 'source'"
            )
        measure = self.validation.measure
        if data.dev_monolingual and measure not in ("round_trip", "denoising"):
            raise ValueError(
                f"validation.measure '{measure}' does not read data.dev_monolingual; choose "
                "'round_trip' or 'denoising'"
            )
        if measure in ("round_trip", "denoising") and not data.dev_monolingual:
            raise ValueError(f"validation.measure '{measure}' needs data.dev_monolingual")
        return self


def read_config(path: str | Path) -> TrainConfig:
    """Read the file of ``bitext train``.

    :raises InputError: if it is missing, is not TOML, or has a key or value that is not allowed;
        the sentence names the key.
    """
    return read_toml(path, TrainConfig)
