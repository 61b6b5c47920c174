"""``/v1/indexes/{name}/snapshots``: copies of an index as of one moment."""

from __future__ import annotations

from pydantic import BaseModel, Field


class SnapshotInfo(BaseModel):
    """A copy of an index."""

    id: str = Field(description="Made by the service; begins with the time in UTC.")
    index: str
    created: str = Field(description="ISO 8601, UTC.")
    count: int = Field(description="Sentences it holds.")
    bytes: int = Field(description="What it takes on the disk.")


class SnapshotList(BaseModel):
    """All snapshots of an index, oldest first."""

    snapshots: list[SnapshotInfo]
