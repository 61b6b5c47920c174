"""A translation model that also attends to what a frozen encoder makes of the source (Zhu et al.,
2020: "Incorporating BERT into Neural Machine Translation").

Each attention to the source, that of every encoder layer to itself and that of every decoder layer
to the encoder, has a second one beside it, to the frozen features:

    x + r0 * attention(x) + r1 * fused_attention(x, features)

The frozen encoder has a tokenizer of its own, and reads the sentence that the source's pieces
spell. So whatever hands pieces to the model (a search, noise, back-translation) need not know of
it. What the model's encoder gives holds both: its states, and behind them the features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer, EncoderDecoderCache
from transformers.models.bart.modeling_bart import BartAttention, BartDecoder, BartEncoder

from bitext.errors import InputError, MismatchError
from encoders.pooling import Vectors
from encoders.registry import default_registry
from encoders.strict import Strict

MODEL_TYPE = "bitext-bert-fused"
"""In ``config.json``: a name that ``transformers`` alone refuses, as it cannot make the network."""

NOTE = """This folder holds a BERT-fused translation model (Zhu et al., 2020), made by bitext.

Beside its own weights it needs the frozen encoder that config.json names under "fuse", so
transformers alone cannot load it, nor can CTranslate2. Load it with

    from nmt.translation.translator import TranslationModel
    TranslationModel.load("this folder")
"""


class Fusion(Strict):
    """Which frozen encoder a model attends to, and how; kept in its ``config.json``."""

    encoder: str
    revision: str | None = None
    fingerprint: str  # of the encoder; another one's features would mean nothing
    layer: int
    dim: int  # of the features
    drop_net: float = 0.5


class FusedConfig(transformers.BartConfig):
    """BART's, and what it is fused with."""

    model_type = MODEL_TYPE

    def __init__(self, fuse: dict[str, Any] | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.fuse = fuse or {}

    @property
    def fusion(self) -> Fusion:
        return Fusion(**self.fuse)


class FrozenReader:
    """Sentences of pieces to the features of a frozen encoder.

    :param text: the sentence that pieces spell, special ones skipped.
    :param memory: bytes of features that are kept, so that later epochs need not compute them.
    :raises ModelNotFoundError: if the encoder is not on this machine.
    :raises MismatchError: if it is another one than the model was trained with.
    """

    def __init__(
        self, fusion: Fusion, text: Callable[[Sequence[int]], str], *, memory: int = 0
    ) -> None:
        self.fusion = fusion
        self.memory = memory
        self._text = text
        self._kept: dict[str, Vectors] = {}
        self._encoder("cpu")

    def __deepcopy__(self, memo: dict[int, Any]) -> FrozenReader:
        return self  # a copy of the network in another precision has the same features

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The features of each sentence's pieces, the encoder's own, special ones left out.

        :param ids: the network's pieces, (sentences, length).
        :param mask: 0 for padding, same shape.
        :return: float32, (sentences, most pieces, features); zeros behind a sentence's end.
        """
        rows, kept = ids.tolist(), mask.bool().tolist()
        texts = [
            self._text([i for i, own in zip(row, there, strict=True) if own])
            for row, there in zip(rows, kept, strict=True)
        ]
        features = self._features(texts, str(ids.device))
        made = torch.zeros(len(texts), max(1, *map(len, features)), self.fusion.dim)
        for row, vectors in enumerate(features):
            made[row, : len(vectors)] = torch.from_numpy(vectors)
        return made.to(ids.device)

    def _features(self, texts: Sequence[str], device: str) -> list[Vectors]:
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        found = dict(zip(new, self._compute(new, device), strict=True))
        for text, vectors in found.items():
            # none is ever dropped: an epoch that does not fit would drop each before its turn
            if vectors.nbytes <= self.memory:
                self.memory -= vectors.nbytes
                self._kept[text] = vectors
        return [found[text] if text in found else self._kept[text] for text in texts]

    def _compute(self, texts: Sequence[str], device: str) -> list[Vectors]:
        if not texts:
            return []
        words = [text.split() for text in texts]
        pieces = self._encoder(device).pieces(words, layer=self.fusion.layer, too_long="windows")
        return [one.vectors for one in pieces]

    def _encoder(self, device: str) -> Any:
        wanted = self.fusion
        encoder = default_registry().encoder(
            wanted.encoder, revision=wanted.revision, device=device
        )
        if encoder.fingerprint != wanted.fingerprint:
            raise MismatchError(
                f"the model is fused with encoder '{wanted.encoder}' {wanted.fingerprint[:12]}, "
                f"and the one here is {encoder.fingerprint[:12]}"
            )
        return encoder


class FusedAttention(BartAttention):
    """Attention with a second one, to frozen features, beside it.

    In training, drop-net takes the first alone with probability p, the second alone with
    probability p, and the mean of both otherwise; afterwards always the mean. (The paper's p_net
    is twice this p.) Dropout then falls on the sum, where the authors' code drops from each.
    """

    def __init__(self, config: FusedConfig, *, fused_layer: int, **own: Any) -> None:
        super().__init__(config=config, dropout=float(config.attention_dropout or 0), **own)
        self.drop_net = config.fusion.drop_net
        self.fused = BartAttention(
            config=config,
            dropout=float(config.attention_dropout or 0),
            **{**own, "layer_idx": fused_layer, "is_causal": False},
        )
        self.fused.k_proj = nn.Linear(config.fusion.dim, self.embed_dim)
        self.fused.v_proj = nn.Linear(config.fusion.dim, self.embed_dim)

    def forward(
        self,
        hidden_states: torch.Tensor,
        key_value_states: torch.Tensor | None = None,
        *,
        features: torch.Tensor,
        features_mask: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **more: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        own, weights = super().forward(
            hidden_states, key_value_states=key_value_states, attention_mask=attention_mask, **more
        )
        fused, _ = self.fused(
            hidden_states, key_value_states=features, attention_mask=features_mask, **more
        )
        first, second = self.ratios()
        return first * own + second * fused, weights

    def ratios(self) -> tuple[float, float]:
        """The weights of the two."""
        if not self.training:
            return 0.5, 0.5
        drawn = float(torch.rand(()))
        if drawn < self.drop_net:
            return 1.0, 0.0
        return (0.0, 1.0) if drawn > 1 - self.drop_net else (0.5, 0.5)


class FusedEncoder(BartEncoder):
    """BART's encoder, whose layers also attend to the features."""

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        self.reader: FrozenReader | None = None
        for number, layer in enumerate(self.layers):
            layer.self_attn = FusedAttention(
                config,
                fused_layer=number,
                embed_dim=config.d_model,
                num_heads=config.encoder_attention_heads,
                layer_idx=number,
            )

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: None = None,
        **more: Any,
    ) -> Any:
        """:return: with states and features in ``last_hidden_state`` (:func:`pack`)."""
        assert self.reader is not None, "read_with comes first"
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        features = self.reader(input_ids, attention_mask).to(self.layernorm_embedding.weight.dtype)
        output = super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            features=features,
            features_mask=mask_of(features),
            **more,
        )
        output.last_hidden_state = pack(output.last_hidden_state, features)
        return output


class FusedDecoder(BartDecoder):
    """BART's decoder, whose attention to the source has one to the features beside it."""

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        for number, layer in enumerate(self.layers):
            layer.encoder_attn = FusedAttention(
                config,
                fused_layer=len(self.layers) + number,  # where a cache keeps its keys and values
                embed_dim=config.d_model,
                num_heads=config.decoder_attention_heads,
                is_decoder=True,
                layer_idx=number,
            )

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        encoder_hidden_states: torch.Tensor | None = None,
        encoder_attention_mask: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **more: Any,
    ) -> Any:
        """:param encoder_attention_mask: of the states alone: (sentences, length)."""
        if encoder_hidden_states is None or encoder_attention_mask is None:
            raise ValueError("a fused decoder needs the encoder's output and its attention_mask")
        config: Any = self.config
        length = encoder_attention_mask.shape[-1]
        states, features = unpack(encoder_hidden_states, length, config.d_model, config.fusion.dim)
        if use_cache is not False:
            self._make_room(more)
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            encoder_hidden_states=states,
            encoder_attention_mask=encoder_attention_mask,
            use_cache=use_cache,
            features=features,
            features_mask=mask_of(features),
            **more,
        )

    def _make_room(self, more: dict[str, Any]) -> None:
        """Let the cache hold keys and values of the second attentions too."""
        name = "cache" if "cache" in more else "past_key_values"
        if more.get(name) is None:
            more[name] = EncoderDecoderCache(DynamicCache(), DynamicCache())
        crossed = more[name].cross_attention_cache.layers
        crossed.extend(DynamicLayer() for _ in range(2 * len(self.layers) - len(crossed)))


class FusedForConditionalGeneration(transformers.BartForConditionalGeneration):
    """The network. It reads with what :meth:`read_with` was given."""

    config_class = FusedConfig
    _supports_flash_attn = False  # it takes no masks of the form made here

    def __init__(self, config: FusedConfig) -> None:
        super().__init__(config)
        self.model.encoder = FusedEncoder(config)
        self.model.decoder = FusedDecoder(config)
        self.model.set_input_embeddings(self.model.shared)
        self.post_init()  # type: ignore[no-untyped-call]

    def read_with(self, text: Callable[[Sequence[int]], str], *, memory: int = 0) -> None:
        """Load the frozen encoder. The parameters are those of :class:`FrozenReader`."""
        self.model.encoder.reader = FrozenReader(self.config.fusion, text, memory=memory)


transformers.AutoConfig.register(MODEL_TYPE, FusedConfig)
transformers.AutoModelForSeq2SeqLM.register(FusedConfig, FusedForConditionalGeneration)


def mask_of(features: torch.Tensor) -> torch.Tensor:
    """What is added to attention scores: nothing, and very much less where features are padding.

    :param features: (sentences, pieces, dim); padding is zeros.
    :return: (sentences, 1, 1, pieces).
    """
    padding = (features == 0).all(-1)
    mask = torch.zeros_like(padding, dtype=features.dtype)
    return mask.masked_fill_(padding, torch.finfo(features.dtype).min)[:, None, None]


def pack(states: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """States and, behind them, features, the narrower ones filled up with zeros.

    :param states: (sentences, length, dim).
    :param features: (sentences, pieces, features).
    :return: (sentences, length + pieces, max(dim, features)).
    """
    width = max(states.shape[-1], features.shape[-1])
    return torch.cat(
        [nn.functional.pad(one, (0, width - one.shape[-1])) for one in (states, features)], dim=1
    )


def unpack(
    packed: torch.Tensor, length: int, dim: int, features: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The inverse of :func:`pack`."""
    return packed[:, :length, :dim], packed[:, length:, :features]


def fuse(
    base: Any, fusion: Fusion, *, seed: int, **dropout: float
) -> FusedForConditionalGeneration:
    """A trained translation network with new attention to a frozen encoder's features.

    :param base: of BART's shape; it is not changed.
    :param dropout: rates that are not to be the base's, by their names in its config.
    :raises InputError: if it is of another shape, or fused already.
    """
    if type(base) is not transformers.BartForConditionalGeneration:
        raise InputError(
            f"only a model of bitext's own shape can be fused, got a {base.config.model_type} one"
        )
    config = FusedConfig(fuse=fusion.model_dump(), **{**base.config.to_dict(), **dropout})
    config.architectures = None
    torch.manual_seed(seed)
    model = FusedForConditionalGeneration(config)
    missing, unexpected = model.load_state_dict(base.state_dict(), strict=False)
    assert not unexpected
    assert all(".fused." in name for name in missing)
    for name, parameter in model.named_parameters():
        if ".fused." in name:  # as the authors' code begins
            nn.init.xavier_uniform_(parameter) if parameter.ndim > 1 else nn.init.zeros_(parameter)
    model.generation_config = base.generation_config
    return model


def write_note(folder: Path) -> None:
    """Say in the model's folder why ``transformers`` alone does not load it."""
    (folder / "README.md").write_text(NOTE, encoding="utf-8")


def refusal(name: str) -> InputError:
    """Why a fused model is not exported."""
    return InputError(
        f"model '{name}' is fused with a frozen encoder, which CTranslate2 cannot run; translate "
        "with --engine torch, or export the model that it was started from"
    )
