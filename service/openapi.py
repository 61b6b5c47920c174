"""What the OpenAPI document says of problems, and the names of its operations."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from service.errors import MEDIA_TYPE

REASONS = {
    400: "The body is not JSON in UTF-8.",
    403: "The service keeps this index itself.",
    404: "There is no such index, sentence, snapshot, job or upload.",
    409: "An index was built with another model or other settings, or is damaged.",
    413: "More than a limit allows.",
    415: "The body is not sent as application/json.",
    422: "A field does not hold what it should, a name does not exist, or a sentence is too long.",
    507: "The disk of the service is full.",
    503: "The model is not loaded yet, or not on the server; or another process is writing.",
}
VERSION = "/v1"
"""What the paths begin with that a later version may answer in another way."""
BODY = (400, 413, 415, 422)
"""What any request with a body may meet."""


class Problem(BaseModel):
    """An error, after RFC 9457."""

    type: str = Field(description="An address that explains this kind, or about:blank.")
    title: str
    status: int
    detail: str = Field(description="What came, what is allowed, and where: one sentence.")
    instance: str = Field(description="The path that was asked for.")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of a route that may answer with these problems."""
    return {status: _response(status) for status in statuses}


def operation_id(route: APIRoute) -> str:
    """The name of the function that answers, for clients that are generated."""
    return route.name


def other_operation_id(route: APIRoute) -> str:
    """The same at a second address."""
    return f"{route.name}_at_root"


def _response(status: int) -> dict[str, Any]:
    example = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": REASONS[status],
        "instance": "/align",
    }
    content = {"schema": Problem.model_json_schema(), "example": example}
    return {"description": REASONS[status], "content": {MEDIA_TYPE: content}}
