"""``/v1/indexes``: what an index is built with, and what it holds."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from service.schemas.fields import Body, Layer, ModelName, PoolingField


class IndexSettings(Body):
    """What an index is built with. It cannot be changed later."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"centring": False}]})

    model: ModelName = None
    layer: Layer = None
    pooling: PoolingField = None
    centring: bool | None = Field(
        None,
        description="Take each language's mean away; queries must then name theirs. None: as "
        "suits the model.",
    )


class IndexInfo(BaseModel):
    """An index, what it was built with, and what it holds."""

    name: str
    model: str
    fingerprint: str = Field(description="Of the weights and the tokenizer.")
    layer: int
    pooling: str
    centring: bool
    dim: int
    count: int = Field(description="Sentences it holds.")
    languages: dict[str, int] = Field(description="How many of them are of each language.")


class IndexList(BaseModel):
    """All indexes, by name."""

    indexes: list[IndexInfo]
