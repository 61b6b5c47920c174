"""The folders of a service that a backup holds, and which of their files."""

from __future__ import annotations

from pathlib import Path

from service.settings import Settings

DATABASE, INDEXES, JOBS = "database", "indexes", "jobs"


def rooms(settings: Settings) -> dict[str, Path]:
    """The folders by the names that a backup has for them."""
    return {
        INDEXES: settings.indexes,
        "snapshots": settings.snapshots,
        "uploads": settings.uploads,
        JOBS: settings.jobs,
        "translation-models": settings.translators,
    }


def entries(room: Path) -> list[str]:
    """What lies in a room, without what is hidden: half written, or already removed."""
    if not room.is_dir():
        return []
    return sorted(path.name for path in room.iterdir() if not path.name.startswith("."))
