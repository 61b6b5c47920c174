"""Label-smoothed cross-entropy of an output layer, without keeping its logits.

The logits of a batch are the largest thing that training makes. Here they live a slice at a time:
the forward pass makes the gradients of the slice as well, so that nothing is computed twice.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nmt.training.batches import IGNORED, Batch

SLICE = 512
"""Positions whose logits exist at one time."""


def smoothed_loss(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    labels: torch.Tensor,
    *,
    bias: torch.Tensor | None = None,
    smoothing: float = 0.0,
) -> torch.Tensor:
    """The sum over positions of the cross-entropy with smoothed labels (Szegedy et al., 2016).

    The right piece has the probability ``1 - smoothing``, and all pieces share ``smoothing``
    equally, as in ``torch.nn.functional.cross_entropy``.

    :param hidden: states of the decoder, (pairs, length, dim).
    :param weight: the output matrix, (pieces, dim).
    :param labels: (pairs, length); ``IGNORED`` where nothing is to be predicted.
    :param bias: (pieces,), which gets no gradient.
    :return: one float32 number.
    """
    wanted = labels != IGNORED
    apply: Any = _Sliced.apply
    loss: torch.Tensor = apply(hidden[wanted], weight, labels[wanted], bias, smoothing)
    return loss


def loss_of(model: Any, batch: Batch, *, smoothing: float = 0.0) -> tuple[torch.Tensor, int]:
    """The summed loss of a batch, and over how many pieces it is a sum."""
    count = int((batch.labels != IGNORED).sum())
    if model.config.model_type not in _HEADS:
        output = model(
            input_ids=batch.source,
            attention_mask=batch.source_mask,
            decoder_input_ids=batch.decoder_input,
            use_cache=False,
        )
        logits, labels = output.logits.float().flatten(0, 1), batch.labels.flatten()
        loss = nn.functional.cross_entropy(
            logits, labels, ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
        )
        return loss, count
    states, bias = _HEADS[model.config.model_type](model, batch)
    weight = model.lm_head.weight
    return smoothed_loss(states, weight, batch.labels, bias=bias, smoothing=smoothing), count


def _bart_states(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
    """States of the decoder, and the output layer's bias, of BART and what is built like it."""
    states = model.model(
        input_ids=batch.source,
        attention_mask=batch.source_mask,
        decoder_input_ids=batch.decoder_input,
        use_cache=False,
    ).last_hidden_state
    bias = getattr(model, "final_logits_bias", None)  # a buffer; M2M100 has none
    return states, bias[0] if bias is not None and bool(bias.any()) else None


def _t5_states(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor | None]:
    encoded = model.encoder(input_ids=batch.source, attention_mask=batch.source_mask)
    states = model.decoder(
        input_ids=batch.decoder_input,
        encoder_hidden_states=encoded.last_hidden_state,
        encoder_attention_mask=batch.source_mask,
        use_cache=False,
    ).last_hidden_state
    if getattr(model.config, "scale_decoder_outputs", False):  # where output and embeddings are one
        states = states * model.model_dim**-0.5
    return states, None


_HEADS = {
    **dict.fromkeys(("bart", "mbart", "m2m_100", "marian"), _bart_states),
    **dict.fromkeys(("t5", "mt5", "umt5"), _t5_states),
}


class _Sliced(torch.autograd.Function):
    @staticmethod
    def forward(
        context: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        labels: torch.Tensor,
        bias: torch.Tensor | None,
        smoothing: float,
    ) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        needed = any(context.needs_input_grad)
        d_hidden = torch.empty_like(hidden) if needed else None
        d_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device)
        pieces = len(weight)
        for start in range(0, len(hidden), SLICE):
            part, gold = hidden[start : start + SLICE], labels[start : start + SLICE]
            logits = (part @ weight.T).float()
            if bias is not None:
                logits += bias
            logs = logits.log_softmax(dim=1)
            right = logs.gather(1, gold[:, None])
            total -= (1 - smoothing) * right.sum() + smoothing / pieces * logs.sum()
            if d_hidden is None:
                continue
            # softmax minus the smoothed labels
            slope = logs.exp_().sub_(smoothing / pieces)
            rows = torch.arange(len(gold), device=gold.device)
            slope[rows, gold] -= 1 - smoothing
            slope = slope.to(hidden.dtype)
            torch.mm(slope, weight, out=d_hidden[start : start + SLICE])
            if slope.dtype == torch.float32:
                d_weight.addmm_(slope.T, part)
            else:
                d_weight += slope.T @ part
        if needed:
            context.save_for_backward(d_hidden, d_weight.to(weight.dtype))
        return total

    @staticmethod
    def backward(context: Any, grad: torch.Tensor) -> Any:
        d_hidden, d_weight = context.saved_tensors
        scale = grad.to(d_hidden.dtype)
        return d_hidden * scale, d_weight * grad.to(d_weight.dtype), None, None, None
