"""One step of a decoder for several beams of each sentence, on any seq2seq model of transformers.

The encoder runs once a sentence, and its keys and values are kept once a sentence. In most models
the beams share their past too: what the pieces so far left in the cache of self-attention is a tree
of nodes, in which each beam sees its own ancestors. A beam that changes its parent changes a row of
that mask, and no key or value is copied. For this, transformers calls :func:`_shared_attention`
instead of its own attention (:func:`share_attention`); outside of a search the two are the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import transformers
from torch import Tensor
from transformers.cache_utils import CacheLayerMixin, EncoderDecoderCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_outputs import BaseModelOutput

SHARED = "bitext_shared"
"""What transformers calls :func:`_shared_attention`."""

SHARING = {"bart", "mbart", "marian", "m2m_100", "pegasus", "plbart", "blenderbot-small"}
"""Models whose attention knows of positions only by the embeddings, so that a tree will do."""

_CROWDED = 24
"""How many nodes, and a quarter, may be added to a tree before it is weeded again."""


class Steps(Protocol):
    """Gives the logits of the next piece, beam by beam; remembers what the beams have seen."""

    def __call__(self, pieces: Tensor, parents: Tensor | None) -> Tensor:
        """Let each beam read a piece.

        :param pieces: int64, shape (sentences, beams).
        :param parents: which beam of the step before each one goes on from, of the same shape;
            None where beam n goes on from beam n.
        :return: float32 logits, shape (sentences, beams, vocabulary).
        """
        ...

    def keep(self, sentences: Tensor) -> None:
        """Drop all other sentences; ``sentences`` are their numbers, in ascending order."""
        ...


def steps_of(model: Any, source: Tensor, mask: Tensor) -> Steps:
    """Encode sentences, and be ready for the first step.

    :param model: a seq2seq model in eval mode.
    :param source: int64 pieces, shape (sentences, length).
    :param mask: true where there is a piece, of the same shape.
    """
    encoded = model.get_encoder()(input_ids=source, attention_mask=mask.long())
    kind = _TreeSteps if model.config._attn_implementation == SHARED else _PlainSteps
    return kind(model, encoded.last_hidden_state, mask)


def share_attention(model: Any) -> None:
    """Let the beams of a search share what they can, where the model is of a kind that allows it.

    Call it once, before threads share the model.
    """
    if model.config.model_type in SHARING:
        model.set_attn_implementation(SHARED)


def _shared_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Attention of all beams of a sentence to one set of keys and values.

    :param query: shape (sentences x beams, heads, 1, width); with one beam a sentence, and outside
        of a search, it is what every attention of transformers gets.
    :param key: shape (sentences, heads, nodes, width), as ``value``.
    :param attention_mask: shape (sentences, 1, beams, nodes), or (sentences, 1, 1, nodes).
    :return: shape (sentences x beams, 1, heads, width), and nothing in place of weights.
    """
    rows, heads, length, width = query.shape
    sentences = key.shape[0]
    if rows == sentences:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    assert length == 1, "beams read one piece a step"
    grouped = query.view(sentences, rows // sentences, heads, width).transpose(1, 2)
    found = torch.nn.functional.scaled_dot_product_attention(
        grouped, key, value, attn_mask=attention_mask, scale=settings.get("scaling")
    )
    return found.transpose(1, 2).reshape(rows, 1, heads, width), None


transformers.AttentionInterface.register(SHARED, _shared_attention)
AttentionMaskInterface.register(SHARED, sdpa_mask)


class _TreeLayer(CacheLayerMixin):
    """Keys and values of one layer, shape (sentences, heads, nodes, width), in a growing buffer."""

    keys: Any
    values: Any

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.nodes = 0
        self.depth = 0
        self.sentences = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        _, heads, _, width = key_states.shape
        room = (self.sentences, heads, 2 * _CROWDED, width)
        self.keys = key_states.new_empty(room)
        self.values = value_states.new_empty(room)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Add a node for each beam; ``key_states`` have shape (sentences x beams, heads, 1, width).

        :return: those of all nodes.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        beams = key_states.shape[0] // self.sentences
        end = self.nodes + beams
        if end > self.keys.shape[2]:
            self.keys = _grown(self.keys, self.nodes, 2 * end)
            self.values = _grown(self.values, self.nodes, 2 * end)
        for kept, new in ((self.keys, key_states), (self.values, value_states)):
            nodes = new.view(self.sentences, beams, *new.shape[1:]).squeeze(3).transpose(1, 2)
            kept[:, :, self.nodes : end] = nodes
        self.nodes = end
        self.depth += 1
        return self.keys[:, :, :end], self.values[:, :, :end]

    def take(self, choose: Callable[[Tensor], Tensor]) -> None:
        """Put what ``choose`` makes of the nodes in their place."""
        self.keys = choose(self.keys[:, :, : self.nodes])
        self.values = choose(self.values[:, :, : self.nodes])
        self.sentences, _, self.nodes, _ = self.keys.shape

    def get_seq_length(self, *args: Any) -> int:
        """The position of the next piece: how deep the tree is, not how many nodes it has."""
        return self.depth

    def get_mask_sizes(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        raise AssertionError("the mask is given")

    def get_max_length(self) -> int:
        return -1

    def get_max_cache_shape(self) -> int:
        """The same, as transformers before 5.20 calls it."""
        return -1


def _additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where the mask is true and minus infinity elsewhere, made once for all layers."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, -torch.inf)


def _grown(kept: Tensor, nodes: int, room: int) -> Tensor:
    sentences, heads, _, width = kept.shape
    larger = kept.new_empty(sentences, heads, room, width)
    larger[:, :, :nodes] = kept[:, :, :nodes]
    return larger


class _ModelSteps:
    """What both kinds of steps have: the call of the model."""

    def __init__(self, model: Any, encoded: Tensor, mask: Tensor) -> None:
        self._model = model
        self._encoded = encoded
        self._mask = mask
        # transformers renamed the argument in 5.20; the old name would warn
        names = inspect.signature(model.forward).parameters
        self._cache_name = "cache" if "cache" in names else "past_key_values"

    def _logits(self, pieces: Tensor, cache: EncoderDecoderCache, mask: Tensor, **more: Any) -> Any:
        """:param pieces: shape (rows,). :return: shape (rows, vocabulary)."""
        output = self._model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self._encoded),
            attention_mask=mask,
            decoder_input_ids=pieces[:, None],
            use_cache=True,
            **{self._cache_name: cache},
            **more,
        )
        return output.logits[:, -1].float()


class _TreeSteps(_ModelSteps):
    """Steps of models that share attention."""

    def __init__(self, model: Any, encoded: Tensor, mask: Tensor) -> None:
        super().__init__(model, encoded, _additive(mask[:, None, None], encoded.dtype))
        # (sentences, beams, nodes): what each beam sees; one beam and no node to begin with
        self._seen = mask.new_zeros((len(mask), 1, 0), dtype=torch.bool)
        self._tree = [_TreeLayer() for _ in range(_decoder_layers(model))]
        for layer in self._tree:
            layer.sentences = len(mask)
        past = transformers.Cache(layers=[*self._tree])
        self._cross = transformers.DynamicCache()
        self._cache = EncoderDecoderCache(past, self._cross)
        self._weeded = 0  # how many nodes were left

    def __call__(self, pieces: Tensor, parents: Tensor | None) -> Tensor:
        sentences, beams = pieces.shape
        if parents is not None:
            self._seen = self._seen.gather(1, parents[..., None].expand(-1, -1, self._nodes))
        if beams > 1 and self._nodes >= 1.25 * self._weeded + _CROWDED:
            self._weed()
        own = torch.eye(beams, dtype=torch.bool, device=pieces.device)
        self._seen = torch.cat([self._seen, own.expand(sentences, beams, beams)], dim=2)
        logits = self._logits(
            pieces.reshape(-1),
            self._cache,
            self._mask,
            decoder_attention_mask=_additive(self._seen[:, None], self._encoded.dtype),
        )
        shaped: Tensor = logits.view(sentences, beams, -1)
        return shaped

    def keep(self, sentences: Tensor) -> None:
        self._encoded = self._encoded[sentences]
        self._mask = self._mask[sentences]
        self._seen = self._seen[sentences]
        for layer in self._tree:
            layer.take(lambda nodes: nodes[sentences])
        cross: list[Any] = self._cross.layers
        for kept in cross:
            kept.keys, kept.values = kept.keys[sentences], kept.values[sentences]

    @property
    def _nodes(self) -> int:
        return self._seen.shape[2]

    def _weed(self) -> None:
        """Drop nodes that no beam descends from; sentences with fewer than others keep some."""
        alive = self._seen.any(dim=1)
        most = int(alive.sum(dim=1).max())
        # a stable sort leaves the nodes in their order, which helps nobody but who looks at them
        order = torch.argsort(~alive, dim=1, stable=True)[:, :most]
        self._seen = self._seen.gather(2, order[:, None].expand(-1, self._seen.shape[1], -1))

        def chosen(nodes: Tensor) -> Tensor:
            _, heads, _, width = nodes.shape
            return nodes.gather(2, order[:, None, :, None].expand(-1, heads, -1, width))

        for layer in self._tree:
            layer.take(chosen)
        self._weeded = most


class _PlainSteps(_ModelSteps):
    """Steps of every other model: keys and values a beam, copied as the beams change parents."""

    def __init__(self, model: Any, encoded: Tensor, mask: Tensor) -> None:
        super().__init__(model, encoded, mask)
        self._beams = 1
        self._cache = EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())

    def __call__(self, pieces: Tensor, parents: Tensor | None) -> Tensor:
        sentences, beams = pieces.shape
        if parents is not None:
            self._go_on_from(parents)
        elif beams != self._beams:
            raise AssertionError("new beams need parents")
        logits = self._logits(pieces.reshape(-1), self._cache, self._mask.long())
        shaped: Tensor = logits.view(sentences, beams, -1)
        return shaped

    def _go_on_from(self, parents: Tensor) -> None:
        sentences, beams = parents.shape
        first = torch.arange(sentences, device=parents.device)[:, None] * self._beams
        self._select((first + parents).reshape(-1), reorder=beams == self._beams)
        self._beams = beams

    def keep(self, sentences: Tensor) -> None:
        beams = torch.arange(self._beams, device=sentences.device)
        self._select((sentences[:, None] * self._beams + beams).reshape(-1), reorder=False)

    def _select(self, rows: Tensor, *, reorder: bool) -> None:
        """:param reorder: within sentences only, whose beams are alike to cross-attention."""
        if reorder:
            past: Any = self._cache.self_attention_cache
            past.reorder_cache(rows)
            return
        self._cache.batch_select_indices(rows)
        self._encoded, self._mask = self._encoded[rows], self._mask[rows]


def _decoder_layers(model: Any) -> int:
    layers: Sequence[object] = model.get_decoder().layers
    return len(layers)
