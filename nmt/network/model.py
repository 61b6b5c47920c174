"""The encoder–decoder: a network of BART's shape, loaded and saved as an ordinary checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.activations import ACT2FN

from bitext.errors import InputError, UnknownNameError, choose_from
from bitext.text import atomic_folder
from encoders.checkpoint import DTYPES, find_device, quietly, reading
from encoders.hub import find_folder, fingerprint
from encoders.sinusoids import sinusoids
from encoders.training.run import writing
from nmt.network.fused import FusedConfig, write_note
from nmt.pieces.hub_codec import HubCodec, codec_of
from nmt.pieces.tokenization import Codec, TaggedCodec, read_settings

SAFELY: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


@dataclass(frozen=True, slots=True)
class TranslationCheckpoint:
    """A loaded encoder–decoder and its codec."""

    folder: Path
    model: Any
    codec: Codec
    fingerprint: str


def load_translation_checkpoint(
    name: str | Path,
    *,
    revision: str | None = None,
    device: str = "cpu",
    dtype: str = "float32",
) -> TranslationCheckpoint:
    """Load a translation model, ready for inference.

    :param name: a folder, or the name of a model of the hub in the local cache.
    :param dtype: ``float32`` or ``bfloat16``.
    :raises ModelNotFoundError: if it is neither a folder nor in the local cache.
    :raises InputError: if it holds something else.
    :raises UnknownNameError: if the device does not exist here.
    """
    place = find_device(device)
    folder = find_folder(str(name), revision)
    refuse_exported(folder, name)
    with reading(str(name)):
        config = transformers.AutoConfig.from_pretrained(folder, **SAFELY)
        if not config.is_encoder_decoder:
            raise InputError(f"model '{name}' is a {config.model_type} model, not a translator")
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **SAFELY)
        model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(
            folder, config=config, dtype=DTYPES[dtype], use_safetensors=True, **SAFELY
        )
    codec = codec_of(str(name), tokenizer, config, read_settings(folder))
    model.eval().to(place)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    if isinstance(config, FusedConfig):
        model.read_with(codec.text)
    return TranslationCheckpoint(folder, model, codec, fingerprint(folder))


def refuse_exported(folder: Path, name: str | Path) -> None:
    """:raises InputError: if the folder is one of CTranslate2's."""
    if (folder / "model.bin").is_file() and not (folder / "model.safetensors").is_file():
        raise InputError(
            f"model '{name}' was exported for CTranslate2, which only bitext translate runs; take "
            "the folder that it was exported from"
        )


def save_translation_checkpoint(
    folder: Path,
    model: Any,
    codec: TaggedCodec | HubCodec,
    *,
    weights: dict[str, torch.Tensor] | None = None,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Save as an ordinary ``transformers`` folder, in the place of what was there.

    :param weights: instead of the model's own.
    :param beside: writes what else belongs into the folder.
    :raises InputError: if the disk is full, or ``folder`` holds something else.
    """
    with atomic_folder(folder, marker="config.json") as temporary, quietly(), writing(folder):
        # tied weights stay one tensor, written once; a shared decoder is written in full
        state = _untied(model, weights or model.state_dict())
        model.save_pretrained(temporary, state_dict=state)
        codec.save(temporary)
        if isinstance(model.config, FusedConfig):
            write_note(temporary)
        if beside is not None:
            beside(temporary)
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors writes for the owner's eyes only


def _untied(model: Any, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every tensor once and apart, but for those that ``transformers`` ties when it loads."""
    tied = {name: root for name, root in model.all_tied_weights_keys.items() if root in weights}
    seen: set[int] = set()
    state: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        if name in tied:
            state[name] = weights[tied[name]]
        elif tensor.data_ptr() in seen:
            state[name] = tensor.clone()
        else:
            state[name] = tensor
        seen.add(state[name].data_ptr())
    return state


MAX_PIECES = 256
"""Of a sentence, special ones included, where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a network."""

    pieces: int
    dim: int = 256
    heads: int = 4
    feed_forward: int = 1024
    encoder_layers: int = 4
    decoder_layers: int = 4
    activation: str = "gelu"
    max_pieces: int = MAX_PIECES
    dropout: float = 0.1
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0

    def __post_init__(self) -> None:
        """:raises InputError: if there is no such network."""
        if self.dim % self.heads:
            raise InputError(
                f"model.dim {self.dim} is not a multiple of {self.heads} heads; set model.dim and "
                "model.heads so that it is, or leave both out"
            )
        if self.activation not in ACT2FN:
            known = ("gelu", "relu", "silu", "tanh")
            raise UnknownNameError(choose_from("model.activation", self.activation, known))


def build_network(shape: Shape, codec: TaggedCodec, *, seed: int) -> Any:
    """A network of BART's shape (Lewis et al., 2020) with new weights.

    Layer normalisation comes after each block and after the embeddings, positions are learned,
    beginning as sinusoids, and one matrix embeds the pieces of both sides and is the output layer:
    the shape onto which an XLM-R maps exactly.
    """
    tokenizer = codec.tokenizer
    build: Any = transformers.BartConfig  # takes keys of other libraries, too
    config = build(
        vocab_size=shape.pieces,
        d_model=shape.dim,
        encoder_layers=shape.encoder_layers,
        decoder_layers=shape.decoder_layers,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        encoder_ffn_dim=shape.feed_forward,
        decoder_ffn_dim=shape.feed_forward,
        activation_function=shape.activation,
        max_position_embeddings=shape.max_pieces,
        dropout=shape.dropout,
        attention_dropout=shape.attention_dropout,
        activation_dropout=shape.activation_dropout,
        init_std=shape.dim**-0.5,  # of embeddings; BART's 0.02 suits a width of 1024 and more
        pad_token_id=codec.pad,
        bos_token_id=tokenizer.bos_token_id if tokenizer.bos_token_id is not None else codec.end,
        eos_token_id=codec.end,
        decoder_start_token_id=codec.end,
        forced_eos_token_id=None,
        # what CTranslate2's converter looks for
        normalize_before=False,
        normalize_embedding=True,
    )
    torch.manual_seed(seed)
    model: Any = transformers.BartForConditionalGeneration(config)
    _begin(model)
    model.generation_config.max_length = shape.max_pieces
    return model


def _begin(model: Any) -> None:
    """Give positions and matrices the values from which a small corpus still teaches them.

    Positions are sinusoids, as large as embeddings; matrices are uniform as Glorot & Bengio (2010,
    eq. 16) have it, those of query, key and value counted as one of three times the height.
    """
    with torch.no_grad():
        for side in (model.model.encoder, model.model.decoder):
            table = side.embed_positions.weight
            table.copy_(model.config.init_std * sinusoids(*table.shape))
    for layer in (*model.model.encoder.layers, *model.model.decoder.layers):
        for name, module in layer.named_modules():
            if isinstance(module, torch.nn.Linear):
                joint = name.rpartition(".")[2] in ("q_proj", "k_proj", "v_proj")
                torch.nn.init.xavier_uniform_(module.weight, gain=0.5**0.5 if joint else 1.0)
