"""The page at ``/``, and Swagger UI at ``/docs``; both work without a network."""

from __future__ import annotations

from pathlib import Path

from fastapi.responses import FileResponse

from service.access.scopes import Scope, needs
from service.reading import Router

WEB = Path(__file__).parents[1] / "web"

router = Router(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
@needs(Scope.OPEN)
async def page() -> FileResponse:
    """Type two sentences, see their links; search the sample index."""
    return FileResponse(WEB / "index.html")


@router.api_route("/docs", methods=["GET", "HEAD"])
@needs(Scope.OPEN)
async def docs() -> FileResponse:
    """The API, to read and to try."""
    return FileResponse(WEB / "docs.html")
