"""fairseq's checkpoint files (``model.pt``): settings and weights, without fairseq.

A checkpoint is a pickle. It is read as weights only: tensors, plain values and ``argparse``'s
``Namespace``, which holds the settings, are all that may be in it, and no code of it is ever run.
"""

from __future__ import annotations

import argparse
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bitext.errors import InputError
from bitext.text import atomic_bytes

# fairseq 0.12 keeps the weights of each encoder layer a second time, for a fused path of PyTorch;
# when it loads, it takes them from the first ones
_TWICE = re.compile(
    r"encoder\.(sentence_encoder\.)?layers\.\d+\.(in_proj|out_proj|fc1|fc2)_(weight|bias)"
)
# of no meaning: a format's number, and what keeps a device or a computed table
_EMPTY = re.compile(r".*\.(version|_float_tensor|embed_positions\.weights)")
_FUSED = re.compile(r"(.*self_attn|.*encoder_attn)\.in_proj_(weight|bias)")


@dataclass(frozen=True)
class FairseqCheckpoint:
    """What is needed to build the model again.

    ``settings`` are by the names of the command line (``encoder_embed_dim``); ``weights`` are by
    fairseq's names, each tensor once.
    """

    path: Path
    settings: Mapping[str, Any]
    weights: Mapping[str, Tensor]

    def setting(self, name: str, default: Any = None) -> Any:
        """A setting, or the default where it is not there or None."""
        value = self.settings.get(name)
        return default if value is None else value


def read_checkpoint(path: str | Path) -> FairseqCheckpoint:
    """Read a checkpoint.

    :raises InputError: if the file cannot be read, is no checkpoint of fairseq, or would bring
        Python objects to life.
    """
    state = _load(Path(path))
    if not isinstance(state, dict) or not isinstance(state.get("model"), dict):
        raise InputError(f"{path} is not a checkpoint of fairseq: it has no 'model'")
    settings = _settings(state)
    if not settings:
        raise InputError(f"{path} has neither 'args' nor 'cfg', which say how the model is built")
    return FairseqCheckpoint(Path(path), settings, _weights(state["model"]))


def _load(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"Python objects ({found[1]})" if found else "something else than weights"
        raise InputError(f"{path} holds {what}; only tensors and plain values are read") from None
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"cannot read {path}: {reason}") from None


def _settings(state: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the model, flat, and the languages: of ``args`` (old) or ``cfg`` (since 0.10)."""
    if state.get("args") is not None:
        return _flat(state["args"])
    parts = state.get("cfg")
    if not parts:
        return {}
    task, model = (_flat(parts.get(name)) for name in ("task", "model"))
    languages = {name: task.get(name) for name in ("source_lang", "target_lang")}
    return {**languages, **{k: v for k, v in model.items() if v is not None or k not in languages}}


def _flat(part: Any) -> dict[str, Any]:
    """``{"encoder": {"layers": 6}}`` -> ``{"encoder_layers": 6}``."""
    values = vars(part) if isinstance(part, argparse.Namespace) else dict(part or {})
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name in ("encoder", "decoder", "quant_noise") and isinstance(value, Mapping):
            flat.update({f"{name}_{inner}": one for inner, one in value.items()})
        else:
            flat[name] = value
    return flat


def _weights(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor once, in float32, by the names of today."""
    weights: dict[str, Tensor] = {}
    for old, tensor in found.items():
        # RoBERTa's first checkpoints call their encoder a decoder
        name = re.sub(r"^decoder\.(sentence_encoder|lm_head)\.", r"encoder.\1.", old)
        name = name.replace(".emb_layer_norm.", ".layernorm_embedding.")
        if _TWICE.fullmatch(name) or _EMPTY.fullmatch(name):
            continue
        # queries, keys and values were one matrix until 0.8
        if fused := _FUSED.fullmatch(name):
            for part, one in zip("qkv", tensor.chunk(3), strict=True):
                weights[f"{fused[1]}.{part}_proj.{fused[2]}"] = one.float()
        else:
            weights[name] = tensor.float()
    return weights


def write_checkpoint(
    path: str | Path, settings: Mapping[str, Any], weights: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint for ``fairseq-generate`` or ``fairseq-train --finetune-from-model``.

    :param settings: by the names of the command line, ``arch`` and ``task`` among them.
    :raises InputError: if the file cannot be written.
    """
    state = {
        "args": argparse.Namespace(**settings),
        "cfg": None,
        "model": dict(weights),
        # as if training had just begun; fairseq looks into all of it
        "optimizer_history": [
            {
                "criterion_name": "LabelSmoothedCrossEntropyCriterion",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": 0,
            }
        ],
        "extra_state": {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0}},
        "task_state": {},
        "last_optimizer_state": None,
    }
    with atomic_bytes(path) as file:
        torch.save(state, file)
