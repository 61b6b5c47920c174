"""What moves the weights, and how fast."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import transformers

from nmt.training.config import Stage
from nmt.training.optimization import (
    MovingAverage,
    WorkingCopy,
    build_optimizer,
    count_layers,
    freeze,
    part_of,
    schedule,
    set_modes,
)


def network(**more: Any) -> Any:
    config = transformers.BartConfig(
        vocab_size=12,
        d_model=8,
        encoder_layers=3,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=8,
        decoder_ffn_dim=8,
        max_position_embeddings=8,
        **more,
    )
    torch.manual_seed(1)
    return transformers.BartForConditionalGeneration(config)


@pytest.fixture
def model() -> Any:
    return network()


def stage(**more: Any) -> Stage:
    return Stage.model_validate({"steps": 100, **more})


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("model.encoder.layers.0.self_attn.k_proj.weight", "encoder"),
        ("model.decoder.layers.0.fc1.weight", "decoder"),
        ("model.decoder.layers.0.encoder_attn.k_proj.weight", "cross_attention"),
        ("model.decoder.layers.0.encoder_attn_layer_norm.weight", "cross_attention"),
        ("model.shared.weight", "embeddings"),
        ("model.encoder.embed_positions.weight", "embeddings"),
        ("model.decoder.layernorm_embedding.bias", "embeddings"),
    ],
)
def test_parts(name: str, part: str) -> None:
    assert part_of(name) == part


def rates_of(model: Any, how: Stage, new: tuple[str, ...] = ()) -> dict[str, tuple[float, float]]:
    """Factor of the rate, and decay, of each parameter."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group["rate"], group["weight_decay"])
        for group in build_optimizer(model, how, new).param_groups
        for parameter in group["params"]
    }


def test_every_parameter_is_in_one_group_and_biases_do_not_decay(model: Any) -> None:
    rates = rates_of(model, stage(weight_decay=0.1))
    assert set(rates) == {name for name, _ in model.named_parameters()}
    assert rates["model.encoder.layers.0.fc1.weight"] == (1.0, 0.1)
    assert rates["model.encoder.layers.0.fc1.bias"] == (1.0, 0.0)
    assert rates["model.encoder.layers.0.final_layer_norm.weight"] == (1.0, 0.0)


def test_rates_by_part_by_layer_and_of_what_is_new(model: Any) -> None:
    how = stage(rates={"encoder": 0.1, "new": 3}, layer_decay=0.5)
    crossing = "model.decoder.layers.1.encoder_attn.k_proj.weight"
    rates = {name: rate for name, (rate, _) in rates_of(model, how, (crossing,)).items()}
    assert rates[crossing] == 3
    # three encoder layers: a quarter, a half, whole; and a tenth of that
    for layer, rate in enumerate((0.025, 0.05, 0.1)):
        assert rates[f"model.encoder.layers.{layer}.fc1.weight"] == pytest.approx(rate)
    assert rates["model.decoder.layers.0.fc1.weight"] == 0.5
    assert rates["model.decoder.layers.1.fc1.weight"] == 1
    assert rates["model.shared.weight"] == 0.125  # below three layers


def test_layers_are_counted(model: Any) -> None:
    assert count_layers(model) == {"encoder": 3, "decoder": 2}


@pytest.mark.parametrize(
    ("kind", "step", "factor"),
    [
        ("constant", 0, 1 / 20),  # the warm-up of 20 steps is the same for all
        ("constant", 9, 10 / 20),
        ("constant", 19, 1.0),
        ("constant", 99, 1.0),
        ("inverse_sqrt", 19, 1.0),
        ("inverse_sqrt", 79, 0.5),  # the 80th step: (20 / 80) ** 0.5
        ("linear", 20, 1.0),
        ("linear", 60, 0.5),  # half of the 80 that follow
        ("linear", 99, 1 / 80),
        ("cosine", 20, 1.0),
        ("cosine", 60, 0.5),
        ("cosine", 40, 0.5 + 0.5 * math.cos(math.pi / 4)),
    ],
)
def test_schedules(kind: str, step: int, factor: float) -> None:
    assert schedule(step, stage(schedule=kind, warmup_steps=20)) == pytest.approx(factor)


@pytest.mark.parametrize("kind", ["constant", "inverse_sqrt", "linear", "cosine"])
def test_without_warm_up_the_first_step_is_whole(kind: str) -> None:
    assert schedule(0, stage(schedule=kind, warmup_steps=0)) == 1.0


def moving(model: Any) -> set[str]:
    return {part_of(name) for name, one in model.named_parameters() if one.requires_grad}


def test_frozen_parts_move_from_the_thawing_step_on(model: Any) -> None:
    how = stage(freeze=["encoder", "embeddings"], thaw_step=10)
    freeze(model, how, 9)
    assert moving(model) == {"decoder", "cross_attention"}
    freeze(model, how, 10)
    assert moving(model) == {"encoder", "decoder", "embeddings", "cross_attention"}
    assert len(rates_of(model, how)) == len(list(model.parameters()))
    never = stage(freeze=["encoder", "embeddings"])
    freeze(model, never, 99)
    assert moving(model) == {"decoder", "cross_attention"}
    assert {part_of(name) for name in rates_of(model, never)} == {"decoder", "cross_attention"}


def test_dropout_of_frozen_parts_rests() -> None:
    model = network(dropout=0.5)
    source = torch.tensor([[5, 6, 2]])

    def states(how: Stage, step: int) -> list[torch.Tensor]:
        set_modes(model, how, step)
        return [model.get_encoder()(input_ids=source).last_hidden_state for _ in range(2)]

    how = stage(freeze=["encoder"], thaw_step=5)
    first, second = states(how, 0)
    assert torch.equal(first, second)
    assert model.get_decoder().layers[0].training
    first, second = states(how, 5)
    assert not torch.equal(first, second)
    set_modes(model, stage(freeze=["decoder"]), 0)
    assert not model.get_decoder().layers[0].training
    assert model.get_decoder().layers[0].encoder_attn.training


def test_in_float32_the_network_itself_computes(model: Any) -> None:
    assert WorkingCopy(model, torch.float32).model is model


def test_a_bfloat16_copy_hands_its_gradients_over_and_takes_the_weights(model: Any) -> None:
    copy = WorkingCopy(model, torch.bfloat16)
    own = copy.model.model.encoder.layers[0].fc1.weight
    master = model.model.encoder.layers[0].fc1.weight
    assert own.dtype == torch.bfloat16
    assert copy.model.lm_head.weight is copy.model.model.shared.weight  # tied, as the master
    own.grad = torch.full_like(own, 0.5)
    copy.collect()
    own.grad = torch.full_like(own, 0.25)
    copy.collect()
    assert own.grad is None
    assert master.grad is not None
    assert master.grad.dtype == torch.float32
    assert (master.grad == 0.75).all()
    with torch.no_grad():
        master.fill_(3.0)
    copy.renew()
    assert (own == 3.0).all()


def test_a_copy_freezes_with_its_master(model: Any) -> None:
    copy = WorkingCopy(model, torch.bfloat16)
    freeze(model, stage(freeze=["encoder"]), 0)
    copy.freeze()
    assert moving(copy.model) == {"decoder", "embeddings", "cross_attention"}


def test_a_moving_average_by_hand(model: Any) -> None:
    name = "model.encoder.layers.0.fc1.bias"
    bias = dict(model.named_parameters())[name]
    with torch.no_grad():
        bias.fill_(0.0)
        average = MovingAverage(model, 0.5)
        bias.fill_(1.0)
    average.update(model, 0)  # decay 1 / 10 at first: 0.1 x 0 + 0.9 x 1
    torch.testing.assert_close(average.weights[name], torch.full_like(bias, 0.9))
    with torch.no_grad():
        bias.fill_(2.0)
    average.update(model, 98)  # 99 / 108 is more than 0.5: 0.5 x 0.9 + 0.5 x 2
    torch.testing.assert_close(average.weights[name], torch.full_like(bias, 1.45))
