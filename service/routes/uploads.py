"""``/v1/uploads``: send files for jobs, look at them, remove them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request, Response

from service.access.scopes import Scope, needs
from service.jobs.tables import UploadRow
from service.openapi import problems
from service.reading import Router
from service.schemas.fields import Text
from service.schemas.uploads import UploadInfo, UploadList
from service.state import StateOf

router = Router(prefix="/uploads", tags=["jobs"])

_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "",
    status_code=201,
    summary="Upload a file",
    responses=problems(400, 403, 413, 415, 422, 507),
    openapi_extra=_BODY,
)
@needs(Scope.WRITE, streams=True)
async def create_upload(
    request: Request,
    response: Response,
    state: StateOf,
    name: Annotated[Text, Query(max_length=200, min_length=1)] = "upload",
) -> UploadInfo:
    """Keep the bytes of the body as a file that jobs can name as `upload:ID`.

    The ending of `name` says what is in it: `.gz` and `.zst` are read decompressed.
    """
    row = await state.uploads.receive(request.stream(), name)
    response.headers["Location"] = f"/v1/uploads/{row.id}"
    return _info(row)


@router.get("", summary="List uploads")
@needs(Scope.READ)
def list_uploads(state: StateOf) -> UploadList:
    """The latest first."""
    return UploadList(uploads=[_info(row) for row in state.uploads.all()])


@router.get("/{id}", summary="Look at an upload", responses=problems(404, 422))
@needs(Scope.READ)
def get_upload(id: str, state: StateOf) -> UploadInfo:
    """What was sent; the bytes themselves are for jobs."""
    return _info(state.uploads.get(id))


@router.delete(
    "/{id}",
    status_code=204,
    response_model=None,
    summary="Remove an upload",
    responses=problems(404, 409, 422),
)
@needs(Scope.WRITE)
def delete_upload(id: str, state: StateOf) -> None:
    """Remove a file, which no job that waits or runs may read."""
    state.uploads.delete(id)


def _info(row: UploadRow) -> UploadInfo:
    return UploadInfo(
        id=row.id,
        name=row.name,
        bytes=row.bytes,
        sha256=row.sha256,
        created=row.created.isoformat(),
    )
