"""The model that is trained, and what objectives must know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from bitext.errors import InputError
from encoders.layers import LayerTap
from encoders.preset import Preset

if TYPE_CHECKING:
    from encoders.encoder import Encoder


@dataclass(frozen=True, slots=True)
class SpecialPieces:
    """Ids of the pieces that frame, pad and mask, and how many pieces there are in all."""

    begin: int
    pad: int
    end: int
    mask: int
    vocabulary: int

    def are(self, ids: torch.Tensor) -> torch.Tensor:
        """True where ``ids`` are special pieces."""
        return (ids == self.begin) | (ids == self.pad) | (ids == self.end) | (ids == self.mask)


class Network:
    """A masked language model of ``transformers`` with its tokenizer, ready to be trained.

    :param model: with a head that predicts pieces (``AutoModelForMaskedLM``).
    :param teacher: the encoder to learn from, for the objectives that distil one.
    :param preset: what every use of the model must know, such as a transliteration.
    :param additions: what is trained beside the model's own weights, such as an adapter.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        teacher: Encoder | None = None,
        preset: Preset | None = None,
        additions: dict[str, nn.Module] | None = None,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.teacher = teacher
        self.preset = preset or Preset()
        self.additions = nn.ModuleDict(additions or {})
        self.encoder: Any = model.base_model
        self.tap = LayerTap(self.encoder)
        self.layers = self.tap.layers
        self.attention: str = model.config._attn_implementation
        self.dim = int(model.config.hidden_size)
        self.special = special_pieces(tokenizer)
        self.first_position = first_position(self.encoder)

    @property
    def device(self) -> torch.device:
        device: torch.device = next(iter(self.model.parameters())).device
        return device

    @cached_property
    def head(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """Hidden states of the top layer (..., dim) to scores of all pieces (..., vocabulary)."""
        return prediction_head(self.model)

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows of the word embedding matrix, shape (..., dim): no positions, not normalised."""
        embeddings: torch.Tensor = self.encoder.get_input_embeddings()(ids)
        return embeddings


def special_pieces(tokenizer: Any) -> SpecialPieces:
    """:raises InputError: if the tokenizer lacks one that training needs."""
    begin = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
    end = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    found = {"begin": begin, "pad": tokenizer.pad_token_id, "end": end}
    found["mask"] = tokenizer.mask_token_id
    for name, number in found.items():
        if number is None:
            raise InputError(f"the model's tokenizer has no {name} piece, which training needs")
    return SpecialPieces(**found, vocabulary=len(tokenizer))


def first_position(encoder: Any) -> int | None:
    """The position of a sentence's first piece; ``None`` for models without learnt positions."""
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings"):
            padding = getattr(module, "padding_idx", None)
            return 0 if padding is None else int(padding) + 1  # RoBERTa counts from there
    return None


def prediction_head(model: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    """What turns hidden states into scores of pieces, by the names that ``transformers`` gives it.

    :raises InputError: if the model's head has a name that is not known.
    """
    for name in ("lm_head", "cls", "predictions"):
        head = getattr(model, name, None)
        if head is not None:
            return head  # type: ignore[no-any-return]
    if hasattr(model, "vocab_projector"):  # DistilBERT
        return lambda states: model.vocab_projector(
            model.vocab_layer_norm(model.activation(model.vocab_transform(states)))
        )
    if hasattr(model, "head") and hasattr(model, "decoder"):  # ModernBERT
        return lambda states: model.decoder(model.head(states))
    kind = getattr(model.config, "model_type", type(model).__name__)
    raise InputError(f"a {kind} model has no head that predicts pieces, as this objective needs")
