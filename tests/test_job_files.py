"""What a job leaves on the disk: log, progress, measurements, artefacts; and how fast it goes."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest

from bitext import progress
from bitext.progress import report_progress
from service.errors import UnknownJobError
from service.jobs import looking
from service.jobs.looking import (
    Series,
    artefacts,
    find_artefact,
    last_line,
    read_log,
    read_measurements,
    read_progress,
    zipped,
)
from service.jobs.rate import RateMeter


def test_a_log_is_read_by_its_bytes(tmp_path: Path) -> None:
    assert read_log(tmp_path) == ([], 0)
    (tmp_path / "log.txt").write_bytes("größer\nzwei\nhalb".encode())
    assert read_log(tmp_path, ended=False) == (["größer", "zwei"], 14)  # ö and ß have two bytes
    assert read_log(tmp_path, 14, ended=False) == ([], 14)
    assert read_log(tmp_path, 14, ended=True) == (["halb"], 18)
    assert read_log(tmp_path, 18) == ([], 18)
    assert read_log(tmp_path, 1000) == ([], 1000)


def test_a_long_log_comes_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "PART", 8)
    (tmp_path / "log.txt").write_text("one\ntwo\nthree\na line without end")
    parts, after = [], 0
    while (found := read_log(tmp_path, after)).next > after:
        parts.append(found.lines)
        after = found.next
    assert [line for part in parts for line in part][:3] == ["one", "two", "three"]
    assert "".join(line for part in parts[2:] for line in part) == "a line without end"


def test_the_last_line_says_why(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text("bitext mine: of an attempt before\n")
    start = (tmp_path / "log.txt").stat().st_size
    assert last_line(tmp_path, start) == ""
    with (tmp_path / "log.txt").open("a") as log:
        log.write("searching\nbitext mine: de.txt is empty\n\n")
    assert last_line(tmp_path, start) == "bitext mine: de.txt is empty"


def test_a_command_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, str(tmp_path / "progress.jsonl"))
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    assert read_progress(tmp_path) is None
    with report_progress("first", 3, show=False, unit="steps") as done:
        assert read_progress(tmp_path) == {"stage": "first", "unit": "steps", "done": 0, "total": 3}
        done(2)
        assert read_progress(tmp_path) == {"stage": "first", "unit": "steps", "done": 2, "total": 3}
    with report_progress("lines", show=False) as done:
        done(1)
    assert read_progress(tmp_path) == {"stage": "lines", "unit": "lines", "done": 1, "total": None}
    with (tmp_path / "progress.jsonl").open("a") as file:
        file.write('{"stage": "cut o')
    assert read_progress(tmp_path) == {"stage": "lines", "unit": "lines", "done": 1, "total": None}


def test_the_file_of_progress_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "progress.jsonl"
    monkeypatch.setenv(progress.VARIABLE, str(path))
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    monkeypatch.setattr(progress, "LARGEST", 500)
    with report_progress("steps", 100, show=False) as done:
        for _ in range(100):
            done(1)
    assert path.stat().st_size < 600
    last = read_progress(tmp_path)
    assert last is not None
    assert last["done"] == 100


def test_progress_that_cannot_be_told_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(progress.VARIABLE, "/nowhere/progress.jsonl")
    with report_progress("steps", 1, show=False) as done:
        done(1)


def test_the_rate_is_of_this_attempt() -> None:
    meter = RateMeter()
    said = {"stage": "all", "unit": "steps", "done": 100, "total": 400}
    first = meter.take(said, 0.0)
    assert first is not None
    assert (first["rate"], first["eta_seconds"]) == (None, None)
    assert meter.take(said, 1.0) is None  # nothing new
    # 100 in 50 seconds, and 200 to go
    assert meter.take({**said, "done": 200}, 50.0) == {
        **said, "done": 200, "rate": 2.0, "eta_seconds": 100.0,
    }  # fmt: skip
    other = meter.take({**said, "stage": "next", "done": 0}, 60.0)
    assert other is not None
    assert other["rate"] is None


def test_measurements_are_lines_that_are_whole(tmp_path: Path) -> None:
    assert read_measurements(tmp_path) == []
    run = tmp_path / "out/run"
    run.mkdir(parents=True)
    (run / "log.jsonl").write_text('{"step": 1, "loss": 2.5}\n{"step": 2, "lo')
    assert read_measurements(tmp_path) == [{"step": 1, "loss": 2.5}]


def test_measurements_are_read_on(tmp_path: Path) -> None:
    series = Series(tmp_path)
    assert series.after(0) == ([], 0)
    path = tmp_path / "out/run/log.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text('{"step": 1}\n{"st')
    assert series.after(0) == ([{"step": 1}], 1)
    with path.open("a") as file:
        file.write('ep": 2}\n{"step": 3}\n')
    assert series.after(1) == ([{"step": 2}, {"step": 3}], 3)
    assert series.after(3) == ([], 3)
    assert Series(tmp_path).after(2) == ([{"step": 3}], 3)  # of who was cut off
    path.write_text('{"step": 1}\n')  # an attempt that goes on from a checkpoint
    assert series.after(3) == ([], 1)
    with path.open("a") as file:
        file.write('{"step": 2}\n')
    assert series.after(1) == ([{"step": 2}], 2)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    model = tmp_path / "out/model/sub"
    model.mkdir(parents=True)
    (model.parent / "config.json").write_text("{}")
    (model / "weights").write_bytes(bytes(3_000_000))
    (tmp_path / "log.txt").write_text("done\n")
    return tmp_path


def test_artefacts_are_what_there_is(trained: Path) -> None:
    assert artefacts("train", trained) == {"model": 3_000_002, "log.txt": 5}
    assert artefacts("mine", trained) == {"log.txt": 5}
    assert find_artefact("train", trained, "model") == trained / "out/model"


@pytest.mark.parametrize("name", ["../secret", "out/model", "lock", "", "log.txt/..", "model/sub"])
def test_nothing_else_can_be_downloaded(trained: Path, name: str) -> None:
    with pytest.raises(UnknownJobError, match="choose one of: log.txt, model"):
        find_artefact("train", trained, name)


def test_a_folder_is_one_archive(trained: Path) -> None:
    pieces = list(zipped(trained / "out/model", "model", lambda path: iter([b'{"a": 1}'])))
    assert len(pieces) > 3  # no whole file is ever in memory
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["model/config.json", "model/sub/weights"]
        assert json.loads(archive.read("model/config.json")) == {"a": 1}
