"""What a training run is made of: one TOML file, read strictly.

Every key has its type, default and meaning here and nowhere else; an unknown key is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from encoders.preset import BUNDLED
from encoders.strict import Strict, read_toml

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(ge=0)]

Part = Literal["encoder", "decoder", "embeddings", "cross_attention"]
"""A part of the network, for freezing and for learning rates of its own."""


class Bitext(Strict):
    """Sentence pairs: one file of ``source TAB target`` lines, or two line-parallel files."""

    file: str | None = None
    source: str | None = None
    target: str | None = None
    source_lang: str | None = None  # by default, that of [data]
    target_lang: str | None = None
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
    tag: str | None = None  # a piece before each source, such as <bt> (Caswell et al., 2019)


class DataSettings(Strict):
    """Text, its languages and what is left out of it."""

    source_lang: str
    target_lang: str
    corpora: list[Corpus] = Field(min_length=1)
    dev: list[Bitext] = Field([])
    temperature: float = Field(1.0, ge=1)  # a corpus's share of the batches: pairs ** (1 / this)
    max_pieces: Positive = 256  # of a side, special ones included; longer pairs are left out
    max_ratio: float = Field(9.0, gt=1)  # pieces of the longer side by those of the shorter
    unique: bool = True  # a pair that stands twice in a corpus counts once


class VocabularySettings(Strict):
    """The joint vocabulary of source and target (``nmt/vocabulary.py``)."""

    source: Literal["auto", "corpus", "encoder"] = "auto"
    size: Positive = 8000  # pieces of a vocabulary that is made of the corpus
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

    dim: Positive | None = None
    heads: Positive | None = None
    feed_forward: Positive | None = None
    encoder_layers: Positive | None = None
    decoder_layers: Positive | None = None
    activation: str | None = None
    max_pieces: Positive | None = None
    dropout: Share = 0.1
    attention_dropout: Share = 0.0
    activation_dropout: Share = 0.0


DROPOUTS = {"dropout", "attention_dropout", "activation_dropout"}


class InitializeSettings(Strict):
    """What the network starts from (``nmt/initialize.py``)."""

    model: str | None = BUNDLED  # an encoder, or a whole encoder-decoder; none: all is new
    revision: str | None = None
    encoder: bool = True
    decoder: bool = True
    embeddings: bool = True
    cross_attention: Literal["self", "random"] = "self"
    decoder_from: Literal["spread", "first", "last"] | list[int] = "spread"
    shared: bool = False  # encoder and decoder are one, cross-attention apart (Rothe et al., 2020)


class FuseSettings(Strict):
    """A frozen encoder that the model also attends to (``nmt/fused.py``; Zhu et al., 2020).

    ``initialize.model`` is then the folder of a trained translation model.
    """

    encoder: str = BUNDLED
    revision: str | None = None
    layer: Count | None = None  # whose states are attended to; by default the last
    drop_net: float = Field(0.5, ge=0, le=0.5)  # how often one attention is taken alone, each
    memory: Count = 1024  # MiB of features that are kept for later epochs


class Stage(Strict):
    """A run of steps with one set of rates; a new stage begins with a new optimizer."""

    name: str = "train"
    steps: Positive
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


class ValidationSettings(Strict):
    """When the model is measured on the development data, and what is kept."""

    every: Positive = 500  # steps
    measure: Literal["bleu", "chrf", "loss"] = "bleu"
    beam_size: Positive = 1
    patience: Positive = 10  # measurements without a better one, after which the stage ends
    keep: Positive = 5  # the best checkpoints so far; the rest goes
    average: bool = True  # the final model may be the mean of the kept ones, if that is better
    ema: Share = 0.0  # decay of a moving average of the weights, which is measured and kept


class TrainConfig(Strict):
    """A training run."""

    seed: int = 1
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


def read_config(path: str | Path) -> TrainConfig:
    """Read the file of ``bitext train``.

    :raises InputError: if it is missing, is not TOML, or has a key or value that is not allowed;
        the sentence names the key.
    """
    return read_toml(path, TrainConfig)
