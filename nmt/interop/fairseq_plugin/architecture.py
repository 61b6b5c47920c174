"""``--arch transformer_from_mllm``: fairseq's Transformer in an MLLM's shape, and from its weights.

What starts from the MLLM is chosen by ``--mllm-init`` (Conneau & Lample, 2019; Rothe et al., 2020):
the encoder, the decoder or both; ``--mllm-cross self`` also starts the attention to the source,
which no MLLM has, as a copy of the attention to itself (Ma et al., 2020).
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping
from typing import Any

import torch
from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import TransformerModel, base_architecture
from torch import Tensor, nn

# this package has one name for --user-dir and another inside of bitext
mllm = importlib.import_module(f"{__package__}.mllm")

NAME = "transformer_from_mllm"
INITS = {
    "none": (),
    "encoder": ("encoder",),
    "decoder": ("decoder",),
    "both": ("encoder", "decoder"),
}
CROSS = ("self", "random")

log = logging.getLogger(__name__)


@register_model(NAME)
class TransformerFromMllm(TransformerModel):  # type: ignore[misc]  # fairseq has no types
    """The Transformer with an MLLM's layers: norm after each block, learned positions, GELU."""

    @classmethod
    def add_args(cls, parser: Any) -> None:
        """Add the options of the Transformer and those that begin with ``--mllm``."""
        TransformerModel.add_args(parser)
        parser.add_argument("--mllm-path", help="folder of an XLM-R, RoBERTa or BERT checkpoint")
        parser.add_argument("--mllm-init", choices=list(INITS), help="what starts from its weights")
        parser.add_argument(
            "--mllm-cross", choices=CROSS, help="attention to the source: a copy, or random"
        )

    @classmethod
    def build_model(cls, args: Any, task: Any) -> Any:
        """Build the model and, unless a checkpoint will follow, fill it from the MLLM."""
        # one embedding where there is one dictionary; else one a side, tied to the output
        args.share_all_embeddings = task.source_dictionary == task.target_dictionary
        args.share_decoder_input_output_embed = True
        model = super().build_model(args, task)
        if INITS[args.mllm_init] and not getattr(args, "mllm_used", False):
            _fill(model, args, task)
            args.mllm_used = True  # goes into checkpoints, which then need no MLLM
        return model


@register_model_architecture(NAME, NAME)  # type: ignore[untyped-decorator]
def shape(args: Any) -> None:
    """Take from the MLLM's ``config.json`` whatever the options leave open."""
    args.mllm_path = getattr(args, "mllm_path", None)
    args.mllm_init = getattr(args, "mllm_init", None) or ("both" if args.mllm_path else "none")
    args.mllm_cross = getattr(args, "mllm_cross", None) or "random"
    if args.mllm_path is None and INITS[args.mllm_init]:
        raise ValueError(f"--mllm-init {args.mllm_init} needs --mllm-path")
    if args.mllm_path and not getattr(args, "mllm_used", False):
        _take_shape(args, mllm.read_config(args.mllm_path))
    for side in ("encoder", "decoder"):
        _set_open(args, f"{side}_learned_pos", True)
    for name, value in (("layernorm_embedding", True), ("no_scale_embedding", True)):
        _set_open(args, name, value)
    _set_open(args, "activation_fn", "gelu")
    base_architecture(args)


def _set_open(args: Any, name: str, value: Any) -> None:
    if getattr(args, name, None) is None:
        setattr(args, name, value)


def _take_shape(args: Any, config: Mapping[str, Any]) -> None:
    wanted = {
        "embed_dim": config["hidden_size"],
        "ffn_embed_dim": config["intermediate_size"],
        "attention_heads": config["num_attention_heads"],
    }
    for side in ("encoder", "decoder"):
        for name, value in wanted.items():
            given = getattr(args, f"{side}_{name}", None)
            if given not in (None, value):
                option = f"--{side}-{name}".replace("_", "-")
                raise ValueError(f"{option} {given}: the MLLM's is {value}")
            setattr(args, f"{side}_{name}", value)
        _set_open(args, f"{side}_layers", config["num_hidden_layers"])
    _set_open(args, "activation_fn", config["hidden_act"])
    for name in ("max_source_positions", "max_target_positions"):
        most = mllm.positions(config)
        setattr(args, name, min(getattr(args, name, None) or most, most))


@torch.no_grad()
def _fill(model: Any, args: Any, task: Any) -> None:
    config = mllm.read_config(args.mllm_path)
    weights = mllm.read_weights(args.mllm_path)
    pieces = mllm.read_pieces(args.mllm_path)
    dictionaries = {"encoder": task.source_dictionary, "decoder": task.target_dictionary}
    for side in INITS[args.mllm_init]:
        stack = getattr(model, side)
        known = _fill_embeddings(stack, dictionaries[side], weights, pieces)
        _copy(stack.embed_positions.weight, mllm.position_rows(weights, config))
        for part in ("weight", "bias"):
            norm = weights[f"embeddings.LayerNorm.{part}"]
            _copy(getattr(stack.layernorm_embedding, part), norm)
        chosen = mllm.spread(config["num_hidden_layers"], len(stack.layers))
        cross = side == "decoder" and args.mllm_cross == "self"
        for number, layer in zip(chosen, stack.layers, strict=True):
            _fill_layer(layer, mllm.layer_tensors(weights, number), cross=cross)
        log.info(
            "%s: %d of %d embeddings, positions and layers %s from %s%s",
            side, known, len(dictionaries[side]), chosen, args.mllm_path,
            f"; attention to the source: {args.mllm_cross}" if side == "decoder" else "",
        )  # fmt: skip


def _fill_embeddings(
    stack: Any, dictionary: Any, weights: Mapping[str, Tensor], pieces: Mapping[str, int]
) -> int:
    """Copy the rows of the symbols that the MLLM knows; the number of them."""
    rows = mllm.embedding_rows(dictionary.symbols, pieces)
    special = sum(symbol in mllm.SPECIAL for symbol in dictionary.symbols)
    if len(rows) <= special < len(dictionary):
        raise ValueError(
            "the MLLM knows no symbol of the dictionary: the data must be in its own pieces"
        )
    table = weights["embeddings.word_embeddings.weight"]
    stack.embed_tokens.weight[list(rows)] = table[list(rows.values())].to(stack.embed_tokens.weight)
    return len(rows)


def _fill_layer(layer: nn.Module, tensors: dict[str, Tensor], *, cross: bool) -> None:
    there = dict(layer.named_parameters())
    for name, tensor in {**tensors, **(mllm.cross_tensors(tensors) if cross else {})}.items():
        _copy(there[name], tensor)


def _copy(parameter: Tensor, tensor: Tensor) -> None:
    """Copy a tensor, or of a longer table of positions its first rows."""
    parameter.copy_(tensor[: len(parameter)])
