"""Vectors on disk: written as they come, mapped back, and refused when they are not as written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bitext.errors import InputError, MismatchError
from retrieval.vectors.files import Vectors, write_vectors
from retrieval.vectors.manifest import Space, check_same_space, read_manifest, write_manifest

SPACE = Space(model="m", fingerprint="f1", revision=None, layer=2, pooling="mean", centre=None)
ROWS = np.array([[1, 0, 0], [0, 1, 0], [0, 0.6, 0.8], [0, 0, 1], [0, 0, 0]], np.float32)


def blocks() -> Iterator[NDArray[np.float32]]:
    yield ROWS[:2]
    yield ROWS[2:2]
    yield ROWS[2:]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_vectors(tmp_path / "vectors", blocks(), space=SPACE, dim=3)
    return tmp_path / "vectors"


def edit(folder: Path, **fields: Any) -> None:
    """Change a manifest as somebody would with an editor."""
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_rows_come_back_in_order_without_being_read(folder: Path) -> None:
    vectors = Vectors.load(folder)
    assert isinstance(vectors.rows, np.memmap)
    np.testing.assert_array_equal(vectors.rows, ROWS)
    assert (vectors.manifest.count, vectors.manifest.dim) == (5, 3)


def test_file_is_what_the_documents_say(folder: Path) -> None:
    rows = np.memmap(folder / "vectors.f32", "<f4").reshape(5, 3)
    np.testing.assert_array_equal(rows, ROWS)


def test_no_rows_at_all(tmp_path: Path) -> None:
    write_vectors(tmp_path / "none", [], space=SPACE, dim=3)
    assert Vectors.load(tmp_path / "none").rows.shape == (0, 3)


def test_failure_on_the_way_leaves_the_old_folder_and_nothing_else(folder: Path) -> None:
    def failing() -> Iterator[NDArray[np.float32]]:
        yield ROWS[:1]
        raise InputError("line 2 is bad")

    with pytest.raises(InputError, match="line 2 is bad"):
        write_vectors(folder, failing(), space=SPACE, dim=3)
    np.testing.assert_array_equal(Vectors.load(folder).rows, ROWS)
    assert list(folder.parent.iterdir()) == [folder]


def test_rows_of_another_dim_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"expected rows of 4 numbers, got an array of shape \(2, 3\)"
    ):
        write_vectors(tmp_path / "new", blocks(), space=SPACE, dim=4)


def test_truncated_file(folder: Path) -> None:
    with open(folder / "vectors.f32", "r+b") as file:
        file.truncate(59)
    # 5 rows of 3 numbers of 4 bytes are 60 bytes
    with pytest.raises(InputError, match=r"vectors\.f32 is truncated: 59 bytes, .* says 60"):
        Vectors.load(folder)


def test_longer_file(folder: Path) -> None:
    with open(folder / "vectors.f32", "ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="too long: 61 bytes"):
        Vectors.load(folder)


def test_missing_file(folder: Path) -> None:
    (folder / "vectors.f32").unlink()
    with pytest.raises(InputError, match=r"vectors\.f32 is missing"):
        Vectors.load(folder)


def test_damaged_byte_is_found_unless_told_not_to_look(folder: Path) -> None:
    with open(folder / "vectors.f32", "r+b") as file:
        file.seek(20)
        file.write(b"\x42")
    with pytest.raises(InputError, match=r"vectors\.f32 is damaged: its SHA-256"):
        Vectors.load(folder)
    assert Vectors.load(folder, verify=False).manifest.count == 5


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"colour": "red"}, r"manifest\.json, field 'colour': there is no such field"),
        ({"dim": "3"}, r"field 'dim': input should be a valid integer, got '3'"),
        ({"dim": 0}, r"field 'dim': input should be greater than 0, got 0"),
        ({"count": True}, r"field 'count': input should be a valid integer, got True"),
        ({"layer": -1}, r"field 'layer': .* greater than or equal to 0, got -1"),
        ({"dtype": "f2"}, r"field 'dtype': input should be 'float32' or 'float16', got 'f2'"),
        ({"dtype": "float16"}, r"field 'digest': it does not match the other fields"),
        ({"checksum": "abc"}, r"field 'checksum': string should match"),
        ({"format": "bitext vectors 9"}, r"field 'format': input should be 'bitext vectors 1'"),
        # These say something that could be true, and would make unlike vectors look alike.
        ({"layer": 1}, r"field 'digest': it does not match the other fields"),
        ({"model": "other"}, r"field 'digest'"),
        ({"count": 4}, r"field 'digest'"),
        ({"digest": None}, r"field 'digest'"),
    ],
)
def test_manifest_edited_by_hand(folder: Path, fields: dict[str, Any], sentence: str) -> None:
    edit(folder, **fields)
    with pytest.raises(InputError, match=sentence):
        Vectors.load(folder)


def test_manifest_with_a_field_less(folder: Path) -> None:
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    del fields["pooling"]
    path.write_text(json.dumps(fields))
    with pytest.raises(InputError, match="field 'pooling': it is missing"):
        Vectors.load(folder)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", r"cannot read .*manifest\.json as JSON"),
        (b'{"dim": ', r"cannot read .*manifest\.json as JSON"),
        (b"\xff\xfe", r"cannot read .*manifest\.json as JSON"),
        (b"[1, 2]", r"manifest\.json must hold a JSON object, not list"),
    ],
)
def test_manifest_that_is_no_manifest(folder: Path, content: bytes, sentence: str) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        Vectors.load(folder)


def test_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder .*nowhere"):
        Vectors.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"has no manifest\.json"):
        Vectors.load(tmp_path)


def test_manifest_survives_its_file(tmp_path: Path) -> None:
    space = SPACE.model_copy(update={"model": "größe/模型", "revision": "abc"})
    write_manifest(tmp_path, space)
    assert read_manifest(tmp_path, Space) == space


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"model": "n", "fingerprint": "f2"},
            "index x was built with model m (f1), the query has model n (f2)",
        ),
        (
            {"fingerprint": "f2"},
            "index x was built with fingerprint f1, the query has fingerprint f2",
        ),
        ({"layer": 3}, "index x was built with layer 2, the query has layer 3"),
        ({"pooling": "cls"}, "index x was built with pooling mean, the query has pooling cls"),
        (
            {"prefix": "query: "},
            "index x was built with prefix none, the query has prefix 'query: '",
        ),
        ({"centre": "c9"}, "index x was built with centre none, the query has centre c9"),
    ],
)
def test_another_space_is_refused_by_name(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MismatchError) as refusal:
        check_same_space(SPACE, SPACE.model_copy(update=fields), where="index x", what="the query")
    assert str(refusal.value) == sentence


def test_the_same_weights_under_another_name_are_the_same_model() -> None:
    renamed = SPACE.model_copy(update={"model": "a/copy", "revision": "main"})
    assert renamed != SPACE  # and yet it is not refused
    check_same_space(SPACE, renamed, where="index x", what="the query")


def test_half_the_bytes(tmp_path: Path) -> None:
    made = write_vectors(tmp_path / "half", blocks(), space=SPACE, dim=3, dtype="float16")
    assert (made.dtype, (tmp_path / "half" / "vectors.f16").stat().st_size) == (
        "float16",
        5 * 3 * 2,
    )
    vectors = Vectors.load(tmp_path / "half")
    assert (vectors.rows.dtype.name, len(vectors)) == ("float16", 5)
    read = np.concatenate(list(vectors.blocks(2)))
    assert read.dtype == np.float32
    # float16 has 11 bits: 0.6 is stored as 1229/2048 and 0.8 as 1638/2048, a row 0.99991 long
    length = np.hypot(1229, 1638)
    np.testing.assert_allclose(read[2], [0, 1229 / length, 1638 / length], atol=1e-7)
    np.testing.assert_array_equal(read[[0, 1, 3, 4]], ROWS[[0, 1, 3, 4]])
    np.testing.assert_array_equal(vectors.block(1, 3), read[1:3])


def test_a_manifest_from_before_there_were_prefixes(folder: Path) -> None:
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    del fields["prefix"], fields["digest"]
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    path.write_text(json.dumps({**fields, "digest": hashlib.sha256(text.encode()).hexdigest()}))
    assert Vectors.load(folder).manifest.prefix == ""
