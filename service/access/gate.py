"""The middleware that asks for a key and keeps to the rates, before a body is read."""

from __future__ import annotations

import math
from functools import partial
from typing import NamedTuple

import anyio
from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access import scopes
from service.access.keys import Key, KeyRing
from service.access.rates import Rates, Verdict, characters_in, client_of
from service.errors import DatabaseError, answer_to, problem
from service.observing.metrics import Metrics
from service.observing.record import RequestRecord, record_of
from service.pacing import Pace


class _Caller(NamedTuple):
    who: str
    """Whose bucket is taken from."""
    refusal: HTTPException | None
    """Why they may not."""


class Gate:
    """ASGI middleware: 401 without a good key, 403 for one of too small a scope, 429 for too much.

    :param keys: ``None`` where no key is needed.
    """

    def __init__(
        self, app: ASGIApp, keys: KeyRing | None, rates: Rates, metrics: Metrics, pace: Pace
    ) -> None:
        self._app = app
        self._keys = keys
        self._rates = rates
        self._metrics = metrics
        self._pace = pace

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            caller = await self._caller(scope, record_of(scope))
        except DatabaseError as unknown:
            await answer_to(unknown, scope["path"])(scope, receive, send)
            return
        verdict = self._verdict(caller, record_of(scope))
        refusal = self._too_many(verdict.wait) if verdict.wait > 0 else caller.refusal
        sender = _with(verdict.headers, send)
        if refusal is not None:
            await anyio.sleep(self._pace.wait())
            answer = problem(
                scope["path"], refusal.status_code, refusal.detail, headers=refusal.headers
            )
            await answer(scope, receive, sender)
            return
        await self._app(scope, self._counting(receive, caller, record_of(scope)), sender)

    def _verdict(self, caller: _Caller, record: RequestRecord) -> Verdict:
        demand = record.found.demand
        if demand is not None and demand.scope in scopes.FREE:
            return Verdict(0.0, {})
        return self._rates.admit(caller.who)

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
        record.may_stay = partial(self._keys.has, key.id)
        return _Caller(f"key {key.id}", _refusal(key, record, scope["path"]))

    def _too_many(self, wait: float) -> HTTPException:
        self._metrics.rate_limited()
        seconds = math.ceil(wait)
        detail = f"too much in a minute; try again in {seconds} s, see the RateLimit header"
        return HTTPException(429, detail, {"Retry-After": str(seconds)})

    def _counting(self, receive: Receive, caller: _Caller, record: RequestRecord) -> Receive:
        """``receive``, charging the caller for what comes, unless it is a file."""
        demand = record.found.demand
        if not self._rates.is_on or (demand is not None and demand.streams):
            return receive

        async def counting() -> Message:
            message = await receive()
            body = message.get("body", b"")
            if body:
                self._rates.charge(caller.who, characters_in(body))
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
