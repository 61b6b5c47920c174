"""``GET /v1/models``: models by name."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ModelInfo(BaseModel):
    """A model in memory."""

    name: str
    revision: str | None
    fingerprint: str
    dtype: str
    device: str
    layers: int
    dim: int
    bytes: int = Field(description="Memory its weights take.")


class ModelList(BaseModel):
    """The models that requests may name, and those that are loaded."""

    default: str
    available: list[str]
    loaded: list[ModelInfo]
