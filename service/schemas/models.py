"""``GET /v1/models``: models by name."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class ModelInfo(BaseModel):
    """A model that requests may name. What is known only of one in memory is null otherwise."""

    name: str
    kind: Literal["encoder", "translation"] = Field(
        description="What it is for: alignment and vectors, or translation."
    )
    loaded: bool = Field(description="It is in memory.")
    revision: str | None = None
    fingerprint: str | None = Field(None, description="Two of the same are the same model.")
    dtype: str | None = None
    device: str | None = None
    bytes: int | None = Field(None, description="Memory its weights take.")
    layers: int | None = Field(None, description="Of an encoder.")
    dim: int | None = Field(None, description="Of an encoder.")
    engine: str | None = Field(None, description="Of a translation model: torch or ctranslate2.")
    languages: list[str] | None = Field(
        None, description="Of a translation model, both sides together."
    )
    source_langs: list[str] | None = Field(None, description="What it translates from.")
    target_langs: list[str] | None = Field(None, description="What it translates to.")


class ModelList(BaseModel):
    """The models that requests may name."""

    default: str = Field(description="The encoder of requests that name none.")
    models: list[ModelInfo] = Field(description="The default one first, translation models last.")
    bytes: int = Field(description="Memory that the weights of all models in memory take.")
    max_bytes: int | None = Field(description="What they may take together; null: no limit.")
