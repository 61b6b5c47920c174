"""``bitext align`` over many pairs: killed and gone on with, and in several processes."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from aligners.batch import Task
from aligners.inputs import Source
from aligners.options import AlignerChoice, devices_of
from aligners.output import Style
from aligners.workers import Team, WorkerError, working
from bitext.cli import main
from bitext.errors import TooLongError

ROOT = Path(__file__).parents[1]
PAIRS = [f"the house {'is small ' * (n % 5)}\tdas haus {'ist klein ' * (n % 3)}" for n in range(20)]

# The journal is written after every chunk, not now and then.
PROGRAM = """
from bitext import cli, resumable
resumable.SAVE_SECONDS = 0.0
if __name__ == "__main__":
    cli.main()
"""


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(line + "\n" for line in PAIRS))
    return path


def align(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main(["align", *map(str, arguments)])
    return end.value.code


class Broken:
    """A run that waits for more pairs than it is given, and is then stopped by a signal."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.output = folder / "links"
        (folder / "program.py").write_text(PROGRAM)
        command = [sys.executable, folder / "program.py", "align", "-", "--output", self.output]
        self.process = subprocess.Popen(
            [*map(str, command), *map(str, arguments)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            start_new_session=True,  # a group of its own, as a shell gives, for Ctrl-C to reach
        )

    def give(self, lines: list[str]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("".join(line + "\n" for line in lines).encode())
        self.process.stdin.flush()

    def wait_for(self, items: int) -> None:
        journal = Path(f"{self.output}.part.json")
        while not (journal.is_file() and json.loads(journal.read_text())["items"] >= items):
            assert self.process.poll() is None, "ended early"
            time.sleep(0.05)

    def stop(self, number: signal.Signals) -> tuple[int, str]:
        os.killpg(self.process.pid, number)
        return self.process.wait(), self.process.communicate()[1].decode()


def test_a_killed_run_is_gone_on_with(tiny_model: Path, pairs: Path, tmp_path: Path) -> None:
    chosen = ["--model", tiny_model, "--chunk", 4, "--format", "scored"]
    assert align(pairs, *chosen, "--output", tmp_path / "whole") == 0
    run = Broken(tmp_path, *chosen)
    run.give(PAIRS[:10])  # two chunks, and two pairs of the third
    run.wait_for(8)
    assert run.stop(signal.SIGKILL)[0] == -signal.SIGKILL
    assert not run.output.exists()
    with open(f"{run.output}.part", "a") as part:
        part.write("0-0/0.5 1-")  # as if the kill had come amid a line
    assert align(pairs, *chosen, "--output", run.output) == 0
    assert run.output.read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(tmp_path.glob("links*")) == [run.output]


def test_ctrl_c_ends_all_processes_and_says_how_to_go_on(
    tiny_model: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["--model", tiny_model, "--chunk", 1, "--processes", 2]
    run = Broken(tmp_path, *chosen)
    run.give(PAIRS[:10])  # of ten chunks, eight are read ahead of their turn
    run.wait_for(2)
    code, said = run.stop(signal.SIGINT)
    part = f"{run.output}.part"
    kept = len(Path(part).read_text().splitlines())
    hint = f"{part} keeps {kept} pairs: the same command goes on from there"
    assert code == 130
    assert said.endswith(f"\nbitext align: interrupted; {hint}\n")  # behind the signature
    # the number of processes is free to change; the model, the method and the chunk are not
    alone = [pairs, "--model", tiny_model, "--output", run.output]
    assert align(*alone, "--chunk", 1, "--method", "argmax") == 2
    assert f"{part} was begun with aligner bitext " in capsys.readouterr().err
    assert align(*alone) == 2
    assert "was begun with chunk 1, not 256" in capsys.readouterr().err
    assert align(*alone, "--chunk", 1) == 0
    assert align(pairs, "--model", tiny_model, "--chunk", 1) == 0
    assert run.output.read_text() == capsys.readouterr().out


def test_a_changed_input_is_refused(
    tiny_model: Path, pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.tsv"
    bad.write_text("".join(line + "\n" for line in [*PAIRS[:4], "no tab"]))
    chosen = ["--model", tiny_model, "--chunk", 2, "--output", tmp_path / "links"]
    assert align(bad, *chosen) == 2  # four pairs are done and kept
    bad.write_text("the house\tdas haus\n" * 10)
    capsys.readouterr()
    assert align(bad, *chosen) == 2
    said = capsys.readouterr().err
    assert f"{bad} is not what {tmp_path / 'links'}.part was made of: its first 4 pairs" in said
    assert align(bad, *chosen, "--restart") == 0
    assert len((tmp_path / "links").read_text().splitlines()) == 10


# --- several processes


@pytest.fixture(scope="module")
def team(tiny_model: Path) -> Iterator[Team]:
    """Two processes; the last test ends one of them."""
    task = Task(AlignerChoice(str(tiny_model)), Style("scored"), ("pairs.tsv",), keep=True)
    with working(task, ["cpu", "cpu"]) as team:
        yield team


def made_by(team: Team, path: Path, chunk: int) -> str:
    source = Source(str(path), None, raw=False, chunk=chunk)
    return "".join(made.text for made in team.make_all(source.chunks()))


def test_two_processes_give_what_one_gives_in_order(
    team: Team, tiny_model: Path, pairs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert align(pairs, "--model", tiny_model, "--chunk", 1, "--scores") == 0
    assert made_by(team, pairs, chunk=1) == capsys.readouterr().out
    assert len(multiprocessing.active_children()) == 2


def test_both_kinds_of_team_have_the_same_settings(team: Team, tiny_model: Path) -> None:
    task = Task(AlignerChoice(str(tiny_model)), Style("scored"), ("pairs.tsv",))
    with working(task, ["cpu"]) as alone:
        assert alone.settings == team.settings
        assert alone.signatures == team.signatures


def test_an_error_in_a_process_names_file_and_line(team: Team, tmp_path: Path) -> None:
    path = tmp_path / "long.tsv"
    path.write_text("a\tb\n" * 3 + "house\t" + "haus " * 100 + "\n")
    with pytest.raises(TooLongError, match=r"^pairs\.tsv, line 4, target has [0-9]+ pieces"):
        made_by(team, path, chunk=2)


def test_a_process_that_dies_ends_the_run_with_one_sentence(team: Team, pairs: Path) -> None:
    child = multiprocessing.active_children()[0]
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(WorkerError, match="^one of the 2 processes was killed or crashed"):
        made_by(team, pairs, chunk=1)


def test_processes_take_devices_in_turn() -> None:
    assert devices_of("cpu", None) == ["cpu"]
    assert devices_of("cuda:0,cuda:1", None) == ["cuda:0", "cuda:1"]
    assert devices_of("cuda:0, cuda:1", 3) == ["cuda:0", "cuda:1", "cuda:0"]
