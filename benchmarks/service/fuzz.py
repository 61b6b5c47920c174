"""The whole service under requests that were never meant for it.

    python benchmarks/service/fuzz.py --seed 7 --examples 30 --bodies 1000

Starts a service that requires keys, with the bundled encoder and a translation model of random
weights, and sends it, with a key that may do everything:

1. what schemathesis makes of /openapi.json, good and bad, first with names it invents, then with
   those of an index, a job, an upload and a snapshot that are there;
2. bodies: the examples of the document with bytes put in, taken out and doubled, and some that are
   no JSON at all, at every address that takes one.

An answer may not be a 5xx (but a documented 503), nor have a status, a header or a shape that the
document does not tell. Exits with 1 if one does.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from servers import HERE, Server, bitext_server

sys.path.append(str(HERE.parent))
from random_model import make_random_translator

INDEX = "there"
LINES = ["the house is small", "das haus ist klein", "a cat sleeps", "eine katze schläft", "3.14!"]
CHANGING = ("delete_index", "delete_job", "delete_upload", "delete_snapshot", "retry_job")
"""Not asked for of what must stay there."""
EXCEPTIONS = "[checks]\npositive_data_acceptance.enabled = false\n"
"""What a schema cannot say is refused with 422: two fields of which one is needed, names of methods
and languages, what a layer is of. That such requests are refused is no fault."""
NOT_JSON = (
    b"", b"NaN", b"\x80" * 100, b'{"source": "\xc3\x28"}', b"\xef\xbb\xbf{}", b"{}{}", b"'a'",
    '{"source": "a", "target": "b"}'.encode("utf-16"), '{"queries": "a"}'.encode("utf-32"),
    '{"source": "a"}'.encode("utf-16-le"), b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900,
    b'{"layer": ' + b"9" * 5_000 + b"}", b'{"threshold": 1e999}', b'"\\ud800"', b"\x00" * 100,
)  # fmt: skip


class Operation(NamedTuple):
    """An address that takes a body."""

    method: str
    path: str
    example: bytes
    statuses: frozenset[str]


class Caller:
    """Asks the service with a key."""

    def __init__(self, server: Server, key: str) -> None:
        self._address = server.url.removeprefix("http://")
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        """Status, media type, body."""
        connection = http.client.HTTPConnection(self._address, timeout=120)
        try:
            connection.request(method, path, body, self.headers)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Content-Type", ""), answer.read()
        finally:
            connection.close()

    def insist(self, method: str, path: str, body: object = None) -> Any:
        status, _, text = self.ask(
            method, path, None if body is None else json.dumps(body).encode()
        )
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {text.decode()}")
        return json.loads(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--examples", type=int, default=30, help="of each operation and phase")
    parser.add_argument("--bodies", type=int, default=1000, help="that are malformed")
    parser.add_argument("--schemathesis", default=None, help="the program, if it is elsewhere")
    parser.add_argument("options", nargs="*", help="more for schemathesis, after --")
    options = parser.parse_args()
    program = options.schemathesis or found_program()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        (data / "translation-models").mkdir(parents=True)
        make_random_translator(LINES * 8, data / "translation-models" / "en-de")
        server: Server
        with bitext_server(data, BITEXT_KEYS="required", BITEXT_CORES="1") as server:
            caller = Caller(server, make_key(data))
            with ending_jobs(caller):
                is_good = fuzz(server, caller, program, options, Path(folder))
            if not is_good or caller.ask("GET", "/ready")[0] != 200:
                raise SystemExit(1)


def found_program() -> str:
    """schemathesis, beside this Python or anywhere."""
    beside = str(Path(sys.executable).parent)
    program = shutil.which("schemathesis", path=beside) or shutil.which("schemathesis")
    if program is None:
        raise SystemExit("no schemathesis: pip install 'bitext[fuzz]'")
    return program


def fuzz(server: Server, caller: Caller, program: str, options: Any, folder: Path) -> bool:
    """Whether every answer was as it should be."""
    names = prepare(caller)
    wrong = send_malformed(caller, operations(caller, names), options.bodies, options.seed)
    wrong += run_schemathesis(program, server, caller, options, folder, EXCEPTIONS)
    config = EXCEPTIONS + known_names(prepare(caller))  # anew: all may have been removed
    wrong += run_schemathesis(program, server, caller, options, folder, config)
    return not wrong


@contextmanager
def ending_jobs(caller: Caller) -> Iterator[None]:
    """Cancel the jobs that are made, as no worker is there: a stream of their events has an end."""
    stop = threading.Event()

    def cancel() -> None:
        while not stop.wait(1):
            _, _, text = caller.ask("GET", "/v1/jobs?state=queued")
            for job in json.loads(text).get("jobs", ()):
                caller.ask("POST", f"/v1/jobs/{job['id']}/cancel")

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def make_key(data: Path) -> str:
    command = [sys.executable, "-m", "bitext", "keys", "make", "fuzz", "--scope", "train"]
    command += ["--data-dir", str(data)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def prepare(caller: Caller) -> dict[str, dict[str, str]]:
    """Make an index, a snapshot, an upload and a job; what each path means by its names."""
    index = f"/v1/indexes/{INDEX}"
    caller.insist("PUT", index, {})
    caller.insist("POST", f"{index}/sentences", {"sentences": LINES, "language": "en"})
    snapshot = caller.insist("POST", f"{index}/snapshots")["id"]
    upload = caller.insist("POST", "/v1/uploads?name=a.txt", LINES)["id"]
    settings = {"source": f"upload:{upload}", "target": f"upload:{upload}"}
    job = caller.insist("POST", "/v1/jobs", {"kind": "mine", "settings": settings})["id"]
    return {
        "/v1/indexes": {"name": INDEX, "id": "0"},
        "/v1/indexes/{name}/snapshots": {"name": INDEX, "id": snapshot},
        "/v1/uploads": {"id": upload},
        "/v1/jobs": {"id": job, "name": "log.txt"},
        "/v1/models": {"name": "bundled"},
    }


# --- malformed bodies


def operations(caller: Caller, names: dict[str, dict[str, str]]) -> list[Operation]:
    """All that take JSON, with an example of it."""
    document = caller.insist("GET", "/openapi.json")
    found = []
    for template, methods in document["paths"].items():
        for method, operation in methods.items():
            media = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if media is None:
                continue
            path = template
            for prefix, values in names.items():
                if template.startswith(prefix):
                    path = template.format(**values)
            schema = media["schema"]
            name = schema.get("$ref", "").rpartition("/")[2]
            schema = document["components"]["schemas"].get(name, schema)
            examples = schema.get("examples") or [{}]
            for example in examples:
                body = json.dumps(example).encode()
                found.append(
                    Operation(method.upper(), path, body, frozenset(operation["responses"]))
                )
    return found


def send_malformed(caller: Caller, found: list[Operation], count: int, seed: int) -> int:
    """How many of the answers were wrong."""
    seen: Counter[int] = Counter()
    wrong = 0
    for operation, body in malformed(found, count, random.Random(seed)):
        status, kind, text = caller.ask(operation.method, operation.path, body)
        seen[status] += 1
        is_told = str(status) in operation.statuses
        is_problem = status < 400 or kind == "application/problem+json"
        if not is_told or not is_problem or status == 500:
            wrong += 1
            print("WRONG", status, kind, operation.method, operation.path, body[:200], text[:300])
    print(
        json.dumps({"malformed bodies": seen.total(), "statuses": dict(seen), "wrong": wrong}),
        flush=True,
    )
    return wrong


def malformed(
    found: list[Operation], count: int, generator: random.Random
) -> Iterator[tuple[Operation, bytes]]:
    """``count`` mangled examples, in turn, and what is no JSON at all once for each address."""
    for number in range(count):
        operation = found[number % len(found)]
        yield operation, mangled(operation.example, generator)
    for operation in {(one.method, one.path): one for one in found}.values():
        for body in NOT_JSON:
            yield operation, body


def mangled(body: bytes, generator: random.Random) -> bytes:
    """With bytes put in, taken out and doubled, or a value exchanged for another kind of thing."""
    result = bytearray(body)
    for _ in range(generator.randint(1, 4)):
        place = generator.randrange(len(result) + 1)
        kind = generator.randrange(5)
        if kind == 0:
            result[place:place] = generator.randbytes(generator.randint(1, 5))
        elif kind == 1:
            del result[place : place + generator.randint(1, 10)]
        elif kind == 2:
            result[place : place + 1] = generator.choice([b"{", b"}", b"[", b'"', b",", b"\\u"])
        elif kind == 3:
            result[place:place] = bytes(result[place : place + 20]) * 2
        else:
            result = bytearray(exchanged(bytes(result), generator))
    return bytes(result)


def exchanged(body: bytes, generator: random.Random) -> bytes:
    """A value of the object exchanged, where it is still JSON."""
    others: list[Any] = [
        None, True, -1, 0, 2**63, 1e300, "", "\0", "\ud800", "x" * 11_000, [], {}, [[]], [None],
        {"": 0}, "upload:" + "0" * 16, "input:../x", "../../etc/passwd", ["a"] * 3_000,
    ]  # fmt: skip
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(value, dict) or not value:
        return body
    at: Any = value
    while True:
        keys = list(at) if isinstance(at, dict) else list(range(len(at)))
        key = generator.choice(keys)
        if not isinstance(at[key], (dict, list)) or not at[key] or generator.random() < 0.3:
            break
        at = at[key]
    at[key] = generator.choice(others)
    return json.dumps(value).encode()


# --- schemathesis


def known_names(names: dict[str, dict[str, str]]) -> str:
    """A file of settings in which the names of paths are those of things that are there."""
    lines = [
        f'[[operations]]\ninclude-operation-id = "{name}"\nenabled = false' for name in CHANGING
    ]
    for prefix, values in names.items():
        start = prefix.replace("{", "\\\\{").replace("}", "\\\\}")
        lines += [f'[[operations]]\ninclude-path-regex = "^{start}/"', "[operations.parameters]"]
        lines += [f'"path.{name}" = "{value}"' for name, value in values.items()]
    # Its id, which is to be wrong at times, is always the right one here.
    lines += ["[[operations]]", 'include-operation-id = "get_sentence"']
    lines += ["checks.negative_data_rejection.enabled = false"]
    return "\n".join(lines) + "\n"


def run_schemathesis(
    program: str, server: Server, caller: Caller, options: Any, folder: Path, config: str
) -> int:
    """Its exit code."""
    settings = folder / "schemathesis.toml"
    settings.write_text(config)
    command = [
        program, "--config-file", str(settings), "run", f"{server.url}/openapi.json",
        "--header", f"Authorization: {caller.headers['Authorization']}",
        "--seed", str(options.seed), "--max-examples", str(options.examples),
        "--generation-database", "none", "--continue-on-failure", "--no-color",
        "--request-timeout", "60", *options.options,
    ]  # fmt: skip
    return subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONHASHSEED": "0"}).returncode


if __name__ == "__main__":
    main()
