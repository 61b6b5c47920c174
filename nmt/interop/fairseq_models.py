"""Weights of fairseq's models in networks of ``transformers``, and back; outputs stay equal.

fairseq's Transformer comes in four forms, by where its norms stand, and each is a network of its
own elsewhere: ours (BART's) where each block is followed by a norm and so are the embeddings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor

from bitext.errors import InputError, MismatchError
from nmt.interop.fairseq_checkpoint import FairseqCheckpoint
from nmt.interop.fairseq_dictionary import END, PAD, START
from nmt.network.initialize import LAYER

ACTIVATIONS = {
    "relu": "relu",
    "gelu": "gelu",
    "gelu_accurate": "gelu_new",
    "gelu_fast": "gelu_new",  # the old name of the same
    "tanh": "tanh",
}
"""fairseq's ``--activation-fn`` -> the name in ``transformers``."""

# settings that must be off: what they add has no place in any of the networks
_OFF = (
    "adaptive_input",
    "adaptive_softmax_cutoff",
    "base_layers",
    "char_inputs",
    "cross_self_attention",
    "decoder_layers_to_keep",
    "decoder_xformers_att_config",
    "encoder_layers_to_keep",
    "encoder_xformers_att_config",
    "no_cross_attention",
    "no_decoder_final_norm",
    "no_token_positional_embeddings",
)
# settings that must be alike
_ALIKE = (
    ("encoder_embed_dim", "decoder_embed_dim"),
    ("decoder_embed_dim", "decoder_input_dim"),
    ("decoder_embed_dim", "decoder_output_dim"),
    ("encoder_normalize_before", "decoder_normalize_before"),
    ("max_source_positions", "max_target_positions"),
)
_TIED = ("embed_tokens.weight", "shared.weight", "lm_head.weight", "output_projection.weight")
_FAMILIES = ("transformer", "bart", "mbart", "bitext")
_POSITIONS = 1024
"""fairseq's default of ``--max-source-positions``."""


@dataclass(frozen=True)
class _Network:
    config: Any
    model: Any
    keeps_positions: bool  # has a table for them, and so takes learned ones; else computes them


_NETWORKS = {
    # (norm before each block, norm over the embeddings)
    (False, True): _Network(
        transformers.BartConfig, transformers.BartForConditionalGeneration, True
    ),
    (True, True): _Network(
        transformers.MBartConfig, transformers.MBartForConditionalGeneration, True
    ),
    (False, False): _Network(
        transformers.FSMTConfig, transformers.FSMTForConditionalGeneration, False
    ),
    (True, False): _Network(
        transformers.M2M100Config, transformers.M2M100ForConditionalGeneration, False
    ),
}


# --- the Transformer


def translation_model(checkpoint: FairseqCheckpoint) -> Any:
    """The network that computes what the checkpoint's Transformer computes.

    :raises InputError: if there is none; the sentence names the setting or the weight.
    """
    _check(checkpoint)
    before = bool(checkpoint.setting("encoder_normalize_before", False))
    normed = bool(checkpoint.setting("layernorm_embedding", False))
    network = _NETWORKS[before, normed]
    learned = {
        s: f"{s}.embed_positions.weight" in checkpoint.weights for s in ("encoder", "decoder")
    }
    if any(learned.values()) and not network.keeps_positions:
        raise InputError(
            f"{checkpoint.path}: learned positions (encoder_learned_pos, decoder_learned_pos)"
            " can be converted only with layernorm_embedding"
        )
    embedding = _one_embedding(checkpoint)
    model = network.model(_config(checkpoint, network, len(embedding)))
    model.load_state_dict(_filled(model.state_dict(), checkpoint, embedding))
    _prepare_generation(model)
    return model.eval()


def _check(checkpoint: FairseqCheckpoint) -> None:
    path, setting = checkpoint.path, checkpoint.setting
    arch = str(setting("_name") or setting("arch", ""))
    if not arch.startswith(_FAMILIES):
        raise InputError(f"{path}: arch '{arch}' is not a Transformer that can be converted")
    for name in _OFF:
        if value := setting(name):
            raise InputError(f"{path}: {name} is {value!r}; such a model cannot be converted")
    for one, other in _ALIKE:
        first, second = setting(one), setting(other)
        if None not in (first, second) and int(first) != int(second):
            raise InputError(f"{path}: {one} {first} and {other} {second} must be alike")
    if (activation := setting("activation_fn", "relu")) not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise InputError(f"{path}: activation_fn '{activation}' cannot be converted, only {known}")


def _one_embedding(checkpoint: FairseqCheckpoint) -> Tensor:
    """The matrix that embeds both sides and is the output layer."""
    weights = checkpoint.weights
    names = [f"{side}.embed_tokens.weight" for side in ("encoder", "decoder")]
    for name in names:
        if name not in weights:
            raise InputError(f"{checkpoint.path} has no {name}; it is no encoder and decoder")
    first = weights[names[0]]
    # fairseq 0.9 and older do not write down an output layer that is tied
    for name in (names[1], "decoder.output_projection.weight", "decoder.embed_out"):
        other = weights.get(name, first)
        if not torch.equal(first, other):
            raise InputError(
                f"{checkpoint.path}: share_all_embeddings is off, {name} is not the encoder's"
                " embedding; only models with one vocabulary and one embedding can be converted"
            )
    return first


def _config(checkpoint: FairseqCheckpoint, network: _Network, vocabulary: int) -> Any:
    setting, weights = checkpoint.setting, checkpoint.weights
    sizes: dict[str, Any] = {"d_model": weights["encoder.embed_tokens.weight"].shape[1]}
    for side in ("encoder", "decoder"):
        sizes[f"{side}_layers"] = _layers(weights, side)
        sizes[f"{side}_attention_heads"] = int(setting(f"{side}_attention_heads", 8))
        sizes[f"{side}_ffn_dim"] = len(weights[f"{side}.layers.0.fc1.weight"])
    for name in ("dropout", "attention_dropout", "activation_dropout"):
        sizes[name] = float(setting(name, 0.0))
    names = ("src_vocab_size", "tgt_vocab_size") if network.config is transformers.FSMTConfig else (
        "vocab_size",
    )  # fmt: skip
    config = network.config(
        **sizes,
        **dict.fromkeys(names, vocabulary),
        encoder_layerdrop=float(setting("encoder_layerdrop", 0.0)),
        decoder_layerdrop=float(setting("decoder_layerdrop", 0.0)),
        activation_function=ACTIVATIONS[setting("activation_fn", "relu")],
        max_position_embeddings=positions(checkpoint),
        scale_embedding=not setting("no_scale_embedding", False),
        tie_word_embeddings=True,
        pad_token_id=PAD,
        bos_token_id=START,
        eos_token_id=END,
        decoder_start_token_id=END,
        forced_eos_token_id=None,
    )
    if config.model_type == "fsmt":
        # with a cache it masks nothing, being made for one piece a call, as generate makes them
        config.use_cache = False
    # what CTranslate2's converter looks for
    config.normalize_before = bool(setting("encoder_normalize_before", False))
    config.normalize_embedding = bool(setting("layernorm_embedding", False))
    return config


def _layers(weights: Mapping[str, Tensor], side: str) -> int:
    return len({n.split(".")[2] for n in weights if n.startswith(f"{side}.layers.")})


def positions(checkpoint: FairseqCheckpoint) -> int:
    """How many pieces a side may have, ``</s>`` included."""
    for side in ("encoder", "decoder"):
        table = checkpoint.weights.get(f"{side}.embed_positions.weight")
        if table is not None:
            return len(table) - PAD - 1
    return int(checkpoint.setting("max_source_positions", _POSITIONS))


def _filled(
    names: Mapping[str, Tensor], checkpoint: FairseqCheckpoint, embedding: Tensor
) -> dict[str, Tensor]:
    """A tensor for each of the network's names.

    :raises InputError: if one is missing, or one is left.
    """
    left = {n: t for n, t in checkpoint.weights.items() if not n.endswith((*_TIED, "embed_out"))}
    state: dict[str, Tensor] = {}
    for name, empty in names.items():
        theirs = name.removeprefix("model.")
        if name.endswith(_TIED):
            state[name] = embedding
        elif name == "final_logits_bias":
            state[name] = torch.zeros(empty.shape)
        elif theirs in left:
            state[name] = left.pop(theirs)
        elif name.endswith("embed_positions.weight"):
            state[name] = sinusoids(*empty.shape)
        else:
            raise InputError(f"{checkpoint.path} has no {theirs}, which its settings speak of")
        if state[name].shape != empty.shape:
            raise InputError(f"{checkpoint.path}: {theirs} has shape {tuple(state[name].shape)},"
                             f" its settings speak of {tuple(empty.shape)}")  # fmt: skip
    if left:
        raise InputError(
            f"{checkpoint.path} has weights that a Transformer has not, such as {min(left)}"
        )
    return state


def sinusoids(rows: int, dim: int) -> Tensor:
    """fairseq's positions that are not learned, shape (rows, dim); the first piece has row 2.

    Sines of all frequencies, then cosines (as in tensor2tensor; Vaswani et al., 2017, have them
    by turns), and the frequencies fall to 1/10000 at the last one.
    """
    half = dim // 2
    rates = torch.exp(torch.arange(half) * -(math.log(10_000) / (half - 1)))
    angles = torch.arange(rows)[:, None] * rates[None, :]
    table = torch.cat([angles.sin(), angles.cos(), torch.zeros(rows, dim % 2)], dim=1)
    table[PAD] = 0
    return table


def _prepare_generation(model: Any) -> None:
    """``generate`` as fairseq does it: from ``</s>`` to ``</s>``, while there are positions."""
    model.generation_config = transformers.GenerationConfig(
        bos_token_id=START,
        pad_token_id=PAD,
        eos_token_id=END,
        decoder_start_token_id=END,
        max_length=model.config.max_position_embeddings,
        num_beams=5,
    )


# --- back


def transformer_parts(
    model: Any, source: str, target: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and weights of fairseq's Transformer that computes what ``model`` computes.

    :param model: of BART's or mBART's shape, special ids as in fairseq.
    :raises InputError: if fairseq has no such model.
    :raises MismatchError: if its special ids are others.
    """
    config = model.config
    if config.model_type not in ("bart", "mbart"):
        raise InputError(f"a {config.model_type} model cannot become one of fairseq's, only bart"
                         " and mbart")  # fmt: skip
    activations = {theirs: ours for ours, theirs in ACTIVATIONS.items() if ours != "gelu_fast"}
    if config.activation_function not in activations:
        raise InputError(f"fairseq has no activation '{config.activation_function}'")
    ids = (config.bos_token_id, config.pad_token_id, config.eos_token_id)
    if ids != (START, PAD, END) or config.decoder_start_token_id != END:
        raise MismatchError(
            f"<s>, <pad> and </s> are {ids} and decoding starts from"
            f" {config.decoder_start_token_id}; fairseq has {(START, PAD, END)} and starts from"
            f" {END}"
        )
    state = model.state_dict()
    if state["final_logits_bias"].any():
        raise InputError("final_logits_bias is not zero, and fairseq has no such weight")
    if not torch.equal(state["lm_head.weight"], state["model.shared.weight"]):
        raise InputError("the output layer is not tied to the embedding")
    before = config.model_type == "mbart"
    settings = {
        "arch": "transformer", "task": "translation", "data": ".",
        "source_lang": source, "target_lang": target,
        "activation_fn": activations[config.activation_function],
        "no_scale_embedding": not config.scale_embedding,
        "layernorm_embedding": True,
        "share_all_embeddings": True, "share_decoder_input_output_embed": True,
        "max_source_positions": config.max_position_embeddings,
        "max_target_positions": config.max_position_embeddings,
        "left_pad_source": True, "left_pad_target": False,
        "dropout": config.dropout, "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
    }  # fmt: skip
    for side in ("encoder", "decoder"):
        settings |= {
            f"{side}_embed_dim": config.d_model,
            f"{side}_layers": getattr(config, f"{side}_layers"),
            f"{side}_attention_heads": getattr(config, f"{side}_attention_heads"),
            f"{side}_ffn_embed_dim": getattr(config, f"{side}_ffn_dim"),
            f"{side}_learned_pos": True,
            f"{side}_normalize_before": before,
        }
    return settings, _theirs(state)


def _theirs(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's weights by fairseq's names; what is one tensor is written once."""
    shared = state["model.shared.weight"].float()
    weights: dict[str, Tensor] = {}
    for name, tensor in state.items():
        ours = name.removeprefix("model.")
        if ours.endswith("embed_tokens.weight"):
            weights[ours] = shared
        elif ours.startswith(("encoder.", "decoder.")):
            weights[ours] = tensor.float().contiguous()
    weights["decoder.output_projection.weight"] = shared
    for side in ("encoder", "decoder"):
        weights[f"{side}.version"] = torch.tensor([3.0])  # older ones lack the last norm
    return weights


# --- XLM-R


_AROUND = {
    "embed_tokens": "embeddings.word_embeddings",
    "embed_positions": "embeddings.position_embeddings",
    "layernorm_embedding": "embeddings.LayerNorm",
}


def is_encoder(checkpoint: FairseqCheckpoint) -> bool:
    """Whether it is an XLM-R (or RoBERTa), and no Transformer."""
    return any(name.startswith("encoder.sentence_encoder.") for name in checkpoint.weights)


def encoder_model(checkpoint: FairseqCheckpoint) -> Any:
    """An ``XLMRobertaForMaskedLM`` that computes what the checkpoint's encoder computes.

    :raises InputError: if there is none; the sentence names the setting or the weight.
    """
    named = dict(_encoder_names(checkpoint))
    model: Any = transformers.XLMRobertaForMaskedLM(_encoder_config(checkpoint))
    names = model.state_dict()
    embedding = named["roberta.embeddings.word_embeddings.weight"]
    named["lm_head.decoder.weight"] = embedding
    named["lm_head.decoder.bias"] = named["lm_head.bias"]
    named["roberta.embeddings.token_type_embeddings.weight"] = torch.zeros(1, embedding.shape[1])
    if missing := names.keys() - named.keys():
        raise InputError(f"{checkpoint.path} lacks what an XLM-R has, such as {min(missing)}")
    if left := named.keys() - names.keys():
        raise InputError(
            f"{checkpoint.path} has weights that an XLM-R has not, such as {min(left)}"
        )
    model.load_state_dict(named)
    return model.eval()


def _encoder_names(checkpoint: FairseqCheckpoint) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    weights = checkpoint.weights
    start = "encoder.sentence_encoder."
    if f"{start}layer_norm.weight" in weights:
        raise InputError(f"{checkpoint.path}: encoder_normalize_before is on (as in XLM-R XL);"
                         " XLM-R's network has its norms after each block")  # fmt: skip
    for name, tensor in weights.items():
        stem, _, part = name.removeprefix(start).rpartition(".")
        if name == "encoder.lm_head.weight":
            if not torch.equal(tensor, weights[f"{start}embed_tokens.weight"]):
                raise InputError(f"{checkpoint.path}: untie_weights_roberta is on, and XLM-R's"
                                 " network ties its output to its embedding")  # fmt: skip
        elif name.startswith("encoder.lm_head."):
            renamed[name.removeprefix("encoder.")] = tensor
        elif stem.startswith("layers."):
            _, number, inner = stem.split(".", 2)
            renamed[f"roberta.encoder.layer.{number}.{LAYER.get(inner, inner)}.{part}"] = tensor
        elif not name.startswith("classification_heads."):
            renamed[f"roberta.{_AROUND.get(stem, stem)}.{part}"] = tensor
    return renamed


def _encoder_config(checkpoint: FairseqCheckpoint) -> Any:
    weights, setting = checkpoint.weights, checkpoint.setting
    start = "encoder.sentence_encoder."
    for name in ("embed_tokens", "embed_positions", "layernorm_embedding", "layers.0.fc1"):
        if f"{start}{name}.weight" not in weights:
            raise InputError(f"{checkpoint.path} has no {start}{name}.weight, which an XLM-R has")
    if (activation := setting("activation_fn", "gelu")) != "gelu":
        raise InputError(f"{checkpoint.path}: activation_fn is '{activation}'; an XLM-R has gelu")
    vocabulary, dim = weights[f"{start}embed_tokens.weight"].shape
    return transformers.XLMRobertaConfig(
        vocab_size=vocabulary,
        hidden_size=dim,
        num_hidden_layers=len(
            {n.split(".")[3] for n in weights if n.startswith(f"{start}layers.")}
        ),
        num_attention_heads=int(setting("encoder_attention_heads", 12)),
        intermediate_size=len(weights[f"{start}layers.0.fc1.weight"]),
        hidden_act=activation,
        hidden_dropout_prob=float(setting("dropout", 0.1)),
        attention_probs_dropout_prob=float(setting("attention_dropout", 0.1)),
        max_position_embeddings=len(weights[f"{start}embed_positions.weight"]),
        layer_norm_eps=1e-5,  # of all norms of fairseq
        type_vocab_size=1,
        bos_token_id=START,
        pad_token_id=PAD,
        eos_token_id=END,
    )
