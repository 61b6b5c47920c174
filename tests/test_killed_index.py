"""A process that changes an index is killed at any moment: the index is as before or as after."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_text_index import HALVES, LETTERS

from retrieval.store.text_index import TextIndex

KILLING = """
import os, shutil, signal, sqlite3, sys
from contextlib import closing
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from test_text_index import LETTERS, OTHER_HALVES, TextIndex

base, work = Path(sys.argv[2]), Path(sys.argv[3])
TOUCHES = {
    "write", "truncate", "fsync", "unlink", "connect", "execute", "executemany", "commit",
    "mkdir", "rename", "replace", "rmdir", "write_index",
}


def make(index, change):
    if change == "add":
        index.add(OTHER_HALVES, language="fr", encoder=LETTERS)
    elif change == "upsert":
        index.upsert(["c", "cc", "abc"], language="de", encoder=LETTERS, ids=[0, 3, 77])
    elif change == "delete":
        index.delete(ids=[1, 2, 9])
    elif change == "train":
        index.reindex("ivf:lists=2,probes=2")
    elif change == "train again":
        index.reindex("ivf:lists=3,probes=3")
    else:
        index.compact()


def change_and_be_killed(change, step):
    index = TextIndex.load(work)
    touches = 0

    def hook(frame, event, called):  # before each call of a function that is written in C
        nonlocal touches
        if event == "c_call" and called.__name__ in TOUCHES:
            touches += 1
            if touches == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(hook)
    make(index, change)
    sys.setprofile(None)


def contents(folder):
    index = TextIndex.load(folder)
    assert index._mirror.index.kind == index.choice.kind
    held = [tuple(sentence[:3]) for sentence in index.sentences()]
    [hits] = index.retrieve(["a"], k=100, encoder=LETTERS, language="de")
    assert sorted((hit.id, hit.language, hit.text) for hit in hits) == held
    return held


def check(before, after):
    held = contents(work)
    index = TextIndex.load(work)
    [number] = index.add(["aab"], language="de", encoder=LETTERS)
    assert contents(work) == sorted([*held, (number, "de", "aab")])
    names = sorted(path.name for path in work.iterdir())
    [vectors] = work.glob("vectors-*.f32")
    with closing(sqlite3.connect(work / "sentences.db")) as connection:
        [(rows, chosen, number)] = connection.execute("SELECT rows, chosen, search FROM state")
    trained = [] if chosen == "flat" else [f"search-{number}"]
    assert names == ["manifest.json", *trained, "sentences.db", vectors.name], names
    assert vectors.stat().st_size == 4 * 3 * rows
    os._exit(10 if (held, chosen) == before else 11 if (held, chosen) == after else 1)


def in_child(function, *args):
    child = os.fork()
    if child == 0:
        try:
            function(*args)
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def fresh():
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(base, work)


def outcomes(change):
    before = contents(base), TextIndex.load(base).choice.kind
    fresh()
    make(TextIndex.load(work), change)
    after = contents(work), TextIndex.load(work).choice.kind
    # All of them touch files in the same places; one is looked at closely.
    for step in range(1, 500, 1 if change == "upsert" else 3):
        fresh()
        ended = in_child(change_and_be_killed, change, step)
        assert ended in (0, -signal.SIGKILL), ended
        yield in_child(check, before, after)
        if ended == 0:
            return


for change in sys.argv[4:]:
    print(*outcomes(change))
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A centred index with a row that is dead."""
    index = TextIndex.create(tmp_path / "base", LETTERS, centring=True)
    index.add(HALVES, language="de", encoder=LETTERS)
    index.upsert(["aabb"], language="de", encoder=LETTERS, ids=[5])
    return index.folder


@pytest.mark.parametrize(
    ("trained", "changes"),
    [
        (False, ["add", "upsert", "delete", "compact", "train"]),
        (True, ["add", "compact", "train again"]),
    ],
)
def test_killed_at_any_moment(
    base: Path, tmp_path: Path, trained: bool, changes: list[str]
) -> None:
    """A change is killed before its first touch of a file, its second, ... until none is left.

    Each time the folder must load as the index before or after, and take the next addition.
    """
    tests = Path(__file__).parent
    if trained:
        TextIndex.load(base).reindex("ivf:lists=2,probes=2")
    run = subprocess.run(
        [sys.executable, "-c", KILLING, tests, base, tmp_path / "work", *changes],
        cwd=tests.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    for change, line in zip(changes, lines, strict=True):
        outcomes = [int(code) for code in line.split()]
        # 10: as before; 11: as after, which is the same for a compaction. Once it is as after, it
        # stays so.
        assert set(outcomes) == ({10} if change == "compact" else {10, 11}), run.stderr
        assert outcomes == sorted(outcomes)
        assert outcomes.count(10) > 4, change
