"""The ``bitext`` command: how commands are found, what they may import, how they end."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bitext
from bitext import cli
from bitext.progress import describe_rate, report_progress

# Stands for a command of the project: `bitext demo WORD` does one thing that commands do.
DEMO = '''
"""Commands that end in every way there is."""

from __future__ import annotations

from typing import Annotated

import typer

from bitext.errors import InputError


def demo(
    word: Annotated[str, typer.Argument(help="What to do.")],
    times: Annotated[int, typer.Option(help="How often it is printed.")] = 1,
) -> None:
    """Do one of the things that commands do."""
    if word == "mistake":
        raise InputError("x, line 3: no good")
    if word == "bug":
        raise ValueError("this is a bug")
    if word == "no":
        raise SystemExit(1)
    if word == "ctrl-c":
        raise KeyboardInterrupt
    for _ in range(times):
        print(word)
'''


TOP = sorted({name.split()[0] for name in cli.COMMANDS})
"""Commands and groups of commands."""


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Add ``demo`` and ``evaluate demo``; the folder of their module and of ``run.py``."""
    (tmp_path / "demo_commands.py").write_text(DEMO)
    (tmp_path / "run.py").write_text(
        "from bitext import cli\n"
        "cli.COMMANDS['demo'] = ('demo_commands:demo', 'Demonstrate.')\n"
        "cli.main()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(Path(bitext.__file__).parents[1]))
    for name in ("demo", "evaluate demo"):
        monkeypatch.setitem(cli.COMMANDS, name, ("demo_commands:demo", "Demonstrate."))
    return tmp_path


Outcome = tuple[object, str, str]  # exit code, stdout, stderr
Bitext = Callable[..., Outcome]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Bitext:
    def call(*args: str) -> Outcome:
        with pytest.raises(SystemExit) as caught:
            cli.main(args)
        return (caught.value.code, *capsys.readouterr())

    return call


# --- what is imported


def imported_by(*args: str) -> set[str]:
    """The top-level modules that ``bitext ARGS`` has loaded when it ends well."""
    program = (
        "import sys, bitext.cli\n"
        "try: bitext.cli.main(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *args], capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


HEAVY = {"torch", "transformers", "tokenizers", "faiss", "scipy", "fastapi", "sqlalchemy"}


@pytest.mark.parametrize("args", [["--help"], ["--version"], ["evaluate", "--help"]])
def test_help_imports_next_to_nothing(args: list[str]) -> None:
    loaded = imported_by(*args)
    assert "bitext" in loaded
    assert not loaded & (HEAVY | {"numpy", "typer", "rich", "pydantic"})


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_a_command_shows_its_options_without_the_model_libraries(name: str) -> None:
    loaded = imported_by(*name.split(), "--help")
    assert cli.COMMANDS[name][0].split(".")[0] in loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_says_what_it_and_each_option_does(name: str) -> None:
    module, function = cli.COMMANDS[name][0].split(":")
    command = getattr(importlib.import_module(module), function)
    assert inspect.getdoc(command)
    import typer

    app = typer.Typer(add_completion=False)
    app.command()(command)
    for parameter in typer.main.get_command(app).params:
        assert getattr(parameter, "help", None), f"bitext {name}: {parameter.name} has no help"


# --- how a command is found


def test_help_lists_every_command(run: Bitext) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    for name, (_, text) in cli.COMMANDS.items():
        if " " not in name:
            assert any(line.split() == [name, *text.split()] for line in out.splitlines())
    assert re.search(
        "  evaluate +Score alignment, retrieval, mining, documents or translations", out
    )


def test_help_of_a_group_lists_its_commands_only(run: Bitext) -> None:
    code, out, _ = run("evaluate", "--help")
    assert code == 0
    listed = [line.split()[0] for line in out.split("Commands:\n")[1].splitlines()]
    assert listed == ["alignment", "retrieval", "mining", "documents", "translation"]


def test_version(run: Bitext) -> None:
    assert run("--version") == (0, f"bitext {bitext.__version__}\n", "")


def test_python_m_bitext_is_the_command() -> None:
    command = [sys.executable, "-m", "bitext", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"bitext {bitext.__version__}\n")


@pytest.mark.parametrize("args", [[], ["evaluate"], ["--verbose"]])
def test_without_a_command_the_help_goes_to_stderr(run: Bitext, args: list[str]) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert "Commands:\n" in err


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (
            ["algin"],
            f"bitext: unknown command 'algin'; choose one of: {', '.join(TOP)}",
        ),
        (["alignment"], "bitext: unknown command 'alignment'; choose one of: adapt, align,"),
        (["evaluate alignment"], "bitext: unknown command 'evaluate alignment'; choose one of:"),
        (
            ["evaluate", "x"],
            "bitext: unknown evaluate command 'x'; "
            "choose one of: alignment, documents, mining, retrieval",
        ),
        (
            ["--quiet", "align"],
            "bitext: unknown option '--quiet'; choose one of: --help, --verbose, --version",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_the_choices(
    run: Bitext, args: list[str], sentence: str
) -> None:
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert err.startswith(sentence)
    assert err.count("\n") == 1


# --- how a command ends


@pytest.mark.usefixtures("demo")
class TestEnds:
    def test_well(self, run: Bitext) -> None:
        assert run("demo", "hello", "--times", "2") == (0, "hello\nhello\n", "")

    def test_with_a_mistake_of_the_caller(self, run: Bitext) -> None:
        assert run("demo", "mistake") == (2, "", "bitext demo: x, line 3: no good\n")
        expected = (2, "", "bitext evaluate demo: x, line 3: no good\n")
        assert run("evaluate", "demo", "mistake") == expected

    def test_with_a_code_of_its_own(self, run: Bitext) -> None:
        assert run("demo", "no") == (1, "", "")

    def test_with_ctrl_c(self, run: Bitext) -> None:
        assert run("demo", "ctrl-c") == (130, "", "bitext demo: interrupted\n")

    def test_with_the_traceback_of_a_bug(self) -> None:
        with pytest.raises(ValueError, match="this is a bug"):
            cli.main(["demo", "bug"])

    def test_with_help(self, run: Bitext) -> None:
        code, out, err = run("demo", "--help")
        assert (code, err) == (0, "")
        assert out.startswith("Usage: bitext demo [OPTIONS]")
        assert "How often it is printed." in out

    @pytest.mark.parametrize(
        ("args", "what"),
        [
            (["a", "--tmies", "2"], "No such option: --tmies"),
            (["a", "--times", "two"], "Invalid value for '--times'"),
            ([], "Missing argument"),
            (["a", "b"], "unexpected extra argument"),
        ],
    )
    def test_with_options_that_do_not_exist(self, run: Bitext, args: list[str], what: str) -> None:
        code, out, err = run("demo", *args)
        assert (code, out) == (2, "")
        assert what in err
        assert "bitext demo --help" in err


def test_a_reader_that_goes_away_ends_it_quietly(demo: Path) -> None:
    command = [sys.executable, str(demo / "run.py"), "demo", "word", "--times", "200000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"word\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
@pytest.mark.parametrize("times", ["1", "200000"])  # noticed at the end, and on the way
def test_a_full_disk_is_one_sentence(demo: Path, times: str) -> None:
    command = [sys.executable, str(demo / "run.py"), "demo", "word", "--times", times]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "bitext: cannot write: No space left on device\n"
    assert done.returncode == 2


@pytest.mark.parametrize("args", [["demo", "word"], ["demo", "--help"], ["--help"]])
def test_a_reader_that_never_came_is_noticed_at_the_end(demo: Path, args: list[str]) -> None:
    # A short text stays in Python's buffer until the command has ended.
    command = [sys.executable, str(demo / "run.py"), *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_output_is_utf8_whatever_the_locale(demo: Path) -> None:
    command = [sys.executable, str(demo / "run.py"), "demo", "čaj 茶"]
    environment = {**os.environ, "PYTHONUTF8": "1", "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert done.stdout == "čaj 茶\n".encode()


def test_only_verbose_logs_what_is_done(demo: Path) -> None:
    (demo / "demo_commands.py").write_text(
        "import logging\n"
        "def demo() -> None:\n"
        "    '''Log.'''\n"
        "    logging.getLogger('x').info('loaded')\n"
        "    logging.getLogger('x').warning('careful')\n"
    )

    def errors(*args: str) -> list[str]:
        command = [sys.executable, str(demo / "run.py"), *args]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line.split(" ", 2)[2] for line in done.stderr.splitlines()]

    assert errors("demo") == ["WARNING x: careful"]
    assert errors("--verbose", "demo") == ["INFO x: loaded", "WARNING x: careful"]


# --- progress


@pytest.mark.parametrize(("show", "drawn"), [(True, True), (None, False), (False, False)])
def test_progress_is_drawn_where_asked_for_or_on_a_terminal(
    capsys: pytest.CaptureFixture[str], show: bool | None, drawn: bool
) -> None:
    # pytest's stderr is no terminal
    with report_progress("pairs", 3, show=show) as done:
        done(2)
        done(1)
    out, err = capsys.readouterr()
    assert out == ""
    assert ("pairs" in err and "3/3" in err) if drawn else err == ""


@pytest.mark.parametrize(("total", "left"), [(4, True), (None, False)])
def test_progress_tells_the_rate_and_the_time_left_where_the_end_is_known(
    capsys: pytest.CaptureFixture[str], total: int | None, left: bool
) -> None:
    with report_progress("pairs", total, show=True) as done:
        done(2)  # where the rate counts from
        done(1)
        done(1)
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r" [\d,.]+/s +0:00:0\d", last)
    assert ("left 0:00:00" in last) == left


@pytest.mark.parametrize(
    ("rate", "text"),
    [(None, "?/s"), (1234.5, "1,234/s"), (9.96, "10/s"), (2.34, "2.3/s"), (0.0512, "0.051/s")],
)
def test_a_rate_has_as_many_digits_as_one_can_read(rate: float | None, text: str) -> None:
    assert describe_rate(rate) == text
