"""Where models are found, and what is said when they are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bitext.errors import BitextError, InputError, ModelNotFoundError, UnknownNameError
from encoders.checkpoint import ModelKey, load_checkpoint
from encoders.hub import find_folder, fingerprint
from encoders.preset import Preset, read_preset


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        (
            ModelKey("nobody/nothing"),
            ModelNotFoundError,
            "model 'nobody/nothing' is neither a folder nor in the local cache; "
            "get it with: bitext download nobody/nothing",
        ),
        (
            ModelKey("nobody/nothing", revision="v2"),
            ModelNotFoundError,
            "get it with: bitext download nobody/nothing --revision v2",
        ),
        (
            ModelKey("./not/here/at/all"),
            ModelNotFoundError,
            "model './not/here/at/all' is not a folder here, nor a name such as 'owner/model'",
        ),
        (
            ModelKey("bundled", dtype="float16"),
            UnknownNameError,
            "unknown dtype 'float16'; choose one of: auto, bfloat16, float32, int8",
        ),
        (
            ModelKey("bundled", device="abacus"),
            UnknownNameError,
            "unknown device 'abacus'; choose one of: cpu, cuda, cuda:0",
        ),
    ],
)
def test_what_cannot_be_loaded_is_said_in_one_sentence(
    key: ModelKey, kind: type[BitextError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        load_checkpoint(key)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_there() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UnknownNameError, match="device 'cuda' is not there"):
        load_checkpoint(ModelKey("bundled", device="cuda"))


def test_a_folder_that_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"needs a config.json, and it has none$"):
        find_folder(str(tmp_path))


def test_pickled_weights_are_not_read(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    torch.save({}, copy / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot be loaded: .*safetensors"):
        load_checkpoint(ModelKey(str(copy)))


def test_truncated_weights_are_named(copy: Path) -> None:
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be loaded: "):
        load_checkpoint(ModelKey(str(copy)))


def test_missing_weights_are_not_made_up(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    kept = {key: value for key, value in weights.items() if "layer.1." not in key}
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"lacks 16 weights, such as 'encoder\.layer\.1\."):
        load_checkpoint(ModelKey(str(copy)))


def test_weights_of_another_shape_are_refused(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["intermediate_size"] = 48
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="cannot be loaded: "):
        load_checkpoint(ModelKey(str(copy)))


def test_code_that_a_checkpoint_brings_is_not_run(copy: Path, tmp_path: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (copy / "config.json").write_text(json.dumps(config))
    (copy / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(InputError, match="cannot be loaded: "):
        load_checkpoint(ModelKey(str(copy)))
    assert not (tmp_path / "ran").exists()


def test_a_download_that_was_interrupted_is_not_taken_for_a_model(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoders.hub.snapshot_download", lambda *_, **__: str(copy))
    assert find_folder("owner/model") == copy
    (copy / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="is only in part in the local cache; get it with"):
        find_folder("owner/model")


def test_a_name_that_no_file_can_have() -> None:
    with pytest.raises(ModelNotFoundError, match="is not a folder here"):
        find_folder("a" * 5000)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_the_fingerprint_changes_with_every_part(copy: Path, name: str) -> None:
    before = fingerprint(copy)
    assert before == fingerprint(copy)
    content = bytearray((copy / name).read_bytes())
    content[-2] ^= 1
    (copy / name).write_bytes(content)
    assert fingerprint(copy) != before


def test_the_fingerprint_is_that_of_the_model_not_of_its_preset(copy: Path) -> None:
    before = fingerprint(copy)
    (copy / "bitext.json").write_text('{"alignment": {"layer": 1}}')
    assert fingerprint(copy) == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the file: Invalid JSON"),
        ('{"aligment": {}}', "aligment: Extra inputs are not permitted"),
        ('{"alignment": {"layer": "top"}}', "alignment.layer: Input should be a valid integer"),
    ],
)
def test_a_wrong_preset_names_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bitext.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_preset(tmp_path)


def test_no_preset_is_the_default_one(tmp_path: Path) -> None:
    assert read_preset(tmp_path) == Preset()
