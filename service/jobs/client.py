"""What the commands ``bitext jobs ...`` ask a running service over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from bitext.errors import BitextError, InputError

FILE = "file:"
"""What a name in settings begins with that is a file of this machine, to be uploaded."""
SECONDS = 60.0


class Client:
    """A service, and the key to it."""

    def __init__(self, service: str, key: str | None = None) -> None:
        """:raises InputError: if ``service`` is no address."""
        if not service.startswith(("http://", "https://")):
            raise InputError(f"--service '{service}' is no address such as http://127.0.0.1:8000")
        self._base = f"{service.rstrip('/')}/v1"
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def submit(self, kind: str, settings: dict[str, Any], name: str | None) -> Any:
        """Upload the files that ``settings`` name as ``file:PATH``, and submit the job."""
        sent: list[str] = []
        try:
            body = {"kind": kind, "settings": self._uploaded(settings, sent), "name": name}
            return self._json("POST", "/jobs", body)
        except BitextError:
            for id in sent:  # which no job was made of
                with suppress(BitextError):
                    self._ask("DELETE", f"/uploads/{id}", None, {})
            raise

    def jobs(self, state: str | None, kind: str | None) -> Iterator[Any]:
        """All of them, the latest first."""
        asked = {key: value for key, value in (("state", state), ("kind", kind)) if value}
        after: str | None = None
        while True:
            query = urlencode({**asked, **({"after": after} if after else {})})
            page = self._json("GET", f"/jobs?{query}")
            yield from page["jobs"]
            if (after := page["next"]) is None:
                return

    def job(self, id: str) -> Any:
        return self._json("GET", f"/jobs/{quote(id, '')}")

    def log(self, id: str, after: int) -> Any:
        return self._json("GET", f"/jobs/{quote(id, '')}/log?after={after}")

    def change(self, id: str, what: str) -> Any:
        """:param what: ``cancel`` or ``retry``."""
        return self._json("POST", f"/jobs/{quote(id, '')}/{what}")

    def _uploaded(self, value: Any, sent: list[str]) -> Any:
        """``value`` with uploads in the place of files, wherever they are named.

        :param sent: takes their ids.
        """
        if isinstance(value, dict):
            return {key: self._uploaded(one, sent) for key, one in value.items()}
        if isinstance(value, list):
            return [self._uploaded(one, sent) for one in value]
        if isinstance(value, str) and value.startswith(FILE):
            sent.append(self._upload(Path(value.removeprefix(FILE))))
            return f"upload:{sent[-1]}"
        return value

    def _upload(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                size = str(os.fstat(file.fileno()).st_size)
                headers = {"Content-Type": "application/octet-stream", "Content-Length": size}
                where = f"/uploads?{urlencode({'name': path.name})}"
                return str(self._ask("POST", where, file, headers)["id"])
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from None

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        if body is None:
            return self._ask(method, path, None, {})
        data = json.dumps(body).encode()
        return self._ask(method, path, data, {"Content-Type": "application/json"})

    def _ask(self, method: str, path: str, data: Any, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(
            self._base + path, data, {**self._headers, **headers}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return None if answer.status == 204 else _object(json.load(answer))
        except urllib.error.HTTPError as error:
            if error.code == 401:
                raise InputError(f"{_detail(error)} (--key, or BITEXT_KEY)") from None
            raise InputError(_detail(error)) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, BrokenPipeError | ConnectionResetError):
                raise BitextError(f"{self._base} ended the connection{_why(data)}") from None
            raise BitextError(f"no service at {self._base}: {error.reason}") from None
        except (http.client.HTTPException, ConnectionError, TimeoutError, ValueError) as error:
            raise BitextError(f"{self._base} did not answer as bitext does: {error}") from None


def _why(data: Any) -> str:
    """What a service that hangs up cannot say any more."""
    if data is None or isinstance(data, bytes):
        return ""
    return (
        f" while {data.name} was sent; it does so when a file is larger than "
        "BITEXT_MAX_UPLOAD_BYTES or than what is left of BITEXT_MAX_UPLOADS_BYTES"
    )


def _object(answer: Any) -> Any:
    """:raises ValueError: if it is none, as all answers of the service are."""
    if not isinstance(answer, dict):
        raise ValueError("it sent no JSON object")
    return answer


def _detail(error: urllib.error.HTTPError) -> str:
    """What a problem document says."""
    try:
        return str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the service answered {error.code} {error.reason}"
