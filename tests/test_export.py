"""Models written for CTranslate2 and in other precisions, and what they translate."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bitext.errors import InputError, UnknownNameError
from nmt.interop.ctranslate2 import export_ctranslate2
from nmt.network.model import load_translation_checkpoint, save_translation_checkpoint
from nmt.pieces.tokenization import TaggedCodec
from nmt.translation.translator import TranslationModel

Call = Callable[..., tuple[int, str, str]]

SOURCES = ["the house is small", "", "a cat sleeps in the old house", "the garden", "don't stop"]

SETTINGS: list[dict[str, Any]] = [
    {"beam_size": 1},
    {"beam_size": 5, "n_best": 3},
    {"beam_size": 2, "length_penalty": 0.3, "max_length": 9},
    {"beam_size": 4, "max_length_ratio": 1.5},
]


def assert_equal(
    exported: TranslationModel,
    ours: TranslationModel,
    ways: list[dict[str, Any]] = SETTINGS,
    *,
    within: float = 1e-4,
) -> None:
    """The same texts, and scores that are near, by the same search."""
    for settings in ways:
        found = exported.translate(SOURCES, **settings)
        expected = ours.translate(SOURCES, early_stopping=True, **settings)
        for own, theirs in zip(found, expected, strict=True):
            assert [(h.text, h.truncated) for h in own] == [(h.text, h.truncated) for h in theirs]
            expect = pytest.approx([h.score for h in theirs], abs=within)
            assert [h.score for h in own] == expect


@pytest.fixture(scope="module")
def exported(tiny_translator: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "model"
    export_ctranslate2(load_translation_checkpoint(tiny_translator), folder, quantization="float32")
    return folder


def test_ctranslate2_finds_what_torch_finds(tiny_translator: Path, exported: Path) -> None:
    assert_equal(TranslationModel.load(exported), TranslationModel.load(tiny_translator))


def test_a_prefix_is_kept(tiny_translator: Path, exported: Path) -> None:
    """Prefixes of different lengths, which do not count in the scores."""
    prefixes = ["das haus", "", "", "ein haus im", ""]
    how: dict[str, Any] = {"prefixes": prefixes, "beam_size": 1, "max_length": 6}
    found = TranslationModel.load(exported).translate(SOURCES, **how)
    for prefix, own in zip(prefixes, found, strict=True):
        assert own[0].text.startswith(prefix)
    free = TranslationModel.load(tiny_translator).translate(SOURCES, beam_size=1, max_length=6)
    assert [own[0].text for own, p in zip(found, prefixes, strict=True) if not p] == [
        own[0].text for own, p in zip(free, prefixes, strict=True) if not p
    ]


@pytest.mark.parametrize("kind", ["mbart", "m2m_100"])
def test_other_architectures(kind: str, tiny_translator: Path, tmp_path: Path) -> None:
    """They put the layer normalisation before each block, and M2M100 computes its positions."""
    checkpoint = load_translation_checkpoint(tiny_translator)
    assert isinstance(checkpoint.codec, TaggedCodec)
    own = checkpoint.model.config.to_dict()
    for name in ("model_type", "architectures", "transformers_version", "normalize_before"):
        own.pop(name, None)
    config = transformers.AutoConfig.for_model(kind, **own)
    model = transformers.AutoModelForSeq2SeqLM.from_config(config).eval()
    torch.manual_seed(2)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data = 0.4 * torch.randn_like(parameter)
    if kind == "m2m_100":
        # It does not count padding in its positions, and CTranslate2 counts every piece. What is
        # forbidden counts in our probabilities, and not in CTranslate2's: equal in greedy search.
        model.generation_config.bad_words_ids = [[checkpoint.codec.pad]]
    save_translation_checkpoint(tmp_path / "own", model, checkpoint.codec)
    loaded = load_translation_checkpoint(tmp_path / "own")
    export_ctranslate2(loaded, tmp_path / "exported", quantization="float32")
    found, expected = (TranslationModel.load(tmp_path / name) for name in ("exported", "own"))
    if kind == "mbart":
        assert_equal(found, expected)
    else:
        assert_equal(found, expected, [{"beam_size": 1}], within=1)


def test_the_command_exports_and_translates_in_eight_bits(
    call: Call, tiny_translator: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    folder = tmp_path / "int8"
    code, out, err = call("export", tiny_translator, folder)
    assert (code, out, err) == (0, f"{folder}\n", "")
    assert json.loads((folder / "bitext.json").read_text())["quantization"] == "int8"
    text = write("text.en", *SOURCES)
    code, out, _ = call("translate", text, "--model", folder, "--max-length", 8)
    assert code == 0
    assert out.count("\n") == len(SOURCES)
    code, _, err = call("translate", text, "--model", folder, "--dtype", "int4")
    assert code == 2
    assert "unknown dtype of engine ctranslate2 'int4'; choose one of: float32" in err


def test_the_command_exports_another_precision(
    call: Call, tiny_translator: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "half"
    arguments = ("--format", "transformers", "--dtype", "bfloat16")
    assert call("export", tiny_translator, folder, *arguments)[0] == 0
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert transformers.AutoTokenizer.from_pretrained(folder)("a")["input_ids"]
    assert TranslationModel.load(folder).direction(None, None) == ("en", "de")


def test_what_cannot_be_exported(
    call: Call, tiny_translator: Path, tmp_path: Path, write: Callable[..., Path]
) -> None:
    somebodys = write("text.txt", "a").parent
    for arguments, sentence in [
        ((tiny_translator, somebodys), "it is not empty and has no model.bin"),
        ((tiny_translator, tmp_path / "x", "--quantization", "int4"), "unknown quantization"),
        ((tiny_translator, tmp_path / "x", "--format", "onnx"), "unknown format 'onnx'"),
        ((tiny_translator, tmp_path / "x", "--dtype", "float16"), "say --quantization"),
    ]:
        code, out, err = call("export", *arguments)
        assert (code, out) == (2, "")
        assert sentence in err
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_what_an_exported_model_refuses(exported: Path, tmp_path: Path) -> None:
    model = TranslationModel.load(exported)
    with pytest.raises(InputError, match="does not sample as bitext does; use engine torch"):
        model.translate(["a"], sample=True)
    with pytest.raises(InputError, match="was exported for CTranslate2; torch cannot load it"):
        TranslationModel.load(exported, engine="torch")
    with pytest.raises(UnknownNameError, match="unknown dtype of engine ctranslate2 'int4'"):
        TranslationModel.load(exported, dtype="int4")
    (tmp_path / "model.bin").touch()
    with pytest.raises(InputError, match="was not exported by bitext"):
        TranslationModel.load(tmp_path)
