"""The loss, made slice by slice, is torch's cross-entropy; so are its gradients."""

from __future__ import annotations

import math

import pytest
import torch
import transformers
from torch.nn import functional

from nmt.training.batches import IGNORED, Batch
from nmt.training.loss import SLICE, loss_of, smoothed_loss


def test_a_loss_by_hand() -> None:
    # one state of one unit and three pieces of logits 0, 0 and ln 2: probabilities 1/4, 1/4, 1/2
    hidden = torch.tensor([[[1.0]]])
    weight = torch.tensor([[0.0], [0.0], [math.log(2)]])
    labels = torch.tensor([[2]])
    assert float(smoothed_loss(hidden, weight, labels)) == pytest.approx(math.log(2))
    # smoothed by 0.3: 0.8 of the right piece, 0.1 of each other: 0.8 ln 2 + 0.2 ln 4
    smoothed = smoothed_loss(hidden, weight, labels, smoothing=0.3)
    assert float(smoothed) == pytest.approx(1.2 * math.log(2))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows", [7, SLICE, SLICE + 5])  # one slice, exactly one, two
@pytest.mark.parametrize("has_bias", [False, True])
def test_it_is_torchs(smoothing: float, rows: int, has_bias: bool) -> None:
    torch.manual_seed(1)
    hidden = torch.randn(1, rows, 6, requires_grad=True)
    weight = torch.randn(11, 6, requires_grad=True)
    labels = torch.randint(0, 11, (1, rows))
    labels[0, ::3] = IGNORED
    bias = torch.randn(11) if has_bias else None
    own = smoothed_loss(hidden, weight, labels, bias=bias, smoothing=smoothing)
    wanted = torch.autograd.grad(3 * own, [hidden, weight])
    logits = hidden @ weight.T + (0 if bias is None else bias)
    theirs = functional.cross_entropy(
        logits[0], labels[0], ignore_index=IGNORED, label_smoothing=smoothing, reduction="sum"
    )
    torch.testing.assert_close(own, theirs)
    for mine, other in zip(wanted, torch.autograd.grad(3 * theirs, [hidden, weight]), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_very_large_logits_stay_numbers() -> None:
    hidden = torch.full((1, 1, 1), 1000.0, requires_grad=True)
    weight = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    loss = smoothed_loss(hidden, weight, torch.tensor([[1]]))
    assert loss.item() == 2000  # log(e^1000 + e^-1000) + 1000
    loss.backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.tolist() == [[1000.0], [-1000.0]]


def test_nothing_to_predict_is_no_loss() -> None:
    hidden = torch.randn(1, 2, 3, requires_grad=True)
    loss = smoothed_loss(hidden, torch.randn(4, 3), torch.full((1, 2), IGNORED))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert hidden.grad is not None
    assert not hidden.grad.any()


def test_bfloat16_is_close() -> None:
    torch.manual_seed(1)
    hidden = torch.randn(2, 20, 16)
    weight = torch.randn(50, 16)
    labels = torch.randint(0, 50, (2, 20))
    exact = smoothed_loss(hidden, weight, labels, smoothing=0.1)
    rough = smoothed_loss(hidden.bfloat16(), weight.bfloat16(), labels, smoothing=0.1)
    assert rough.dtype == torch.float32
    assert float(rough) == pytest.approx(float(exact), rel=0.01)


def batch() -> Batch:
    source = torch.tensor([[5, 6, 2], [7, 2, 1]])
    return Batch(
        source,
        (source != 1).long(),
        torch.tensor([[2, 8, 9], [2, 9, 1]]),
        torch.tensor([[8, 9, 2], [9, 2, IGNORED]]),
        10,
    )


def test_of_a_model_it_is_that_of_its_logits() -> None:
    torch.manual_seed(1)
    config = transformers.BartConfig(
        vocab_size=12,
        d_model=8,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        max_position_embeddings=8,
    )
    model = transformers.BartForConditionalGeneration(config).eval()
    model.final_logits_bias.normal_()
    one = batch()
    loss, count = loss_of(model, one, smoothing=0.1)
    logits = model(
        input_ids=one.source, attention_mask=one.source_mask, decoder_input_ids=one.decoder_input
    ).logits
    wanted = functional.cross_entropy(
        logits.flatten(0, 1), one.labels.flatten(), label_smoothing=0.1, reduction="sum"
    )
    assert count == 5
    torch.testing.assert_close(loss, wanted)
