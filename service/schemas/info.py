"""``GET /info``: what this service is."""

from __future__ import annotations

from pydantic import BaseModel, Field

from service.schemas.models import ModelInfo


class Info(BaseModel):
    """What a client may want to know before it asks for anything."""

    name: str
    version: str
    ready: bool
    model: ModelInfo = Field(description="The encoder of requests that name none.")
    translation_models: list[str]
    limits: dict[str, int] = Field(description="What one request may hold, by setting.")
    features: dict[str, bool] = Field(description="What this service can do as it is set up.")
    libraries: dict[str, str] = Field(description="What computes, with versions.")
