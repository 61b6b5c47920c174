"""The middleware that asks for a key and keeps to the rates, before a body is read."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitext.errors import BitextError
from service.access import scopes
from service.access.keys import Key, KeyRing
from service.access.rates import Rates, characters_in, client_of
from service.errors import kind_of, problem
from service.observing.metrics import Metrics
from service.observing.record import RequestRecord, record_of

FREE = (scopes.Scope.OPEN, scopes.Scope.METRICS)
"""No rate holds for these: they cost little, and those who ask must not be turned away."""


class _Caller(NamedTuple):
    who: str
    """Whose bucket is taken from."""
    error: HTTPException | None
    """Why they may not."""


class Gate:
    """ASGI middleware: 401 without a good key, 403 for one of too small a scope, 429 for too much.

    :param keys: ``None`` where no key is needed.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing | None, rates: Rates, metrics: Metrics) -> None:
        self._app = app
        self._keys = keys
        self._rates = rates
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = record_of(scope)
        try:
            caller = await self._caller(scope, record)
        except BitextError as error:
            kind = kind_of(error)
            answer = problem(
                scope["path"],
                kind.status,
                str(error),
                kind=kind,
                headers={"Retry-After": "1"},
            )
            await answer(scope, receive, send)
            return
        demand = record.found.demand
        headers: dict[str, str] = {}
        error = caller.error
        if self._rates.is_on and (demand is None or demand.scope not in FREE):
            verdict = self._rates.admit(caller.who)
            headers = verdict.headers
            if verdict.wait > 0:
                error = self._too_many(verdict.wait)
            elif demand is not None and not demand.streams:
                receive = self._counting(receive, caller.who)
        sender = _with(headers, send)
        if error is None:
            await self._app(scope, receive, sender)
            return
        refusal = problem(
            scope["path"], error.status_code, str(error.detail), headers=error.headers
        )
        await refusal(scope, receive, sender)

    async def _caller(self, scope: Scope, record: RequestRecord) -> _Caller:
        address = client_of(scope["client"][0] if scope.get("client") else None)
        demand = record.found.demand
        if self._keys is None or (demand is not None and demand.scope is scopes.Scope.OPEN):
            return _Caller(address, None)
        kind, _, text = Headers(scope=scope).get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return _Caller(address, _unauthorised("send a key, as Authorization: Bearer bt_…"))
        key = await self._keys.find(text.strip())
        if key is None:
            reason = "the key is not one of this service, or was revoked"
            return _Caller(address, _unauthorised(reason, ', error="invalid_token"'))
        record.key = key.id
        return _Caller(f"key {key.id}", _refusal(key, record, scope["path"]))

    def _too_many(self, wait: float) -> HTTPException:
        self._metrics.rate_limited()
        seconds = math.ceil(wait)
        detail = f"too much in a minute; try again in {seconds} s, see the RateLimit header"
        return HTTPException(429, detail, {"Retry-After": str(seconds)})

    def _counting(self, receive: Receive, who: str) -> Receive:
        async def counting() -> Message:
            message = await receive()
            body = message.get("body", b"")
            if body:
                self._rates.charge(who, characters_in(body))
            return message

        return counting


def _unauthorised(detail: str, more: str = "") -> HTTPException:
    return HTTPException(401, detail, {"WWW-Authenticate": f'Bearer realm="bitext"{more}'})


def _refusal(key: Key, record: RequestRecord, path: str) -> HTTPException | None:
    """Why ``key`` is not enough.

    What no route declares is as good as not there, for all but the widest scope.
    """
    demand = record.found.demand
    if demand is None:
        if record.route is not None or key.scope is scopes.Scope.TRAIN:
            return None  # the router will say 404, or 405
        return HTTPException(404, f"there is nothing at {path}; GET /docs shows what there is")
    if key.scope.includes(demand.scope):
        return None
    wanted = demand.scope.value
    return HTTPException(
        403,
        f"the key {key.id} is of scope {key.scope.value}; this needs {wanted}",
        {
            "WWW-Authenticate": f'Bearer realm="bitext", error="insufficient_scope", '
            f'scope="{wanted}"'
        },
    )


def _with(headers: dict[str, str], send: Send) -> Send:
    """``send``, adding ``headers`` to the answer."""
    if not headers:
        return send

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(headers)
        await send(message)

    return sending
