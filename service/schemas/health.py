"""``GET /health`` and ``GET /ready``."""

from __future__ import annotations

from pydantic import BaseModel


class Status(BaseModel):
    """How the service is."""

    status: str
