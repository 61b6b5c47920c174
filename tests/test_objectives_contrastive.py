"""Contrastive, self-training, distilling and conserving objectives, on cases worked by hand."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import nn

from bitext.errors import InputError, UnknownNameError
from encoders.encoder import Encoder
from encoders.objectives import OBJECTIVES, Objective
from encoders.objectives.alignment import spread
from encoders.objectives.continual import add_squares, squared_distance, without_dropout
from encoders.objectives.contrastive import align_sentences, rank_translations
from encoders.objectives.distillation import (
    projection,
    sentence_structure,
    spell_words,
    speller,
    state_distance,
    word_structure,
)
from encoders.objectives.hierarchical import contrast_hardened, contrast_vocabulary, harden
from encoders.objectives.memory import Queue, WeightCopy, follow
from encoders.objectives.momentum import encode, encode_with, info_nce, longest, mix
from encoders.objectives.network import Network
from encoders.objectives.self_training import agreement, confident, linked_probability
from encoders.objectives.step import Step, frame, pool_by_word
from encoders.registry import ModelRegistry
from encoders.subwords import SubwordSplitter
from encoders.training.batches import Batch
from encoders.training.vocabulary import train_vocabulary

CPU = torch.device("cpu")
# Orthogonal unit vectors, so that every cosine is 1 or 0.
X, Y, Z = torch.eye(3)
APART = torch.eye(2, dtype=torch.bool)  # two pairs without a common sentence
PAIRS = [
    ("the house is small", "das haus ist klein"),
    ("a cat sleeps in the old house", "eine katze schläft im alten haus"),
    ("the garden is big", "der garten ist groß"),
]
MINE = [
    "ranking",
    "clsa",
    "xlco",
    "hictl",
    "words",
    "so",
    "consistency",
    "distil_words",
    "distil_sentences",
    "l2sp",
    "ewc",
]


@pytest.fixture
def network(tiny_model: Path, encoder: Encoder) -> Network:
    """The tiny model with a head, ready to be trained; the same model is its teacher."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    config = transformers.AutoConfig.from_pretrained(tiny_model)
    torch.manual_seed(0)
    model: Any = transformers.AutoModelForMaskedLM.from_config(config)
    model.base_model.load_state_dict(encoder.checkpoint.model.state_dict())
    return Network(model.eval(), tokenizer, teacher=encoder)


def batch_of(tokenizer: Any, pairs: Sequence[tuple[str, str]], links: Sequence[Any] = ()) -> Batch:
    sides = []
    for texts in zip(*pairs, strict=True):
        subwords = SubwordSplitter(tokenizer).words([text.split() for text in texts])
        pieces = padded([one.ids for one in subwords])
        sides.append((pieces, padded([one.word_of for one in subwords])))
    (source, source_words), (target, target_words) = sides
    return Batch(
        source,
        target,
        source_words,
        target_words,
        np.where(source >= 0, 0, -1),
        np.where(target >= 0, 0, -1),
        np.array(links, dtype=np.int64).reshape(-1, 3),
        np.ones(len(links), dtype=np.float32),
        *(np.array([hash(text) for text in texts]) for texts in zip(*pairs, strict=True)),
    )


def padded(rows: Sequence[Any]) -> NDArray[np.int64]:
    wide = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for number, row in enumerate(rows):
        wide[number, : len(row)] = row
    return wide


def step_of(
    network: Network,
    pairs: Sequence[tuple[str, str]] = PAIRS,
    links: Sequence[Any] = (),
    layer: int = 2,
) -> Step:
    return Step(
        batch=batch_of(network.tokenizer, pairs, links),
        network=network,
        generator=torch.Generator().manual_seed(0),
        layers=frozenset({layer}),
    )


def build(name: str, network: Network, **settings: Any) -> Any:
    return OBJECTIVES[name](OBJECTIVES[name].Settings.model_validate(settings), network)


def value(scalar: torch.Tensor) -> float:
    return float(scalar.detach())


def move(model: nn.Module, by: float) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(by)


# All of them


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("pairs", [PAIRS, [("house", "haus")], [("house", "haus")] * 2])
def test_every_batch_has_a_finite_loss_and_gradient(
    name: str, pairs: list[tuple[str, str]], network: Network
) -> None:
    states = {"states": 1} if name.startswith("distil") else {}
    objective: Objective[Any] = build(name, network, **states)
    objective.prepare(step_of(network, pairs) for _ in range(3))
    network.model.train()
    for _ in range(2):  # the second time there are keys in the queue
        loss = objective(step_of(network, pairs))
        objective.after_step()
    assert torch.isfinite(loss)
    assert loss.ndim == 0
    network.model.zero_grad()
    loss.backward()
    gradients = [p.grad for p in network.model.parameters() if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", ["ranking", "clsa", "xlco", "hictl", "so", "consistency"])
def test_pairs_are_learnt(name: str, network: Network) -> None:
    objective = build(name, network)
    if name == "xlco":
        strangers = step_of(network, [(text, text) for text in ("नमस्ते दुनिया", "don't stop, 3.14!")])
        objective.queue.push(encode(strangers, strangers.framed_text(), 2))
    optimizer = torch.optim.Adam(network.model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = objective(step_of(network))
        loss.backward()
        optimizer.step()
        losses.append(value(loss))
    assert losses[-1] < 0.9 * losses[0]


# Sentences in the batch


def test_translation_ranking_by_hand() -> None:
    loss = rank_translations(torch.stack([X, Y]), torch.stack([X, Z]), APART, 0.3, scale=2)
    # Scores 2 (cos - 0.3 on the diagonal) = [[1.4, 0], [0, -0.6]], in rows as in columns.
    first, second = log(exp(1.4) / (exp(1.4) + 1)), log(exp(-0.6) / (exp(-0.6) + 1))
    assert value(loss) == pytest.approx(-(first + second) / 2, abs=1e-5)


def test_sentence_alignment_by_hand() -> None:
    loss = align_sentences(torch.stack([2 * X, Y]), torch.stack([X, Z]), APART, 1.0)
    # Dot products: 2x . x = 2, all others 0. Beside its translation each sentence sees the other
    # target and the other source, never itself (2x . 2x = 4 would outdo all): one right, two wrong.
    first, second = log(exp(2) / (exp(2) + 2)), log(1 / 3)
    assert value(loss) == pytest.approx(-(first + second) / 2, abs=1e-5)


def test_sentence_alignment_leaves_out_pairs_that_share_a_sentence() -> None:
    same = torch.ones(2, 2, dtype=torch.bool)
    assert value(align_sentences(torch.stack([X, X]), torch.stack([X, Z]), same, 1.0)) == 0


# Momentum contrast


def test_the_queue_forgets_the_oldest() -> None:
    queue = Queue(3, 1, CPU)
    assert queue.filled().shape == (0, 1)
    queue.push(torch.tensor([[1.0], [2.0]]))
    assert queue.filled().tolist() == [[1], [2]]  # the third row is not there yet
    queue.push(torch.tensor([[3.0], [4.0]]))
    assert queue.filled().tolist() == [[4], [2], [3]]  # 4 in the place of 1
    queue.push(torch.arange(5.0, 10)[:, None])
    assert sorted(queue.filled().ravel().tolist()) == [7, 8, 9]
    queue.push(torch.tensor([[10.0]]))
    assert sorted(queue.filled().ravel().tolist()) == [8, 9, 10]  # 7 was the oldest


def test_info_nce_by_hand() -> None:
    queries, keys = torch.stack([X, Y]), torch.stack([X, Z])
    loss = info_nce(queries, keys, Y[None], temperature=0.5)
    # x: its key 1 / 0.5 = 2 against 0. y: its key 0 against 2, the negative being y itself.
    first, second = log(exp(2) / (exp(2) + 1)), log(1 / (1 + exp(2)))
    assert value(loss) == pytest.approx(-(first + second) / 2, abs=1e-5)
    assert value(info_nce(queries, keys, torch.zeros(0, 3), 0.5)) == 0


def test_the_slow_copy_follows_by_hand(network: Network) -> None:
    objective = build("xlco", network, momentum=0.75)
    before = {name: one.clone() for name, one in objective.slow.by_name().items()}
    move(network.encoder, by=1.0)
    objective.after_step()
    # 0.75 w + 0.25 (w + 1) = w + 0.25
    for name, slow in objective.slow.by_name().items():
        torch.testing.assert_close(slow, before[name] + 0.25)
    objective.prepare(iter(()))  # a new stage starts: from the model as it is then
    for name, parameter in network.encoder.named_parameters():
        torch.testing.assert_close(objective.slow.by_name()[name], parameter.detach())


def test_other_weights_encode_in_place_of_the_own(network: Network) -> None:
    step = step_of(network)
    ids = step.framed_text()
    slow = WeightCopy(dict(network.encoder.named_parameters()))
    before = encode(step, ids, 1)
    move(network.encoder, by=0.1)
    after = encode(step, ids, 1)
    torch.testing.assert_close(encode_with(slow.by_name(), step, ids, 1), before)
    torch.testing.assert_close(encode(step, ids, 1), after)  # its own are back in their place
    assert not torch.allclose(before, after, atol=1e-3)


def test_keys_join_the_queue_once_the_step_is_done(network: Network) -> None:
    objective = build("xlco", network, mixup=False, queue=20)
    first, second = step_of(network), step_of(network, PAIRS[:1])
    losses = [objective(first), objective(second)]  # two batches of one step
    assert objective.queue.filled().shape == (0, 16)
    assert [value(loss) for loss in losses] == [0, 0]
    objective.after_step()
    # 3 sources and 3 targets, then 1 and 1, in this order
    wanted = [encode(one, one.framed_text(), 2) for one in (first, second)]
    torch.testing.assert_close(objective.queue.filled(), torch.cat(wanted).detach())
    objective.after_step()  # a step without batches adds nothing
    assert int(objective.queue.pushed) == 8


def test_the_loss_of_xlco_by_its_parts(network: Network) -> None:
    objective = build("xlco", network, mixup=False, temperature=0.5)
    objective.queue.push(torch.eye(16)[:2])
    step = step_of(network)
    source, target = encode(step, step.framed_text(), 2).chunk(2)
    # the slow copy is still the model itself; a source's key is its target, and the reverse
    there = info_nce(source, target, torch.eye(16)[:2], 0.5)
    back = info_nce(target, source, torch.eye(16)[:2], 0.5)
    assert value(objective(step)) == pytest.approx(value(there + back) / 2, abs=1e-5)


def test_no_gradient_reaches_the_slow_copy(network: Network) -> None:
    objective = build("xlco", network)
    objective.queue.push(torch.eye(16))
    objective(step_of(network)).backward()
    assert not list(objective.parameters())
    assert all(not one.requires_grad and one.grad is None for one in objective.buffers())
    assert network.embed(torch.tensor([0])).requires_grad
    moved = [p.grad is not None and bool(p.grad.any()) for p in network.encoder.parameters()]
    assert any(moved)


def test_xlco_goes_on_from_a_checkpoint(network: Network) -> None:
    objective = build("xlco", network, queue=8)
    for _ in range(2):
        objective(step_of(network))
        objective.after_step()
    move(network.encoder, by=0.1)
    objective.after_step()
    state = {name: one.clone() for name, one in objective.state_dict().items()}
    other = build("xlco", network, queue=8)
    other.load_state_dict(state)
    assert int(other.queue.pushed) == 12
    assert value(other(step_of(network))) == value(objective(step_of(network)))
    assert state.keys() >= {"queue.rows", "queue.pushed"}


def test_mixed_pairs_stay_translations(network: Network) -> None:
    batch = batch_of(network.tokenizer, PAIRS)
    sources, targets = (
        [row[row >= 0].tolist() for row in side] for side in (batch.source, batch.target)
    )
    orders = set()
    for seed in range(30):
        mixed = mix(batch, torch.Generator().manual_seed(seed), None)
        rows = [[row[row >= 0].tolist() for row in side] for side in mixed]
        for number in range(3):
            found = [
                (partner, forward)
                for partner in range(3)
                for forward in (True, False)
                if rows[0][number]
                == sources[number if forward else partner] + sources[partner if forward else number]
            ]
            ((partner, forward),) = found
            assert partner != number
            joined = [targets[number] + targets[partner], targets[partner] + targets[number]]
            assert rows[1][number] in joined
            orders.add((forward, rows[1][number] == joined[0]))
    assert len(orders) == 4  # each side in either order, whatever the other's


def test_pairs_too_long_to_be_mixed_stay_alone(network: Network) -> None:
    batch = batch_of(network.tokenizer, PAIRS)
    generator = torch.Generator().manual_seed(0)
    for side, own in zip(mix(batch, generator, 5), (batch.source, batch.target), strict=True):
        assert np.array_equal(side, own)
    single = batch_of(network.tokenizer, PAIRS[:1])
    assert np.array_equal(mix(single, generator, None)[0], single.source)
    # 66 positions, the first two of which are padding's, and two special pieces
    assert longest(network) == 62


# Hierarchical contrast


def test_negatives_are_drawn_nearer_by_hand() -> None:
    positive, negatives = torch.tensor([[0.5]]), torch.tensor([[-0.5, 0.8]])
    # d+ ** 2 = 2 (1 - 0.5) = 1; d- ** 2 = 3 and 0.4: only the first is farther off.
    # lambda = (d+ / d-) ** 1 = 1 / sqrt 3, and q . z' = 1 - lambda (1 - (-0.5)) = 1 - 1.5 / sqrt 3.
    drawn = harden(positive, negatives, power=1)
    torch.testing.assert_close(drawn, torch.tensor([[1 - 1.5 / sqrt(3), 0.8]]))
    torch.testing.assert_close(harden(positive, negatives, power=0), negatives)


def test_a_drawn_negative_lies_between_it_and_the_query() -> None:
    q, k, z = nn.functional.normalize(torch.tensor([[1.0, 0, 0], [2, 1, 0], [-1, 1, 2]]), dim=1)
    factor = (torch.dist(q, k) / torch.dist(q, z)) ** 0.6
    between = q + factor * (z - q)
    drawn = harden((q @ k).view(1, 1), (q @ z).view(1, 1), power=0.6)
    assert value(drawn) == pytest.approx(value(q @ between), abs=1e-5)


def test_hierarchical_sentences_by_hand() -> None:
    source, target = torch.stack([X, Y]), torch.stack([X, Z])
    loss = contrast_hardened(source, target, APART, power=0, temperature=1)
    # Sentences x, y, x, z. x finds x (1) among y and z (0, 0); y finds z (0) among x and x (0, 0).
    first, second = log(exp(1) / (exp(1) + 2)), log(1 / 3)
    assert value(loss) == pytest.approx(-(first + second) / 2, abs=1e-5)
    hard = contrast_hardened(source, target, APART, power=0.5, temperature=1)
    # d+ of x is 0: its negatives are drawn all the way, to 1. Those of y are as far off as z.
    assert value(hard) == pytest.approx(-log(1 / 3), abs=1e-5)


def test_words_against_the_vocabulary_by_hand() -> None:
    words, mask = torch.stack([X, Y, Y])[None], torch.tensor([[True, True, False]])
    negatives, excluded = torch.stack([X, Z]), torch.tensor([[True, False]])
    loss = contrast_vocabulary(2 * X[None], words, mask, negatives, excluded, temperature=1)
    # The query is x. Word x: 1 against z, 0. Word y: 0 against 0. The third is padding, and x among
    # the negatives is a word of the pair.
    first, second = log(exp(1) / (exp(1) + 1)), log(1 / 2)
    assert value(loss) == pytest.approx(-(first + second) / 2, abs=1e-5)


def test_words_without_negatives_cost_nothing() -> None:
    words = torch.stack([X, Y])[None].requires_grad_()
    everything = torch.ones(1, 2, dtype=torch.bool)
    loss = contrast_vocabulary(X[None], words, everything, torch.stack([X, Z]), everything, 0.1)
    assert value(loss) == 0
    loss.backward()  # type: ignore[no-untyped-call]
    assert words.grad is not None
    assert torch.isfinite(words.grad).all()


def test_hictl_remembers_how_sure_it_was(network: Network) -> None:
    objective = build("hictl", network, word=0)
    assert objective.likelihood() == 0
    losses = [value(objective(step_of(network, pairs))) for pairs in (PAIRS, PAIRS[:2])]
    assert objective.likelihood() == 0  # until the step is done
    objective.after_step()
    assert objective.likelihood() == pytest.approx(sum(exp(-loss) for loss in losses) / 2, abs=1e-5)
    assert value(objective(step_of(network))) > losses[0]  # negatives are harder now


# Words


def test_pieces_are_pooled_to_words_by_hand() -> None:
    states = torch.tensor([[[1.0], [3.0], [5.0], [7.0]], [[2.0], [9.0], [9.0], [9.0]]])
    words = np.array([[0, 0, 1, -1], [0, -1, -1, -1]])
    # Word 0 is the mean of 1 and 3; padding (7 and the nines) counts nowhere.
    assert pool_by_word(states, words).tolist() == [[[2.0], [5.0]], [[2.0], [0.0]]]


def test_links_are_spread_over_pieces_by_hand(network: Network) -> None:
    step = step_of(network, PAIRS[:2])
    step.batch.source_words[:] = -1
    step.batch.source_words[0, :3] = [0, 0, 1]
    step.batch.source_words[1, :1] = [0]
    step.batch.target_words[:] = -1
    step.batch.target_words[0, :3] = [0, 1, 1]
    step.batch.target_words[1, :2] = [0, 0]
    links = torch.tensor([[0, 0, 1], [1, 0, 0]])
    spread_links, weights = spread(step, links, torch.tensor([1.0, 0.5]))
    # Word 0 of pair 0 has pieces 0 and 1, its partner 1 has pieces 1 and 2: a quarter each.
    # Word 0 of pair 1 has piece 0, its partner pieces 0 and 1: 0.25 each.
    assert spread_links.tolist() == [
        [0, 0, 1],
        [0, 0, 2],
        [0, 1, 1],
        [0, 1, 2],
        [1, 0, 0],
        [1, 0, 1],
    ]
    assert weights.tolist() == [0.25] * 6


@pytest.mark.parametrize("unit", ["word", "piece"])
def test_linked_words_of_either_unit(unit: str, network: Network) -> None:
    pairs = [("a", "a"), ("the house", "the house")]
    links = [[0, 0, 0], [1, 0, 0], [1, 1, 1]]
    objective = build("words", network, unit=unit, temperature=0.01)
    # both sides are the same sentence: every link joins equal vectors
    same = value(objective(step_of(network, pairs, links)))
    crossed = value(objective(step_of(network, pairs, [[1, 0, 1], [1, 1, 0]])))
    assert same < crossed


def test_self_training_by_hand() -> None:
    # Source (x, y), target (x, z, padding); S = [[2, 0], [0, 0]].
    source, target = torch.stack([X, Y])[None], torch.stack([X, Z, X])[None]
    masks = torch.tensor([[True, True]]), torch.tensor([[True, True, False]])
    links = torch.zeros(1, 2, 3, dtype=torch.bool)
    links[0, 0, 0] = True
    found = linked_probability(source, target, *masks, links, 0.5)
    # P of the link is p = e^2 / (e^2 + 1) in both directions, m = n = 2: (p / 2 + p / 2) / 2.
    p = exp(2) / (exp(2) + 1)
    assert value(found) == pytest.approx(p / 2, abs=1e-5)
    # P_st = [[p, 1 - p], [1/2, 1/2]]; P_ts has the columns (p, 1 - p), (1/2, 1/2); 1 - p = 0.12.
    similarity = torch.tensor([[[2.0, 0, 2], [0, 0, 0]]])
    assert confident(similarity, *masks, 0.3).nonzero().tolist() == [[0, 0, 0], [0, 1, 1]]
    # The products are p p, (1 - p) / 2 twice, and 1/4; the shorter side has 2 words.
    found = agreement(source, target, *masks, 0.5)
    assert value(found) == pytest.approx((p * p + (1 - p) + 0.25) / 2, abs=1e-5)


def test_self_training_takes_its_own_links(network: Network) -> None:
    pairs = [("the house", "the house")]
    step = step_of(network, pairs)
    # equal sentences: each word's nearest is itself
    links = [[0, 0, 0], [0, 1, 1]]
    wanted = build("words", network)(step_of(network, pairs, links))
    assert value(build("so", network)(step)) == pytest.approx(value(wanted), abs=1e-6)
    sure = build("so", network, form="probability", temperature=0.001)
    assert value(sure(step)) == pytest.approx(0, abs=1e-4)
    assert value(build("consistency", network, temperature=0.001)(step)) == pytest.approx(
        0, abs=1e-4
    )


def test_self_training_without_confident_links(network: Network) -> None:
    objective = build("so", network, guides="softmax", threshold=0.99, temperature=100)
    loss = objective(step_of(network))
    assert value(loss) == 0
    loss.backward()


# Distillation


def test_word_structure_by_hand() -> None:
    source, masks = X[None, None], (torch.tensor([[True]]), torch.tensor([[True, True, False]]))
    teacher = source, torch.stack([X, Z, X])[None]
    student = 3 * source, torch.stack([Z, X, Z])[None]
    loss = word_structure(teacher, student, masks, (1.0, 1.0))
    # The teacher's word is near the first target: probabilities p = e / (e + 1) and 1 - p; the
    # student's the other way round. log p - log (1 - p) = 1, so KL = p - (1 - p). In the other
    # direction there is one source word only.
    p = exp(1) / (exp(1) + 1)
    assert value(loss) == pytest.approx((2 * p - 1) / 2, abs=1e-5)
    # at temperature 1/2 the teacher has q = e^2 / (e^2 + 1), and the student still p
    q = exp(2) / (exp(2) + 1)
    divergence = q * log(q / (1 - p)) + (1 - q) * log((1 - q) / p)
    loss = word_structure(teacher, student, masks, (0.5, 1.0))
    assert value(loss) == pytest.approx(divergence / 2, abs=1e-5)


def test_sentence_structure_by_hand() -> None:
    teacher, student = torch.stack([X, X, Y]), 2 * torch.stack([X, Y, X])
    # Cosines 01, 02, 12: 1, 0, 0 and 0, 1, 0. Two of three differ by 1.
    mse = sentence_structure(teacher, student, "mse", (1.0, 1.0))
    assert value(mse) == pytest.approx(2 / 3, abs=1e-5)
    # Over the others of each row, p = e / (e + 1): teacher (p, 1 - p), (p, 1 - p), (1/2, 1/2);
    # student (1 - p, p), (1/2, 1/2), (p, 1 - p).
    p = exp(1) / (exp(1) + 1)
    rows = [
        2 * p - 1,
        p * log(2 * p) + (1 - p) * log(2 - 2 * p),
        (log(0.5 / p) + log(0.5 / (1 - p))) / 2,
    ]
    kl = sentence_structure(teacher, student, "kl", (1.0, 1.0))
    assert value(kl) == pytest.approx(sum(rows) / 3, abs=1e-5)


def test_state_distance_by_hand() -> None:
    found, wanted = torch.stack([X, 2 * Y]), torch.stack([Z, Y])
    assert value(state_distance(found, wanted, "cosine")) == pytest.approx(1 / 2)  # 1 and 0
    assert value(state_distance(found, wanted, "mse")) == pytest.approx(3 / 2)  # 2 and 1
    assert projection(3, 3)(X).tolist() == X.tolist()


def test_words_are_spelled_as_they_were(network: Network) -> None:
    batch = batch_of(network.tokenizer, PAIRS)
    spelled = spell_words(batch.target, batch.target_words, speller(network.tokenizer))
    assert spelled == [target.split() for _, target in PAIRS]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("distil_words", {"states": 1.0}),
        ("distil_words", {"states": 1.0, "structure": 0, "states_loss": "mse"}),
        ("distil_sentences", {"states": 1.0}),
        ("distil_sentences", {"structure_loss": "kl"}),
    ],
)
def test_its_own_teacher_has_nothing_to_teach(
    name: str, settings: dict[str, Any], network: Network
) -> None:
    objective = build(name, network, teacher_layer=2, **settings)
    assert value(objective(step_of(network))) == pytest.approx(0, abs=1e-5)
    other = build(name, network, teacher_layer=1, **settings)
    loss = other(step_of(network))
    assert value(loss) > 1e-4
    loss.backward()
    assert network.teacher is not None
    assert all(p.grad is None for p in network.teacher.checkpoint.model.parameters())
    assert any(p.grad is not None and p.grad.any() for p in network.encoder.parameters())


@pytest.mark.parametrize("name", ["distil_words", "distil_sentences"])
def test_a_teacher_of_another_size_and_vocabulary(
    name: str, network: Network, tmp_path: Path, registry: ModelRegistry
) -> None:
    sentences = [text for pair in PAIRS for text in pair]
    tokenizer = train_vocabulary(sentences * 4, size=80, min_character_count=1, max_pieces=64)
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=66,
    )
    transformers.XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    network.teacher = registry.encoder(str(tmp_path))
    objective = build(name, network, states=1.0)
    assert [one.shape for one in objective.parameters()] == [(24, 16)]
    loss = objective(step_of(network))
    loss.backward()
    assert torch.isfinite(loss)
    assert value(loss) > 0
    assert objective.projection.weight.grad.any()


def test_words_that_the_teacher_cannot_read_are_left_out(network: Network) -> None:
    pairs = [("house 猫 small", "haus klein")]  # the middle word is the unknown piece
    unknown = network.tokenizer.unk_token_id
    step = step_of(network, pairs)
    assert unknown in step.batch.source
    objective = build("distil_words", network, teacher_layer=1, states=1)
    taught = objective._taught(step, step.word_masks())
    assert taught[0].any(-1).tolist() == [[True, False, True]]
    assert torch.isfinite(objective(step))


def test_distillation_without_a_teacher_is_refused(network: Network) -> None:
    network.teacher = None
    with pytest.raises(InputError, match="no teacher is named"):
        build("distil_words", network)


def test_distillation_from_a_layer_that_is_not_there_is_refused(network: Network) -> None:
    with pytest.raises(UnknownNameError, match="has no layer 7"):
        build("distil_sentences", network, teacher_layer=7)


def test_distillation_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing to learn"):
        OBJECTIVES["distil_words"].Settings.model_validate({"structure": 0})


# What the model was before


def test_squared_distance_by_hand() -> None:
    weights = {"w": nn.Parameter(torch.tensor([1.0, 2.0])), "v": nn.Parameter(torch.ones(1))}
    start = {"w": torch.zeros(2), "v": torch.tensor([3.0])}
    # (1 + 4 + 4) / 2
    assert value(squared_distance(weights, start)) == pytest.approx(4.5)
    # (2 * 1 + 4 * 4 + 0.5 * 4) / 2
    importance = {"w": torch.tensor([2.0, 4.0]), "v": torch.tensor([0.5])}
    assert value(squared_distance(weights, start, importance)) == pytest.approx(10)


def test_squares_of_gradients_by_hand() -> None:
    weights = {"w": nn.Parameter(torch.tensor([1.0, 2.0])), "idle": nn.Parameter(torch.ones(1))}
    sums = {"w": torch.tensor([0.0, 1.0]), "idle": torch.zeros(1)}
    add_squares(sums, weights, (torch.tensor([3.0, -2.0]) * weights["w"]).sum())
    assert sums["w"].tolist() == [9, 5]  # 0 + 3 ** 2 and 1 + (-2) ** 2
    assert sums["idle"].tolist() == [0]


def test_l2sp_holds_what_is_trained_near_its_start(network: Network) -> None:
    frozen = network.encoder.get_input_embeddings()
    frozen.weight.requires_grad_(False)
    objective = build("l2sp", network)
    step = step_of(network)
    assert value(objective(step)) == 0
    move(network.model, by=0.5)
    count = sum(p.numel() for p in network.model.parameters() if p.requires_grad)
    loss = objective(step)
    assert value(loss) == pytest.approx(0.5 * 0.25 * count, rel=1e-4)
    loss.backward()
    assert frozen.weight.grad is None
    assert not objective.state_dict()  # a resumed run has the start at hand


def test_ewc_weighs_by_what_the_prediction_depends_on(network: Network) -> None:
    objective = build("ewc", network, batches=3)
    move(network.model, by=0.01)  # another stage
    network.model.train()
    steps = iter([step_of(network) for _ in range(5)])
    objective.prepare(steps)
    assert len(list(steps)) == 2  # three were taken
    assert network.model.training
    assert value(objective(step_of(network))) == 0  # the start is where this stage starts
    fisher = objective.fisher.by_name()
    assert all((one >= 0).all() for one in fisher.values())
    assert fisher["lm_head.bias"].any()
    move(network.model, by=0.1)
    importance = sum(value(one.sum()) for one in fisher.values())
    assert value(objective(step_of(network))) == pytest.approx(0.5 * 0.01 * importance, rel=1e-3)
    other = build("ewc", network, batches=3)
    other.load_state_dict(objective.state_dict())
    assert value(other(step_of(network))) == value(objective(step_of(network)))


def test_fisher_is_the_mean_over_batches(network: Network) -> None:
    once, twice = (build("ewc", network, batches=number) for number in (1, 2))
    for objective in (once, twice):
        objective.prepare(step_of(network) for _ in range(9))  # all batches are the same one
    for name, fisher in once.fisher.by_name().items():
        torch.testing.assert_close(fisher, twice.fisher.by_name()[name])


def test_following_by_hand() -> None:
    slow, fast = {"w": torch.tensor([1.0])}, {"w": torch.tensor([5.0])}
    follow(slow, fast, momentum=0.75)
    assert slow["w"].tolist() == [2]  # 0.75 + 1.25


def test_parts_get_their_mode_back() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout())
    model[1].eval()
    with without_dropout(model):
        assert not model[0].training
    assert [module.training for module in model.modules()] == [True, True, False]


def test_frames_are_what_the_encoder_reads(network: Network, encoder: Encoder) -> None:
    step = step_of(network)
    vectors = encode(step, frame([step.batch.source], step.special), 2)
    wanted = encoder.sentences([source for source, _ in PAIRS], layer=2)
    torch.testing.assert_close(vectors.detach(), torch.from_numpy(wanted), atol=1e-5, rtol=0)
