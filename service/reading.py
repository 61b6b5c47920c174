"""How the JSON of a request is read: as Python reads it, but not what could be read in two ways."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from service.errors import SHOWN


class JsonRequest(Request):
    """A request whose body says everything once."""

    async def json(self) -> Any:
        """The body.

        :raises HTTPException: with 400, if it is JSON that we do not take.
        """
        if not hasattr(self, "_json"):
            self._json = _read(await self.body())
        return self._json


class JsonRoute(APIRoute):
    """A route that takes a :class:`JsonRequest`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            return await answer(JsonRequest(request.scope, request.receive))

        return handle


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
