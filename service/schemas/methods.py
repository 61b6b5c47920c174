"""``GET /v1/methods``: the ways to choose links."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class MethodInfo(BaseModel):
    """A way to choose links."""

    name: str
    group: str = Field(description="A heading to show it under.")
    explanation: str
    settings: dict[str, Any] = Field(description="What may be set, with the defaults.")


class MethodList(BaseModel):
    """All methods, in an order to show them in."""

    default: str = Field(description="The one that suits the default model.")
    methods: list[MethodInfo]
