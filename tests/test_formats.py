"""Formats of alignment files: each by hand, round trips, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitext.errors import InputError, UnknownNameError
from bitext.formats.files import FORMATS, AlignedFile, guess_format, read_aligned
from bitext.formats.records import AlignedPair, Numbering
from bitext.types import Alignment, Link

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(*lines: str) -> Path:
        path = tmp_path / "links"
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        return path

    return write


# "the house" - "das kleine Haus": the first link sure, the second only possible.
PAIR = AlignedPair(
    Alignment(((0, 0), (1, 2)), (0.5, 0.25)),
    (["the", "house"], ["das", "kleine", "Haus"]),
    possible=frozenset({(1, 2)}),
)

WRITTEN = {
    "pharaoh": "0-0 1-2\n",
    "scored": "0-0/0.5000 1-2/0.2500\n",
    "talp": "0-0 1p2\n",
    "naacl": "7 1 1 S 0.5000\n7 2 3 P 0.2500\n",
    # the mean of both scores is 0.375; the second target word has no link
    "a3": "# Sentence pair (7) source length 2 target length 3 alignment score : 0.375\n"
    "das kleine Haus\nNULL ({ 2 }) the ({ 1 }) house ({ 3 })\n",
    "jsonl": '{"source_words": ["the", "house"], "target_words": ["das", "kleine", "Haus"], '
    '"links": [{"source": 0, "target": 0, "score": 0.5}, '
    '{"source": 1, "target": 2, "score": 0.25, "sure": false}]}\n',
}


@pytest.mark.parametrize("name", FORMATS)
def test_written_by_hand(name: str) -> None:
    assert FORMATS[name].write(PAIR, 7, FORMATS[name].first_word) == WRITTEN[name]


def test_words_may_count_from_one() -> None:
    assert FORMATS["talp"].write(PAIR, 1, 1) == "1-1 2p3\n"
    assert FORMATS["scored"].write(PAIR, 1, 1) == "1-1/0.5000 2-3/0.2500\n"


@pytest.mark.parametrize("name", ["pharaoh", "scored", "talp"])
def test_words_that_count_from_one_are_counted_down(write: Write, name: str) -> None:
    path = write(FORMATS[name].write(PAIR, 1, 1).strip())
    (pair,) = read_aligned(path, name, Numbering(first_word=1))
    assert pair.alignment.links == PAIR.alignment.links


def test_both_ways_of_writing_scores_are_read(write: Write) -> None:
    (pair,) = read_aligned(write("0-0:0.5 1-2/2.5e-1"), "scored")
    assert pair.alignment == PAIR.alignment


# --- naacl


def test_pairs_without_links_are_the_steps_in_the_numbers(write: Write) -> None:
    # Pairs 18 to 22: 19 and 20 have no lines, nor has the last.
    path = write("0018 1 1", "18 2 1 P", "21 3 1 0.5", "21 0 1", "21 1 0 S")
    pairs = list(read_aligned(path, None, Numbering(first_pair=18, pairs=5)))
    assert [str(pair.gold) for pair in pairs] == ["0-0 1p0", "", "", "2-0", ""]
    assert pairs[3].alignment.scores == (0.5,)  # and its links to the empty word are none


def test_the_first_pairs_may_have_no_links_if_the_number_of_pairs_is_known(write: Write) -> None:
    path = write("2 1 1 S")
    found = [str(pair.alignment) for pair in read_aligned(path, numbering=Numbering(pairs=2))]
    assert found == ["", "0-0"]
    with pytest.raises(InputError, match="links, line 1: the first pair is 2, not 1, and it is"):
        list(read_aligned(path))


# --- a3


def test_brackets_and_null_may_be_words(write: Write) -> None:
    path = write(
        "# Sentence pair (1) source length 3 target length 2 alignment score : 1.5e-12",
        "( {",
        "NULL ({ }) ({ ({ 1 2 }) NULL ({ }) }) ({ }) ",
    )
    (pair,) = read_aligned(path)
    assert pair.words == (["({", "NULL", "})"], ["(", "{"])
    assert pair.alignment.links == ((0, 0), (0, 1))


# --- there and back

WORDS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=3)


@st.composite
def aligned_pairs(draw: st.DrawFn) -> AlignedPair:
    """A pair of up to five words a side, with links of any score to four places."""
    source, target = draw(st.lists(WORDS, max_size=5)), draw(st.lists(WORDS, max_size=5))
    cells = [(i, j) for i in range(len(source)) for j in range(len(target))]
    places = st.integers(0, 10_000).map(lambda n: n / 10_000)
    scored = draw(st.dictionaries(st.sampled_from(cells), places)) if cells else {}
    possible = draw(st.frozensets(st.sampled_from(sorted(scored)))) if scored else frozenset()
    return AlignedPair(Alignment.of(scored.items()), (source, target), possible)


KEPT = {  # format -> whether it keeps scores, what is possible only, and words
    "pharaoh": (False, False, False),
    "scored": (True, False, False),
    "talp": (False, True, False),
    "naacl": (True, True, False),
    "a3": (False, False, True),
    "jsonl": (True, True, True),
}


def kept(name: str, pair: AlignedPair) -> AlignedPair:
    scores, possible, words = KEPT[name]
    alignment = pair.alignment
    if not scores:
        alignment = Alignment(alignment.links, (1.0,) * len(alignment.links))
    nothing = frozenset[Link]()
    return AlignedPair(
        alignment, pair.words if words else None, pair.possible if possible else nothing
    )


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40)
@given(pairs=st.lists(aligned_pairs(), min_size=1, max_size=4))
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, name: str, pairs: list[AlignedPair]
) -> None:
    path = tmp_path_factory.getbasetemp() / "links"
    form = FORMATS[name]
    written = [form.write(pair, n, form.first_word) for n, pair in enumerate(pairs, start=1)]
    if name == "naacl" and not "".join(written):
        return  # no links, no lines, and a file without lines is refused
    path.write_text("".join(written), encoding="utf-8")
    found = list(read_aligned(path, name, Numbering(pairs=len(pairs))))
    assert found == [kept(name, pair) for pair in pairs]


@settings(max_examples=40)
@given(pair=aligned_pairs())
def test_the_first_filled_line_tells_the_format(pair: AlignedPair) -> None:
    for name, form in FORMATS.items():
        line = form.write(pair, 1, form.first_word).split("\n")[0]
        expected = name
        if not pair.possible and name == "talp":
            expected = "pharaoh"  # the same line
        if line:
            assert guess_format(line) == expected
            assert guess_format(" " * (name not in ("a3",)) + line) == expected


def test_gold_is_talp_where_it_might_be_pharaoh(write: Write) -> None:
    path = write("", "0-0", "1p1")
    assert [str(pair.gold) for pair in AlignedFile(path, gold=True).pairs()] == ["", "0-0", "1p1"]
    with pytest.raises(InputError, match="line 3: expected links such as '0-0 1-2', got '1p1'"):
        list(AlignedFile(path).pairs())


def test_offsets_travel_in_json(write: Write) -> None:
    pair = AlignedPair(Alignment(((0, 0),), (1.0,)), (["a"], ["b"]), offsets=([(0, 1)], [(2, 3)]))
    path = write(FORMATS["jsonl"].write(pair, 1, 0).strip())
    assert list(read_aligned(path)) == [pair]


# --- refused

HEAD = "# Sentence pair (1) source length 1 target length 2 alignment score : 1"
RECORD = '{{"source_words": ["a"], "target_words": ["b"], "links": [{}]}}'


@pytest.mark.parametrize(
    ("name", "lines", "sentence"),
    [
        ("pharaoh", ["0-0", "0-0 1"], "line 2: expected links such as '0-0 1-2', got '1'"),
        ("pharaoh", ["0-0/0.5"], "line 1: expected links such as '0-0 1-2', got '0-0/0.5'"),
        ("pharaoh", ["0p0"], "line 1: expected links such as '0-0 1-2', got '0p0'"),
        ("pharaoh", ["1234567890-0"], "line 1: expected links"),
        ("talp", ["0s0"], "line 1: expected gold links such as '0-0 1p2', got '0s0'"),
        ("scored", ["0-0"], "line 1: expected links such as '0-0/0.9134 1-2/0.8711', got '0-0'"),
        ("scored", ["0-0/1.5"], "line 1: expected a score from 0 to 1, got '1.5'"),
        ("scored", ["0-0/1e"], "line 1: expected a score from 0 to 1, got '1e'"),
        ("naacl", ["1 1"], "line 1: expected a link such as '1 3 4 S 0.9'"),
        ("naacl", ["1 1 1", "1 1 2 X"], "line 2: expected a score from 0 to 1, got 'X'"),
        ("naacl", ["1 1 1 0.5 S"], "line 1: expected a link such as"),
        ("naacl", ["1 1 1 S nan"], "line 1: expected a score from 0 to 1, got 'nan'"),
        ("naacl", ["1 1 1", "2 1 1", "1 2 2"], "line 3: pair 1 comes after pair 2"),
        ("naacl", ["1 1 1", "2 0 0"], "line 2: links the empty word to the empty word"),
        ("naacl", ["0 1 1"], "line 1: pair 0 is not among those from 1"),
        ("a3", [HEAD, "b c", "NULL ({ }) a ({ 1 2 })", "x"], "line 4: expected '# Sentence pair"),
        ("a3", [HEAD.replace("(1)", "(2)"), "b", ""], "line 1: expected pair 1, got pair 2"),
        ("a3", [HEAD, "b c"], "line 1: the file ends before the three lines of this pair do"),
        ("a3", [HEAD, "b", "NULL ({ }) a ({ })"], "line 1: target length 2, but 1 words follow"),
        ("a3", [HEAD, "b c", "NULL ({ })"], "line 1: source length 1, but 0 words follow"),
        ("a3", [HEAD, "b c", "a ({ })"], "line 3: expected 'NULL ({ }) word ({ 1 }) ...'"),
        ("a3", [HEAD, "b c", "NULL ({ 3 })"], "one of the 2 target words after 'NULL ({', got '3'"),
        ("a3", [HEAD, "b c", "NULL ({ }) a ({ 1"], "expected '})' at the end, after the links of"),
        ("a3", [HEAD, "b c", "NULL ({ }) a b"], "line 3: expected '({' after 'a'"),
        ("jsonl", ["{", ""], "line 1: not a JSON object: "),
        ("jsonl", ["[]"], "line 1: expected an object with 'source_words', "),
        ("jsonl", ['{"source_words": ["a"]}'], "line 1: expected an object with 'source_words', "),
        ("jsonl", [RECORD.format('{"source": 1, "target": 0}')], "link 1-0 of a pair of 1 and 1"),
        ("jsonl", [RECORD.format('{"source": true, "target": 0}')], "expected an object with"),
        ("jsonl", [RECORD.format('{"source": 0, "target": 0, "score": 2}')], "from 0 to 1, got"),
        ("pharaoh", [], "is empty; expected alignments"),
    ],
)
def test_bad_files_are_refused_by_line(
    write: Write, name: str, lines: list[str], sentence: str
) -> None:
    with pytest.raises(InputError) as caught:
        list(read_aligned(write(*lines), name))
    assert "links" in str(caught.value)
    assert sentence in str(caught.value)


def test_a_word_zero_where_words_count_from_one(write: Write) -> None:
    with pytest.raises(InputError, match="line 2: link 0-1 has a word 0, but words count from 1"):
        list(read_aligned(write("1-1", "0-1"), None, Numbering(first_word=1)))


@pytest.mark.parametrize(("name", "wrong"), [("naacl", 0), ("a3", 0), ("jsonl", 1)])
def test_formats_that_say_what_words_count_from(write: Write, name: str, wrong: int) -> None:
    path = write(WRITTEN[name].strip())
    with pytest.raises(InputError, match=f"the words of {name} count from .*, never {wrong}"):
        list(read_aligned(path, name, Numbering(first_word=wrong)))


def test_more_pairs_than_there_are(write: Write) -> None:
    with pytest.raises(InputError, match="line 2: pair 3, but the sentence pairs are 1 to 2"):
        list(read_aligned(write("1 1 1", "3 1 1"), "naacl", Numbering(pairs=2)))


def test_an_unknown_format_is_refused(write: Write) -> None:
    with pytest.raises(UnknownNameError, match="unknown format 'giza'; choose one of: a3, jsonl"):
        read_aligned(write("0-0"), "giza")


@pytest.mark.parametrize("word", ["", "a b", "a\tb", "a\n"])
def test_a3_refuses_words_that_would_not_come_back(word: str) -> None:
    pair = AlignedPair(Alignment(), (["a"], [word]))
    with pytest.raises(InputError, match="a3 cannot hold the word"):
        FORMATS["a3"].write(pair, 1, 1)


@pytest.mark.parametrize("name", ["a3", "jsonl"])
def test_formats_with_words_want_them_and_links_within_them(name: str) -> None:
    alignment = Alignment(((0, 1),), (1.0,))
    with pytest.raises(InputError, match=f"{name} holds the words of a pair, which are not known"):
        FORMATS[name].write(AlignedPair(alignment), 1, 1)
    with pytest.raises(InputError, match="link 0-1 of a pair of 1 and 1 words"):
        FORMATS[name].write(AlignedPair(alignment, (["a"], ["b"])), 1, 1)
