"""Carrying links from one tokenisation to another: by hand, by property, and what is refused."""

from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitext.errors import MismatchError, UnknownNameError
from bitext.remapping import overlap, remap
from bitext.types import Alignment


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("the house", "the house", [[0], [1]]),
        ("don't stop", "do n't stop", [[0, 1], [2]]),  # one word becomes two
        ("do n't stop", "don't stop", [[0], [0], [1]]),  # two become one
        ("10 km", "1 0km", [[0, 1], [1]]),  # they cross: '0' is in 10 and in 0km
        ("科学 家", "科 学家", [[0, 1], [1]]),
        ("", "", []),
    ],
)
def test_overlap_by_hand(old: str, new: str, expected: list[list[int]]) -> None:
    assert overlap(old.split(), new.split()) == expected


def test_links_go_to_all_words_that_share_a_character() -> None:
    # "don't" was linked to "ne" and "pas"; now it is "do" and "n't", and "ne pas" one word.
    old = (["don't", "stop"], ["ne", "pas", "arrêter"])
    new = (["do", "n't", "stop"], ["nepas", "arrêter"])
    alignment = Alignment.of([((0, 0), 0.5), ((0, 1), 0.75), ((1, 2), 1.0)])
    found = remap(alignment, old, new)
    assert found.links == ((0, 0), (1, 0), (2, 1))
    assert found.scores == (0.75, 0.75, 1.0)  # the better of the two that meet


@pytest.mark.parametrize(
    ("marker", "pieces", "expected"),
    [
        ("@@", ["un@@", "believ@@", "able", "house"], [[0], [0], [0], [1]]),
        ("##", ["un", "##believ", "##able", "house"], [[0], [0], [0], [1]]),
        ("▁", ["▁un", "believable", "▁", "house"], [[0], [0], [], [1]]),  # a marker alone
    ],
)
def test_pieces_as_tokenizers_mark_them(
    marker: str, pieces: list[str], expected: list[list[int]]
) -> None:
    words = ["unbelievable", "house"]
    assert overlap(pieces, words, old_marker=marker) == expected
    back = [[k for k, at in enumerate(expected) if word in at] for word in range(2)]
    assert overlap(words, pieces, new_marker=marker) == back
    with pytest.raises(MismatchError, match="the words differ"):
        overlap(pieces, words)  # unless it is said, a marker is text


def test_accents_may_be_written_otherwise_if_that_is_said() -> None:
    # é as one character, as two, and parted by the tokenisation
    one, two, parted = ["caf\u00e9", "x"], ["cafe\u0301", "x"], ["cafe", "\u0301", "x"]
    assert overlap(one, two, normal_form="NFC") == [[0], [1]]
    assert overlap(one, parted, normal_form="NFC") == [[0, 1], [2]]
    with pytest.raises(MismatchError, match="at character 4 .spaces aside.: 'é' from word 1 bef"):
        overlap(one, two)


def test_compatible_characters_may_differ_if_that_is_said() -> None:
    # the ligature ﬁ is two letters, ½ is three characters; the full-width letter is a letter
    assert overlap(["ﬁx", "½", "Ａ"], ["fi", "x", "1⁄2", "A"], normal_form="NFKC") == [
        [0, 1],
        [2],
        [3],
    ]
    with pytest.raises(MismatchError):
        overlap(["ﬁx"], ["fix"], normal_form="NFC")


def test_case_may_differ_if_that_is_said() -> None:
    # an uncased model, which also writes ß as ss and İ as i with a dot above
    old, new = ["Straße", "İzmir"], ["str", "asse", "i\u0307zmir"]
    assert overlap(old, new, normal_form="NFKC_CF") == [[0, 1], [2]]
    with pytest.raises(MismatchError):
        overlap(["A"], ["a"], normal_form="NFKC")


def test_a_space_inside_a_word_is_no_character() -> None:
    assert overlap(["10\u00a0000", "euros"], ["10", "000", "euros"]) == [[0, 1], [2]]


SPLITS = st.lists(st.integers(1, 11), max_size=8).map(sorted)


def split(text: str, at: list[int]) -> list[str]:
    ends = [0, *at, len(text)]
    return [w for w in (text[a:b] for a, b in pairwise(ends)) if w]


@settings(max_examples=50)
@given(SPLITS, SPLITS)
def test_overlap_is_the_same_seen_from_both_sides(first: list[int], second: list[int]) -> None:
    text = unicodedata.normalize("NFC", "äbcdefghijkl")
    old, new = split(text, first), split(text, second)
    there, back = overlap(old, new), overlap(new, old)
    assert {(a, b) for a, bs in enumerate(there) for b in bs} == {
        (a, b) for b, found in enumerate(back) for a in found
    }
    for word, found in zip(old, there, strict=True):
        assert word in "".join(new[k] for k in found)
    links = Alignment.of(((k, k), 1.0) for k in range(len(old)))
    assert remap(links, (old, old), (old, old)) == links


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (["the", "cat"], ["the", "cot"], "character 5 .*: 'at' from word 2 before, 'ot' from wo"),
        (["the"], ["the", "cat"], "character 4 .*: the end before, 'cat' from word 2 now"),
        (["the", "cat"], [], "character 1 .*: 'the' from word 1 before, the end now"),
    ],
)
def test_other_characters_are_refused_with_their_place(
    old: list[str], new: list[str], sentence: str
) -> None:
    with pytest.raises(MismatchError, match=f"^target: the words differ at {sentence}"):
        remap(Alignment(), (["a"], old), (["a"], new))


def test_links_past_the_end_and_unknown_names_are_refused() -> None:
    sides = (["a"], ["b"])
    with pytest.raises(MismatchError, match="link 0-1 of a pair of 1 and 1 words"):
        remap(Alignment.parse("0-1"), sides, sides)
    with pytest.raises(UnknownNameError, match="unknown normal form 'NFD'; choose one of: NFC"):
        remap(Alignment(), sides, sides, normal_form="NFD")
    with pytest.raises(UnknownNameError, match="unknown marker '#'; choose one of: ##, @@"):
        remap(Alignment(), sides, sides, new_marker="#")
