"""``/v1/jobs``: have something done that takes long, and see how it goes."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from service.access.scopes import Scope, needs
from service.jobs.following import Place, follow, look
from service.jobs.looking import TELLING, Series, find_artefact, read_measurements, zipped
from service.jobs.tables import ENDED
from service.observing.record import record_of
from service.openapi import BODY, problems
from service.reading import Router
from service.schemas.jobs import (
    JobInfo,
    JobList,
    JobRequest,
    Kind,
    LogLines,
    Measurements,
    State,
)
from service.state import StateOf

router = Router(prefix="/jobs", tags=["jobs"])

STREAM = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""So that proxies hand on what comes when it comes."""
EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "enum": ["job", "log", "measurement"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "description": "The job as at /v1/jobs/{id}, lines as its log has them, or figures.",
        },
        "id": {"type": "string", "description": "What Last-Event-ID goes on from."},
    },
    "required": ["event", "data", "id"],
}
"""One event, as OpenAPI 3.2 describes streams, and FastAPI its own."""


@router.post(
    "", status_code=201, summary="Submit a job", responses=problems(*BODY, 403, 404, 409, 503)
)
@needs(Scope.TRAIN)
def create_job(request: JobRequest, state: StateOf, response: Response) -> JobInfo:
    """Add a job to the queue. All its settings are looked at now, its text when it runs."""
    made = state.jobs.submit(request)
    response.headers["Location"] = f"/v1/jobs/{made.id}"
    return made


@router.get("", summary="List jobs", responses=problems(404, 422))
@needs(Scope.READ)
def list_jobs(
    state_of: StateOf,
    state: State | None = None,
    kind: Kind | None = None,
    limit: Annotated[int | None, Query(ge=1, le=200)] = None,
    after: str | None = None,
) -> JobList:
    """The latest first."""
    return state_of.jobs.page(state, kind, limit, after)


@router.get("/{id}", summary="Look at a job", responses=problems(404, 422))
@needs(Scope.READ)
def get_job(id: str, state: StateOf) -> JobInfo:
    """How far it is, how it ended, what it has left."""
    return state.jobs.get(id)


@router.post("/{id}/cancel", summary="Cancel a job", responses=problems(404, 409, 422))
@needs(Scope.TRAIN)
def cancel_job(id: str, state: StateOf) -> JobInfo:
    """Take a waiting job away; have a running one stopped. What is there stays."""
    return state.jobs.cancel(id)


@router.post(
    "/{id}/retry", summary="Go on with a job", responses=problems(403, 404, 409, 413, 422, 503)
)
@needs(Scope.TRAIN)
def retry_job(id: str, state: StateOf) -> JobInfo:
    """Have a job that failed or was cancelled go on where it was."""
    return state.jobs.retry(id)


@router.delete(
    "/{id}",
    status_code=204,
    response_model=None,
    summary="Remove a job",
    responses=problems(404, 409, 422),
)
@needs(Scope.TRAIN)
def delete_job(id: str, state: StateOf) -> None:
    """Remove a job that has ended, and its files."""
    state.jobs.delete(id)


@router.get("/{id}/log", summary="Read a job's log", responses=problems(404, 422))
@needs(Scope.READ)
def get_log(id: str, state: StateOf, after: Annotated[int, Query(ge=0, le=2**53)] = 0) -> LogLines:
    """What its commands have said, from a byte on."""
    row = state.jobs.row(id)
    found = state.jobs.log(id, after, ended=row.state in ENDED)
    return LogLines(lines=found.lines, next=found.next)


@router.get("/{id}/measurements", summary="Read a training's figures", responses=problems(404, 422))
@needs(Scope.READ)
def get_measurements(id: str, state: StateOf) -> Measurements:
    """Loss, BLEU and the like, step by step; none for other kinds of jobs."""
    state.jobs.row(id)
    return Measurements(series=read_measurements(state.jobs.folder(id)))


@router.get(
    "/{id}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {"text/event-stream": {"itemSchema": EVENT}},
            "description": "Server-sent events: `job`, `log` and `measurement`.",
        },
        204: {"description": "The job has ended, and you have seen all of it."},
        **problems(404, 422),
    },
)
@needs(Scope.READ)
def follow_job(
    id: str,
    request: Request,
    state: StateOf,
    last_event_id: Annotated[str | None, Header(max_length=80)] = None,
) -> Response:
    """A job, its log and its figures as they come, until it has ended.

    Whoever was cut off says `Last-Event-ID` and gets what came since.
    """
    place = Place.parse(last_event_id)
    news = look(state.jobs, id, place, Series(state.jobs.folder(id)))
    if last_event_id is not None and news.ended and not news.events:
        return Response(status_code=204)  # a browser then does not come again
    events = follow(state.jobs, id, place, record_of(request.scope).may_stay)
    return StreamingResponse(events, headers=STREAM, media_type="text/event-stream")


@router.get(
    "/{id}/artefacts/{name}",
    summary="Download what a job has left",
    response_class=Response,
    responses={
        200: {
            "content": {"application/octet-stream": {}, "application/zip": {}},
            "description": "A file as it is, a folder as a ZIP archive.",
        },
        **problems(404, 422),
    },
)
@needs(Scope.READ)
def get_artefact(id: str, name: str, state: StateOf) -> Response:
    """A file as it is; a folder, such as a model, as a ZIP archive that is not compressed."""
    row = state.jobs.row(id)
    path = find_artefact(row.kind, state.jobs.folder(id), name)
    if name in TELLING:
        headers = {"Content-Disposition": f'attachment; filename="{id}-{name}"'}
        text = state.jobs.text(id, path)
        return StreamingResponse(text, headers=headers, media_type="application/octet-stream")
    if path.is_file():
        return FileResponse(path, filename=f"{id}-{name}", media_type="application/octet-stream")
    headers = {"Content-Disposition": f'attachment; filename="{id}-{name}.zip"'}
    pieces = zipped(path, name, partial(state.jobs.text, id))
    return StreamingResponse(pieces, headers=headers, media_type="application/zip")
