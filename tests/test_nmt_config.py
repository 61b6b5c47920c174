"""A config of ``bitext train`` is read strictly: each fault is one sentence that names its key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bitext.errors import InputError
from nmt.training.config import read_config

DATA = 'data = {source_lang = "en", target_lang = "de", corpora = [{file = "a.tsv"}]}'
STAGES = "stages = [{steps = 10}]"


def test_what_is_left_out_has_its_default(write: Callable[..., Path]) -> None:
    config = read_config(write("a.toml", DATA, STAGES))
    assert config.initialize.model == "bundled"
    assert config.stages[0].betas == (0.9, 0.98)
    assert config.fuse is None


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ((DATA, STAGES, "sead = 2"), "sead: unknown key; choose one of: "),
        ((DATA, "stages = [{steps = 10, rate = 1}]"), "stages.0.rate: unknown key; choose one of"),
        ((DATA.replace("file", "fail"), STAGES), "data.corpora.0.fail: unknown key; choose one"),
        ((STAGES,), "data: Field required"),
        ((DATA, "stages = []"), "stages: List should have at least 1 item"),
        ((DATA, "stages = [{steps = 0}]"), "stages.0.steps: Input should be greater than 0, got 0"),
        (
            (DATA, f"stages = [{{steps = {10**30}}}]"),
            f"stages.0.steps: Input should be less than or equal to 1000000000, got {10**30}",
        ),
        (
            (DATA, STAGES, f"seed = {2**63}"),
            f"seed: Input should be less than or equal to {2**63 - 1}, got {2**63}",
        ),
        (
            (DATA, 'stages = [{steps = 9, freeze = ["head"]}]'),
            "stages.0.freeze.0: Input should be 'encoder', 'decoder', 'embeddings' or "
            "'cross_attention', got 'head'",
        ),
        (
            (DATA.replace('file = "a.tsv"', 'source = "a"'), STAGES),
            "data.corpora.0: name either file, or both source and target",
        ),
        (
            (DATA.replace('file = "a.tsv"', 'file = "a", source = "b", target = "c"'), STAGES),
            "data.corpora.0: name either file, or both source and target",
        ),
        (
            (DATA, "stages = [{steps = 1}, {steps = 2}]"),
            "stages need different names, got train, train",
        ),
        (
            (DATA, STAGES, "model = {dim = 10, heads = 4}"),
            "model.dim 10 is not a multiple of 4 heads",
        ),
        ((DATA, STAGES, "fuse = {}"), "fuse needs initialize.model"),
        (
            (DATA, STAGES, "fuse = {drop_net = 0.6}"),
            "fuse.drop_net: Input should be less than or equal to 0.5, got 0.6",
        ),
        (
            (DATA, STAGES, "fuse = {}", 'initialize = {model = "m", shared = true}'),
            "initialize.shared is that of the model that is fused; leave it out",
        ),
        (
            (DATA, STAGES, "fuse = {}", 'initialize = {model = "m"}', "model = {dim = 8}"),
            "model.dim is that of the model that is fused; leave it out",
        ),
        (
            (DATA, STAGES, "fuse = {}", 'initialize = {model = "m"}', "vocabulary = {size = 8}"),
            "vocabulary.size is that of the model that is fused; leave it out",
        ),
        (("data = {",), "not a TOML file"),
    ],
)
def test_a_fault_is_one_sentence(
    lines: tuple[str, ...], sentence: str, write: Callable[..., Path]
) -> None:
    path = write("a.toml", *lines)
    with pytest.raises(InputError) as caught:
        read_config(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")
    assert "\n" not in str(caught.value)


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file or directory"):
        read_config(tmp_path / "none.toml")


def test_a_fused_run_may_change_dropout(write: Callable[..., Path]) -> None:
    model = ('initialize = {model = "m"}', "model = {dropout = 0.3}", "fuse = {}")
    config = read_config(write("a.toml", DATA, STAGES, *model))
    assert config.fuse is not None
    assert config.fuse.layer is None
