"""``bitext embed``, ``index``, ``retrieve``, ``evaluate retrieval``, through the command itself."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitext.text import MAX_LINE_BYTES
from encoders.encoder import Encoder
from retrieval.store.text_index import TextIndex
from retrieval.vectors.centring import Centring
from retrieval.vectors.files import Vectors

ENGLISH = [
    "the house is small",
    "the garden is big",
    "a cat sleeps in the old house",
    "don't stop, 3.14!",
]
GERMAN = [
    "das haus ist klein",
    "der garten ist groß",
    "eine katze schläft im alten haus",
    "der haus, 3.14!",
]
MANY = [" ".join(ENGLISH[n % 4].split()[: 1 + n // 4]) for n in range(16)]
"""More than ten different sentences, as a mean needs."""

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


@pytest.fixture
def run(call: Run, tiny_model: Path) -> Run:
    """Run ``bitext`` with the tiny model where no other is named; exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        given = [str(argument) for argument in arguments]
        makes_vectors = given[0] in ("embed", "index", "evaluate")
        if makes_vectors and not {"--model", "--add", "--upsert"} & set(given):
            given += ["--model", str(tiny_model)]
        return call(*given)

    return run


@pytest.fixture
def english(write: Write) -> Path:
    return write("english.txt", *ENGLISH)


@pytest.fixture
def index(run: Run, english: Path, tmp_path: Path) -> Path:
    assert run("index", english, "--output", tmp_path / "index", "--language", "en")[0] == 0
    return tmp_path / "index"


def flat(count: int, size: str) -> str:
    """What is said of the search of a small index; each vector takes 16 numbers of 4 bytes."""
    what = f"{count} vectors of dim 16 take {size}"
    return f"search: flat, as {what}, and up to 200,000 an exact search is quick\n"


def lines_of(out: str) -> list[list[str]]:
    return [line.split("\t") for line in out.splitlines()]


# --- embed


def test_embed_writes_what_the_encoder_gives(
    run: Run, english: Path, encoder: Encoder, tmp_path: Path
) -> None:
    output = tmp_path / "vectors"
    assert run("embed", english, "--output", output, "--layer", 1) == (0, f"4\t16\t{output}\n", "")
    vectors = Vectors.load(output)
    np.testing.assert_allclose(vectors.rows, encoder.sentences(ENGLISH, layer=1), atol=1e-6)
    assert (vectors.manifest.layer, vectors.manifest.fingerprint) == (1, encoder.fingerprint)


def test_embed_keeps_a_row_for_an_empty_line(run: Run, write: Write, tmp_path: Path) -> None:
    file = write("gaps.txt", ENGLISH[0], "", ENGLISH[1])
    code, out, err = run("embed", file, "--output", tmp_path / "v", "--json")
    assert (code, json.loads(out)["count"]) == (0, 3)
    assert err == f"{file}: 1 lines are empty, their rows are zeros\n"
    assert Vectors.load(tmp_path / "v").rows.any(axis=1).tolist() == [True, False, True]


# --- index and retrieve


def test_sentences_find_themselves(run: Run, index: Path, english: Path) -> None:
    code, out, err = run("retrieve", "--index", index, english, "-k", 2)
    rows = lines_of(out)
    assert (code, err, len(rows)) == (0, "", 8)
    assert rows[0] == ["1", "1", "1.000000", "0", ENGLISH[0]]
    assert [(row[0], row[1]) for row in rows] == [(str(q), r) for q in range(1, 5) for r in "12"]
    assert [row[4] for row in rows[::2]] == ENGLISH


def test_json_has_an_object_a_query(run: Run, index: Path, english: Path) -> None:
    _, out, _ = run("retrieve", "--index", index, english, "--json")
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["query"] for record in records] == ENGLISH
    assert [set(record["results"][0]) for record in records] == [{"id", "text", "score"}] * 4
    assert records[2]["results"][0] == {"id": 2, "text": ENGLISH[2], "score": 1.0}


def test_pipe_and_small_chunks_give_the_same(
    run: Run, index: Path, english: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, at_once, _ = run("retrieve", "--index", index, english)
    text = "".join(line + "\n" for line in ENGLISH).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    code, one_by_one, err = run("retrieve", "--index", index, "-", "--chunk", 1)
    assert (code, err) == (0, "")
    for alone, together in zip(lines_of(one_by_one), lines_of(at_once), strict=True):
        # Sentences encoded together are padded to one length, which rounds otherwise.
        assert float(alone.pop(2)) == pytest.approx(float(together.pop(2)), abs=1e-5)
        assert alone == together


def test_text_with_tab_and_line_break_stays_one_line(
    run: Run, index: Path, encoder: Encoder, write: Write
) -> None:
    TextIndex.load(index).add(["the\thouse\nis old"], language="en", encoder=encoder)
    code, out, _ = run("retrieve", "--index", index, write("q", "the house is old"), "-k", 1)
    assert code == 0
    assert out.splitlines() == ["1\t1\t1.000000\t4\tthe\thouse\\nis old"]


def test_index_of_several_languages_grows(run: Run, write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "index"
    first = write("first", *(f"en\t{line}" for line in ENGLISH))
    second = write("second", *(f"de\t{line}" for line in GERMAN))
    assert run("index", first, "--output", folder, "--with-language")[1] == f"4\t16\t{folder}\n"
    assert run("index", second, "--output", folder, "--with-language", "--add") == (
        0, f"8\t16\t{folder}\n", flat(8, "512 bytes"),
    )  # fmt: skip
    assert dict(TextIndex.load(folder).languages) == {"de": 4, "en": 4}


def test_centred_index(run: Run, write: Write, tmp_path: Path) -> None:
    folder, sentences = tmp_path / "index", write("many", *MANY)
    german = write("german", *(f"{line} {line[:n]}" for n in range(3) for line in GERMAN))
    made = run(
        "index", sentences, "--output", folder, "--language", "en", "--centre",
        "--mean", f"de={german}",
    )  # fmt: skip
    assert made == (0, f"16\t16\t{folder}\n", flat(16, "1.02 kB"))
    index = TextIndex.load(folder)
    assert (sorted(index.means), dict(index.languages)) == (["de", "en"], {"en": 16})
    query = write("query", GERMAN[0])
    assert run("retrieve", "--index", folder, query, "--language", "de", "-k", 1)[0] == 0
    for language, sentence in [
        (["--language", "fr"], "unknown language 'fr'; choose one of: de, en"),
        ([], f"index {folder} is centred: say which language the queries are in; "
             "choose one of: de, en"),
    ]:  # fmt: skip
        assert run("retrieve", "--index", folder, query, *language) == (
            2, "", f"bitext retrieve: {sentence}\n",
        )  # fmt: skip


@pytest.fixture
def best_centred(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the model whose preset says: centred, and no hit below a cosine of 0.9."""
    folder = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    (folder / "bitext.json").write_text('{"retrieval": {"centred": true, "threshold": 0.9}}')
    return folder


def test_a_model_that_is_best_centred_is_centred(
    run: Run, write: Write, best_centred: Path, tmp_path: Path
) -> None:
    folder, sentences = tmp_path / "index", write("many", *MANY)
    new = ["index", sentences, "--model", best_centred, "--output", folder, "--overwrite"]
    made = (0, f"16\t16\t{folder}\n", flat(16, "1.02 kB"))
    assert run(*new, "--language", "en") == made
    assert TextIndex.load(folder).centring
    assert run(*new, "--language", "en", "--raw") == made
    assert not TextIndex.load(folder).centring
    # The preset speaks of its own layer, two thirds up: 1 of 2.
    assert run(*new, "--language", "en", "--layer", 2) == made
    assert not TextIndex.load(folder).centring
    code, _, err = run(*new)
    assert code == 0
    assert "is best centred, which needs --language; this index is raw\n" in err
    assert not TextIndex.load(folder).centring


def test_hits_below_the_threshold_are_not_printed(
    run: Run, write: Write, best_centred: Path, tmp_path: Path
) -> None:
    folder, sentences = tmp_path / "index", write("many", *MANY)
    run("index", sentences, "--model", best_centred, "--output", folder, "--language", "en")
    find = ["retrieve", "--index", folder, write("query", MANY[0]), "--language", "en", "-k", 16]
    scores = [float(row[2]) for row in lines_of(run(*find, "--threshold", -1)[1])]
    assert len(scores) == 16
    own = [float(row[2]) for row in lines_of(run(*find)[1])]
    assert own == [score for score in scores if score >= 0.9]
    assert 0 < len(own) < 16
    said = [float(row[2]) for row in lines_of(run(*find, "--threshold", 0.5)[1])]
    assert said == [score for score in scores if score >= 0.5]
    assert json.loads(run(*find, "--threshold", 1, "--json")[1])["query"] == MANY[0]
    assert run(*find, "--threshold", 2)[0] == 2


def test_empty_lines_are_refused_or_counted(run: Run, write: Write, tmp_path: Path) -> None:
    file, folder = write("gaps", ENGLISH[0], "  ", ENGLISH[1]), tmp_path / "index"
    assert run("index", file, "--output", folder) == (
        2, "", f"bitext index: {file}, line 2 is empty; --skip-empty leaves such lines out\n",
    )  # fmt: skip
    assert not folder.exists()
    assert run("index", file, "--output", folder, "--skip-empty") == (
        0, f"2\t16\t{folder}\n", f"{file}: 1 empty lines left out\n{flat(2, '128 bytes')}",
    )  # fmt: skip
    code, out, err = run("retrieve", "--index", folder, file, "--skip-empty", "-k", 1)
    assert (code, err) == (0, f"{file}: 1 empty lines left out\n")
    assert [row[0] for row in lines_of(out)] == ["1", "3"]  # numbers of lines, not of queries
    nothing = write("nothing", "", " ")
    assert "nothing has only empty lines" in run("retrieve", "--index", folder, nothing,
                                                 "--skip-empty")[2]  # fmt: skip


def test_output_is_replaced_only_if_told(run: Run, index: Path, write: Write) -> None:
    other = write("other", GERMAN[0])
    assert run("index", other, "--output", index) == (
        2, "", f"bitext index: {index} exists already; --overwrite replaces it\n",
    )  # fmt: skip
    assert TextIndex.load(index).count() == 4
    assert run("index", other, "--output", index, "--overwrite") == (
        0, f"1\t16\t{index}\n", flat(1, "64 bytes"),
    )  # fmt: skip
    assert TextIndex.load(index).count() == 1
    code, _, err = run("embed", other, "--output", index)
    assert (code, err) == (2, f"bitext embed: {index} exists already; --overwrite replaces it\n")


def test_overwrite_spares_a_folder_of_something_else(
    run: Run, english: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "text").touch()
    code, _, err = run("index", english, "--output", tmp_path / "thesis", "--overwrite")
    assert (code, "will not replace" in err) == (2, True)
    assert (tmp_path / "thesis" / "text").exists()


# --- ids, metadata, deleting, snapshots

RECORDS = [
    {"id": 40, "text": ENGLISH[0], "language": "en", "metadata": {"year": 1990, "kind": "prose"}},
    {"id": 10, "text": GERMAN[0], "language": "de", "metadata": {"year": 2001}},
    {"text": ENGLISH[1], "language": "en"},
]


def as_lines(*records: object) -> list[str]:
    return [json.dumps(record) for record in records]


@pytest.fixture
def books(run: Run, write: Write, tmp_path: Path) -> Path:
    file = write("books", *as_lines(*RECORDS))
    made = run("index", file, "--from-json", "--output", tmp_path / "books.index")
    assert made == (0, f"3\t16\t{tmp_path / 'books.index'}\n", flat(3, "192 bytes"))
    return tmp_path / "books.index"


def ids_found(run: Run, index: Path, *options: object) -> list[int]:
    query = index.with_name("query")
    query.write_text(f"{ENGLISH[0]}\n")
    code, out, err = run("retrieve", query, "--index", index, "-k", 9, *options)
    assert (code, err) == (0, "")
    return sorted(int(row[3]) for row in lines_of(out))


def test_hits_that_are_meant(run: Run, books: Path) -> None:
    assert ids_found(run, books) == [10, 40, 41]
    assert ids_found(run, books, "--in", "en") == [40, 41]
    assert ids_found(run, books, "--where", "year>=1991") == [10]
    assert ids_found(run, books, "--where", "year<=2001", "--where", "kind=prose") == [40]
    assert ids_found(run, books, "--where", "kind!=prose", "--in", "en", "--in", "fr") == [41]
    assert ids_found(run, books, "--where", 'year="1990"') == []
    _, out, _ = run("retrieve", books.with_name("query"), "--index", books, "--json", "-k", 1)
    [record] = json.loads(out)["results"]
    assert record == {
        "id": 40,
        "text": ENGLISH[0],
        "score": 1.0,
        "metadata": {"year": 1990, "kind": "prose"},
    }


def test_upsert_and_delete(run: Run, books: Path, write: Write) -> None:
    file = write("more", *as_lines({"id": 10, "text": ENGLISH[2]}, {"id": 3, "text": ENGLISH[3]}))
    more = ["index", file, "--from-json", "--language", "en", "--output", books]
    assert run(*more, "--add") == (2, "", "bitext index: id 10 is in the index already\n")
    for _ in range(2):
        assert run(*more, "--upsert")[:2] == (0, f"4\t16\t{books}\n")
    assert ids_found(run, books, "--in", "en") == [3, 10, 40, 41]
    assert run("delete", books, "--id", 3, "--id", 77) == (0, f"1\t3\t{books}\n", "")
    assert run("delete", books, "--where", "year=1990", "--json") == (
        0, json.dumps({"deleted": 1, "count": 2, "folder": str(books)}) + "\n", "",
    )  # fmt: skip
    assert ids_found(run, books) == [10, 41]
    assert run("delete", books, "--all") == (0, f"2\t0\t{books}\n", "")


def test_kinds_of_search(run: Run, english: Path, write: Write, tmp_path: Path) -> None:
    folder = tmp_path / "trained"
    made = run("index", english, "--output", folder, "--language", "en", "--kind", "ivf:lists=4")
    assert made == (0, f"4\t16\t{folder}\n", "search: ivf:lists=4, as it was asked for\n")
    assert lines_of(run("retrieve", english, "--index", folder, "-k", 1)[1])[3][3:] == [
        "3", ENGLISH[3],
    ]  # fmt: skip
    assert run("index", english, "--output", folder, "--add", "--kind", "flat") == (
        2, "", "bitext index: --kind is for a new index; 'bitext reindex' changes that of this "
        "one\n",
    )  # fmt: skip
    more = write("more", "a small cat")
    assert run("index", more, "--output", folder, "--language", "en", "--add")[2] == made[2]
    assert run("reindex", folder, "--kind", "hnsw") == (
        0, f"5\t16\t{folder}\n",
        "search: flat, as 'hnsw' takes 1,000 vectors to train, and there are 5\n",
    )  # fmt: skip
    assert TextIndex.load(folder).kind == "hnsw"
    assert run("reindex", folder, "--kind", "auto", "--json")[1:] == (
        json.dumps({"count": 5, "dim": 16, "folder": str(folder)}) + "\n", flat(5, "320 bytes"),
    )  # fmt: skip
    assert run("reindex", folder, "--kind", "ifv")[0] == 2
    assert TextIndex.load(folder).kind == "auto"


def test_a_centring_that_was_learnt(
    run: Run, write: Write, tiny_model: Path, tmp_path: Path
) -> None:
    folder, centring, many = tmp_path / "index", tmp_path / "centring", write("many", *MANY)
    german = write("german", *(f"{line} {line[:n]}" for n in range(3) for line in GERMAN))
    given = [f"en={many}", f"de={german}", "--kind", "components:1", "--layer", 2]
    fit = run("centring", "fit", *given, "--model", tiny_model, "--output", centring)
    assert fit[0] == 0, fit
    new = ["index", many, "--output", folder, "--centring", centring]
    assert run(*new, "--language", "en")[:2] == (0, f"16\t16\t{folder}\n")
    index = TextIndex.load(folder)
    assert (index.manifest.layer, index.space.centre) == (2, Centring.load(centring).digest)
    query = write("query", MANY[3])
    find = ["retrieve", query, "--index", folder, "-k", 1, "--language"]
    assert lines_of(run(*find, "en")[1])[0][2:4] == ["1.000000", "3"]
    assert run(*find, "de")[0] == 0
    assert "choose one of: de, en" in run(*find, "fr")[2]
    for options, sentence in [
        ([], "--centring needs --language, --with-language or --from-json"),
        (["--language", "en", "--raw"], "give no --centre, --raw or --mean with it"),
        (["--language", "en", "--add"], "--centring is for a new index"),
    ]:
        code, _, err = run(*new, *options)
        assert (code, sentence in err) == (2, True)
    assert run("index", query, "--output", folder, "--language", "en", "--add")[0] == 0


def test_snapshot_and_restore(run: Run, books: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert run("snapshot", books, "--output", kept) == (0, f"3\t16\t{kept}\n", "")
    assert f"{kept} exists already" in run("snapshot", books, "--output", kept)[2]
    run("delete", books, "--all")
    assert run("restore", kept, "--output", books) == (
        2, "", f"bitext restore: {books} exists already; --overwrite replaces it\n",
    )  # fmt: skip
    made = (0, f"3\t16\t{books}\n", "")
    assert run("restore", kept, "--output", books, "--overwrite") == made
    assert ids_found(run, books) == [10, 40, 41]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["{"], "line 1: expected a JSON object, got '{'"),
        (["[1]"], "line 1: expected a JSON object, got '[1]'"),
        (as_lines(RECORDS[0], {"txt": "a"}), "line 2: there is no field 'txt'; there are text"),
        (as_lines({"language": "en"}), "line 1: field 'text' must be a sentence"),
        (as_lines({"text": "a"}), "line 1: say the language, here as 'language' or for all lines"),
        (as_lines({"text": "a", "language": 5}), "line 1: field 'language' must be a string"),
        (as_lines({"text": "a", "language": "a b"}), "line 1: expected a language such as 'de'"),
        (
            as_lines({"text": "a", "language": "en", "id": "5"}),
            "line 1: field 'id' must be a whole",
        ),
        (as_lines({"text": "a", "language": "en", "metadata": {"x": []}}), "line 1: metadata 'x'"),
    ],
)
def test_bad_json(run: Run, write: Write, tmp_path: Path, lines: list[str], sentence: str) -> None:
    file = write("records", *lines)
    code, out, err = run("index", file, "--from-json", "--output", tmp_path / "new")
    assert (code, out) == (2, "")
    assert err.startswith(f"bitext index: {file}, {sentence}")


def test_selections_that_are_none(run: Run, books: Path, english: Path) -> None:
    for arguments, sentence in [
        (["retrieve", english, "--index", books, "--where", "year"], "expected KEY=VALUE, KEY!="),
        (["retrieve", english, "--index", books, "--where", "a b=1"], "a metadata key has"),
        (["retrieve", english, "--index", books, "--where", "x>=true"], "have an order"),
        (["retrieve", english, "--index", books, "--in", "a b"], "expected a language such as"),
        (["delete", books], "say which sentences to delete"),
        (["delete", books, "--id", 1, "--in", "en"], "give --id, or --where and --in, or --all"),
        (["delete", books, "--all", "--in", "en"], "give --id, or --where and --in, or --all"),
        (["index", english, "--upsert", "--output", books], "sentence 1 has no id"),
        (["index", english, "--from-json", "--with-language", "--output", books], "not both"),
    ]:
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), arguments
        assert sentence in err
    assert ids_found(run, books) == [10, 40, 41]


# --- evaluate retrieval


def test_evaluate_prints_a_table(run: Run, english: Path, write: Write) -> None:
    code, out, err = run("evaluate", "retrieval", english, write("german", *GERMAN), "--layer", 1)
    rows = lines_of(out)
    assert (code, err) == (0, "")
    assert rows[0] == [
        "layer", "vectors", "direction", "recall@1", "recall@5", "error", "pairs", "signature",
    ]  # fmt: skip
    assert [row[:3] for row in rows[1:]] == [
        ["1", "raw", "forward"], ["1", "raw", "backward"],
        ["1", "centred", "forward"], ["1", "centred", "backward"],
    ]  # fmt: skip
    # Of four candidates, five nearest hold the right one.
    assert [row[4] for row in rows[1:]] == ["100.00"] * 4
    assert all(float(row[3]) + float(row[5]) == pytest.approx(100) for row in rows[1:])
    assert all("| layer 1 | pooling mean |" in row[7] for row in rows[1:])


def test_evaluate_every_layer_as_json(run: Run, english: Path) -> None:
    code, out, _ = run(
        "evaluate", "retrieval", english, english, "--layers", "all", "--raw", "-k", 1, "--json"
    )
    records = [json.loads(line) for line in out.splitlines()]
    assert (code, [record["layer"] for record in records]) == (0, [0, 1, 2])
    assert [r["forward"] for r in records] == [{"recall@1": 1.0, "error": 0.0}] * 3
    assert [record["centred"] for record in records] == [False] * 3


def test_evaluate_chosen_layers(run: Run, english: Path) -> None:
    _, out, _ = run("evaluate", "retrieval", english, english, "--layers", "0,2", "--centre")
    assert [row[:2] for row in lines_of(out)[1::2]] == [["0", "centred"], ["2", "centred"]]


# --- bad input


BAD_FILES = [
    (b"good\nbad \xff\n", "line 2: byte 0xff at column 5 is not UTF-8"),
    (b"nul\x00\n", "line 1: NUL byte at column 4"),
    (b"", "is empty; expected one sentence a line"),
    (b"x" * (MAX_LINE_BYTES + 1), f"line 1: longer than the {MAX_LINE_BYTES} bytes"),
]


@pytest.mark.parametrize(("content", "sentence"), BAD_FILES)
@pytest.mark.parametrize("command", ["embed", "index", "retrieve"])
def test_bad_files(
    run: Run, index: Path, tmp_path: Path, command: str, content: bytes, sentence: str
) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes(content)
    where = ["--index", index] if command == "retrieve" else ["--output", tmp_path / "new"]
    code, out, err = run(command, file, *where)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"bitext {command}: {file}")
    assert sentence in err
    assert out == ""
    assert not (tmp_path / "new").exists()
    assert not list(tmp_path.glob(".*"))


def test_bad_file_adds_nothing(run: Run, index: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.txt"
    file.write_bytes(b"good\n" * 3 + b"\xff\n")
    code, _, err = run("index", file, "--output", index, "--add")
    assert (code, f"{file}, line 4: byte 0xff" in err) == (2, True)
    assert TextIndex.load(index).count() == 4


def test_missing_files(run: Run, index: Path, tmp_path: Path, english: Path) -> None:
    nowhere = tmp_path / "nowhere"
    for arguments, sentence in [
        (["retrieve", nowhere, "--index", index], f"cannot read {nowhere}: No such file"),
        (["retrieve", english, "--index", nowhere], f"there is no folder {nowhere}"),
        (["index", english, "--add", "--output", nowhere], f"there is no folder {nowhere}"),
        (["retrieve", english, "--index", tmp_path], f"{tmp_path} has no manifest.json"),
        (["embed", english, "--output", nowhere / "deep"], f"cannot write {nowhere}/deep"),
        (["embed", english, "--output", nowhere, "--model", "no/such"], "bitext download no/such"),
    ]:
        code, out, err = run(*arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), arguments
        assert sentence in err


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            ["en\tthe house", "the house"],
            "line 2: expected 'language TAB sentence', got 'the house'",
        ),
        (["en\t "], "line 1: expected 'language TAB sentence'"),
        (["\tthe house"], "line 1: expected a language such as 'de'"),
        (["e n\tthe house"], "line 1: expected a language such as 'de'"),
    ],
)
def test_bad_languages(
    run: Run, write: Write, tmp_path: Path, lines: list[str], sentence: str
) -> None:
    file = write("rows", *lines)
    code, out, err = run("index", file, "--with-language", "--output", tmp_path / "new")
    assert (code, out) == (2, "")
    assert err.startswith(f"bitext index: {file}, {sentence}")
    assert not (tmp_path / "new").exists()


def test_truncated_and_damaged_index(run: Run, index: Path, english: Path) -> None:
    vectors = index / "vectors-0.f32"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:100])
    # 4 rows of 16 numbers of 4 bytes are 256 bytes
    assert run("retrieve", english, "--index", index) == (
        2, "", f"bitext retrieve: {vectors} is truncated: 100 bytes, its manifest says 256\n",
    )  # fmt: skip
    vectors.write_bytes(whole[:16] + b"\0\0\0\0" + whole[20:])
    assert f"{vectors} is damaged" in run("retrieve", english, "--index", index)[2]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"dim": "sixteen"}, "field 'dim': input should be a valid integer"),
        ({"comment": "mine"}, "field 'comment': there is no such field"),
        ({"layer": 0}, "field 'digest': it does not match the other fields"),
    ],
)
def test_manifest_edited_by_hand(
    run: Run, index: Path, english: Path, fields: dict[str, object], sentence: str
) -> None:
    path = index / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    code, out, err = run("retrieve", english, "--index", index)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"bitext retrieve: {path}, {sentence}")


def test_query_from_elsewhere(
    run: Run, index: Path, english: Path, tiny_model: Path, tmp_path: Path
) -> None:
    built = f"index {index} was built with"
    assert run("retrieve", english, "--index", index, "--layer", 2) == (
        2, "", f"bitext retrieve: {built} layer 1, the query has layer 2\n",
    )  # fmt: skip
    assert run("retrieve", english, "--index", index, "--pooling", "max") == (
        2, "", f"bitext retrieve: {built} pooling mean, the query has pooling max\n",
    )  # fmt: skip
    other = other_weights(tiny_model, tmp_path / "other")
    code, _, err = run("retrieve", english, "--index", index, "--model", other)
    assert code == 2
    assert f"{built} model {tiny_model} (" in err
    assert f"the query has model {other} (" in err
    assert run("index", english, "--output", index, "--add", "--model", other)[0] == 2
    assert TextIndex.load(index).count() == 4


def other_weights(model: Path, folder: Path) -> Path:
    """The same model with one weight changed."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    changed = AutoModel.from_pretrained(model, local_files_only=True)
    with torch.no_grad():
        next(iter(changed.parameters()))[0, 0] += 1
    changed.save_pretrained(folder)
    AutoTokenizer.from_pretrained(model, local_files_only=True).save_pretrained(folder)
    return folder


def test_unequal_files(run: Run, english: Path, write: Write) -> None:
    shorter = write("shorter", *GERMAN[:2])
    code, out, err = run("evaluate", "retrieval", english, shorter)
    assert (code, out) == (2, "")
    assert err.startswith(
        f"bitext evaluate retrieval: {english} has 4 lines, {shorter} has 2 lines;"
    )
    gaps = write("gaps", *GERMAN[:3], "")
    assert f"{gaps}, line 4 is empty" in run("evaluate", "retrieval", english, gaps)[2]


def test_numbers_that_are_none(run: Run, index: Path, english: Path, tmp_path: Path) -> None:
    evaluate = ["evaluate", "retrieval", english, english]
    new = ["--output", tmp_path / "new"]
    for arguments, sentence in [
        (["retrieve", english, "--index", index, "-k", 0], "k must be at least 1, got 0"),
        (["retrieve", english, "--index", index, "-k", "many"], "Invalid value for '-k'"),
        (
            ["retrieve", english, "--index", index, "--layer", 99],
            "has no layer 99; choose one from",
        ),
        (["embed", english, "--layer", 99, *new], "no layer 99; choose one from 0 to 2"),
        (["index", english, "--layer", 99, *new], "no layer 99; choose one from 0 to 2"),
        ([*evaluate, "--layer", 99], "no layer 99; choose one from 0 to 2"),
        ([*evaluate, "--layers", "0,99"], "no layer 99; choose one from 0 to 2"),
        ([*evaluate, "--layers", "first"], "--layers takes numbers such as 1,5, got 'first'"),
        ([*evaluate, "--layers", "all", "--layer", 1], "give --layer or --layers, not both"),
        ([*evaluate, "-k", "0,5"], "-k takes numbers from 1 up, got 0"),
        ([*evaluate, "-k", "1;5"], "-k takes numbers such as 1,5, got '1;5'"),
        (["embed", english, "--pooling", "sum", *new], "unknown pooling 'sum'; choose one of"),
        (["embed", english, "--dtype", "int1", *new], "unknown dtype 'int1'; choose one of"),
    ]:
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), arguments
        assert sentence in err
    assert not (tmp_path / "new").exists()


def test_options_that_contradict(run: Run, index: Path, english: Path, tmp_path: Path) -> None:
    new = ["index", english, "--output", tmp_path / "new"]
    new_centred = tmp_path / "centred"
    many = tmp_path / "many"
    many.write_text("".join(f"{line}\n" for line in MANY), encoding="utf-8")
    run("index", many, "--output", new_centred, "--centre", "--language", "en")
    for arguments, sentence in [
        ([*new, "--centre"], "--centre needs --language or --with-language"),
        ([*new, "--language", "en", "--with-language"], "not both"),
        ([*new, "--add", "--overwrite"], "give one"),
        ([*new, "--mean", "de=x"], "--mean is for an index with --centre"),
        ([*new, "--centre", "--language", "en", "--mean", "de"], "takes LANGUAGE=FILE, got 'de'"),
        ([*new, "--centre", "--language", "en"], "'en' needs at least 10 different sentences"),
        (["index", english, "--output", index, "--add", "--centre", "--language", "en"],
         f"index {index} was built without --centre"),
        (["index", english, "--output", new_centred, "--add", "--raw", "--language", "en"],
         f"index {new_centred} was built with --centre"),
    ]:  # fmt: skip
        code, out, err = run(*arguments)
        assert (code, out) == (2, ""), arguments
        assert sentence in err
    assert not (tmp_path / "new").exists()


def test_sentence_that_is_too_long(
    run: Run, index: Path, write: Write, encoder: Encoder, tmp_path: Path
) -> None:
    long = " ".join(["house"] * encoder.max_pieces)
    file = write("long", ENGLISH[0], long)
    for command, kind, where in [
        ("retrieve", "query", ["--index", index]),
        ("embed", "sentence", ["--output", tmp_path / "new"]),
        ("index", "sentence", ["--output", tmp_path / "new"]),
    ]:
        code, out, err = run(command, file, *where)
        assert (code, out) == (2, ""), command
        assert err.startswith(f"bitext {command}: {file}, {kind} 2 has ")
        assert "--too-long windows" in err
        assert not (tmp_path / "new").exists()
    assert run("retrieve", file, "--index", index, "--too-long", "windows")[0] == 0
