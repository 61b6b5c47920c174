"""The one place where an error becomes a status code and a problem document (RFC 9457)."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from starlette.exceptions import HTTPException

from bitext.errors import (
    BitextError,
    BusyError,
    InputError,
    MismatchError,
    ModelNotFoundError,
    TooLargeError,
    TooLongError,
    UnknownNameError,
)
from encoders.gathering.callers import HungUpError
from service.observing.record import record_of

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
SHOWN = 80
"""Characters of a refused value that are shown back."""
UNSAID = (HTTPStatus(400).phrase, "There was an error parsing the body")
"""What a 400 of the guard's, and of FastAPI's, says: nothing."""
LENGTHS = ("too_long", "too_short")
"""Types of pydantic errors that call the characters of a text items."""
SAYS_ALL = "says_all"
"""The type of pydantic error whose message needs no more; see schemas/fields.py."""


class DatabaseError(BitextError):
    """The database cannot be reached, does not answer, or is of a later version."""


class UnknownIndexError(UnknownNameError):
    """An index that is not there."""


class UnknownSentenceError(UnknownNameError):
    """A sentence that an index does not have."""


class UnknownSnapshotError(UnknownNameError):
    """A snapshot that is not there."""


class UnknownJobError(UnknownNameError):
    """A job that is not there, or has no such artefact."""


class UnknownModelError(UnknownNameError):
    """A model that is loaded or let go by its address, and is not there."""


class UnknownUploadError(UnknownNameError):
    """An upload that is not there."""


class NoTranslationModelError(UnknownNameError):
    """Something to translate, where there is no translation model at all."""


class ReadOnlyError(BitextError):
    """A change to something that the service keeps itself."""


class NotReadyError(BitextError):
    """The model is not loaded yet, or could not be."""


class OverloadedError(BitextError):
    """As much is being worked on, or waits, as may; ``retry_after`` is in seconds."""

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Kind(NamedTuple):
    """A kind of problem; its type is the address that explains it, ``/problems/SLUG``."""

    slug: str
    status: int
    title: str
    meaning: str


KINDS: dict[type[BitextError], Kind] = {
    UnknownIndexError: Kind(
        "unknown-index", 404, "Unknown index", "There is no index of that name; GET /v1/indexes."
    ),
    UnknownSentenceError: Kind(
        "unknown-sentence", 404, "Unknown sentence", "The index has no sentence with that id."
    ),
    UnknownSnapshotError: Kind(
        "unknown-snapshot",
        404,
        "Unknown snapshot",
        "There is no such snapshot; GET /v1/indexes/{name}/snapshots.",
    ),
    UnknownJobError: Kind(
        "unknown-job", 404, "Unknown job", "There is no such job, or it has no such artefact."
    ),
    UnknownUploadError: Kind(
        "unknown-upload", 404, "Unknown upload", "There is no upload with that id."
    ),
    UnknownModelError: Kind(
        "unknown-model", 404, "Unknown model", "There is no model of that name; GET /v1/models."
    ),
    NoTranslationModelError: Kind(
        "no-translation-model",
        404,
        "No translation model",
        "Train one with 'bitext train', or export one with 'bitext export', and put its folder "
        "where the detail says.",
    ),
    UnknownNameError: Kind(
        "unknown-name",
        422,
        "Unknown name",
        "A method, model, layer or language does not exist; the detail lists those that do.",
    ),
    InputError: Kind(
        "invalid-input", 422, "Invalid input", "A field does not hold what it should."
    ),
    TooLongError: Kind(
        "too-long",
        422,
        "Sentence too long for the model",
        "Split the sentence, or ask for overlapping windows with too_long.",
    ),
    TooLargeError: Kind(
        "too-large",
        413,
        "More than the service takes",
        "The detail names the limit; send less at a time, or have the operator raise it.",
    ),
    MismatchError: Kind(
        "mismatch",
        409,
        "Conflict with what is there",
        "An index was built with another model or other settings, or changed meanwhile.",
    ),
    ReadOnlyError: Kind(
        "read-only", 403, "Read-only", "The service keeps this index itself; make another one."
    ),
    OverloadedError: Kind(
        "overloaded",
        429,
        "Overloaded",
        "As many requests wait as may; try again after the seconds that Retry-After says.",
    ),
    HungUpError: Kind(
        "hung-up", 499, "Client hung up", "Nobody waits for the answer; the log may show it."
    ),
    BusyError: Kind(
        "busy", 503, "Busy", "Another process is writing to the index; try again in a while."
    ),
    NotReadyError: Kind(
        "not-ready", 503, "Not ready", "The model is being loaded, or could not be; GET /ready."
    ),
    DatabaseError: Kind(
        "no-database", 503, "No database", "The database does not answer; try again in a while."
    ),
    ModelNotFoundError: Kind(
        "model-not-found",
        503,
        "Model not on the server",
        "The operator allows this model but has not fetched it.",
    ),
}


def install(app: FastAPI) -> None:
    """Let every error of ``app`` answer with a problem document."""
    app.add_exception_handler(BitextError, _bitext_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    for kind in (OperationalError, InterfaceError, TimeoutError):
        app.add_exception_handler(kind, _database_error)
    app.add_exception_handler(Exception, _bug)


def problem(
    path: str,
    status: int,
    detail: str,
    *,
    kind: Kind | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document; without a ``kind`` the status code says all there is to say.

    :param path: of the request, which becomes the ``instance``.
    """
    body = {
        "type": f"/problems/{kind.slug}" if kind else "about:blank",
        "title": kind.title if kind else HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": path,
    }
    # What came may hold half a surrogate pair; as an escape it is still JSON.
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(content, status, headers, media_type=MEDIA_TYPE)


def answer_to(error: BitextError, path: str) -> Response:
    """What a request for ``path`` is answered that ended in ``error``."""
    kind = kind_of(error)
    headers = {}
    if isinstance(error, (NotReadyError, BusyError, DatabaseError)):
        headers["Retry-After"] = "1"
    if isinstance(error, OverloadedError):
        headers["Retry-After"] = str(error.retry_after)
    return problem(path, kind.status, str(error), kind=kind, headers=headers)


def bug(path: str) -> Response:
    """What is answered where the service is at fault: nothing of what is inside."""
    return problem(path, 500, "the service failed at this request; its log has the details")


def kind_of(error: BitextError) -> Kind:
    """The kind that the class of ``error``, or the nearest one above it, has in the table."""
    for cls in type(error).__mro__:
        if cls in KINDS:
            return KINDS[cls]
    return KINDS[InputError]


async def _bitext_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BitextError)
    return answer_to(error, request.url.path)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    details = {
        404: f"there is nothing at {request.url.path}; GET /docs shows what there is",
        405: f"{request.url.path} does not answer {request.method}",
    }
    known = details.get(error.status_code)
    if error.status_code == 400 and error.detail in UNSAID:
        known = "the body cannot be read as JSON in UTF-8"
    headers = dict(error.headers or {})
    if error.status_code == 405:  # the router tells only of the first route at the address
        headers["Allow"] = ", ".join(sorted(record_of(request.scope).found.allowed))
    return problem(request.url.path, error.status_code, known or str(error.detail), headers=headers)


async def _database_error(request: Request, error: Exception) -> Response:
    """The database went away, or somebody has held it for too long; a client may try again."""
    cause = getattr(error, "orig", None) or error
    logger.error("the database failed: %s", str(cause).partition("\n")[0])
    return await _bitext_error(request, DatabaseError("the database does not answer; try again"))


async def _bug(request: Request, error: Exception) -> Response:
    """Starlette raises the error again, so that it is logged."""
    return bug(request.url.path)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    path, found = request.url.path, error.errors()
    first = found[0]
    if first["type"] == "json_invalid":
        place = f"at character {first['loc'][-1] + 1}"
        what = first["ctx"]["error"].removesuffix(" at")
        return problem(path, 400, f"the body is not JSON: {what} {place}")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return problem(path, 422, sentence_of(first) + more, kind=KINDS[InputError])


def sentence_of(error: Mapping[str, Any]) -> str:
    """What is wrong with which field.

    Example: ``field 'pairs.0.source': expected a text or a list of words, got 3``
    """
    field = _field(error["loc"])
    if error["type"] == "missing":
        return f"field '{field}' is missing" if field else "the request needs a JSON body"
    if error["type"] == SAYS_ALL:
        message = str(error["msg"])
        return f"field '{field}': {message}" if field else message
    where = f"field '{field}': " if field else ""
    message, came = _expected(error), _shown(error["input"])
    if error["type"] in LENGTHS and not isinstance(error["input"], str):
        came = str(error["ctx"]["actual_length"] or "none")
    return f"{where}{message[0].lower()}{message[1:]}, got {came}"


def _expected(error: Mapping[str, Any]) -> str:
    """What was expected, in words that say nothing of how it was looked at."""
    kind = error["type"]
    if kind in ("model_attributes_type", "dict_type"):
        return "expected a JSON object"
    if kind == "int_parsing":
        return "expected a whole number"
    if kind in LENGTHS:
        most = kind == "too_long"
        limit = error["ctx"]["max_length" if most else "min_length"]
        unit = "character" if isinstance(error["input"], str) else "item"
        return f"expected at {'most' if most else 'least'} {limit} {unit}{'s' * (limit != 1)}"
    return str(error["msg"]).removeprefix("Value error, ")


def _shown(value: Any) -> str:
    """The start of what came."""
    try:
        came = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "what is nested too deeply"
    return came if len(came) <= SHOWN else came[:SHOWN] + "…"


def _field(loc: Sequence[str | int]) -> str:
    """The place in the request without what FastAPI and pydantic add to it.

    Where a field may hold things of several kinds, pydantic names the kind: ours are in brackets.
    """
    _, *rest = loc
    return ".".join(str(part) for part in rest if not str(part).startswith("("))
