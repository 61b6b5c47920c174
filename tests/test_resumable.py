"""Output that an interrupted run leaves is gone on with, or refused, and never wrong."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from bitext import resumable
from bitext.errors import InputError, MismatchError
from bitext.resumable import (
    Mark,
    ResumableFile,
    Setting,
    Watched,
    packer,
    resumable_folder,
    resumable_write,
)
from bitext.text import open_lines

SETTINGS: dict[str, Setting] = {"method": "itermax", "chunk": 2}
WORDS = ["a", "b", "c", "d", "e"]


class Stop(Exception):
    """What ends a run of these tests early."""


def copy(
    path: Path,
    words: Iterable[str] = WORDS,
    *,
    stop_after: int | None = None,
    stop: BaseException | None = None,
    restart: bool = False,
    **settings: str | int,
) -> int:
    """Write each word, two at a time; how many were done before."""
    watched = Watched(words, str)
    pack = packer(path)
    with resumable_write(path, {**SETTINGS, **settings}, what="words", restart=restart) as out:
        out.skip(watched, "the list")
        done = out.mark.items
        for chunk in iter(lambda: [word for _, word in zip(range(2), watched, strict=False)], []):
            if out.mark.items == stop_after:
                raise stop or Stop
            out.write(pack("".join(word + "\n" for word in chunk)), watched.mark)
    return done


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def broken(folder: Path, after: int = 2) -> Path:
    """A part of so many words."""
    path = folder / "out"
    with pytest.raises(Stop):
        copy(path, stop_after=after)
    assert names(folder) == ["out.part", "out.part.json"]
    return path


def test_an_unbroken_run_leaves_the_file_alone(tmp_path: Path) -> None:
    assert copy(tmp_path / "out") == 0
    assert (tmp_path / "out").read_text() == "a\nb\nc\nd\ne\n"
    assert names(tmp_path) == ["out"]


def test_a_broken_run_is_gone_on_with(tmp_path: Path) -> None:
    path = broken(tmp_path, after=4)
    assert copy(path) == 4
    assert path.read_text() == "a\nb\nc\nd\ne\n"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_compressed_file_is_the_same_broken_or_not(tmp_path: Path, suffix: str) -> None:
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    copy(whole)
    with pytest.raises(Stop):
        copy(path, stop_after=2)
    copy(path)
    assert path.read_bytes() == whole.read_bytes()
    assert list(open_lines(path)) == WORDS


def test_what_the_journal_does_not_vouch_for_is_cut_off(tmp_path: Path) -> None:
    path = broken(tmp_path)
    with open(f"{path}.part", "a") as part:
        part.write("c\nd")  # half a chunk, as a killed run leaves
    assert copy(path) == 2
    assert path.read_text() == "a\nb\nc\nd\ne\n"


def test_the_journal_is_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "SAVE_SECONDS", 0.0)
    journals = []

    def watched() -> Iterable[str]:
        for word in WORDS:
            journals.append(json.loads((tmp_path / "out.part.json").read_text())["bytes"])
            yield word

    copy(tmp_path / "out", watched())
    # words are read two at a time, and each takes two bytes
    assert journals == [0, 0, 4, 4, 8]


def test_other_settings_are_refused(tmp_path: Path) -> None:
    path = broken(tmp_path)
    with pytest.raises(MismatchError) as caught:
        copy(path, method="argmax")
    assert str(caught.value) == (
        f"{path}.part was begun with method itermax, not argmax; "
        "say --restart to throw the part away and begin anew"
    )
    with pytest.raises(MismatchError, match="begun with layer none, not 3"):
        copy(path, layer=3)
    assert copy(path) == 2, "a refusal changes nothing"


@pytest.mark.parametrize("words", [["a", "B", "c"], ["ab", ""], ["a"]])
def test_other_input_is_refused(tmp_path: Path, words: list[str]) -> None:
    path = broken(tmp_path)
    with pytest.raises(MismatchError, match="the list is not what .*out.part was made of"):
        copy(path, words)
    assert copy(path) == 2


def test_input_that_changed_further_on_is_taken(tmp_path: Path) -> None:
    path = broken(tmp_path)
    assert copy(path, ["a", "b", "z"]) == 2
    assert path.read_text() == "a\nb\nz\n"


def test_restart_throws_the_part_away(tmp_path: Path) -> None:
    path = broken(tmp_path)
    assert copy(path, ["x"], method="argmax", restart=True) == 0
    assert path.read_text() == "x\n"
    assert names(tmp_path) == ["out"]


def test_a_part_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.part").write_text("half a download")
    with pytest.raises(InputError, match=r"will not replace .*out\.part, which has no journal"):
        copy(tmp_path / "out")
    assert (tmp_path / "out.part").read_text() == "half a download"


def test_a_journal_that_is_none_is_refused(tmp_path: Path) -> None:
    path = broken(tmp_path)
    Path(f"{path}.part.json").write_text("{}")
    with pytest.raises(InputError, match=r"out\.part\.json, which is no journal of bitext"):
        copy(path)


def test_a_part_that_lost_bytes_is_refused(tmp_path: Path) -> None:
    path = broken(tmp_path)
    os.truncate(f"{path}.part", 3)
    with pytest.raises(InputError, match="has 3 bytes, fewer than the 4 in its journal"):
        copy(path)


def test_a_journal_without_its_part_is_begun_anew(tmp_path: Path) -> None:
    path = broken(tmp_path)
    os.unlink(f"{path}.part")
    assert copy(path) == 0
    assert path.read_text() == "a\nb\nc\nd\ne\n"


def test_two_runs_do_not_write_one_part(tmp_path: Path) -> None:
    with resumable_write(tmp_path / "out", SETTINGS) as out:
        out.write(b"a\n", Mark(1, "x"))
        with pytest.raises(InputError, match=r"another run is writing .*out\.part"):
            copy(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "a\n"


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt) as caught:
        copy(path, stop_after=4, stop=KeyboardInterrupt())
    hint = f"{path}.part keeps 4 words: the same command goes on from there"
    assert str(caught.value) == hint
    with pytest.raises(InputError) as refused:
        copy(path, stop_after=4, stop=InputError("line 5 is bad"))
    assert (str(refused.value), refused.value.hint) == ("line 5 is bad", hint)


def test_an_interrupt_before_anything_is_done_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        copy(tmp_path / "out", stop_after=0, stop=KeyboardInterrupt())
    assert str(caught.value) == ""
    assert names(tmp_path) == []


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk's end; Python lets writes then fail."""
    program = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_resumable import copy, InputError
resource.setrlimit(resource.RLIMIT_FSIZE, (500, resource.RLIM_INFINITY))
try:
    copy(Path({str(tmp_path / "out")!r}), [200 * "a", 200 * "b", 99 * "c", "d"])
except InputError as error:
    print(error, error.hint, sep="|", end="")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    part = tmp_path / "out.part"
    # the second chunk would end at byte 402 + 102
    assert done.stdout == (
        f"cannot write {part}: {os.strerror(errno.EFBIG)}|"
        f"{part} keeps 2 words: the same command goes on from there"
    )
    words = [200 * "a", 200 * "b", 99 * "c", "d"]
    assert copy(tmp_path / "out", words) == 2
    assert (tmp_path / "out").read_text().split() == words


def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    copy(tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "real").read_text() == "a\nb\nc\nd\ne\n"


def test_no_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot write .*: No such file or directory"):
        copy(tmp_path / "none" / "out")


def test_marks_tell_items_apart() -> None:
    """The hash of ``["ab", ""]`` is not that of ``["a", "b"]``."""
    marks = set()
    for words in (["ab", ""], ["a", "b"], ["b", "a"], ["ab"]):
        watched = Watched(words, str)
        list(watched)
        marks.add(watched.mark)
    assert len(marks) == 4


def test_a_finished_file_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old\n")
    with pytest.raises(Stop):
        copy(path, stop_after=2)
    assert path.read_text() == "old\n"
    copy(path)
    assert path.read_text() == "a\nb\nc\nd\ne\n"


def test_the_hint_counts_what_was_done() -> None:
    assert "keeps 12,800 pairs" in hint_of(12_800)


def hint_of(items: int) -> str:
    journal = resumable.Journal(settings={}, items=items)
    with open(os.devnull, "wb") as file:
        return ResumableFile(Path("links.part"), file, journal, "pairs").hint


# --- a folder with one large file


def copy_folder(
    path: Path,
    words: Iterable[str] = WORDS,
    *,
    name: str = "rows",
    stop_after: int | None = None,
    restart: bool = False,
    **settings: str | int,
) -> int:
    """Write each word to a file in a folder, and how many there were beside it."""
    watched = Watched(words, str)
    given = {**SETTINGS, **settings}
    with resumable_folder(
        path, name, given, marker="count", others=["rows", "other"], what="words", restart=restart
    ) as out:
        out.skip(watched, "the list")
        done = out.mark.items
        for word in watched:
            if out.mark.items == stop_after:
                raise Stop
            out.write(f"{word}\n".encode(), watched.mark)
        (out.part.parent / "count").write_text(str(len(out.part.read_text().split())))
    return done


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "out"
    assert copy_folder(path) == 0
    assert (names(tmp_path), names(path)) == (["out"], ["count", "rows"])
    assert ((path / "rows").read_text(), (path / "count").read_text()) == ("a\nb\nc\nd\ne\n", "5")


def test_a_broken_folder_is_gone_on_with_and_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "out"
    copy_folder(path, ["old"])
    with pytest.raises(Stop):
        copy_folder(path, stop_after=3)
    assert names(tmp_path) == ["out", "out.part"]
    assert (path / "rows").read_text() == "old\n"
    (tmp_path / "out.part" / ".count.0123.tmp").touch()  # as a killed run leaves
    assert copy_folder(path) == 3
    assert (names(tmp_path), names(path)) == (["out"], ["count", "rows"])
    assert (path / "rows").read_text() == "a\nb\nc\nd\ne\n"


def test_a_folder_run_that_does_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Stop):
        copy_folder(tmp_path / "out", stop_after=0)
    assert names(tmp_path) == []


def test_a_part_of_another_file_is_refused_or_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with pytest.raises(Stop):
        copy_folder(path, stop_after=3)
    with pytest.raises(MismatchError, match=r"out\.part was begun with a file rows; say --restart"):
        copy_folder(path, name="other")
    assert copy_folder(path, name="other", restart=True) == 0
    assert names(path) == ["count", "other"]


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part" / "thesis").touch()
    for restart in (False, True):
        with pytest.raises(InputError, match="bitext did not put thesis there"):
            copy_folder(tmp_path / "out", restart=restart)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis").touch()
    with pytest.raises(InputError, match=r"will not replace .*mine: it is not empty"):
        copy_folder(tmp_path / "mine")
    assert names(tmp_path) == ["mine", "out.part"]


def test_two_runs_do_not_write_one_folder(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with resumable_folder(path, "rows", SETTINGS, marker="count") as out:
        out.write(b"a\n", Mark(1, "x"))
        for name in ("rows", "other"):
            with pytest.raises(InputError, match=r"another run is writing .*out\.part"):
                copy_folder(path, name=name, restart=True)
    assert (path / "rows").read_text() == "a\n"
