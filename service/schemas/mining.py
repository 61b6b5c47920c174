"""``POST /v1/mine``: translations among the sentences of a request."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, FailFast, Field, WithJsonSchema
from typing_extensions import TypeAliasType

from bitext.bounds import LARGEST_WEIGHT
from retrieval.mining.margin import MARGINS
from service.schemas.fields import (
    LARGEST_ID,
    Body,
    Layer,
    ModelName,
    PoolingField,
    Short,
    Text,
    Texts,
    TooLongField,
)

MODES = ("backward", "forward", "intersection", "max", "union")

# Names of the code's own tables: what is not among them is refused there, naming all.
MarginName = Annotated[Short, WithJsonSchema({"type": "string", "enum": sorted(MARGINS)})]
ModeName = Annotated[Short, WithJsonSchema({"type": "string", "enum": list(MODES)})]


# FailFast: of a list of a million wrong items, one is reported. It has no hash, which the types in
# a union need; a named type has.
Filters = TypeAliasType("Filters", Annotated[list[Short], FailFast()])


Threshold = Annotated[
    float | None,
    Field(
        ge=-LARGEST_WEIGHT,
        le=LARGEST_WEIGHT,
        description="Margins must be above this; none: all.",
    ),
]


class MineRequest(Body):
    """Two lists of sentences, as `bitext mine` reads them from two files."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": ["Good morning!", "The house is small.", "I like tea."],
                    "target": ["Das Haus ist klein.", "Guten Morgen!"],
                    "k": 2,
                },
                {
                    "source": ["Good morning!", "The house is small."],
                    "target": ["Guten Morgen!", "Ich trinke gern Tee."],
                    "k": 2,
                    "score_only": True,
                },
                {
                    "source": ["Good morning!", "The house has 2 rooms.", "I like tea."],
                    "target": ["Das Haus hat 3 Zimmer.", "Guten Morgen!"],
                    "k": 2,
                    "coverage": 0.5,
                    "filters": ["default"],
                    "top": 10,
                },
            ]
        }
    )

    source: Texts
    target: Texts
    margin: MarginName = "ratio"
    mode: ModeName = Field("max", description="max: one to one, from the best pair on.")
    k: int = Field(4, ge=1, le=LARGEST_ID, description="Neighbours a margin looks at.")
    threshold: Threshold = None
    precision: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Instead: the threshold at which this share is expected to be right.",
    )
    coverage: float = Field(
        0.0,
        ge=0,
        le=100,
        description="How much of word alignment's evidence is added to margins; 0.5 is good.",
    )
    filters: Filters | None = Field(
        None,
        min_length=1,
        max_length=32,
        description="Drop pairs as `bitext filter` does: its names, with settings or without, "
        "such as length_ratio:most=3; default stands for its own.",
    )
    top: int | None = Field(None, ge=1, le=LARGEST_ID, description="The best so many only.")
    score_only: bool = Field(
        False, description="Sentence n is paired with sentence n: score all, in order."
    )
    centring: Short | None = Field(
        None, description="mean, components:1, …: learnt from both sides; none: as they are."
    )
    model: ModelName = None
    layer: Layer = None
    pooling: PoolingField = None
    prefix: Annotated[Text, Field(max_length=200)] | None = Field(
        None, description="Written before every sentence; none: the model's own."
    )
    too_long: TooLongField = "windows"


class MinedPair(BaseModel):
    """Two sentences by their places in the lists, from 0; of equal ones the first."""

    source: int
    target: int
    score: float | None = Field(description="The margin; null: a side has nothing to compare.")


class MineResponse(BaseModel):
    """Pairs, best first; with `score_only` in the order they came in."""

    matches: list[MinedPair]
    model: str
    layer: int
    threshold: float | None = Field(description="What margins are above; null: nothing.")
    dropped: dict[str, int] | None = Field(
        None, description="With filters: how many pairs each has dropped."
    )
