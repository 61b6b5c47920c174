"""What every request passes before it reaches a route, and every answer on its way out.

A service on a person's own machine can be reached by any page that person's browser shows. Such a
page may not read our answers (there are no CORS headers) and may not send JSON, but it can give its
own name the address 127.0.0.1 (DNS rebinding) and be taken for ours: so the name that a request
calls us by must be one we know.
"""

from __future__ import annotations

import ipaddress

from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import problem
from service.settings import Settings

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class Guard:
    """ASGI middleware: checks the Host, takes JSON only and no more than may be, sets HEADERS."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = known_hosts(settings)
        self._max_body = settings.max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(Headers(scope=scope))
        except HTTPException as error:
            answer = problem(scope["path"], error.status_code, error.detail)
            await answer(scope, receive, send_with_headers)
            return
        await self._app(scope, self._limited(receive), send_with_headers)

    def _check(self, headers: Headers) -> None:
        host = headers.get("host", "")
        if self._hosts is not None and _without_port(host) not in self._hosts:
            raise HTTPException(
                421, f"this service does not go by the name '{host}'; see BITEXT_ALLOWED_HOSTS"
            )
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_body:
            raise self._too_large()
        if (length not in ("", "0") or "transfer-encoding" in headers) and not _is_json(headers):
            sent = headers.get("content-type")
            came = f"got '{sent}'" if sent else "got none"
            raise HTTPException(415, f"send Content-Type: application/json; {came}")

    def _limited(self, receive: Receive) -> Receive:
        """``receive``, ending in a 413 as soon as more than the limit has come, stated or not."""
        taken = 0

        async def limited() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_body:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> HTTPException:
        limit = f"{self._max_body} bytes (BITEXT_MAX_BODY_BYTES)"
        return HTTPException(413, f"the body is larger than the {limit} that one request may have")


def known_hosts(settings: Settings) -> frozenset[str] | None:
    """The names that requests may call us by; ``None`` for any.

    Where none are set, a service that listens at this machine only goes by its local names, and one
    that others can reach, which has an operator and often a proxy, by any.
    """
    if settings.allowed_hosts:
        names = {_without_port(name) for name in settings.allowed_hosts}
        return None if "*" in names else frozenset(names)
    if not _is_local(settings.host):
        return None
    return LOCAL_NAMES | {settings.host.lower()}


def _is_json(headers: Headers) -> bool:
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _without_port(host: str) -> str:
    """``"[::1]:8000"`` -> ``"::1"``, ``"Localhost:8000"`` -> ``"localhost"``."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]
