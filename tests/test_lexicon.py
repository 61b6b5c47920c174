"""The statistical aligner on toy bitexts small enough to see what it must find."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from encoders.statistics.cells import UnitBitext
from encoders.statistics.lexicon import align_units, select, stems_of
from encoders.statistics.static import cooccurrence, positive_pmi, static_vectors


def bitext(pairs: list[tuple[list[int], list[int]]]) -> UnitBitext:
    def flat(sentences: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        offsets = np.cumsum([0, *map(len, sentences)])
        ids = [np.array(s, dtype=np.int32) for s in sentences]
        return np.concatenate([np.zeros(0, dtype=np.int32), *ids]), offsets

    return UnitBitext(*flat([s for s, _ in pairs]), *flat([t for _, t in pairs]))


# das Haus / the house, das Buch / the book, ein Buch / a book (Knight, 1999).
DAS, HAUS, BUCH, EIN, THE, HOUSE, BOOK, A = range(8)
KNIGHT = [
    ([DAS, HAUS], [THE, HOUSE]),
    ([DAS, BUCH], [THE, BOOK]),
    ([EIN, BUCH], [A, BOOK]),
]


def links_of(
    pairs: list[tuple[list[int], list[int]]], **settings: Any
) -> list[set[tuple[int, int]]]:
    found = align_units(bitext(pairs), **settings)
    return [
        set(zip(found.source[start:end].tolist(), found.target[start:end].tolist(), strict=True))
        for start, end in zip(found.offsets, found.offsets[1:], strict=False)
    ]


def test_translations_are_linked() -> None:
    assert links_of(KNIGHT * 10) == [{(0, 0), (1, 1)}] * 30


def test_translations_are_linked_against_the_order_of_words() -> None:
    # Sentences of six random words of 40; in the translation every two neighbours swap places.
    rng = np.random.default_rng(0)
    sources = [rng.permutation(40)[:6] for _ in range(200)]
    swapped = [1, 0, 3, 2, 5, 4]
    pairs = [(list(s), list(s[swapped] + 40)) for s in sources]
    assert links_of(pairs) == [set(enumerate(swapped))] * 200


def test_a_phrase_that_moves_is_followed() -> None:
    # The last four words of eight come first in the translation; one word in each four is repeated
    # in the other, and only its neighbours tell which is which.
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(200):
        source = rng.permutation(40)[:8]
        source[6] = source[1]
        pairs.append((list(source), list(np.roll(source, 4) + 40)))
    moved = {(place, (place + 4) % 8) for place in range(8)}
    assert links_of(pairs) == [moved] * 200


def test_sentences_of_all_lengths_come_back_in_their_order() -> None:
    # Long ones are padded to a multiple of four; a word's translation has its number plus 40.
    rng = np.random.default_rng(0)
    sources = [rng.permutation(40)[: rng.integers(1, 40)] for _ in range(100)]
    pairs = [(list(s), list(s + 40)) for s in sources]
    assert links_of(pairs) == [{(k, k) for k in range(len(s))} for s in sources]


def test_weights_are_probabilities_above_the_threshold() -> None:
    found = align_units(bitext(KNIGHT * 3), threshold=0.4)
    assert ((found.weight >= 0.4) & (found.weight <= 1)).all()
    assert found.offsets[-1] == len(found.source) == len(found.target) == len(found.weight)


def test_two_units_may_translate_one() -> None:
    # Such as "health insurance" and "Krankenversicherung": forwards, the target word comes from one
    # of the two; backwards, both come from it.
    pairs = [([k, 20 + k], [40 + k]) for k in range(20)] * 4
    assert links_of(pairs, threshold=0.5) == [{(0, 0), (1, 0)}] * 80
    assert links_of(pairs, threshold=0.5, beside=1) == [{(0, 0)}] * 80


def test_links_beside_links_need_one_direction_only() -> None:
    forward = np.array([[[0.9, 0.8, 0.7, 0.4], [0.1, 0.2, 0.8, 0.8]]], dtype=np.float32)
    backward = np.array([[[0.9, 0.1, 0.1, 0.1], [0.6, 0.1, 0.1, 0.1]]], dtype=np.float32)
    weights = select(forward, backward, threshold=0.5, beside=0.5)
    # 0.9 * 0.9 = 0.81 is a link. Beside it are (0, 1) and (1, 0), above 0.5 one way: target 1 has
    # no link, nor has source 1. In the next round (0, 2) is beside (0, 1), and target 2 is free.
    # Then (1, 2) is beside (0, 2), but both its units have a link. (0, 3) is too weak, and (1, 3)
    # is beside no link.
    expected = [[[0.81, 0.8, 0.7, 0], [0.6, 0, 0, 0]]]
    assert weights == pytest.approx(np.array(expected), abs=1e-6)


def test_no_links_beside_at_one() -> None:
    ones = np.ones((1, 1, 2), dtype=np.float32)
    one_way = ones * np.array([1, 0], dtype=np.float32)
    weights = select(ones, one_way, threshold=0.5, beside=1)
    assert weights.tolist() == [[[1, 0]]]


def test_a_rare_unit_is_translated_as_its_stem_is() -> None:
    # The last pair has forms that are seen once, and not in the order of their translations.
    spellings = ["häuser", "häusern", "bücher", "büchern", "houses", "house's", "books_", "book's"]
    stems = stems_of(spellings)
    assert stems.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    pairs = [([0], [4]), ([2], [6])] * 2 + [([1, 3], [7, 5])]
    assert links_of(pairs, stems=stems)[-1] == {(0, 1), (1, 0)}
    assert links_of(pairs)[-1] == {(0, 0), (1, 1)}


def test_the_same_spelling_is_linked() -> None:
    # All is seen once: what is spelt alike is linked, else only what is in the same place.
    assert (0, 1) in links_of([([7, 8], [9, 7])])[0]
    assert links_of([([7, 8], [9, 6])]) == [{(0, 0), (1, 1)}]


def test_empty_sides_have_no_links() -> None:
    assert links_of([([], [THE]), ([DAS], [THE]), ([DAS], [])]) == [set(), {(0, 0)}, set()]
    assert links_of([([], [THE])]) == [set()]
    assert len(align_units(bitext([])).source) == 0


def test_positive_pmi_by_hand() -> None:
    # Two pairs of two pieces each: DAS, THE and HAUS, THE. Each cell is 1 of 4.
    counts = cooccurrence([bitext([([DAS], [THE]), ([HAUS], [THE])])], 8)
    weights = positive_pmi(counts).toarray()
    # p(DAS, first) = 1/4, p(DAS) = 1/4, p(first) = 1/2: log 2. THE is in both pairs: log 1 = 0.
    assert weights[DAS].tolist() == [np.float32(np.log(2)), 0]
    assert weights[HAUS].tolist() == [0, np.float32(np.log(2))]
    assert weights[THE].tolist() == [0, 0]


def test_a_piece_said_twice_counts_once() -> None:
    once, twice = bitext([([DAS], [THE])]), bitext([([DAS, DAS], [THE])])
    assert (cooccurrence([once], 8) != cooccurrence([twice], 8)).nnz == 0


def test_static_vectors_of_translations_are_nearest() -> None:
    pairs = bitext([([k], [k + 4]) for k in range(4)] * 3)
    vectors = static_vectors([pairs], vocabulary=10, dim=4, seed=1)
    assert vectors.shape == (10, 4)
    lengths = np.linalg.norm(vectors, axis=1)
    assert (lengths[:8] > 0).all()
    assert not lengths[8:].any()  # never seen
    cosines = (vectors[:4] @ vectors[4:8].T) / np.outer(lengths[:4], lengths[4:8])
    assert cosines.argmax(1).tolist() == [0, 1, 2, 3]
