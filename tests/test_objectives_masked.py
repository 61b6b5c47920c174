"""Objectives of masked prediction and their kin: cases worked by hand, leaks, gradients."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import exp
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional

from bitext.errors import InputError
from encoders.objectives import OBJECTIVES
from encoders.objectives.agreement import disagreement
from encoders.objectives.causal import look_left, next_pieces
from encoders.objectives.classification import choose_negatives, nearness
from encoders.objectives.crossing import draw_places, look_across
from encoders.objectives.masked import join_pairs, stack
from encoders.objectives.mixing import (
    Phrase,
    alternate,
    choose_phrases,
    find_phrases,
    mix_documents,
    mix_phrases,
    replace_phrases,
)
from encoders.objectives.network import Network
from encoders.objectives.probing import check_masks
from encoders.objectives.recovery import mix_embeddings
from encoders.objectives.step import Step
from encoders.training.batches import Batch

MINE = ["clm", "btmlm", "camlm", "clmlm", "clpc", "psi", "clwr", "clwa", "alm"]
OUTSIDE = {"clpc", "psi"}  # judge sentences: they do not predict pieces


@pytest.fixture(scope="module", params=["xlm-roberta", "bert"])
def network(tiny_model: Path, request: pytest.FixtureRequest) -> Network:
    """Two layers of random weights without dropout; BERT counts positions from 0."""
    dropout = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.0)
    positions = {"max_position_embeddings": 66, "bos_token_id": 0, "eos_token_id": 2}
    return tiny(tiny_model, request.param, **dropout, **positions)


def rows(sentences: Iterable[Sequence[int]]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return stack([np.array(one, dtype=np.int64) for one in sentences], -1).numpy()


def make_step(
    network: Network,
    source: Sequence[Sequence[int]],
    target: Sequence[Sequence[int]] = (),
    *,
    links: Sequence[tuple[int, int, int]] = (),
    segments: tuple[Sequence[Sequence[int]], Sequence[Sequence[int]]] | None = None,
    seed: int = 0,
    **options: Any,
) -> Step:
    """A step of these pairs; every piece is a word."""
    target = target or [[] for _ in source]
    words = [rows(range(len(one)) for one in side) for side in (source, target)]
    parts = [np.minimum(one, 0) for one in words]
    if segments is not None:
        parts = [rows(side) for side in segments]
    batch = Batch(
        source=rows(source),
        target=rows(target),
        source_words=words[0],
        target_words=words[1],
        source_segments=parts[0],
        target_segments=parts[1],
        links=np.array(links, dtype=np.int64).reshape(-1, 3),
        link_weights=np.ones(len(links), dtype=np.float32),
        source_keys=np.array([hash(tuple(one)) for one in source]),
        target_keys=np.array([hash(tuple(one)) for one in target]),
    )
    return Step(batch, network, torch.Generator().manual_seed(seed), **options)


def make(name: str, network: Network, **settings: Any) -> Any:
    kind = OBJECTIVES[name]
    torch.manual_seed(0)
    return kind(kind.Settings(**settings), network)


SOURCE, TARGET = [[10, 11, 12, 13], [20, 21, 22]], [[30, 31, 32], [40, 41, 42, 43, 44]]
LINKS = [(0, 0, 0), (0, 1, 1), (0, 3, 2), (1, 0, 4), (1, 2, 0)]


def value(loss: torch.Tensor) -> float:
    return float(loss.detach())


def tiny(tiny_model: Path, kind: str, **sizes: Any) -> Network:
    """A network of any architecture, with the tokenizer of the tiny model."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, **sizes}
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        hidden_size=16,
        **sizes,
    )
    torch.manual_seed(0)
    model: Any = transformers.AutoModelForMaskedLM.from_config(config)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return Network(model.eval(), tokenizer)


# of all of them


@pytest.mark.parametrize("name", MINE)
def test_gradients_reach_the_model_and_the_objectives_own_weights(
    name: str, network: Network
) -> None:
    objective = make(name, network, **({"probability": 0.9} if "mlm" in name else {}))
    network.model.zero_grad()
    loss = objective(make_step(network, SOURCE, TARGET, links=LINKS))
    assert loss.shape == ()
    assert torch.isfinite(loss)
    loss.backward()
    reached = [*objective.parameters(), network.encoder.get_input_embeddings().weight]
    block = dict(network.encoder.named_modules())["encoder.layer.0"]
    reached.append(block.attention.self.query.weight)
    if name not in OUTSIDE | {"clwa"}:
        reached.append(network.model.get_output_embeddings().bias)
    for weights in reached:
        assert weights.grad is not None
        assert weights.grad.abs().sum() > 0


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize(
    ("source", "target"),
    [([[10]], [[30]]), ([[10]], [[10]]), ([[10], [11, 12]], [[30, 31], [32]])],
    ids=["one pair of one piece", "a copy", "short"],
)
def test_the_smallest_batches_give_a_finite_loss(
    name: str, network: Network, source: list[list[int]], target: list[list[int]]
) -> None:
    for seed in range(3):  # at 15 % most of them choose nothing at all
        loss = make(name, network)(make_step(network, source, target, seed=seed))
        assert torch.isfinite(loss)
        assert loss >= 0


@pytest.mark.parametrize("name", ["clm", "btmlm"])
def test_text_of_one_language_is_enough(name: str, network: Network) -> None:
    assert torch.isfinite(make(name, network)(make_step(network, SOURCE)))


@pytest.mark.parametrize("name", ["camlm", "clm", "clwa"])
def test_reduced_precision_gives_nearly_the_same_loss(name: str, network: Network) -> None:
    step = make_step(network, SOURCE, TARGET)
    reduced = make_step(network, SOURCE, TARGET, precision=torch.bfloat16)
    objective = make(name, network, **({"probability": 0.5} if name == "camlm" else {}))
    assert value(objective(reduced)) == pytest.approx(value(objective(step)), rel=0.05)


@pytest.mark.parametrize("name", MINE)
def test_the_generator_decides_all_that_is_random(name: str, network: Network) -> None:
    objective = make(name, network)
    losses = [objective(make_step(network, SOURCE, TARGET, links=LINKS)) for _ in range(2)]
    assert torch.equal(losses[0], losses[1])


@pytest.mark.parametrize("name", ["clm", "camlm", "btmlm"])
def test_a_model_that_hides_nothing_is_refused(name: str, tiny_model: Path) -> None:
    # DeBERTa reads masks in its own way
    network = tiny(tiny_model, "deberta-v2")
    with pytest.raises(InputError, match="a deberta-v2 model does not let pieces be hidden"):
        make(name, network)


def test_clwa_refuses_a_model_whose_attention_cannot_be_read(tiny_model: Path) -> None:
    with pytest.raises(InputError, match="the attention of a deberta-v2 model cannot be read"):
        make("clwa", tiny(tiny_model, "deberta-v2"))


def test_a_mask_that_is_not_heeded_is_noticed(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("encoders.objectives.step.additive_mask", lambda allowed: None)
    with pytest.raises(InputError, match="hidden from each other"):
        check_masks(network)


# clm


def test_clm_looks_left_and_predicts_the_next_piece(network: Network) -> None:
    # <s> 10 11 </s>, and <s> 20 </s> with one padding
    special = network.special
    ids = torch.tensor(
        [[special.begin, 10, 11, special.end], [special.begin, 20, special.end, special.pad]]
    )
    assert look_left(ids, special.pad)[1].int().tolist() == [
        [1, 0, 0, 0],
        [1, 1, 0, 0],
        [1, 1, 1, 0],
        [1, 1, 1, 0],
    ]
    wanted = next_pieces(ids, special.pad)
    assert wanted[0].tolist() == [10, 11, special.end, special.pad]


def test_clm_is_the_mean_over_each_sentence_cut_short(network: Network) -> None:
    # The first pieces alone, the last of them asked for the next.
    sentence = [10, 11, 12]
    losses = []
    for length, wanted in enumerate(sentence):
        ids = torch.tensor([[network.special.begin, *sentence[:length]]])
        step = make_step(network, [sentence])
        left = torch.ones(1, length + 1, length + 1, dtype=torch.bool).tril()
        scores = step.predict(step.encode(ids, attention=left)[network.layers][0, -1])
        losses.append(functional.cross_entropy(scores[None], torch.tensor([wanted])))
    loss = make("clm", network)(make_step(network, [sentence]))
    assert value(loss) == pytest.approx(value(torch.stack(losses).mean()), rel=1e-4)


def test_clm_does_not_see_later_pieces(network: Network) -> None:
    step = make_step(network, [[10]])
    ids = torch.tensor([[0, 10, 11, 12], [0, 10, 21, 22]])
    states = step.encode(ids, attention=look_left(ids, network.special.pad))[network.layers]
    assert torch.allclose(states[0, :2], states[1, :2], atol=1e-5)
    assert not torch.allclose(states[0, 2], states[1, 2], atol=1e-2)


# camlm


def test_camlm_masked_pieces_look_across_and_nobody_looks_at_them() -> None:
    # x = pieces 0 1 2 (1 masked), y = pieces 3 4 (4 masked), 5 is padding
    sides = torch.tensor([[0, 0, 0, 1, 1, -1]])
    masked = torch.tensor([[False, True, False, False, True, False]])
    assert look_across(sides, masked)[0].int().tolist() == [
        [1, 0, 1, 0, 0, 0],  # its own sentence, without what is masked
        [0, 1, 0, 1, 0, 0],  # itself, and what is not masked of the other
        [1, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [1, 0, 1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0],  # nothing, which additive_mask reads as everything
    ]


def masked_states(
    network: Network, source: list[int], target: list[int], chosen: list[int]
) -> torch.Tensor:
    """What CAMLM's predictions at the ``chosen`` places of the joined pair are made from."""
    step = make_step(network, [source], [target])
    ids, positions, sides = join_pairs(step)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    mask[0, chosen] = True
    states = step.encode(
        ids.masked_fill(mask, network.special.mask),
        positions=positions,
        attention=look_across(sides, mask),
    )
    return states[network.layers][0, chosen]


def test_camlm_predicts_from_the_other_sentence_alone(network: Network) -> None:
    # <s> a b c </s> </s> p q r </s>: b (2) and q (7) are masked
    base = masked_states(network, [10, 11, 12], [30, 31, 32], [2, 7])
    other_source = masked_states(network, [20, 21, 22], [30, 31, 32], [2, 7])
    assert torch.allclose(base[0], other_source[0], atol=1e-5)
    assert not torch.allclose(base[1], other_source[1], atol=1e-2)
    other_target = masked_states(network, [10, 11, 12], [40, 41, 42], [2, 7])
    assert torch.allclose(base[1], other_target[1], atol=1e-5)
    assert not torch.allclose(base[0], other_target[0], atol=1e-2)


def test_camlm_loss_is_that_of_what_it_masked(network: Network) -> None:
    # A probability so near 1 that all is masked: each piece sees the other's special pieces only.
    step = make_step(network, [[10, 11]], [[30]])
    states = masked_states(network, [10, 11], [30], [1, 2, 5])
    expected = functional.cross_entropy(step.predict(states), torch.tensor([10, 11, 30]))
    loss = make("camlm", network, probability=0.9999)(step)
    assert value(loss) == pytest.approx(value(expected), rel=1e-4)


# btmlm


def test_btmlm_places_rise_and_lie_in_the_sentence() -> None:
    sentences = rows([range(10), range(3), [5], []])
    places = draw_places(sentences, 0.3, torch.Generator().manual_seed(0))
    counts = (places >= 0).sum(1)
    assert counts.tolist() == [3, 1, 1, 0]  # 0.3 of 10; one at least, unless there is nothing
    for place, length in zip(places, (10, 3, 1, 0), strict=True):
        drawn = place[place >= 0]
        assert (np.diff(drawn) > 0).all()
        assert ((drawn >= 1) & (drawn <= length)).all()


def test_btmlm_masks_the_sentence_and_never_what_it_wrote(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, torch.Tensor] = {}

    def look(step: Step, inputs: Any, wanted: Any, chosen: Any, positions: Any) -> torch.Tensor:
        seen.update(inputs=inputs, wanted=wanted, chosen=chosen, positions=positions)
        return torch.zeros(())

    monkeypatch.setattr("encoders.objectives.crossing.prediction_loss", look)
    sentence = [10, 11, 12, 13]
    make("btmlm", network, probability=0.9999, written=0.5)(make_step(network, [sentence]))
    special = network.special
    # <s> 10 11 12 13 </s> </s> w w </s>: two were written
    wanted = seen["wanted"][0].tolist()
    assert wanted[:7] == [special.begin, *sentence, special.end, special.end]
    assert seen["chosen"][0].tolist() == [False, *[True] * 4, *[False] * 5]
    written = seen["wanted"][0, 7:9]
    assert not special.are(written).any()
    assert torch.equal(seen["inputs"][0, 7:9], written)
    # They are the likeliest pieces at masks that see the sentence alone.
    places = seen["positions"][0, 7:9]
    assert 1 <= int(places[0]) < int(places[1]) <= 4
    step = make_step(network, [sentence], [[special.mask] * 2])
    ids, positions, sides = join_pairs(step)
    positions[0, 7:9] = places
    attention = look_across(sides, (ids == special.mask))
    scores = step.predict(step.encode(ids, positions=positions, attention=attention)[2][0, 7:9])
    scores[:, [special.begin, special.pad, special.end, special.mask]] = -torch.inf
    assert torch.equal(scores.argmax(-1), written)


def test_btmlm_writes_without_dropout_and_leaves_the_mode_as_it_was(network: Network) -> None:
    network.model.train()
    try:
        make("btmlm", network)(make_step(network, SOURCE))
        assert network.model.training
        assert network.encoder.training
    finally:
        network.model.eval()


# clmlm


def test_clmlm_takes_every_second_sentence_from_the_other_language() -> None:
    sides = np.array([10, 11, 20, 30, -1]), np.array([40, 50, 51, 60])
    segments = np.array([0, 0, 1, 2, -1]), np.array([0, 1, 1, 2])
    assert alternate(sides, segments, 0).tolist() == [10, 11, 50, 51, 30]
    assert alternate(sides, segments, 1).tolist() == [40, 20, 60]


def test_clmlm_stays_within_the_longer_side(network: Network) -> None:
    # Sources of 1 and 3, targets of 3 and 1 pieces: by turns 2 pieces or 6, and a side has 4.
    step = make_step(
        network,
        [[10, 11, 12, 13]] * 8,
        [[30, 31, 32, 33]] * 8,
        segments=([[0, 1, 1, 1]] * 8, [[0, 0, 0, 1]] * 8),
    )
    assert [row.tolist() for row in mix_documents(step)] == [[10, 33]] * 8


def test_clmlm_begins_with_either_language(network: Network) -> None:
    step = make_step(
        network, [[10, 11]] * 20, [[30, 31]] * 20, segments=([[0, 1]] * 20, [[0, 1]] * 20)
    )
    mixed = {tuple(row.tolist()) for row in mix_documents(step)}
    assert mixed == {(10, 31), (30, 11)}


# alm


def test_alm_phrases_are_linked_to_each_other_and_to_nothing_else() -> None:
    # 0-1, 1-0, 3-3 and 2 without a link: (0 1) and (1 0) cross, so each is a phrase and so are
    # both; 2 may lie inside a phrase but not at its end. 1 to 3 would take in what 0 is linked to.
    links = np.array([[0, 1], [1, 0], [3, 3]])
    assert set(find_phrases(links, 4)) == {
        Phrase(0, 1, 1, 2),
        Phrase(1, 2, 0, 1),
        Phrase(0, 2, 0, 2),
        Phrase(3, 4, 3, 4),
        Phrase(0, 4, 0, 4),
    }
    # Word 0 of the other side belongs to both words: neither is a phrase without the other.
    assert find_phrases(np.array([[0, 0], [1, 0]]), 4) == [Phrase(0, 2, 0, 1)]
    assert find_phrases(np.array([[0, 0], [1, 0]]), 1) == []
    assert find_phrases(np.zeros((0, 2), dtype=np.int64), 4) == []


def pieces(*words: list[int]) -> list[Any]:
    return [np.array(word) for word in words]


def test_alm_replaces_phrases_in_their_place() -> None:
    kept, other = pieces([10], [11, 12], [13], [14]), pieces([30, 31], [32], [33])
    mixed = replace_phrases(kept, other, [Phrase(0, 1, 1, 2), Phrase(2, 4, 0, 1)])
    assert mixed.tolist() == [32, 11, 12, 30, 31]
    assert replace_phrases(kept, other, []).tolist() == [10, 11, 12, 13, 14]


def test_alm_replaces_no_more_than_its_share_and_its_room() -> None:
    generator = torch.Generator().manual_seed(0)
    kept, other = pieces([10], [11], [12], [13]), pieces([30], [31, 32, 33], [34], [35])
    phrases = find_phrases(np.array([[0, 0], [1, 1], [2, 2], [3, 3]]), 4)
    for _ in range(20):
        # half of four words are two
        chosen = choose_phrases(phrases, kept, other, 0.5, 10, generator)
        assert sum(one.end - one.start for one in chosen) == 2
        assert chosen == sorted(chosen)
        # no room for the three pieces of word 1
        chosen = choose_phrases(phrases, kept, other, 0.9, 5, generator)
        assert not any(one.start <= 1 < one.end for one in chosen)


def test_alm_mixes_either_side(network: Network) -> None:
    # One link, 10-30, and at most one word of two: the mixed sentence keeps its other word.
    step = make_step(
        network, [[10, 11]] * 20, [[31, 30]] * 20, links=[(row, 0, 1) for row in range(20)]
    )
    mixed = {tuple(row.tolist()) for row in mix_phrases(step, 0.3, 4)}
    assert mixed == {(30, 11), (31, 10)}


# clwr


def test_clwr_mixes_by_hand() -> None:
    # x = (1, 0); y = (1, 0), (0, 1) and one that is masked out. both = (2, 1), other = (0, 1):
    # A = 2 * 1 * 1 + 0 = 2 and 0 + 1 = 1.
    words, others = torch.tensor([[[1.0, 0]]]), torch.tensor([[[1.0, 0], [0, 1], [9, 9]]])
    mask = torch.tensor([[True, True, False]])
    mixed = mix_embeddings(words, others, mask, torch.tensor([0.0, 1]), torch.tensor([2.0, 1]))
    first = exp(2) / (exp(2) + exp(1))
    assert mixed[0, 0].tolist() == pytest.approx([first, 1 - first])


def test_clwr_predicts_both_sides_from_each_others_embeddings(network: Network) -> None:
    # One piece a side: the mixture of one embedding is that embedding, whatever the weights.
    special = network.special
    step = make_step(network, [[10]], [[30]])
    ids = torch.tensor([[special.begin, 30, special.end], [special.begin, 10, special.end]])
    scores = step.predict(step.encode(ids)[network.layers][:, 1])
    expected = functional.cross_entropy(scores, torch.tensor([10, 30]))
    assert value(make("clwr", network)(step)) == pytest.approx(value(expected), rel=1e-4)


def test_clwr_mixes_embeddings_narrower_than_the_model(tiny_model: Path) -> None:
    network = tiny(tiny_model, "albert", embedding_size=8)
    objective = make("clwr", network)
    assert objective.both.shape == (8,)
    assert torch.isfinite(objective(make_step(network, SOURCE, TARGET)))


# clpc and psi


def test_negatives_are_the_preferred_ones_that_are_allowed() -> None:
    preference = torch.tensor([[0.9, 0.2, 0.1], [0.3, 0.8, 0.4], [0.5, 0.6, 0.7]])
    barred = torch.eye(3, dtype=torch.bool)
    chosen, others = choose_negatives(preference, barred)
    assert chosen.tolist() == [0, 1, 2]
    assert others.tolist() == [1, 2, 1]
    barred[0] = True  # shares a sentence with every other pair
    chosen, others = choose_negatives(preference, barred)
    assert chosen.tolist() == [1, 2]
    assert others.tolist() == [2, 1]


def test_clpc_is_near_by_mean_word_embeddings(network: Network) -> None:
    step = make_step(network, [[10, 11], [12]], [[30], [31, 32, 33]])
    table = network.encoder.get_input_embeddings().weight
    expected = functional.cosine_similarity(table[[10, 11]].mean(0), table[[31, 32, 33]].mean(0), 0)
    assert value(nearness(step)[0, 1]) == pytest.approx(value(expected), abs=1e-5)


def test_clpc_by_hand(network: Network) -> None:
    # Each of two pairs is the other's only negative: 2 positives, 2 negatives.
    step = make_step(network, [[10], [11]], [[30], [31]])
    objective = make("clpc", network)
    special = network.special
    joined = [
        [special.begin, x, special.end, special.end, y, special.end]
        for x, y in ((10, 30), (11, 31), (10, 31), (11, 30))
    ]
    positions = torch.tensor([[0, 1, 2, 0, 1, 2]] * 4)
    states = step.encode(torch.tensor(joined), positions=positions)[network.layers]
    yes = objective.classifier(states[:, 0])[:, 0].sigmoid()
    expected = -(yes[0].log() + yes[1].log() + (1 - yes[2]).log() + (1 - yes[3]).log()) / 4
    assert value(objective(step)) == pytest.approx(value(expected), rel=1e-4)


def test_psi_reads_its_layer_and_both_orders(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, int]] = []

    def look(_: Step, left: Any, right: Any, __: Any, layer: int) -> torch.Tensor:
        seen.extend(zip(left[:, 0].tolist(), right[:, 0].tolist(), strict=True))
        assert layer == 1
        return torch.zeros(())

    monkeypatch.setattr("encoders.objectives.classification.classify", look)
    objective = make("psi", network, layer=1)
    for seed in range(20):
        objective(make_step(network, [[10], [11, 12]], [[30], [31]], seed=seed))
    positives = {(10, 30), (30, 10), (11, 31), (31, 11)}
    negatives = {(10, 31), (31, 10), (11, 30), (30, 11)}
    assert set(seen) == positives | negatives
    assert sum(pair in positives for pair in seen) * 2 == len(seen)


def test_without_a_negative_there_is_no_loss_but_a_gradient(network: Network) -> None:
    for name in ("clpc", "psi"):
        objective = make(name, network)
        loss = objective(make_step(network, [[10], [10]], [[30], [31]]))  # the same source
        assert value(loss) == 0
        loss.backward()
        assert all(weights.grad is not None for weights in objective.parameters())


# clwa


def test_clwa_by_hand() -> None:
    # <s> a b </s> p </s>. The scores that count: a-p 0, b-p 0 (a, b see only p: P = 1, 1);
    # p-a 1, p-b 0: Q = e / (e + 1), 1 / (e + 1). trace(PQ) = 1, the shorter has 1 piece: loss 0.
    sides = torch.tensor([[-1, 0, 0, -1, 1, -1]])
    scores = torch.full((1, 1, 6, 6), 5.0)
    scores[0, 0, [1, 2], [4, 4]] = 0.0
    scores[0, 0, 4, 1], scores[0, 0, 4, 2] = 1.0, 0.0
    assert value(disagreement(scores, sides)) == pytest.approx(0, abs=1e-6)
    # Two a side, and everything undecided: P = Q = 1/2, trace = 4 * 1/4 = 1, of 2: loss 1/2.
    sides = torch.tensor([[0, 0, 1, 1]])
    assert value(disagreement(torch.zeros(1, 2, 4, 4), sides)) == pytest.approx(0.5)
    # One head of two sure of 0-2 and 1-3 both ways: its trace is 2, so loss (1/2 + 0) / 2.
    scores = torch.zeros(1, 2, 4, 4)
    for i, j in ((0, 2), (1, 3)):
        scores[0, 1, i, j] = scores[0, 1, j, i] = 50.0
    assert value(disagreement(scores, sides)) == pytest.approx(0.25, abs=1e-6)
    # A sentence without pieces agrees with nothing, and is no NaN.
    assert value(disagreement(scores, torch.tensor([[0, 0, 0, -1]]))) == 1


def test_clwa_reads_the_probabilities_that_transformers_would_give(network: Network) -> None:
    step = make_step(network, SOURCE, TARGET)
    ids, positions, sides = join_pairs(step)
    for layer in (1, 2):
        objective = make("clwa", network, layer=layer)
        loss = value(objective(step))
        network.model.set_attn_implementation("eager")
        assert network.first_position is not None
        counted = (positions + network.first_position).masked_fill(
            sides < 0, max(0, network.first_position - 1)
        )
        chances = network.encoder(
            input_ids=ids,
            attention_mask=(sides >= 0).long(),
            position_ids=counted,
            output_attentions=True,
        ).attentions[layer - 1]
        # log probabilities are scores too: only what is left after the cut counts
        own = sides.masked_fill(step.special.are(ids), -1)
        assert loss == pytest.approx(value(disagreement(chances.log(), own)), abs=1e-4)


def test_clwa_leaves_the_model_as_it_computes(network: Network) -> None:
    step = make_step(network, SOURCE, TARGET)
    network.model.set_attn_implementation("sdpa")
    before = step.encode(step.framed_text())[network.layers]
    make("clwa", network)
    assert torch.equal(step.encode(step.framed_text())[network.layers], before)
    assert "sdpa_kept" not in network.model.config.to_json_string()
