"""How a request is read: nothing that could be read in two ways, and nothing left unread."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException

from bitext.errors import BitextError, UnknownNameError, choose_from
from service.errors import SHOWN
from service.limits import check_lists


class JsonRequest(Request):
    """A request whose body says everything once."""

    async def json(self) -> Any:
        """The body.

        :raises HTTPException: with 400, if it is JSON that we do not take.
        :raises TooLargeError: if it has a list that is longer than any may be.
        """
        if not hasattr(self, "_json"):
            self._json = _read(await self.body())
            check_lists(self._json, self.app.state.service.settings)
        return self._json


class StrictRoute(APIRoute):
    """A route that takes a :class:`JsonRequest`, and no query but its own."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        fields = get_flat_params(self.dependant)
        queries = [field.alias for field in fields if isinstance(field.field_info, Query)]

        async def handle(request: Request) -> Response:
            if queries:  # one that takes none has no 422 to answer with
                _check_query(request, queries)
            try:
                return await answer(JsonRequest(request.scope, request.receive))
            except StarletteHTTPException as error:
                if isinstance(error.__cause__, BitextError):
                    # FastAPI makes a 400 of whatever is raised while a body is read.
                    raise error.__cause__ from None
                raise

        return handle


class Router(APIRouter):
    """Routes that are read like this."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(route_class=StrictRoute, **settings)


def _check_query(request: Request, known: list[str]) -> None:
    """A misspelt filter must not answer with everything.

    :raises UnknownNameError: if the address has a query that is not known.
    """
    for name in request.query_params:
        if name not in known:
            raise UnknownNameError(choose_from("query parameter", name[:SHOWN], known))


def _read(body: bytes) -> Any:
    try:
        return json.loads(body, object_pairs_hook=_once)
    except RecursionError:
        raise HTTPException(400, "the body is nested too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise  # FastAPI and errors.py have sentences
    except ValueError:  # the digits that Python turns into a number have an end
        raise HTTPException(400, "the body has a number of too many digits") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; which of two values of one key is meant, nobody could say."""
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise HTTPException(400, f"the key '{key[:SHOWN]}' is given twice in one object")
            seen.add(key)
    return found
