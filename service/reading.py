"""How a request is read: nothing that could be read in two ways, and nothing left unread."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, get_args, get_origin

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

from bitext.errors import BitextError, InputError, UnknownNameError, choose_from
from service.access.scopes import FREE, demand_of
from service.errors import SHOWN
from service.limits import check_lists
from service.openapi import problems


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

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        demand = demand_of(endpoint)
        # Whoever watches the service, or opens its page, may have something to add of their own.
        self._is_strict = demand is not None and demand.scope not in FREE
        if self._is_strict:
            settings["responses"] = {**problems(422), **(settings.get("responses") or {})}
        super().__init__(path, endpoint, **settings)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()
        queries: dict[str, bool] = {}
        for field in self.dependant.query_params:
            queries |= _names(field.alias, field.field_info.annotation)

        async def handle(request: Request) -> Response:
            if self._is_strict:
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


def _check_query(request: Request, known: Mapping[str, bool]) -> None:
    """A misspelt filter must not answer with everything, nor one of two with either.

    :param known: names, and whether they may be given several times.
    :raises InputError: if the address has a query that is not known, or twice what is one.
    """
    seen: set[str] = set()
    for name, _ in request.query_params.multi_items():
        if not known:
            raise UnknownNameError(f"unknown query parameter '{name[:SHOWN]}': there are none here")
        if name not in known:
            raise UnknownNameError(choose_from("query parameter", name[:SHOWN], known))
        if name in seen and not known[name]:
            raise InputError(f"query parameter '{name}' is given twice")
        seen.add(name)


def _names(name: str, annotation: Any) -> dict[str, bool]:
    """The parameters that a field is given by, and whether they may be given several times."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {key: _is_list(one.annotation) for key, one in annotation.model_fields.items()}
    return {name: _is_list(annotation)}


def _is_list(annotation: Any) -> bool:
    return list in (get_origin(part) for part in (annotation, *get_args(annotation)))


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
