"""What every request passes before it reaches a route, and every answer on its way out.

A service on a person's own machine can be reached by any page that person's browser shows. Such a
page may not read our answers (there are no CORS headers) and may not send JSON, but it can give its
own name the address 127.0.0.1 (DNS rebinding) and be taken for ours: so the name that a request
calls us by must be one we know. And it may send what has no body, or is no JSON, without asking: so
what is to change something must not come from a page of another site. Whether the service lives and
is ready it tells by any name: those who look after containers call it by addresses that nobody
knows beforehand.
"""

from __future__ import annotations

import ipaddress
import json
import logging
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
from fastapi import HTTPException
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.access.table import FILES
from service.errors import OverloadedError, bug, problem
from service.observing.record import record_of
from service.settings import Settings

logger = logging.getLogger(__name__)

BY_ANY_NAME = frozenset({"/health", "/ready"})
"""Paths of what tells nothing that a stranger may not know."""
MANY = 64
"""Bodies of the largest size that may be held at the same time, in as many requests as they be."""
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",  # for browsers that do not know frame-ancestors
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), usb=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer; after the OWASP Secure Headers Project, where that fits an API and its page."""
PRIVATE = "no-store"
"""The Cache-Control of answers, which hold someone's text, on the way and in the browser."""
FILE = "no-cache"
"""That of the page's files: kept, but asked for again, lest an old script meet a new service."""
ONLY_ENCRYPTED = "max-age=31536000"
"""For a year; said over HTTPS only, where a proxy that is trusted says that it speaks it."""


@dataclass(slots=True)
class _Body:
    """What has come of one, and is held until the request is answered."""

    held: int = 0
    """Bytes."""


class Guard:
    """ASGI middleware: checks the Host, takes JSON only, no more of it and no slower than may be,
    and sets HEADERS."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._hosts = known_hosts(settings)
        self._origins = frozenset(settings.cors_origins)
        self._max_body = settings.max_body_bytes
        self._seconds = settings.body_seconds
        self._held = 0  # bytes of the bodies of all requests that are not answered yet

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        began = False

        async def send_with_headers(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                _add_headers(MutableHeaders(scope=message), scope)
            await send(message)

        found = record_of(scope).found
        streams = found.demand is not None and found.demand.streams
        is_read = found.demand is not None or not found.allowed  # else it is a 405, body or not
        try:
            headers = Headers(scope=scope)
            if scope["path"] not in BY_ANY_NAME:
                self._check_name(headers.get("host", ""))
            if scope["method"] not in SAFE:
                self._check_page(headers)
            self._check(headers, streams, is_read)
        except HTTPException as error:
            answer = problem(scope["path"], error.status_code, error.detail, headers=error.headers)
            await answer(scope, receive, send_with_headers)
            return
        coming = _Body()
        try:
            limited = self._limited(receive, streams, coming)
            await self._app(scope, limited, send_with_headers)
        except Exception:
            if not began:  # Starlette's own answer would be without these headers
                await bug(scope["path"])(scope, receive, send_with_headers)
            raise
        finally:
            self._held -= coming.held

    def _check_name(self, host: str) -> None:
        if self._hosts is not None and _without_port(host) not in self._hosts:
            raise HTTPException(
                421, f"this service does not go by the name '{host}'; see BITEXT_ALLOWED_HOSTS"
            )

    def _check_page(self, headers: Headers) -> None:
        """Refuse what a page of another site has a browser send.

        Browsers say of what page it is: the newer ones by Sec-Fetch-Site, where we are reached by
        HTTPS or at this machine, and all of them by Origin. Programs say neither.
        """
        origin = headers.get("origin")
        site = headers.get("sec-fetch-site")
        if site is None:
            is_ours = origin is None or _host_of(origin) == headers.get("host", "").lower()
        else:
            is_ours = site in ("same-origin", "none")
        if not is_ours and "*" not in self._origins and origin not in self._origins:
            whose = f"of {origin}" if origin else "of another site"
            raise HTTPException(
                403, f"a page {whose} may not change anything here; see BITEXT_CORS_ORIGINS"
            )

    def _check(self, headers: Headers, streams: bool, is_read: bool) -> None:
        coding = headers.get("content-encoding", "identity").strip().lower()
        if coding != "identity":  # a small body could be packed that is a large one unpacked
            detail = f"send the body as it is, without Content-Encoding; got '{coding}'"
            raise HTTPException(415, detail, {"Accept-Encoding": "identity"})
        if streams or not is_read:
            return
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._max_body:
            raise self._too_large()
        if (length not in ("", "0") or "transfer-encoding" in headers) and not _is_json(headers):
            sent = headers.get("content-type")
            came = f"got '{sent}'" if sent else "got none"
            raise HTTPException(
                415, f"send JSON in UTF-8, as Content-Type: application/json; {came}"
            )

    def _limited(self, receive: Receive, streams: bool, coming: _Body) -> Receive:
        """``receive``, ending in a 413 as soon as more than the limit has come, stated or not, in
        a 429 when the bodies of all requests are too much together, and in a 408 when what was to
        come does not: the whole body, or of an upload the next piece."""
        start = b""
        whole = False
        until = anyio.current_time() + self._seconds

        async def limited() -> Message:
            nonlocal whole, start
            if whole:  # what may still come is that the client hangs up
                return await receive()
            left = self._seconds if streams else until - anyio.current_time()
            with anyio.move_on_after(left) as waiting:
                message = await receive()
            if waiting.cancelled_caught:
                raise self._too_slow()
            whole = not message.get("more_body", False)
            body = message.get("body", b"")
            if streams:
                return message
            coming.held += len(body)
            self._held += len(body)
            if coming.held > self._max_body:
                raise self._too_large()
            if self._held > MANY * self._max_body:
                raise OverloadedError(
                    f"{self._held} bytes of requests are being received or worked on; "
                    "try again in 1 seconds",
                    retry_after=1,
                )
            if len(start) < 4:
                start += body[: 4 - len(start)]
                _check_coding(start, whole)
            return message

        return limited

    def _too_large(self) -> HTTPException:
        limit = f"{self._max_body} bytes (BITEXT_MAX_BODY_BYTES)"
        return HTTPException(413, f"the body is larger than the {limit} that one request may have")

    def _too_slow(self) -> HTTPException:
        limit = f"{self._seconds:g} seconds (BITEXT_BODY_SECONDS)"
        detail = f"the body did not come within the {limit} that it may take"
        return HTTPException(408, detail, {"Connection": "close"})


def known_hosts(settings: Settings) -> frozenset[str] | None:
    """The names that requests may call us by; ``None`` for any.

    Where none are set, a service that listens at this machine only goes by its local names, and one
    that others can reach, which has an operator and often a proxy, by any.
    """
    if settings.allowed_hosts:
        names = {_without_port(name) for name in settings.allowed_hosts}
        return None if "*" in names else frozenset(names)
    if not is_local(settings.host):
        return None
    return LOCAL_NAMES | {settings.host.lower()}


def warn_if_open(settings: Settings) -> None:
    """Say so where anyone who reaches the service may use it."""
    if settings.keys == "off" and not is_local(settings.host):
        logger.warning(
            "no keys are required: whoever reaches %s may use the service; see BITEXT_KEYS",
            settings.host,
        )


def is_local(host: str) -> bool:
    """Whether only this machine reaches what listens at ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _add_headers(headers: MutableHeaders, scope: Scope) -> None:
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    is_file = scope["path"] == "/" or scope["path"].startswith(tuple(f"{at}/" for at in FILES))
    headers.setdefault("Cache-Control", FILE if is_file else PRIVATE)
    if scope.get("scheme") == "https":
        headers.setdefault("Strict-Transport-Security", ONLY_ENCRYPTED)


def _is_json(headers: Headers) -> bool:
    kind, _, parameters = headers.get("content-type", "").lower().partition(";")
    kind = kind.strip()
    name, _, charset = parameters.replace(" ", "").replace('"', "").partition("=")
    if name == "charset" and charset not in ("utf-8", "utf8"):
        return False
    return kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )


def _check_coding(start: bytes, whole: bool) -> None:
    """Python reads JSON in UTF-16 and UTF-32 too, which its first four bytes tell; we do not."""
    if (len(start) == 4 or whole) and not json.detect_encoding(start).startswith("utf-8"):
        raise HTTPException(400)  # errors.py has the sentence


def _host_of(origin: str) -> str | None:
    """The host and port of an origin, as a Host header has them."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _without_port(host: str) -> str:
    """``"[::1]:8000"`` -> ``"::1"``, ``"Localhost:8000"`` -> ``"localhost"``."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host if host.count(":") > 1 else host.partition(":")[0]
