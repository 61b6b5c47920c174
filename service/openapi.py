"""What the OpenAPI document says of problems, and the names of its operations."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from service.access.scopes import FREE, Scope
from service.access.table import RouteTable
from service.errors import MEDIA_TYPE
from service.settings import Settings

REASONS = {
    400: "The body is not JSON in UTF-8.",
    401: "No key, or one that is not good (only where keys are required).",
    403: "The service keeps this index itself.",
    404: "There is no such index, sentence, snapshot, job, upload or translation model.",
    409: "An index was built with another model or other settings, or is damaged.",
    413: "More than a limit allows.",
    415: "The body is not sent as application/json where that is wanted, or is packed.",
    422: "A field does not hold what it should, a name does not exist, or a sentence is too long.",
    429: "Too much at once, or in a minute; Retry-After says when to come again.",
    503: "The model is not loaded yet, or not on the server; or another process is writing.",
    507: "The disk of the service is full.",
}
TAGS = {
    "align": "Links between the words of sentence pairs, and labels carried over them.",
    "translate": "Texts of one language in another, by the translation models there are.",
    "retrieve": "The sentences that mean the same: in an index, and between two lists.",
    "embeddings": "Vectors of texts, for clients made for OpenAI's interface.",
    "indexes": "Named collections of sentences to search, and their sentences.",
    "snapshots": "Copies of an index as of one moment.",
    "jobs": "What takes long, done by a worker: mining, indexing, adaptation, training.",
    "uploads": "Files for jobs to read.",
    "models": "The models that requests may name, and what is in memory.",
    "health": "Whether the service lives, whether it can work, and what it is.",
    "metrics": "Figures for Prometheus.",
}
"""What the operations of a tag are about, in the order to show them in."""
VERSION = "/v1"
"""What the paths begin with that a later version may answer in another way."""
BODY = (400, 413, 415, 422)
"""What any request with a body may meet."""
MODEL = (429, 503)
"""What any request that uses a model may meet."""


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


def describe_access(app: FastAPI, table: RouteTable, settings: Settings) -> None:
    """Let the document of ``app`` say what each operation needs, as far as the settings ask."""
    make = app.openapi

    def document() -> dict[str, Any]:
        is_new = app.openapi_schema is None
        found = make()
        if is_new:
            _add_access(found, table, settings)
        return found

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _add_access(document: dict[str, Any], table: RouteTable, settings: Settings) -> None:
    needs_key = settings.keys == "required"
    is_limited = bool(settings.requests_per_minute or settings.characters_per_minute)
    if needs_key:
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["key"] = {"type": "http", "scheme": "bearer", "description": "`bitext keys make`"}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            demand = table.find(method.upper(), path).demand
            if demand is None or demand.scope is Scope.OPEN:
                continue
            operation["x-scope"] = demand.scope.value
            statuses = [401, 403] if needs_key else []
            statuses += [429] if is_limited and demand.scope not in FREE else []
            for status in statuses:
                operation["responses"].setdefault(str(status), _response(status))
            if needs_key:
                operation["security"] = [{"key": []}]


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
