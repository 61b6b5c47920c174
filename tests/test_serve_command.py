from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any
from urllib.request import urlopen

import pytest

from bitext.errors import BitextError, InputError
from service.listening import address_of, listen
from service.settings import Settings

DOCUMENTATION = Path(__file__).parents[1] / "docs" / "http-api.md"

# --- settings


def test_variables_are_read_by_the_name_of_their_setting() -> None:
    environ = {
        "BITEXT_PORT": "9000",
        "BITEXT_MODELS": "a, b/c",
        "BITEXT_SAMPLE": "false",
        "BITEXT_DATA_DIR": "/d",
        "BITEXT_DATA": "/measuring",  # not ours, but known
        "HOME": "/home",
    }
    settings = Settings.load(environ, model="x", host=None)
    assert (settings.port, settings.sample, settings.host) == (9000, False, "127.0.0.1")
    assert settings.model_names == ("x", "a", "b/c")
    assert settings.indexes == Path("/d/indexes")


def test_options_come_before_variables() -> None:
    settings = Settings.load({"BITEXT_PORT": "9000", "BITEXT_INDEX_DIR": "/i"}, port=9001)
    assert settings.port == 9001
    assert settings.indexes == Path("/i")


def test_the_default_model_is_named_once() -> None:
    assert Settings(model="a", models=("b", "a")).model_names == ("a", "b")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("/x/data", Path("/x/data/bitext")), ("relative", Path.home() / ".local/share/bitext")],
)
def test_data_lie_where_xdg_says(
    monkeypatch: pytest.MonkeyPatch, given: str, expected: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", given)
    assert Settings().data_dir == expected


@pytest.mark.parametrize(
    ("environ", "options", "sentence"),
    [
        ({"BITEXT_PROT": "1"}, {}, r"^unknown variable 'BITEXT_PROT'; choose one of: BITEXT_ALLOW"),
        ({"BITEXT_PORT": "many"}, {}, "^BITEXT_PORT='many': input should be a valid integer"),
        ({"BITEXT_PORT": "65536"}, {}, "^BITEXT_PORT='65536': input should be less than or equal"),
        ({"BITEXT_MAX_K": "0"}, {}, "^BITEXT_MAX_K='0': input should be greater than 0$"),
        ({"BITEXT_MODEL": ""}, {}, "^BITEXT_MODEL='': string should have at least 1 character$"),
        ({"BITEXT_SAMPLE": "maybe"}, {}, "^BITEXT_SAMPLE='maybe': input should be a valid bool"),
        ({}, {"port": 70000}, "^--port 70000: input should be less than or equal to 65535$"),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    environ: dict[str, str], options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BitextError, match=sentence):
        Settings.load(environ, **options)


@pytest.fixture
def file(write: Callable[..., Path]) -> Path:
    return write("bitext.toml", "port = 9000", 'models = ["a", "b"]', "max_k = 5", "sample = false")


def test_the_file_comes_after_variables_and_these_after_options(file: Path) -> None:
    environ = {"BITEXT_CONFIG": str(file), "BITEXT_PORT": "9001", "BITEXT_MAX_K": "6"}
    settings = Settings.load(environ, max_k=7)
    assert (settings.max_k, settings.port, settings.sample) == (7, 9001, False)
    assert settings.models == ("a", "b")


def test_the_option_names_another_file_than_the_variable(
    file: Path, write: Callable[..., Path]
) -> None:
    other = write("other.toml", "max_k = 9")
    settings = Settings.load({"BITEXT_CONFIG": str(file)}, config=other)
    assert (settings.max_k, settings.port) == (9, 8000)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("prot = 1", r"^{file}: unknown setting 'prot'; choose one of: allowed_hosts, "),
        ("[service]", r"^{file}: unknown setting 'service'; choose one of: "),
        ("port = 70000", "^{file}: port = 70000: input should be less than or equal to 65535$"),
        ("models = [1]", "^{file}: models = 1: input should be a valid string$"),
        ("port = ", "^{file} is not a TOML file: Invalid value"),
    ],
)
def test_a_file_that_is_wrong_is_named(
    write: Callable[..., Path], line: str, sentence: str
) -> None:
    file = write("bitext.toml", line)
    with pytest.raises(BitextError, match=sentence.format(file=re.escape(str(file)))):
        Settings.load({}, file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    sentence = f"^cannot read the settings in {tmp_path}/no.toml: No such file or directory$"
    with pytest.raises(InputError, match=sentence):
        Settings.load({"BITEXT_CONFIG": f"{tmp_path}/no.toml"})


def test_every_setting_is_documented_with_its_default() -> None:
    text = DOCUMENTATION.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(BITEXT_\w+)` \|[^|]*\| ([^|]*) \|", text, re.MULTILINE))
    assert set(rows) == {f"BITEXT_{field.upper()}" for field in Settings.model_fields}
    for field, info in Settings.model_fields.items():
        default = info.default
        if isinstance(default, int | str):
            assert rows[f"BITEXT_{field.upper()}"].strip("`") == str(default).lower()


# --- looking before serving

Call = Callable[..., tuple[int, str, str]]


def test_check_tells_what_would_be_used_and_makes_nothing(
    call: Call, file: Path, tiny_model: Path, tmp_path: Path
) -> None:
    file.write_text("max_k = 5\n")
    folder = tmp_path / "new" / "data"
    given = ("--config", file, "--data-dir", folder, "--model", tiny_model, "--port", 0)
    code, out, err = call("serve", "--check", *given)
    assert (code, err) == (0, "")
    rows = dict(line.split("\t", 1) for line in out.splitlines())
    assert rows["max_k"] == f"5\t{file}"
    assert rows["model"] == f"{tiny_model}\t--model"
    assert rows["max_pairs"] == "256\tdefault"
    assert rows["folder indexes"].startswith(f"{folder}/indexes: will be made, ")
    assert rows["database"].startswith(f"sqlite:///{folder}/bitext.db: will be made; ")
    assert rows[f"model {tiny_model}"].endswith(" MB, float32 on cpu")
    assert rows["address"] == "127.0.0.1, 0: a free one"
    assert not folder.parent.exists()


def test_check_tells_every_problem_in_a_sentence(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BITEXT_DATABASE", "postgresql://me:secret@127.0.0.1:1/x")
    monkeypatch.setenv("BITEXT_TRANSLATION_MODELS", f"gone=/nix,empty={tmp_path}")
    (tmp_path / "file").touch()
    (tmp_path / "indexes" / "mine").mkdir(parents=True)
    (tmp_path / "indexes" / "mine" / "manifest.json").write_text("{}")
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        options = ("--data-dir", tmp_path, "--model", "./nowhere", "--port", port)
        monkeypatch.setenv("BITEXT_SNAPSHOT_DIR", f"{tmp_path}/file/snapshots")
        code, out, err = call("serve", "--check", *options)
    assert code == 2
    assert "secret" not in out + err
    assert "database\tpostgresql://me:***@127.0.0.1:1/x\tBITEXT_DATABASE\n" in out
    starts = [
        f"folder snapshots: {tmp_path}/file is not a folder",
        "database postgresql+psycopg://me:***@127.0.0.1:1/x: connection failed",
        "model './nowhere' is not a folder here, nor a name such as 'owner/model'",
        "translation model gone: model '/nix' is not a folder here",
        f"translation model empty: {tmp_path}: a checkpoint folder needs a config.json",
        "index 'mine' cannot be read: ",
        f"address: port {port} of 127.0.0.1 is in use",
    ]
    lines = err.splitlines()
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(f"bitext serve: {start}")


# --- listening


def test_a_port_in_use_is_told() -> None:
    with listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        sentence = f"^port {port} of 127.0.0.1 is in use; choose another one with --port$"
        with pytest.raises(InputError, match=sentence):
            listen("127.0.0.1", port)
    listen("127.0.0.1", port).close()  # free again at once


@pytest.mark.parametrize(
    ("host", "sentence"),
    [
        ("no.such.host.invalid", "^host 'no.such.host.invalid' is neither an address nor a known"),
        ("a..b", "^host 'a..b' is neither an address nor a known name$"),
        ("192.0.2.1", "^host '192.0.2.1' is not an address of this machine$"),  # RFC 5737: nobody's
    ],
)
def test_a_host_that_is_not_ours_is_told(host: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        listen(host, 0)


def test_the_address_is_one_a_browser_can_open() -> None:
    with listen("0.0.0.0", 0) as everywhere:
        assert address_of(everywhere) == f"http://127.0.0.1:{everywhere.getsockname()[1]}/"
    if socket.has_ipv6:
        with socket.socket(socket.AF_INET6) as loopback:
            try:
                loopback.bind(("::1", 0))
            except OSError:
                pytest.skip("no IPv6 here")
            assert address_of(loopback) == f"http://[::1]:{loopback.getsockname()[1]}/"


# --- the command, as a user starts it


@contextmanager
def bitext_serve(*options: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("BITEXT_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "bitext", "serve", "--data-dir", str(folder), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**environ, "HF_HUB_OFFLINE": "1"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_it_prints_its_address_answers_and_stops_at_ctrl_c(
    tiny_model: Path, tmp_path: Path
) -> None:
    with bitext_serve("--port", "0", "--model", str(tiny_model), folder=tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"bitext is at (http://127\.0\.0\.1:\d+/) \(Ctrl-C stops it\)\n", line)
        assert found is not None, line or process.communicate()[1]
        for _ in range(1200):  # until the sample index is there
            if (tmp_path / "indexes" / "sample").exists():
                break
            sleep(0.05)
        with urlopen(f"{found[1]}health") as answer:
            assert answer.read() == b'{"status":"alive"}'
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in log
    assert "GET /health" not in log  # who asks whether we live is not worth a line


def test_ctrl_c_does_not_wait_for_the_model(tiny_model: Path, tmp_path: Path) -> None:
    with bitext_serve("--port", "0", "--model", str(tiny_model), folder=tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("bitext is at ")
        process.send_signal(signal.SIGINT)  # torch is being imported now
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Traceback" not in log
    assert "ready with model" not in log


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--port", "0", "--model", "./nowhere"], "model './nowhere' is not a folder here"),
        (["--log-level", "loud"], "unknown log level 'loud'; choose one of: critical, debug"),
        (
            ["--port", "{port}"],
            "port {port} of 127.0.0.1 is in use; choose another one with --port",
        ),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    tmp_path: Path, options: list[str], sentence: str
) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        options = [option.format(port=port) for option in options]
        with bitext_serve("--log-level=error", *options, folder=tmp_path) as process:
            _, errors = process.communicate(timeout=120)
    assert process.returncode == 2
    assert errors.startswith(f"bitext serve: {sentence.format(port=port)}")
    assert errors.count("\n") == 1
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"bitext.db", "bitext.db-shm", "bitext.db-wal"}  # nothing half written
