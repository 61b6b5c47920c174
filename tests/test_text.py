"""Text in and out: what is read, what is refused and in which words, and writing all or nothing."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bitext.text
from bitext.errors import InputError
from bitext.text import (
    MAX_LINE_BYTES,
    atomic_folder,
    atomic_write,
    data_folder,
    open_lines,
    read_alignments,
    read_bitext,
    read_gold,
    read_parallel,
    read_sentences,
    words,
)
from bitext.types import Alignment, GoldAlignment, SentencePair
from bitext.zstd import ZstdReader

Put = Callable[[str, bytes], Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Write a file into the working folder, which is an empty one; messages then name it alone."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, content: bytes) -> Path:
        Path(name).write_bytes(content)
        return Path(name)

    return write


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return give


def compress(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


def error_of(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


# --- lines

CONTENT = "a b\r\nzwei\n\n日本 🙂\n".encode()
LINES = ["a b", "zwei", "", "日本 🙂"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.txt", CONTENT),
        ("x.txt", CONTENT[:-1]),  # the last line without its newline
        ("x.txt", b"\xef\xbb\xbf" + CONTENT),  # a byte order mark, as Windows writes it
        ("x.gz", gzip.compress(CONTENT, mtime=0)),
        ("x.gz", gzip.compress(CONTENT[:9], mtime=0) + gzip.compress(CONTENT[9:], mtime=0)),
        ("x.zst", compress(CONTENT)),
        ("x.zst", compress(CONTENT[:9]) + compress(CONTENT[9:])),  # as `zstd` makes from two files
        ("x.tsv.zst", compress(b"\xef\xbb\xbf" + CONTENT)),
    ],
)
def test_every_form_of_a_file_has_the_same_lines(put: Put, name: str, content: bytes) -> None:
    assert list(open_lines(put(name, content))) == LINES


@pytest.mark.parametrize("path", ["-", Path("-")])
def test_a_hyphen_is_standard_input(stdin: Callable[[bytes], None], path: str | Path) -> None:
    stdin(CONTENT)
    assert list(open_lines(path)) == LINES


def test_standard_input_stays_open(stdin: Callable[[bytes], None]) -> None:
    stdin(CONTENT)
    list(open_lines("-"))
    assert not sys.stdin.buffer.closed


@pytest.mark.parametrize("name", ["x.txt", "x.gz", "x.zst"])
def test_an_empty_file_has_no_lines(put: Put, name: str) -> None:
    packed = {"x.txt": b"", "x.gz": gzip.compress(b""), "x.zst": compress(b"")}
    assert list(open_lines(put(name, packed[name]))) == []


def test_only_a_newline_ends_a_line(put: Put) -> None:
    # str.splitlines would break at each of these, and shift every line after it
    inside = "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g\rh"
    assert list(open_lines(put("x", f"{inside}\nend\r".encode()))) == [inside, "end\r"]


def test_a_mark_in_later_lines_is_text(put: Put) -> None:
    assert list(open_lines(put("x", "a\n\ufeffb\n".encode()))) == ["a", "\ufeffb"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\nb\nabc de\xff\n", "x, line 3: byte 0xff at column 7 is not UTF-8"),
        # columns count characters: two of two bytes each stand before this one
        ("éé".encode() + b"\xe9\n", "x, line 1: byte 0xe9 at column 3 is not UTF-8"),
        (b"cut off \xe6\x97", "x, line 1: byte 0xe6 at column 9 is not UTF-8"),
        (b"\xed\xa0\x80", "x, line 1: byte 0xed at column 1 is not UTF-8"),  # a surrogate
        ("a\n".encode("utf-16"), "x, line 1: byte 0xff at column 1 is not UTF-8"),
        (b"a\nb\x00c\n", "x, line 2: NUL byte at column 2"),
        (b"a" * (MAX_LINE_BYTES + 1), "x, line 1: longer than the 1000000 bytes a line may have"),
        (
            b"a\n" + b"b" * 3 * MAX_LINE_BYTES + b"\nc\n",
            "x, line 2: longer than the 1000000 bytes a line may have",
        ),
    ],
)
def test_a_bad_line_is_named_with_its_fault(put: Put, content: bytes, expected: str) -> None:
    path = put("x", content)
    assert error_of(lambda: list(open_lines(path))) == expected


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\nb", b"\r\nb\n"])
def test_the_longest_line_may_have_any_start_and_end(put: Put, start: bytes, end: bytes) -> None:
    path = put("x", start + b"a" * MAX_LINE_BYTES + end)
    assert list(open_lines(path)) == ["a" * MAX_LINE_BYTES, "b"][: 1 + end.count(b"b")]


def test_lines_before_a_bad_one_have_been_given(put: Put) -> None:
    lines = open_lines(put("x", b"good\n\xff\n"))
    assert next(lines) == "good"
    assert error_of(lambda: next(lines)).startswith("x, line 2:")


def test_a_bad_line_of_standard_input_is_named_so(stdin: Callable[[bytes], None]) -> None:
    stdin(b"\xff")
    expected = "standard input, line 1: byte 0xff at column 1 is not UTF-8"
    assert error_of(lambda: list(open_lines("-"))) == expected


def test_a_missing_file_and_a_folder_are_named(put: Put) -> None:
    put("x", b"")
    Path("folder").mkdir()
    assert (
        error_of(lambda: list(open_lines("nope"))) == "cannot read nope: No such file or directory"
    )
    assert error_of(lambda: list(open_lines("folder"))) == "cannot read folder: Is a directory"


LONG = bytes(range(1, 128)) * 2000


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.gz", gzip.compress(LONG, mtime=0)[:-9], "Compressed file ended before"),
        ("x.gz", b"not gzip", "Not a gzipped file"),
        ("x.gz", gzip.compress(LONG, mtime=0)[:20] + b"\xff" * 60, ""),
        ("x.zst", compress(LONG)[:-1], "the compressed file ends in the middle"),
        ("x.zst", compress(LONG) + compress(LONG)[:9], "the compressed file ends in the middle"),
        ("x.zst", b"not zstd at all", "zstd decompress"),
    ],
)
def test_a_broken_compressed_file_is_not_taken_for_a_short_one(
    put: Put, name: str, content: bytes, reason: str
) -> None:
    path = put(name, content)
    assert error_of(lambda: list(open_lines(path))).startswith(f"cannot read {name}: {reason}")


@pytest.mark.parametrize("name", ["x.gz", "x.zst"])
def test_a_small_file_of_one_huge_line_is_refused_at_the_limit(put: Put, name: str) -> None:
    pack: Callable[[bytes], bytes] = gzip.compress if name == "x.gz" else compress
    path = put(name, pack(b"a" * 50_000_000))
    assert "longer than" in error_of(lambda: list(open_lines(path)))


# --- bitext, alignments, gold


def test_bitext_keeps_both_sides_as_they_stand(put: Put) -> None:
    path = put("x", b"  a b \tder Hund\r\n\t\n")
    assert list(read_bitext(path)) == [SentencePair("  a b ", "der Hund"), SentencePair("", "")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a\tb\nno tab\n", "x, line 2: expected 'source TAB target', found 0 tabs"),
        (b"a\tb\tc\n", "x, line 1: expected 'source TAB target', found 2 tabs"),
        (b"a\tb\n\nc\td\n", "x, line 2: expected 'source TAB target', found 0 tabs"),
        (b"", "x is empty; expected lines of 'source TAB target'"),
        (b"a\tb\n\x00\t\n", "x, line 2: NUL byte at column 1"),
    ],
)
def test_bad_bitext_is_named_by_line(put: Put, content: bytes, expected: str) -> None:
    path = put("x", content)
    assert error_of(lambda: list(read_bitext(path))) == expected


def test_sentences_may_be_empty_but_not_the_file(put: Put) -> None:
    assert list(read_sentences(put("x", b"\na\n"))) == ["", "a"]
    path = put("x", b"")
    expected = "x is empty; expected one sentence a line"
    assert error_of(lambda: list(read_sentences(path))) == expected


def test_parallel_files_are_read_side_by_side(put: Put) -> None:
    pairs = read_parallel(put("en", b"a\nb\n"), put("de.gz", gzip.compress(b"c\n\n")))
    assert list(pairs) == [SentencePair("a", "c"), SentencePair("b", "")]


@pytest.mark.parametrize(
    ("source", "target", "counts"),
    [
        (b"1\n2\n3\n", b"1\n", "en has 3 lines, de has 1 line"),
        (b"1\n", b"1\n2\n3\n", "en has 1 line, de has 3 lines"),
        (b"", b"1\n", "en has 0 lines, de has 1 line"),
        (b"1\n", b"", "en has 1 line, de has 0 lines"),
    ],
)
def test_unequal_line_counts_are_both_told(
    put: Put, source: bytes, target: bytes, counts: str
) -> None:
    paths = put("en", source), put("de", target)
    why = "; they must have as many, as line n of one translates line n of the other"
    assert error_of(lambda: list(read_parallel(*paths))) == counts + why


def test_two_empty_files_are_no_parallel_text(put: Put) -> None:
    paths = put("en", b""), put("de", b"")
    expected = "en and de are empty; expected one sentence a line"
    assert error_of(lambda: list(read_parallel(*paths))) == expected


def test_standard_input_cannot_be_both_sides() -> None:
    expected = "source and target cannot both be standard input"
    assert error_of(lambda: read_parallel("-", Path("-"))) == expected


def test_alignments_keep_pairs_without_links(put: Put) -> None:
    path = put("x", b"0-0 1-2\n\n2-1\n")
    assert [str(alignment) for alignment in read_alignments(path)] == ["0-0 1-2", "", "2-1"]


def test_a_bad_link_is_named_by_file_and_line(put: Put) -> None:
    path = put("x", b"0-0\n0-0 1\n")
    expected = "x, line 2: expected links such as '0-0 1-2', got '1'"
    assert error_of(lambda: list(read_alignments(path))) == expected
    expected = "x, line 2: expected gold links such as '0-0 1p2', got '1'"
    assert error_of(lambda: read_gold(path)) == expected


def test_gold_must_have_a_line_for_each_pair(put: Put) -> None:
    path = put("x", b"0-0 1p1\n\n")
    gold = [GoldAlignment.parse("0-0 1p1"), GoldAlignment.parse("")]
    assert read_gold(path) == read_gold(path, pairs=2) == gold
    expected = "x has 2 lines for 3 sentence pairs; it must have one line a pair"
    assert error_of(lambda: read_gold(path, pairs=3)) == expected


def test_an_empty_file_has_no_alignments(put: Put) -> None:
    path = put("x", b"")
    expected = "x is empty; expected links such as '0-0 1-2'"
    assert error_of(lambda: list(read_alignments(path))) == expected
    assert error_of(lambda: read_gold(path)) == "x is empty; expected gold links such as '0-0 1p2'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        (" \t ", []),
        ("a  b\tc ", ["a", "b", "c"]),
        ("10\u00a0000 km\u3000weit", ["10\u00a0000", "km\u3000weit"]),  # spaces of other kinds stay
        ("a\rb\x0bc", ["a\rb\x0bc"]),
    ],
)
def test_words_are_what_spaces_and_tabs_separate(text: str, expected: list[str]) -> None:
    assert words(text) == expected


# --- writing

# What a line may hold: any character but those that end or forbid it, and halves of surrogates.
line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r\0"), max_size=20)


@given(st.lists(line))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
def test_what_is_written_is_read_again(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "x"
    with atomic_write(path) as file:
        file.writelines(f"{line}\n" for line in lines)
    read = list(open_lines(path))
    if lines and lines[0].startswith("\ufeff"):
        lines[0] = lines[0][1:]  # at the start of a file it is a byte order mark
    assert read == lines


def names_in(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_file_is_replaced_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with atomic_write(path) as file:
        file.write("new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["x"]


def test_a_file_stays_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_write(path) as file:
        file.write("half of the n")
        file.write(str(1 / 0))
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["x"]


def test_a_file_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "x") as file:
            file.write("text")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_a_link_still_leads_to_the_file_that_was_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "far" / "x")
    with atomic_write(tmp_path / "link") as file:
        file.write("text")
    assert (tmp_path / "far" / "x").read_text() == "text"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("atomic", [atomic_write, atomic_folder])
def test_where_nothing_can_be_written_is_told(
    put: Put, atomic: Callable[[str], AbstractContextManager[object]]
) -> None:
    put("file", b"mine")
    Path("folder").mkdir()
    other, kind = ("folder", "a file") if atomic is atomic_write else ("file", "a folder")

    def write(path: str) -> None:
        with atomic(path):
            pass

    assert error_of(lambda: write("nope/x")).endswith("nope/x: No such file or directory")
    assert (
        error_of(lambda: write(other)) == f"cannot write {other}: what stands there is not {kind}"
    )
    assert names_in(Path()) == ["file", "folder"]
    assert Path("file").read_bytes() == b"mine"


def fill(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    (folder / "parts").mkdir()
    (folder / "parts" / text).write_text(text)


def test_a_new_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with atomic_folder(path) as folder:
        fill(folder, "new")
        assert not path.exists()
    assert names_in(path) == ["manifest.json", "parts"]
    assert names_in(tmp_path) == ["x"]


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_folder_is_replaced_by_the_whole_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool
) -> None:
    if not in_one_step:  # as on a system that cannot exchange two names
        monkeypatch.setattr(bitext.text, "_exchange", lambda first, second: False)
    path = tmp_path / "x"
    for text in ("old", "new"):
        with atomic_folder(path, marker="manifest.json") as folder:
            assert names_in(folder) == []
            fill(folder, text)
    assert names_in(path / "parts") == ["new"]
    assert names_in(tmp_path) == ["x"]


def test_two_folders_exchange_their_names(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has renameat2")
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    (first / "a").touch()
    assert bitext.text._exchange(first, second)
    assert names_in(first) == []
    assert names_in(second) == ["a"]


def test_a_folder_stays_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with atomic_folder(path) as folder:
        fill(folder, "old")
    with pytest.raises(ZeroDivisionError), atomic_folder(path) as folder:
        fill(folder, str(1 / 0))
    assert names_in(path / "parts") == ["old"]
    assert names_in(tmp_path) == ["x"]


def test_a_folder_stays_when_the_process_dies(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with atomic_folder(path) as folder:
        fill(folder, "old")
    program = """
import os, sys
from bitext.text import atomic_folder
with atomic_folder(sys.argv[1]) as folder:
    (folder / "manifest.json").write_text("new")
    os._exit(9)
"""
    done = subprocess.run([sys.executable, "-c", program, path], check=False)
    assert done.returncode == 9
    assert (path / "manifest.json").read_text() == "old"


def test_a_folder_of_other_things_is_not_replaced(put: Put) -> None:
    Path("mine").mkdir()
    put("mine/notes.txt", b"years of work")

    def replace() -> None:
        with atomic_folder("mine", marker="manifest.json"):
            pass

    expected = "will not replace mine: it is not empty and has no manifest.json"
    assert error_of(replace) == expected
    assert names_in(Path("mine")) == ["notes.txt"]


def test_an_empty_folder_is_replaced_without_its_marker(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with atomic_folder(tmp_path / "x", marker="manifest.json") as folder:
        fill(folder, "new")
    assert (tmp_path / "x" / "manifest.json").read_text() == "new"


# --- where data lie


def test_the_data_folder_is_given_or_beside_the_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BITEXT_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    monkeypatch.delenv("BITEXT_DATA")
    repository = Path(bitext.text.__file__).resolve().parents[1]
    assert data_folder() == repository.parent / "shared" / "data"
    monkeypatch.setenv("BITEXT_DATA", "")
    assert data_folder() == repository.parent / "shared" / "data"


def test_published_alignments_are_read_and_written_unchanged() -> None:
    folder = data_folder() / "alignment" / "peer_outputs"
    if not folder.is_dir():
        pytest.skip(f"no {folder}; BITEXT_DATA names the data folder")
    for path in sorted(folder.glob("*.align")):
        for alignment, raw in zip(read_alignments(path), open_lines(path), strict=True):
            assert alignment == Alignment.parse(raw)
            assert sorted(str(alignment).split()) == sorted(set(raw.split()))


def test_little_that_stands_for_much_is_unpacked_in_steps() -> None:
    packed = compress(bytes(2**26))
    assert len(packed) < 2**13
    reader, most, total = ZstdReader(io.BytesIO(packed)), 0, 0
    while found := reader.read(1):
        most = max(most, len(reader._output))
        total += len(found) + len(reader._output)
        reader._output = memoryview(b"")
    assert total == 2**26
    assert most < 2**24
