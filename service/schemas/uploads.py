"""``/v1/uploads``: files for jobs."""

from __future__ import annotations

from pydantic import BaseModel, Field


class UploadInfo(BaseModel):
    """A file that was sent."""

    id: str
    name: str = Field(description="For people; its ending says whether it is compressed.")
    bytes: int
    sha256: str
    created: str = Field(description="ISO 8601, UTC.")


class UploadList(BaseModel):
    """All uploads, the latest first."""

    uploads: list[UploadInfo]
