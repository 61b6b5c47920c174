"""The statistical aligner on toy bitexts small enough to see what it must find."""

from __future__ import annotations

import numpy as np

from encoders.cells import UnitBitext
from encoders.lexicon import align_units
from encoders.static import cooccurrence, positive_pmi, static_vectors


def bitext(pairs: list[tuple[list[int], list[int]]]) -> UnitBitext:
    def flat(sentences: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
        offsets = np.cumsum([0, *map(len, sentences)])
        return np.concatenate([np.array(s, dtype=np.int32) for s in sentences]), offsets

    return UnitBitext(*flat([s for s, _ in pairs]), *flat([t for _, t in pairs]))


# das Haus / the house, das Buch / the book, ein Buch / a book (Knight, 1999).
DAS, HAUS, BUCH, EIN, THE, HOUSE, BOOK, A = range(8)
KNIGHT = [
    ([DAS, HAUS], [THE, HOUSE]),
    ([DAS, BUCH], [THE, BOOK]),
    ([EIN, BUCH], [A, BOOK]),
]


def links_of(pairs: list[tuple[list[int], list[int]]]) -> list[set[tuple[int, int]]]:
    found = align_units(bitext(pairs), iterations=8)
    return [
        {
            (int(i), int(j))
            for i, j in zip(found.source[start:end], found.target[start:end], strict=True)
        }
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


def test_weights_are_probabilities_above_the_threshold() -> None:
    found = align_units(bitext(KNIGHT * 3), threshold=0.4)
    assert ((found.weight >= 0.4) & (found.weight <= 1)).all()
    assert found.offsets[-1] == len(found.source) == len(found.target) == len(found.weight)


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
