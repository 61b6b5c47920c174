"""Training objectives on cases worked by hand."""

from __future__ import annotations

from math import exp, log
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from encoders.objectives import OBJECTIVES
from encoders.objectives.alignment import contrast_linked
from encoders.objectives.contrastive import contrast_sentences
from encoders.objectives.masked import choose_and_mask, join_pairs
from encoders.objectives.network import SpecialPieces
from encoders.objectives.objective import ObjectiveSettings
from encoders.objectives.step import Step, additive_mask, frame, pool_by_word
from encoders.training.batches import Batch

PAGE = Path(__file__).parent.parent / "docs" / "objectives.md"
SPECIAL = SpecialPieces(begin=0, pad=1, end=2, mask=4, vocabulary=50)
# Orthogonal unit vectors, so that every cosine is 1 or 0.
X, Y, Z = torch.eye(3)


def test_linked_words_by_hand() -> None:
    # One pair: source (x, y), target (x, z, padding). cos is 1 for (0, 0) and 0 elsewhere.
    source = torch.stack([X, Y])[None]
    target = torch.stack([X, Z, X])[None]
    loss = contrast_linked(
        source,
        target,
        torch.tensor([[True, True]]),
        torch.tensor([[True, True, False]]),
        torch.tensor([[0, 0, 0], [0, 1, 1]]),
        torch.tensor([1.0, 0.5]),
        temperature=0.5,
    )
    # Link (0, 0): S = 2 against 0, both ways: log(e^2 / (e^2 + 1)). Link (1, 1): 0 against 0 in its
    # row and in its column: log(1/2) twice, at half the weight. Weights sum to 1.5.
    sure, unsure = log(exp(2) / (exp(2) + 1)), log(0.5)
    assert float(loss) == pytest.approx(-(2 * sure + 0.5 * 2 * unsure) / (2 * 1.5), abs=1e-5)


def test_a_batch_without_links_costs_nothing() -> None:
    side, mask = torch.stack([X, Y])[None], torch.tensor([[True, True]])
    none = torch.zeros((0, 3), dtype=torch.long)
    loss = contrast_linked(side, side, mask, mask, none, torch.zeros(0), temperature=0.1)
    assert float(loss) == 0


def test_sentence_contrast_by_hand() -> None:
    # Sources x, y; targets x, z; temperature 1. S = [[1, 0], [0, 0]].
    loss = contrast_sentences(
        torch.stack([X, Y]), torch.stack([X, Z]), torch.zeros(2, 2, dtype=torch.bool), 1.0
    )
    # Both directions: pair 0 log(e / (e + 1)), pair 1 log(1/2).
    expected = -(log(exp(1) / (exp(1) + 1)) + log(0.5)) / 2
    assert float(loss) == pytest.approx(expected, abs=1e-5)


def test_pairs_that_share_a_sentence_are_no_negatives() -> None:
    same = torch.ones(2, 2, dtype=torch.bool)
    loss = contrast_sentences(torch.stack([X, X]), torch.stack([X, Z]), same, 0.1)
    assert float(loss) == 0  # nothing is left to be told apart


def test_sentences_are_framed_and_padded() -> None:
    framed = frame([np.array([[7, 8], [9, -1]]), np.array([[6, 6, 6]])], SPECIAL)
    assert framed.tolist() == [[0, 7, 8, 2, 1], [0, 9, 2, 1, 1], [0, 6, 6, 6, 2]]


def test_pairs_are_joined_with_positions_that_start_again() -> None:
    none = np.zeros(0, dtype=np.int64)
    batch = Batch(
        source=np.array([[7, 8], [9, -1]]),
        target=np.array([[6], [5]]),
        source_words=none,
        target_words=none,
        source_segments=none,
        target_segments=none,
        links=none,
        link_weights=none.astype(np.float32),
        source_keys=none,
        target_keys=none,
    )
    network: Any = SimpleNamespace(special=SPECIAL)
    ids, positions, sides = join_pairs(Step(batch, network, torch.Generator()))
    assert ids.tolist() == [[0, 7, 8, 2, 2, 6, 2], [0, 9, 2, 2, 5, 2, 1]]
    # positions count from 0 in either sentence; where a model's own begin is the network's matter
    assert positions.tolist() == [[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 0, 1, 2, 0]]
    assert sides.tolist() == [[0, 0, 0, 0, 1, 1, 1], [0, 0, 0, 1, 1, 1, -1]]


def test_a_word_is_the_mean_of_its_pieces() -> None:
    # The first sentence: a word of two pieces and one of one; the second: one word and padding.
    states = torch.stack([torch.stack([X, Y, Z]), torch.stack([Z, X, X])])
    words = pool_by_word(states, np.array([[0, 0, 1], [0, -1, -1]]))
    assert words.tolist() == [[[0.5, 0.5, 0], [0, 0, 1]], [[0, 0, 1], [0, 0, 0]]]


def test_a_piece_that_may_look_at_nothing_looks_at_everything() -> None:
    mask = additive_mask(torch.tensor([[[True, False], [False, False]]]))
    assert mask.shape == (1, 1, 2, 2)
    assert mask[0, 0].softmax(-1).tolist() == [[1, 0], [0.5, 0.5]]


def test_masking_spares_special_pieces_and_keeps_its_proportions() -> None:
    ids = torch.full((400, 100), 10)
    ids[:, 0], ids[:, -2], ids[:, -1] = SPECIAL.begin, SPECIAL.end, SPECIAL.pad
    masked, chosen = choose_and_mask(ids, SPECIAL, 0.15, torch.Generator().manual_seed(0))
    assert not chosen[:, [0, -2, -1]].any()
    assert torch.equal(masked[~chosen], ids[~chosen])
    of_chosen = masked[chosen]
    assert chosen[:, 1:-2].float().mean() == pytest.approx(0.15, abs=0.01)
    assert (of_chosen == SPECIAL.mask).float().mean() == pytest.approx(0.8, abs=0.02)
    # a random piece is, once in 50, the piece itself
    assert (of_chosen == 10).float().mean() == pytest.approx(0.1 + 0.1 / 50, abs=0.02)
    assert not SPECIAL.are(of_chosen[of_chosen != SPECIAL.mask]).any()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_page_of_objectives_has_each_with_its_settings(name: str) -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1, f"docs/objectives.md: expected one row for {name}"
    _, _, reads, settings, _ = [cell.strip() for cell in rows[0].strip("|").split("|")]
    kind = OBJECTIVES[name]
    assert reads == kind.reads
    own = kind.Settings.model_fields.keys() - ObjectiveSettings.model_fields.keys()
    defaults = {key: kind.Settings.model_fields[key].default for key in own}
    written = {f"`{key}` {'top' if key == 'layer' else value}" for key, value in defaults.items()}
    assert set(filter(None, settings.split(", "))) == written
