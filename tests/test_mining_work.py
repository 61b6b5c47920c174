"""The folder a mining works in."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitext.errors import InputError, MismatchError
from retrieval.mining.work import WORK_FILE, settle, work_folder


def test_it_goes_when_all_is_done_and_stays_otherwise(tmp_path: Path) -> None:
    with work_folder(tmp_path / "w", keep=False, restart=False) as folder:
        (folder / "vectors").mkdir()
    assert not folder.exists()
    with pytest.raises(RuntimeError), work_folder(tmp_path / "w", keep=False, restart=False):
        raise RuntimeError
    assert folder.is_dir()
    with work_folder(tmp_path / "w", keep=True, restart=False):
        pass
    assert folder.is_dir()


def test_settings_are_those_it_was_begun_with(tmp_path: Path) -> None:
    with work_folder(tmp_path / "w", keep=True, restart=False) as folder:
        settle(folder, {"layer": 4, "model": "abc"})
        settle(folder, {"layer": 4, "model": "abc"})
        with pytest.raises(MismatchError, match="was begun with layer 4, not 5; say --restart"):
            settle(folder, {"layer": 5, "model": "abc"})
        with pytest.raises(MismatchError, match="was begun with layer 4, not none"):
            settle(folder, {"model": "abc"})
    with work_folder(tmp_path / "w", keep=True, restart=True) as folder:
        settle(folder, {"layer": 5, "model": "abc"})


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        work_folder(tmp_path / "w", keep=True, restart=False),
        pytest.raises(InputError, match="another run is at work in"),
        work_folder(tmp_path / "w", keep=True, restart=False),
    ):
        pass


def test_restart_empties_what_is_ours_only(tmp_path: Path) -> None:
    with work_folder(tmp_path / "w", keep=True, restart=False) as folder:
        (folder / "old").touch()
    with work_folder(tmp_path / "w", keep=True, restart=True) as folder:
        assert [entry.name for entry in folder.iterdir()] == [WORK_FILE]
    (tmp_path / "mine.txt").touch()
    with (
        pytest.raises(InputError, match=r"will not work in .*: bitext did not put mine\.txt there"),
        work_folder(tmp_path, keep=True, restart=True),
    ):
        pass
    assert (tmp_path / "mine.txt").exists()


def test_a_file_in_its_place_and_a_damaged_record_are_told(tmp_path: Path) -> None:
    (tmp_path / "w").touch()
    with (
        pytest.raises(InputError, match="is there and is no folder"),
        work_folder(tmp_path / "w", keep=True, restart=False),
    ):
        pass
    with work_folder(tmp_path / "v", keep=True, restart=False) as folder:
        (folder / WORK_FILE).write_text("{")
        with pytest.raises(InputError, match=r"work\.json is damaged; say --restart"):
            settle(folder, {})
