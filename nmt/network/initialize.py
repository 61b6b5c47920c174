"""Which pretrained weight goes where: an encoder's layers become those of an encoder–decoder.

Each tensor of the new network has its line in a report: where it came from, or that it is new.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from bitext.errors import InputError, UnknownNameError
from encoders.checkpoint import ModelKey, load_checkpoint
from encoders.subwords import SubwordSplitter
from nmt.training.config import InitializeSettings

REPORT_FILE = "initialization.json"
FAMILIES = ("bert", "camembert", "electra", "roberta", "xlm-roberta")
"""Model types whose layers have BART's form: normalised after each block, learned positions."""
_LAYER = {
    "self_attn.q_proj": "attention.self.query",
    "self_attn.k_proj": "attention.self.key",
    "self_attn.v_proj": "attention.self.value",
    "self_attn.out_proj": "attention.output.dense",
    "self_attn_layer_norm": "attention.output.LayerNorm",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
    "final_layer_norm": "output.LayerNorm",
}
_CROSS = {
    name.replace("self_attn", "encoder_attn"): source
    for name, source in _LAYER.items()
    if name.startswith("self_attn")
}
LONG = 4.0
"""Length of an average embedding from which on it is scaled down."""
_OFFSET = 2  # of BART's positions

Kind = Literal["copied", "averaged", "new"]


class Origin(NamedTuple):
    """Where one tensor of the network came from."""

    tensor: str
    kind: Kind
    source: str


@dataclass(slots=True)
class Report:
    """Where every tensor came from."""

    model: str | None
    fingerprint: str | None = None
    origins: list[Origin] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, tensor: str, kind: Kind, source: str = "") -> None:
        self.origins.append(Origin(tensor, kind, source))

    def summary(self) -> str:
        """A few lines for people."""
        parts: dict[str, Counter[str]] = {}
        for one in self.origins:
            parts.setdefault(_part_of(one.tensor), Counter())[one.kind] += 1
        lines = [f"initialised from {self.model or 'nothing'}"]
        for part, kinds in parts.items():
            counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            lines.append(f"  {part}: {counts} tensors")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def write(self, folder: Path) -> None:
        """Write ``initialization.json``."""
        written = {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "notes": self.notes,
            "tensors": [one._asdict() for one in self.origins],
        }
        text = json.dumps(written, indent=1, ensure_ascii=False)
        (folder / REPORT_FILE).write_text(text + "\n", encoding="utf-8")


@dataclass(frozen=True, slots=True)
class PretrainedEncoder:
    """An encoder's weights by name, and what is needed to read them."""

    name: str
    fingerprint: str
    weights: dict[str, torch.Tensor]
    config: Any
    tokenizer: Any

    @property
    def layers(self) -> int:
        return int(self.config.num_hidden_layers)

    @property
    def positions(self) -> int:
        """How many pieces it takes."""
        return int(self.config.max_position_embeddings) - self.first_position

    @property
    def first_position(self) -> int:
        """The row of the first piece's position: RoBERTa counts from its padding id on."""
        later = self.config.model_type in ("roberta", "xlm-roberta", "camembert")
        return int(self.config.pad_token_id) + 1 if later else 0


def read_encoder(name: str, revision: str | None = None) -> PretrainedEncoder:
    """Read an encoder that a network can start from.

    :raises ModelNotFoundError: if it is neither a folder nor in the local cache.
    :raises InputError: if it is of a family whose layers have another form.
    """
    checkpoint = load_checkpoint(ModelKey(name, revision))
    config: Any = checkpoint.model.config
    embedding = getattr(config, "embedding_size", config.hidden_size)
    if config.model_type not in FAMILIES or embedding != config.hidden_size:
        raise InputError(
            f"model '{name}' is a {config.model_type} model, whose layers do not fit an "
            f"encoder-decoder of BART's shape; choose one of the families {', '.join(FAMILIES)}"
        )
    return PretrainedEncoder(
        name,
        checkpoint.fingerprint,
        {name: tensor.float() for name, tensor in checkpoint.model.state_dict().items()},
        config,
        checkpoint.tokenizer,
    )


def choose_layers(
    choice: Literal["spread", "first", "last"] | list[int], of: int, n: int
) -> list[int]:
    """Which ``n`` of an encoder's layers (from 1) a decoder is made of.

    ``spread`` takes them at equal distances, the last one included.

    :raises UnknownNameError: if the encoder has no such layer.
    :raises InputError: if their number is not ``n``.
    """
    if isinstance(choice, list):
        unknown = [layer for layer in choice if not 1 <= layer <= of]
        if unknown:
            raise UnknownNameError(f"decoder_from: no layer {unknown[0]}; choose from 1 to {of}")
        if len(choice) != n:
            raise InputError(f"decoder_from names {len(choice)} layers, and the decoder has {n}")
        return choice
    if choice != "spread" and n > of:
        raise InputError(f"decoder_from '{choice}': {n} layers cannot be taken of {of}")
    if choice == "first":
        return list(range(1, n + 1))
    if choice == "last":
        return list(range(of - n + 1, of + 1))
    return [-(-(k + 1) * of // n) for k in range(n)]


def initialize(
    model: Any,
    encoder: PretrainedEncoder | None,
    tokenizer: Any,
    how: InitializeSettings,
    *,
    kept: Sequence[int] | None = None,
) -> Report:
    """Put an encoder's weights into a network, whose other weights stay what they are.

    :param encoder: ``None``, or no part that is wanted of it: nothing is put in, and the report
        says so.
    :param tokenizer: the network's own.
    :param kept: the encoder's id of each piece, if its vocabulary was trimmed; without it, pieces
        get the mean of the embeddings of the encoder's pieces that spell them (fast vocabulary
        transfer: Gee et al., 2022).
    :raises InputError: if the sizes of both differ.
    """
    if encoder is None or not (how.encoder or how.decoder or how.embeddings):
        report = Report(None)
        _say_new(model, report)
        return report
    _check_sizes(model, encoder)
    report = Report(encoder.name, encoder.fingerprint)
    fill = _Filler(model, encoder, report)
    if how.embeddings:
        fill.pieces(tokenizer, kept)
    for side in ("encoder", "decoder"):
        if getattr(how, side):
            fill.positions(side)
    if how.encoder:
        for number in range(len(model.model.encoder.layers)):
            fill.layer("encoder", number, number + 1)
    if how.decoder:
        layers = model.model.decoder.layers
        for number, layer in enumerate(
            choose_layers(how.decoder_from, encoder.layers, len(layers))
        ):
            fill.layer("decoder", number, layer)
            if how.cross_attention == "self":
                fill.cross_attention(number, layer)
    _say_new(model, report)
    return report


class _Filler:
    """Copies tensors and keeps the report."""

    def __init__(self, model: Any, encoder: PretrainedEncoder, report: Report) -> None:
        self.model, self.encoder, self.report = model, encoder, report
        self.own = model.state_dict()
        self.scale = _scale_of(encoder.weights["embeddings.word_embeddings.weight"])
        if self.scale < 1:
            report.notes.append(
                f"word and position embeddings are multiplied by {self.scale:.3g}: normalisation "
                "follows them, but they are the output matrix, too"
            )

    def copy(self, target: str, source: str) -> None:
        with torch.no_grad():
            self.own[target].copy_(self.encoder.weights[source])
        self.report.add(target, "copied", source)

    def module(self, target: str, source: str) -> None:
        for kind in ("weight", "bias"):
            self.copy(f"{target}.{kind}", f"{source}.{kind}")

    def layer(self, side: str, number: int, layer: int) -> None:
        """A block from the encoder's layer ``layer``, from 1."""
        for target, source in _LAYER.items():
            self.module(
                f"model.{side}.layers.{number}.{target}", f"encoder.layer.{layer - 1}.{source}"
            )

    def cross_attention(self, number: int, layer: int) -> None:
        """Attention to the source begins as the layer's attention to itself (Ma et al., 2020)."""
        for target, source in _CROSS.items():
            self.module(
                f"model.decoder.layers.{number}.{target}", f"encoder.layer.{layer - 1}.{source}"
            )

    def positions(self, side: str) -> None:
        """Positions, with the one token type added to each, and the normalisation after them."""
        name = f"model.{side}.embed_positions.weight"
        first, rows = self.encoder.first_position, len(self.own[name]) - _OFFSET
        table = self.encoder.weights["embeddings.position_embeddings.weight"]
        table = table[first : first + rows]
        source = "embeddings.position_embeddings.weight"
        types = self.encoder.weights.get("embeddings.token_type_embeddings.weight")
        if types is not None:
            table = table + types[0]
            source += " + embeddings.token_type_embeddings.weight[0]"
        with torch.no_grad():
            self.own[name][:_OFFSET].zero_()  # never read
            self.own[name][_OFFSET:].copy_(table * self.scale)
        self.report.add(name, "copied", source)
        self.module(f"model.{side}.layernorm_embedding", "embeddings.LayerNorm")

    def pieces(self, tokenizer: Any, kept: Sequence[int] | None) -> None:
        """The embeddings of the network's pieces."""
        table = self.encoder.weights["embeddings.word_embeddings.weight"] * self.scale
        own = self.own["model.shared.weight"]
        name = "embeddings.word_embeddings.weight"
        if kept is not None:
            with torch.no_grad():
                own[: len(kept)].copy_(table[list(kept)])
            self.report.add("model.shared.weight", "copied", f"{name}: {len(kept)} of {len(table)}")
            return
        spelt = spell_pieces(tokenizer, self.encoder.tokenizer)
        known = {number: ids for number, ids in spelt.items() if ids}
        with torch.no_grad():
            rest = torch.ones(len(own), dtype=torch.bool)
            for number, ids in known.items():
                own[number].copy_(table[ids].mean(0))
                rest[number] = False
            # what nothing is known of is as large as the rest
            size = own[~rest].std() / own[rest].std() if rest.any() else 1.0
            own[rest] *= size
        self.report.add("model.shared.weight", "averaged", f"{name}: the pieces that spell it")
        self.report.notes.append(
            f"{len(known)} of {len(own)} pieces have embeddings of the encoder's pieces, "
            f"{sum(len(ids) == 1 for ids in known.values())} of one piece alone"
        )


def _scale_of(table: torch.Tensor) -> float:
    """What makes long embeddings, in the root mean square, of length 1; short ones stay.

    The normalised state that they are multiplied with in the output layer has a length of
    ``dim ** 0.5``, so long ones make the first predictions far too sure; and Adam, whose steps
    have one size, moves them too slowly.
    """
    length = float(table.pow(2).mean().sqrt()) * table.shape[1] ** 0.5
    return 1 / length if length > LONG else 1.0


def spell_pieces(tokenizer: Any, other: Any) -> dict[int, list[int]]:
    """The pieces of ``other`` that spell each piece of ``tokenizer``, by their ids.

    Special pieces answer to those of the same role; a byte has no spelling.
    """
    names = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = {int(i): _role(tokenizer, other, int(i)) for i in tokenizer.all_special_ids}
    splitter = SubwordSplitter(other)
    continued = _Continuation(other)
    found: dict[int, list[int]] = {}
    for number, name in enumerate(names):
        if number in special:
            found[number] = special[number]
        elif name.startswith("<0x"):
            found[number] = []
        elif name.startswith("▁"):
            found[number] = splitter.texts([name[1:]])[0].ids if len(name) > 1 else []
        else:
            found[number] = continued.ids(name)
    unknown = other.unk_token_id
    return {number: [i for i in ids if i != unknown] for number, ids in found.items()}


class _Continuation:
    """Pieces of text that stands inside a word."""

    def __init__(self, tokenizer: Any) -> None:
        self._backend = getattr(tokenizer, "backend_tokenizer", None)
        self._tokenizer = tokenizer
        self._splitter = SubwordSplitter(tokenizer)
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()

    def ids(self, text: str) -> list[int]:
        normal = text
        if self._backend is not None and self._backend.normalizer is not None:
            normal = self._backend.normalizer.normalize_str(text)
        normal = normal.removeprefix("▁")
        for name in (f"##{normal}", normal):
            if name in self._vocabulary:
                return [self._vocabulary[name]]
        if not normal or self._backend is None:
            return list(self._splitter.texts([text])[0].ids)
        return [piece.id for piece in self._backend.model.tokenize(normal)]


def _role(tokenizer: Any, other: Any, number: int) -> list[int]:
    """The special piece of ``other`` that does what this one does."""
    for roles in (("bos_token_id", "cls_token_id"), ("eos_token_id", "sep_token_id")):
        if number in {getattr(tokenizer, role) for role in roles}:
            there = [getattr(other, role) for role in roles]
            return [int(one) for one in there if one is not None][:1]
    for role in ("pad_token_id", "unk_token_id", "mask_token_id"):
        if number == getattr(tokenizer, role) and getattr(other, role) is not None:
            return [int(getattr(other, role))]
    return []


def share_blocks(model: Any) -> None:
    """Make the decoder's blocks those of the encoder, cross-attention apart (Rothe et al., 2020).

    :raises InputError: if the two have different numbers of layers.
    """
    encoder, decoder = model.model.encoder.layers, model.model.decoder.layers
    if len(encoder) != len(decoder):
        raise InputError(
            f"shared = true needs as many decoder layers ({len(decoder)}) as encoder layers "
            f"({len(encoder)})"
        )
    for own, shared in zip(decoder, encoder, strict=True):
        for name in ("self_attn", "self_attn_layer_norm", "fc1", "fc2", "final_layer_norm"):
            for part, _ in list(_parameters(getattr(own, name))):
                _set(getattr(own, name), part, _get(getattr(shared, name), part))


def _parameters(module: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(module.named_parameters())


def _get(module: nn.Module, name: str) -> nn.Parameter:
    return dict(module.named_parameters())[name]


def _set(module: nn.Module, name: str, parameter: nn.Parameter) -> None:
    *path, last = name.split(".")
    for step in path:
        module = getattr(module, step)
    setattr(module, last, parameter)


def _check_sizes(model: Any, encoder: PretrainedEncoder) -> None:
    ours, theirs = model.config, encoder.config
    sizes = {
        "dim": (ours.d_model, theirs.hidden_size),
        "heads": (ours.encoder_attention_heads, theirs.num_attention_heads),
        "feed_forward": (ours.encoder_ffn_dim, theirs.intermediate_size),
        "activation": (ours.activation_function, theirs.hidden_act),
    }
    for name, (own, other) in sizes.items():
        if own != other:
            raise InputError(
                f"model.{name} is {own}, and encoder '{encoder.name}' has {other}; leave it out "
                "to take the encoder's"
            )
    if ours.encoder_layers > encoder.layers:
        raise InputError(
            f"model.encoder_layers is {ours.encoder_layers}, and encoder '{encoder.name}' has "
            f"{encoder.layers}"
        )
    if ours.max_position_embeddings > encoder.positions:
        raise InputError(
            f"model.max_pieces is {ours.max_position_embeddings}, and encoder '{encoder.name}' "
            f"has {encoder.positions} positions"
        )


def _say_new(model: Any, report: Report) -> None:
    said = {one.tensor for one in report.origins}
    for name, _ in model.named_parameters():
        if name not in said:
            report.add(name, "new")


def _part_of(tensor: str) -> str:
    if "encoder_attn" in tensor:
        return "cross-attention"
    for side in ("encoder", "decoder"):
        if tensor.startswith(f"model.{side}."):
            return side
    return "pieces"
