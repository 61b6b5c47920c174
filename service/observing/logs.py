"""Log lines as text or as JSON, without what users sent.

A line tells of a request its id, route and key id. The message of an exception may quote a text; of
those raised within a request, the type and the frames are written and the message is not, unless
``BITEXT_LOG_TEXTS`` asks for it. Anything that looks like a key is struck out, wherever it stands.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

from service.access.spelling import KEY
from service.observing.record import current, fields
from service.settings import Settings

FIELDS = "bitext"
"""The attribute of a log record that holds more fields: ``extra={FIELDS: {...}}``."""
HIDDEN = "message not logged, see BITEXT_LOG_TEXTS"

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class _Formatter(logging.Formatter):
    def __init__(self, *, texts: bool) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._texts = texts

    def formatException(self, ei: _ExcInfo) -> str:
        """Frames and types of ``ei`` and its causes; messages where they may be told."""
        if self._texts or current() is None or ei[1] is None:
            return super().formatException(ei)
        return "".join(_frames(ei[1]))


class TextFormatter(_Formatter):
    """A line for people, with the id of the request that it was written in."""

    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = None  # another handler's formatter may have left its own
        line = super().format(record)
        record.exc_text = None
        request = current()
        if request is not None and not hasattr(record, FIELDS):
            line += f" [request {request.id}]"
        return _without_keys(line)


class JsonFormatter(_Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        request = current()
        if request is not None:
            line |= fields(request)
        line |= _given(record)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        kept = {name: value for name, value in line.items() if value is not None}
        return _without_keys(json.dumps(kept, ensure_ascii=False, default=str))


def formatter(style: str, *, texts: bool) -> logging.Formatter:
    """What writes the lines of ``BITEXT_LOG=style``.

    :param texts: whether texts may be logged.
    """
    return {"text": TextFormatter, "json": JsonFormatter}[style](texts=texts)


def begin(settings: Settings) -> None:
    """Let all that this process logs be written as ``settings`` say."""
    use(formatter(settings.log, texts=settings.log_texts))


def use(chosen: logging.Formatter) -> None:
    """Let all that this process logs be written by ``chosen``."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(chosen)


def _given(record: logging.LogRecord) -> Mapping[str, Any]:
    found: Mapping[str, Any] = getattr(record, FIELDS, {})
    return found


def _frames(error: BaseException) -> Iterator[str]:
    """Frames and types of ``error`` and of what led to it, without messages."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _frames(before)
        yield "\n\nwhich led to\n\n"
    for inner in getattr(error, "exceptions", ()):  # of a group
        yield from _frames(inner)
        yield "\n\none of several in\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{type(error).__name__}: {HIDDEN}"


def _without_keys(line: str) -> str:
    return KEY.sub(r"bt_\1_…", line) if "bt_" in line else line
