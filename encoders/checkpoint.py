"""A multilingual language model by hub name or folder: weights, tokenizer, revision, device, dtype.

Weights are read from safetensors only, and no code that a checkpoint brings is ever run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import nn

from bitext.errors import InputError, UnknownNameError, choose_from
from encoders.hub import find_folder, fingerprint
from encoders.languages.adapters import LanguageAdapter, load_adapter
from encoders.precision import AUTO, INT8, automatic_dtype
from encoders.preset import Preset, preset_of

# transformers sets process-wide state while it loads (default dtype, device, log level), which a
# tracer also sees: one of them at a time
_LOADING = threading.RLock()
_SAFELY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    INT8: torch.float32,  # as they are loaded; encoders/int8.py rounds them
}
"""Of the weights, by the name that asks for it; ``auto`` becomes one of the first two names."""


@dataclass(frozen=True, slots=True)
class ModelKey:
    """What makes two requests mean the same loaded model."""

    name: str
    revision: str | None = None
    dtype: str = "float32"
    device: str = "cpu"

    def settled(self) -> ModelKey:
        """The same with what ``auto`` means for this model and device.

        :raises ModelNotFoundError: if the model is neither a folder nor in the local cache.
        :raises InputError: if its weights cannot be read, or the device cannot do the dtype.
        :raises UnknownNameError: if the dtype or device does not exist here.
        """
        if self.dtype not in (AUTO, *DTYPES):
            raise UnknownNameError(choose_from("dtype", self.dtype, [AUTO, *DTYPES]))
        device = find_device(self.device)
        if self.dtype == INT8 and device.type != "cpu":
            raise InputError(f"dtype int8 runs on the cpu, not on device '{self.device}'")
        if self.dtype != AUTO:
            return self
        folder = find_folder(self.name, self.revision)
        with reading(self.name):
            return replace(self, dtype=automatic_dtype(folder, device))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A loaded encoder and its tokenizer."""

    key: ModelKey
    model: nn.Module
    tokenizer: Any
    fingerprint: str
    preset: Preset
    adapter: LanguageAdapter | None = None  # is installed in the model

    @property
    def bytes(self) -> int:
        """Memory that the weights take."""
        adapter = [] if self.adapter is None else self.adapter.parameters()
        tensors = [*self.model.parameters(), *self.model.buffers(), *adapter]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def load_checkpoint(key: ModelKey) -> Checkpoint:
    """Load the encoder (or the encoder half) of a checkpoint, ready for inference.

    A language adapter that lies in its folder is installed.

    :raises ModelNotFoundError: if it is neither a folder nor in the local cache.
    :raises InputError: if the folder is not a checkpoint, or holds a model without an encoder.
    :raises UnknownNameError: if the dtype or device does not exist here.
    :raises MismatchError: if its folder holds an adapter of another model.
    """
    key = key.settled()
    device = find_device(key.device)
    folder = find_folder(key.name, key.revision)
    with reading(key.name):
        config = transformers.AutoConfig.from_pretrained(folder, **_SAFELY)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **_SAFELY)
        model = _load_encoder(folder, config, DTYPES[key.dtype], key.name)
    model.eval().to(device)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    adapter = load_adapter(model, folder)
    size = {"layers": int(config.num_hidden_layers), "dim": int(config.hidden_size)}
    preset = preset_of(folder, key.name, **size)
    return Checkpoint(key, model, tokenizer, fingerprint(folder), preset, adapter)


def load_for_training(
    name: str, revision: str | None = None, *, seed: int = 1
) -> tuple[Any, Any, torch.dtype]:
    """A checkpoint with its head that predicts pieces, its tokenizer, and the dtype it is kept in.

    Weights are float32, whatever they are kept in. A checkpoint without a head gets a
    new one, a random one of ``seed``.

    :raises ModelNotFoundError: if it is neither a folder nor in the local cache.
    :raises InputError: if it has no encoder that can be trained, or if its tokenizer is of
        another vocabulary than its embeddings.
    """
    folder = find_folder(name, revision)
    masked = transformers.models.auto.modeling_auto.MODEL_FOR_MASKED_LM_MAPPING
    with reading(name):
        config = transformers.AutoConfig.from_pretrained(folder, **_SAFELY)
        if type(config) not in masked or config.is_encoder_decoder:
            raise InputError(
                f"model '{name}' is a {config.model_type} model, which has no encoder "
                "that predicts masked pieces"
            )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **_SAFELY)
        torch.manual_seed(seed)
        model = transformers.AutoModelForMaskedLM.from_pretrained(
            folder, config=config, dtype=torch.float32, use_safetensors=True, **_SAFELY
        )
    rows = len(model.get_input_embeddings().weight)
    if len(tokenizer) > rows:
        raise InputError(
            f"model '{name}': its tokenizer has {len(tokenizer)} pieces and its embeddings have "
            f"{rows} rows; they are not of one vocabulary"
        )
    return model, tokenizer, _stored_dtype(folder)


def _stored_dtype(folder: Path) -> torch.dtype:
    """The precision of the weights on disk: that of the first matrix."""
    file = next(iter(sorted(folder.glob("*.safetensors"))))
    with safe_open(file, framework="pt") as weights:
        kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}  # noqa: SIM118
    return {frozenset({"F16"}): torch.float16, frozenset({"BF16"}): torch.bfloat16}.get(
        frozenset(kinds), torch.float32
    )


def _load_encoder(folder: Path, config: Any, dtype: torch.dtype, name: str) -> nn.Module:
    text_encoders = transformers.models.auto.modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING
    masked = transformers.models.auto.modeling_auto.MODEL_FOR_MASKED_LM_MAPPING
    kind: Any = transformers.AutoModel
    if config.is_encoder_decoder:
        if type(config) in text_encoders:
            kind = transformers.AutoModelForTextEncoding
    elif type(config) not in masked or getattr(config, "is_decoder", False):
        raise InputError(f"model '{name}' is a {config.model_type} model, which has no encoder")
    model: Any
    model, report = kind.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        output_loading_info=True,
        **_SAFELY,
    )
    missing = [key for key in report["missing_keys"] if not key.startswith("pooler.")]
    if missing:  # transformers would make them up at random
        raise InputError(f"model '{name}' lacks {len(missing)} weights, such as '{min(missing)}'")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # it serves next-sentence prediction; many checkpoints lack its weights
    # encoder halves stand alone: BART, M2M100 and Marian keep theirs behind get_encoder
    encoder: nn.Module = model.get_encoder() if config.is_encoder_decoder else model
    return encoder


def find_device(name: str) -> torch.device:
    """:raises UnknownNameError: if this machine has no such device."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UnknownNameError(choose_from("device", name, ["cpu", "cuda", "cuda:0"])) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UnknownNameError(f"device '{name}' is not there: this machine or torch has no CUDA")
    return device


@contextmanager
def quietly() -> Iterator[None]:
    """Loading, saving or tracing a model, one thread after the other.

    Without the progress bars and reports that transformers puts on stderr.
    """
    log = transformers.utils.logging
    with _LOADING:
        verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
        log.set_verbosity_error()
        log.disable_progress_bar()
        try:
            yield
        finally:
            log.set_verbosity(verbosity)
            if bars:
                log.enable_progress_bar()


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Loading quietly, and with errors in one sentence."""
    try:
        with quietly():
            yield
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"model '{name}' cannot be loaded: {reason}") from error
