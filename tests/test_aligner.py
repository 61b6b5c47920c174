"""Aligner: from sentence pairs to alignments, on a table of vectors and on the tiny model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from aligners import aligner as module
from aligners import chunks
from aligners.aligner import Aligner
from aligners.methods import MATCHERS
from aligners.similarity import similarity
from bitext.errors import InputError, TooLargeError, TooLongError, UnknownNameError
from bitext.types import Alignment, SentencePair
from encoders.encoder import Encoder, Pieces
from encoders.preset import AlignmentPreset, Preset

TABLE = {
    "E": ["east"],
    "N": ["north"],
    "W": ["west"],
    "NE": ["north", "east"],
    "": [],
    " ": [],
}
DIRECTIONS = {"east": (1, 0), "north": (0, 1), "west": (-1, 0)}


class TableEncoder:
    """An encoder whose pieces and vectors are written down, so that scores follow by hand."""

    name, fingerprint, revision, dtype, layers, max_pieces = "table", "0", None, "float32", 2, 9
    preset = Preset()

    def check_layer(self, layer: int | None, task: str) -> int:
        return 1 if layer is None else layer

    def pieces(self, sentences: Sequence[Sequence[str]], **_: object) -> list[Pieces]:
        return [self._pieces(words) for words in sentences]

    def _pieces(self, words: Sequence[str]) -> Pieces:
        found = [(i, DIRECTIONS[piece]) for i, word in enumerate(words) for piece in TABLE[word]]
        vectors = np.array([vector for _, vector in found], dtype=np.float32).reshape(-1, 2)
        return Pieces(vectors, np.array([i for i, _ in found], dtype=np.int64))


def pair(source: str, target: str) -> SentencePair:
    return SentencePair(source.split(","), target.split(","))


def by_table(**choices: object) -> Aligner:
    return Aligner(TableEncoder(), **choices)  # type: ignore[arg-type]


PAIRS = [
    SentencePair(["the", "house", "is", "small"], ["das", "haus", "ist", "klein"]),
    SentencePair([], ["haus"]),
    SentencePair(["a"], []),
    SentencePair(["a", "cat", "sleeps", "in", "the", "old", "house"], ["eine", "katze", "schläft"]),
    SentencePair(["don't", "stop"], ["科学家", "一直", "猜想", "नमस्ते"]),
]


# --- by hand


def test_words_are_linked_if_any_of_their_pieces_are() -> None:
    # Pieces north, east against east, north, west. Similarities: north .5, 1, .5; east 1, .5, 0.
    # Both ways agreed: north-north and east-east, which join word 0 to words 1 and 0.
    found = by_table(method="argmax").align([pair("NE", "E,N,W")])
    assert found == [Alignment(((0, 0), (0, 1)), (1.0, 1.0))]


def test_a_link_scores_the_mean_similarity_of_its_linked_pieces() -> None:
    # One source piece east; forward has one link a source piece. Backward links every target piece:
    # east-north (.5) and east-east (1) both join word 0 to word 0, mean .75; west scores 0.
    found = by_table(method="backward").align([pair("E", "NE,W")])
    assert found == [Alignment(((0, 0), (0, 1)), (0.75, 0.0))]


def test_words_are_matched_by_their_mean_vectors() -> None:
    # NE has the mean (.5, .5), at 45 degrees to east and north: cosine .7071, similarity .8536. The
    # two tie, so the smaller index wins: one link, where pieces gave two.
    found = by_table(method="argmax", unit="word").align([pair("NE", "E,N,W")])
    assert found[0].links == ((0, 0),)
    assert found[0].scores == pytest.approx([(np.sqrt(0.5) + 1) / 2])


@pytest.mark.parametrize("unit", ["piece", "word"])
@pytest.mark.parametrize("method", sorted(MATCHERS))
def test_words_without_pieces_are_never_linked(unit: str, method: str) -> None:
    # Left of and between the others: had they counted, indices or links would have moved.
    found = by_table(method=method, unit=unit).align([pair(",N, ,E", "E,,N")])
    assert {1, 3} == {i for i, _ in found[0].links}
    assert {0, 2} == {j for _, j in found[0].links}
    assert (1, 2) in found[0].links
    assert (3, 0) in found[0].links


@pytest.mark.parametrize("unit", ["piece", "word"])
def test_a_side_of_words_without_pieces_gives_no_links(unit: str) -> None:
    assert by_table(unit=unit).align([pair(", ", "E,N")]) == [Alignment()]


def test_distortion_lowers_the_scores() -> None:
    # E stands at position 0 of 1 and at 1 of 1: its similarity 1 counts 1 - .25 * (0 - 1)**2.
    found = by_table(method="forward", distortion=0.25).align([pair("E,W", "N,E")])
    assert dict(zip(found[0].links, found[0].scores, strict=True))[0, 1] == 0.75


# --- the tiny model


@pytest.mark.parametrize("unit", ["piece", "word"])
@pytest.mark.parametrize("method", sorted(MATCHERS))
def test_alignments_keep_order_and_range(encoder: Encoder, unit: str, method: str) -> None:
    found = Aligner(encoder, method=method, unit=unit).align(PAIRS)
    linked = [bool(alignment.links) for alignment in found]
    assert not linked[1]
    assert not linked[2]
    # the weights are random: methods with a threshold may find nothing
    if method in ("argmax", "forward", "backward", "itermax", "mwmf"):
        assert all(linked[place] for place in (0, 3, 4))
    for one, alignment in zip(PAIRS, found, strict=True):
        assert all(i < len(one.source) and j < len(one.target) for i, j in alignment.links)
        assert all(0 <= score <= 1 for score in alignment.scores)


def test_no_pairs_give_no_alignments(encoder: Encoder) -> None:
    assert Aligner(encoder).align([]) == []


@pytest.mark.parametrize("method", sorted(MATCHERS))
def test_pieces_are_matched_and_joined_as_the_rules_say(encoder: Encoder, method: str) -> None:
    found = Aligner(encoder, method=method, layer=1).align(PAIRS[:1])[0]
    source, target = encoder.pieces([PAIRS[0].source, PAIRS[0].target], layer=1)
    compared = similarity(source.vectors, target.vectors)
    scores: dict[tuple[int, int], list[float]] = {}
    for i, j in np.argwhere(MATCHERS[method]([compared])[0]):
        link = (int(source.word_of[i]), int(target.word_of[j]))
        scores.setdefault(link, []).append(float(compared[i, j]))
    assert found.links == tuple(sorted(scores))
    assert found.scores == pytest.approx([np.mean(scores[link]) for link in found.links])


@pytest.mark.parametrize("unit", ["piece", "word"])
def test_a_batch_gives_what_single_pairs_give(encoder: Encoder, unit: str) -> None:
    aligner = Aligner(encoder, unit=unit)
    single = [aligner.align([one])[0] for one in PAIRS]
    for alone, together in zip(single, aligner.align(PAIRS), strict=True):
        assert alone.links == together.links
        assert alone.scores == pytest.approx(together.scores, abs=1e-5)


def test_several_methods_share_one_encoding(encoder: Encoder) -> None:
    found = Aligner(encoder).align_methods(PAIRS, MATCHERS)
    assert list(found) == list(MATCHERS)
    for method, alignments in found.items():
        assert alignments == Aligner(encoder, method=method).align(PAIRS)


@pytest.mark.parametrize("chunk", [1, 2, 256])
def test_a_stream_gives_the_same_in_order(encoder: Encoder, chunk: int) -> None:
    aligner = Aligner(encoder)
    found = list(aligner.align_stream(iter(PAIRS), chunk=chunk))
    assert [one.links for one in found] == [one.links for one in aligner.align(PAIRS)]


def test_a_stream_reads_no_further_than_its_chunk(encoder: Encoder) -> None:
    read = []

    def endless() -> Iterator[SentencePair]:
        while True:
            read.append(1)
            yield PAIRS[0]

    next(Aligner(encoder).align_stream(endless(), chunk=3))
    assert len(read) == 3


def test_long_sentences_fill_a_chunk_earlier(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_WORDS", 8)  # the eight words of one pair
    read = []

    def watched() -> Iterator[SentencePair]:
        for one in PAIRS[:1] * 3:
            read.append(1)
            yield one

    next(Aligner(encoder).align_stream(watched()))
    assert len(read) == 1


def test_signature_names_what_changes_the_links(encoder: Encoder) -> None:
    aligner = Aligner(encoder, method="mwmf", layer=1, unit="word", distortion=0.5)
    for part in (encoder.fingerprint, "float32", "layer 1", "unit word", "mwmf", "distortion 0.5"):
        assert part in aligner.signature
    assert "method argmax" in aligner.signature_of("argmax")


# --- bad input


@pytest.mark.parametrize(
    ("choices", "sentence"),
    [
        ({"method": "itermx"}, "unknown method 'itermx'; choose one of: argmax, backward"),
        ({"unit": "letter"}, "unknown unit 'letter'; choose one of: piece, word"),
        ({"layer": 99}, "no layer 99; choose one from 0 to 2"),
        ({"layer": -1}, "no layer -1"),
    ],
)
def test_unknown_names_are_refused(
    encoder: Encoder, choices: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UnknownNameError, match=sentence):
        Aligner(encoder, **choices)  # type: ignore[arg-type]


@pytest.mark.parametrize("distortion", [-0.1, 1.5, float("nan")])
def test_distortion_outside_zero_one_is_refused(encoder: Encoder, distortion: float) -> None:
    with pytest.raises(InputError, match="distortion must be from 0 to 1, got"):
        Aligner(encoder, distortion=distortion)


def test_an_unknown_method_among_several_is_refused(encoder: Encoder) -> None:
    with pytest.raises(UnknownNameError, match="unknown method 'nope'"):
        Aligner(encoder).align_methods(PAIRS, ["argmax", "nope"])


def test_raw_text_is_refused(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="pair 2: the target is raw text"):
        Aligner(encoder).align([PAIRS[0], SentencePair(["a"], "ein haus")])


def test_chunks_of_nothing_are_refused(encoder: Encoder) -> None:
    with pytest.raises(InputError, match="chunk must be at least 1, got 0"):
        next(Aligner(encoder).align_stream(PAIRS, chunk=0))


def test_too_long_sentences_are_named_by_pair_and_side(encoder: Encoder) -> None:
    long = SentencePair(["house"], ["haus"] * 100)
    with pytest.raises(TooLongError, match="pair 2, target has .* pieces"):
        Aligner(encoder).align([PAIRS[0], long])
    with pytest.raises(TooLongError, match="pair 4, target has .* pieces"):
        list(Aligner(encoder).align_stream([*PAIRS[:3], long], chunk=2))


@pytest.mark.parametrize("unit", ["piece", "word"])
def test_too_long_sentences_align_in_windows_on_request(encoder: Encoder, unit: str) -> None:
    long = SentencePair(["house"] * 100, ["haus"] * 120)
    aligner = Aligner(encoder, method="forward", unit=unit, too_long="windows")
    # Forward links every source word, those past the model's 64 positions too.
    assert {i for i, _ in aligner.align([long])[0].links} == set(range(100))


def test_a_pair_of_too_many_similarities_is_refused(
    encoder: Encoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SIMILARITIES", 15)
    with pytest.raises(TooLargeError, match="pair 1: 4 by 4 words are more than the 15"):
        Aligner(encoder, unit="word").align(PAIRS)


def test_numbers_that_are_not_finite_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DIRECTIONS, "north", (float("nan"), 0))
    with pytest.raises(InputError, match="pair 2: model 'table' gives numbers that are not finite"):
        by_table().align([pair("E", "E"), pair("N", "E")])


def test_what_is_not_said_is_what_the_models_preset_says() -> None:
    encoder = TableEncoder()
    encoder.preset = Preset(
        alignment=AlignmentPreset(method="argmax", unit="word", distortion=0.25)
    )
    aligner = Aligner(encoder)  # type: ignore[arg-type]
    assert (aligner.method, aligner.unit, aligner.distortion) == ("argmax", "word", 0.25)
    said = Aligner(encoder, method="mwmf", unit="piece", distortion=0.0)  # type: ignore[arg-type]
    assert (said.method, said.unit, said.distortion) == ("mwmf", "piece", 0.0)


# --- threshold


@pytest.mark.parametrize(
    ("threshold", "links"),
    # E with E scores 1; N with E, whose cosine is 0, scores 1/2.
    [(0.0, "0-0 1-0"), (0.5, "0-0 1-0"), (0.51, "0-0"), (1.0, "0-0")],
)
def test_links_below_the_threshold_are_dropped(threshold: float, links: str) -> None:
    aligner = by_table(method="forward", threshold=threshold)
    assert str(aligner.align([pair("E,N", "E")])[0]) == links


def test_a_threshold_is_in_the_signature_only_if_there_is_one() -> None:
    assert by_table(threshold=0.75).signature.endswith("distortion 0 | threshold 0.75")
    assert "threshold" not in by_table().signature
    assert "threshold" not in by_table(threshold=0).signature


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(InputError, match="threshold must be from 0 to 1"):
        by_table(threshold=threshold)


def test_a_models_threshold_is_for_its_own_layer_unit_and_distortion() -> None:
    encoder: Any = TableEncoder()
    encoder.preset = Preset(alignment=AlignmentPreset(unit="word", distortion=0.25, threshold=0.6))
    assert Aligner(encoder).threshold == 0.6
    assert Aligner(encoder, layer=1, method="mwmf").threshold == 0.6
    for other in ({"layer": 2}, {"unit": "piece"}, {"distortion": 0.0}):
        assert Aligner(encoder, **other).threshold == 0
    assert Aligner(encoder, layer=2, threshold=0.3).threshold == 0.3
    assert Aligner(encoder, threshold=0).threshold == 0


# --- dot products, null words, details


def test_dot_products_are_matched_and_cosines_scored() -> None:
    # NE is (.5, .5). Its cosine is .71 with N and 1 with itself; its dot product is .5 with both,
    # and of equals the first is taken.
    sides = pair("NE", "N,NE")
    assert by_table(method="forward", unit="word").align([sides])[0].links == ((0, 1),)
    aligner = by_table(method="forward", unit="word", similarity="dot")
    found = aligner.align([sides])[0]
    assert found.links == ((0, 0),)
    assert found.scores == pytest.approx([(1 + np.sqrt(0.5)) / 2])
    assert "similarity dot" in aligner.signature


def test_undecided_links_are_dropped() -> None:
    # Words 1 of both sides are like all others of three: rows and columns of equal entries have
    # entropy 1, all others less.
    sides = pair("E,,N,W", "E,N,W")
    kept = by_table(method="forward", unit="word", null_entropy=0.99).align([sides])[0]
    assert kept == by_table(method="forward", unit="word").align([sides])[0]
    none = by_table(method="forward", unit="word", null_entropy=0.0)
    assert none.align([sides])[0].links == ()
    assert "null entropy 0" in none.signature


def test_details_tell_similarities_probabilities_and_null_words() -> None:
    detail = by_table(method="argmax", unit="word").details([pair("E,,N", "N,W")], ["forward"])[0]
    # Rows: E, nothing, N. Columns: N, W. Cosines of E: 0 and -1, of N: 1 and 0.
    assert detail.similarity == pytest.approx(np.array([[0.5, 0.0], [0.0, 0.0], [1.0, 0.5]]))
    assert detail.forward.sum(axis=1) == pytest.approx([1, 0, 1])  # a word without pieces has none
    assert detail.backward.sum(axis=0) == pytest.approx([1, 1])
    # One step of cosine is 20 at a temperature of .05: all but exp(-20) is the nearer word's.
    assert detail.forward[0] == pytest.approx([1, 0], abs=1e-8)
    assert detail.backward[:, 1] == pytest.approx([0, 0, 1], abs=1e-8)
    links = detail.alignments["forward"]
    assert links.links == ((0, 0), (2, 0))
    assert detail.null_words(links) == ([1], [1])
    # 2-0 is probable both ways: 1 for source word 2 and for target word 0. 0-0 is so one way only
    # and gives word 0 next to nothing: (0 + 0 + 1 + 1 + 0) / 5.
    assert detail.score(links) == pytest.approx(0.4, abs=1e-4)
    # The best of all that the other side offers, but no nearer than a stranger, counts nothing.
    lone = by_table(method="argmax", unit="word").details([pair("E", "N")], ["forward"])[0]
    assert lone.forward == pytest.approx(np.ones((1, 1)))
    assert lone.score(lone.alignments["forward"]) == 0
    assert detail.score(Alignment()) == 0


def test_a_pair_without_words_has_details_too() -> None:
    detail = by_table().details([SentencePair([], [])])[0]
    assert detail.similarity.shape == (0, 0)
    assert detail.score(detail.alignments["itermax"]) == 0
