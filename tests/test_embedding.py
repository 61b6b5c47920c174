"""``bitext embed`` interrupted and gone on with, ``bitext centring``, and the functions below."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bitext.errors import InputError, MismatchError
from encoders.encoder import Encoder
from retrieval.vectors import embedding
from retrieval.vectors.centring import Centring
from retrieval.vectors.embedding import Embedded, centre_vectors, embed_lines
from retrieval.vectors.encoding import space_of
from retrieval.vectors.files import Vectors

LINES = [f"the {'big ' * (n % 5)}house {n}" for n in range(10)]
OTHER = [f"das {'alte ' * (n % 4)}haus {n}" for n in range(12)]

Run = Callable[..., tuple[int, str, str]]


class Stop(Exception):
    """What ends a run of these tests early."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "CHUNK", 4)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def broken(lines: list[str], after: int) -> Iterator[str]:
    yield from lines[:after]
    raise Stop


def embed(folder: Path, encoder: Encoder, lines: object = LINES, **options: object) -> Embedded:
    space = space_of(encoder, None, None)
    return embed_lines(folder, lines, encoder, space, **options)  # type: ignore[arg-type]


def test_a_broken_run_gives_the_same_bytes(tmp_path: Path, encoder: Encoder) -> None:
    embed(tmp_path / "whole", encoder)
    with pytest.raises(Stop):
        embed(tmp_path / "out", encoder, broken(LINES, 9))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.part", "whole"]
    # two whole chunks of four are done, and the ninth line's chunk is not
    assert json.loads((tmp_path / "out.part/vectors.f32.json").read_text())["items"] == 8
    done: list[int] = []
    embed(tmp_path / "out", encoder, progress=done.append)
    assert done == [8, 2]
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not (tmp_path / "out.part").exists()
    np.testing.assert_allclose(
        Vectors.load(tmp_path / "out").rows, encoder.sentences(LINES), atol=1e-6
    )


def test_rows_beyond_the_journal_are_written_anew(tmp_path: Path, encoder: Encoder) -> None:
    embed(tmp_path / "whole", encoder)
    with pytest.raises(Stop):
        embed(tmp_path / "out", encoder, broken(LINES, 9))
    with open(tmp_path / "out.part/vectors.f32", "ab") as part:
        part.write(b"half a row")
    embed(tmp_path / "out", encoder)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_killed_process_is_gone_on_with(
    tmp_path: Path, encoder: Encoder, tiny_model: Path
) -> None:
    """kill -9 while it waits for more lines, having done and saved the first chunk."""
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from pathlib import Path
from bitext import resumable
from encoders.registry import ModelRegistry
from retrieval.vectors import embedding
from test_embedding import LINES, embed
resumable.SAVE_SECONDS = 0.0
embedding.CHUNK = 4
def lines():
    yield from LINES[:6]
    print("waiting", flush=True)
    time.sleep(600)
embed(Path({str(tmp_path / "out")!r}), ModelRegistry().encoder({str(tiny_model)!r}), lines())
"""
    run = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stdout.readline() == b"waiting\n"
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    run.stdout.close()
    done: list[int] = []
    embed(tmp_path / "out", encoder, progress=done.append)
    assert done == [4, 4, 2]
    embed(tmp_path / "whole", encoder)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_other_settings_and_other_lines_are_refused(tmp_path: Path, encoder: Encoder) -> None:
    with pytest.raises(Stop):
        embed(tmp_path / "out", encoder, broken(LINES, 9))
    with pytest.raises(MismatchError, match="begun with too_long error, not windows"):
        embed(tmp_path / "out", encoder, too_long="windows")
    with pytest.raises(MismatchError, match=r"was begun with a file vectors\.f32"):
        embed(tmp_path / "out", encoder, dtype="float16")
    with pytest.raises(MismatchError, match="the text is not what .* was made of: its first 8"):
        embed(tmp_path / "out", encoder, OTHER)
    embed(tmp_path / "out", encoder, OTHER, restart=True, dtype="float16")
    assert sorted(contents(tmp_path / "out")) == ["manifest.json", "vectors.f16"]


def test_empty_lines_are_counted_over_all_runs(tmp_path: Path, encoder: Encoder) -> None:
    lines = ["", *LINES[:8], "", " "]
    with pytest.raises(Stop):
        embed(tmp_path / "out", encoder, broken(lines, 9))
    manifest, empty = embed(tmp_path / "out", encoder, lines)
    assert (manifest.count, empty) == (11, 3)
    assert embed(tmp_path / "half", encoder, lines, dtype="float16").empty == 3


def test_a_line_too_long_says_how_to_go_on(tmp_path: Path, encoder: Encoder) -> None:
    lines = [*LINES[:5], "house " * 100]
    with pytest.raises(InputError) as caught:
        try:
            embed(tmp_path / "out", encoder, lines)
        except Exception as error:
            raise InputError(f"{error}|{getattr(error, 'hint', '')}") from None
    said, hint = str(caught.value).split("|")
    assert said.startswith("sentence 6 has ")
    part = tmp_path / "out.part/vectors.f32"
    assert hint == f"{part} keeps 4 sentences: the same command goes on from there"


# --- through the command


@pytest.fixture
def run(call: Run, tiny_model: Path) -> Run:
    def run(*arguments: object) -> tuple[int, str, str]:
        given = [str(argument) for argument in arguments]
        if given[:2] != ["centring", "apply"] and "--model" not in given:
            given += ["--model", str(tiny_model)]
        return call(*given)

    return run


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, Path]:
    for name, lines in (("en", LINES), ("de", OTHER)):
        (tmp_path / f"{name}.txt").write_text("".join(line + "\n" for line in lines))
    return tmp_path / "en.txt", tmp_path / "de.txt"


def test_centring_from_text_and_from_vectors_is_the_same(
    run: Run, texts: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "CHUNK", 1024)  # the same batches, and no other rounding
    en, de = texts
    made = run("centring", "fit", f"en={en}", f"de={de}", "--kind", "components:1",
               "--output", tmp_path / "c")  # fmt: skip
    assert made == (0, f"components:1\t2\t22\t{tmp_path / 'c'}\n", "")
    for name, path in (("en", en), ("de", de)):
        assert run("embed", path, "--output", tmp_path / f"v-{name}")[0] == 0
    code, out, _ = run("centring", "fit", f"en={tmp_path / 'v-en'}", f"de={tmp_path / 'v-de'}",
                       "--kind", "components:1", "--output", tmp_path / "d", "--json")  # fmt: skip
    first = Centring.load(tmp_path / "c")
    assert (code, json.loads(out)["centre"]) == (0, first.digest)
    assert contents(tmp_path / "c") == contents(tmp_path / "d")


def test_embed_centres_as_apply_does(run: Run, texts: tuple[Path, Path], tmp_path: Path) -> None:
    en, de = texts
    folder = tmp_path / "c"
    run("centring", "fit", f"en={en}", f"de={de}", "--output", folder)
    run("embed", de, "--output", tmp_path / "raw")
    direct = run("embed", de, "--output", tmp_path / "one", "--centring", folder,
                 "--language", "de")  # fmt: skip
    assert direct == (0, f"12\t16\t{tmp_path / 'one'}\n", "")
    later = run("centring", "apply", tmp_path / "raw", "--centring", folder, "--language", "de",
                "--output", tmp_path / "two")  # fmt: skip
    assert later == (0, f"12\t16\t{tmp_path / 'two'}\n", "")
    one, two = Vectors.load(tmp_path / "one"), Vectors.load(tmp_path / "two")
    np.testing.assert_allclose(one.rows, two.rows, atol=1e-6)
    learnt = Centring.load(folder)
    assert one.manifest.centre == two.manifest.centre == learnt.digest
    raw = Vectors.load(tmp_path / "raw")
    np.testing.assert_allclose(one.rows, learnt.apply(raw.block(0, 12), "de"), atol=1e-6)
    with pytest.raises(MismatchError, match="centred already"):
        centre_vectors(tmp_path / "one", tmp_path / "three", learnt, "de")


def test_vectors_in_half_the_bytes(run: Run, texts: tuple[Path, Path], tmp_path: Path) -> None:
    run("embed", texts[0], "--output", tmp_path / "full")
    assert run("embed", texts[0], "--output", tmp_path / "half", "--store", "float16")[0] == 0
    full, half = Vectors.load(tmp_path / "full"), Vectors.load(tmp_path / "half")
    assert half.manifest.dtype == "float16"
    # float16 rounds a number by at most one part in 2048
    np.testing.assert_allclose(half.block(0, 10), full.block(0, 10), atol=1 / 2048)


def test_a_prefix_makes_another_space(run: Run, texts: tuple[Path, Path], tmp_path: Path) -> None:
    for prefix in ("", "query: "):
        run("embed", texts[0], "--output", tmp_path / f"v{prefix}", "--prefix", prefix)
    assert Vectors.load(tmp_path / "vquery: ").manifest.prefix == "query: "
    assert run("centring", "fit", f"en={tmp_path / 'v'}", f"de={tmp_path / 'vquery: '}",
               "--output", tmp_path / "c") == (
        2, "", f"bitext centring fit: {tmp_path / 'v'} was built with prefix none, "
               f"{tmp_path / 'vquery: '} has prefix 'query: '\n",
    )  # fmt: skip


def test_wrong_options_are_one_sentence(run: Run, texts: tuple[Path, Path], tmp_path: Path) -> None:
    en, de = texts
    run("centring", "fit", f"en={en}", f"de={de}", "--output", tmp_path / "c")
    run("embed", en, "--output", tmp_path / "v")
    new = ["--output", tmp_path / "new"]
    for arguments, sentence in [
        (["embed", en, *new, "--centring", tmp_path / "c"], "--centring needs --language"),
        (["embed", en, *new, "--centring", tmp_path / "c", "--language", "fr"],
         "unknown language 'fr'; choose one of: de, en"),
        (["embed", en, *new, "--centring", tmp_path / "c", "--language", "en", "--layer", 2],
         "the centring was built with layer 1, what is to be centred has layer 2"),
        (["embed", en, *new, "--store", "int8"], "unknown type of stored vectors 'int8'"),
        (["centring", "fit", f"en={en}", *new, "--kind", "means"], "unknown kind of centring"),
        (["centring", "fit", str(en), *new], "expected LANGUAGE=FILE or LANGUAGE=FOLDER"),
        (["centring", "fit", f"en={en}", f"en={de}", *new], "language 'en' is given twice"),
        (["centring", "fit", f"en={en}", f"de={tmp_path / 'v'}", *new], "/v is a folder: give"),
        (["centring", "fit", "en=-", "de=-", *new], "only one text can be standard input"),
        (["centring", "apply", tmp_path / "c", "--centring", tmp_path / "c", "--language", "de",
          *new], "manifest.json, field"),
    ]:  # fmt: skip
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert sentence in err
        assert not (tmp_path / "new").exists()
