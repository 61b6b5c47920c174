"""Inline markup: what is read, what is refused at which column, where tags are put."""

from __future__ import annotations

import xml.dom.minidom

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aligners.markup import MarkupError, parse_markup, parse_plain
from aligners.placement import place_markup
from bitext.segmentation import segment
from bitext.types import Alignment


def carry(source: str, target: str, links: str, *, html: bool = False) -> str:
    return carry_and_tell(source, target, links, html=html)[0]


def carry_and_tell(
    source: str, target: str, links: str, *, html: bool = False
) -> tuple[str, dict[str, tuple[str, ...]]]:
    markup, plain = parse_markup(source, html=html), parse_plain(target)
    words = (segment(markup.text.plain), segment(plain.plain))
    text, placed = place_markup(markup, plain, words, Alignment.parse(links))
    return text, {each.node.opening: each.notes for each in placed}


# --- reading


def test_tags_are_taken_out_and_entities_decoded() -> None:
    markup = parse_markup('A &amp; <b k="1>0">B<x/></b>&#33;')
    assert markup.text.plain == "A & B!"
    [bold] = markup.nodes
    assert (bold.opening, bold.start, bold.end, bold.closing) == ('<b k="1>0">', 4, 5, "</b>")
    [point] = bold.children
    assert (point.opening, point.start, point.is_point) == ("<x/>", 5, True)


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("a <b>c", 3, "<b> is never closed"),
        ("a</b>", 2, "'</b>' closes what was never opened"),
        ("<b><i>x</b></i>", 8, "'</b>' crosses <i>, opened at column 4 and not closed"),
        ("<b>x</B>", 5, "'</B>' crosses <b>"),
        ("1 < 2", 3, "'< 2' begins no tag; write &lt;"),
        ("x <b", 3, "'<b' begins no tag"),
        ("<b k=1>x</b>", 1, "begins no tag"),
        ('<b k="1" k="2">x</b>', 1, "has an attribute twice"),
        ("<br>x", 1, "<br> is never closed"),
        ("x</b k='1'>", 2, "closes and has more than a name"),
        ("AT&T", 3, "'&' begins no entity; write &amp;"),
        ("&nosuch;", 1, "'&' begins no entity"),
        ("&#0;", 1, "'&' begins no entity"),
        ("x<![CDATA[y]]>", 2, "begins no tag"),
    ],
)
def test_malformed_markup_is_refused_at_its_column(line: str, column: int, message: str) -> None:
    with pytest.raises(MarkupError) as error:
        parse_markup(line)
    assert error.value.column == column
    assert message in str(error.value)


def test_html_is_read_by_its_own_rules() -> None:
    markup = parse_markup("a<br>b <A href=x/y download>c</a>", html=True)
    assert markup.text.plain == "ab c"
    assert [node.opening for node in markup.nodes] == ["<br>", "<A href=x/y download>"]


def test_a_target_with_tags_is_refused() -> None:
    with pytest.raises(MarkupError, match="column 5: the target has the tag '<b>' already"):
        parse_plain("das <b>Haus</b>")


def test_a_plain_target_is_written_as_markup() -> None:
    text = parse_plain("A & B &amp; 1 < 2 &copy; &nosuch;")
    assert text.plain == "A & B & 1 < 2 © &nosuch;"
    written = "A &amp; B &amp; 1 &lt; 2 &copy; &amp;nosuch;"
    assert text.written(0, len(text.plain)) == written


# --- placing


@pytest.mark.parametrize(
    ("source", "target", "links", "expected"),
    [
        # the words change places, and the element with them
        ("<b>red</b> wine", "vino rojo", "0-1 1-0", "vino <b>rojo</b>"),
        ("<b>a <i>c</i></b> d", "x y z", "0-1 1-0 2-2", "<b><i>x</i> y</b> z"),
        # around the words, not around the spaces
        ("<b>a </b>c", "x y", "0-0 1-1", "<b>x</b> y"),
        ("<b>a</b> &amp; c", "x &amp; y", "0-0 1-1 2-2", "<b>x</b> &amp; y"),
        ("<b>AT&amp;T</b>", "AT&T", "0-0 1-1 2-2", "<b>AT&amp;T</b>"),
        # two elements on the same words keep their nesting
        ("<b><i>a</i></b>", "x", "0-0", "<b><i>x</i></b>"),
        # a point between words that stay in order; one that touches a word goes with that word
        ("a <x/> c", "x y", "0-0 1-1", "x <x/>y"),
        ("a <x/> c", "x y", "0-1 1-0", "<x/>x y"),
        ("a<fn/> c", "x y", "0-1 1-0", "x y<fn/>"),
        ("a <fn/>c", "x y", "0-1 1-0", "<fn/>x y"),
        ("<x/>a", "x", "", "<x/>x"),
        ("a<x/><y/>", "x", "0-0", "x<x/><y/>"),
        # a point in an element stays in it, one outside stays outside
        ("<b><x/>a</b> c", "x y", "0-1 1-0", "x <b><x/>y</b>"),
        ("<b>a c</b><x/> d", "x y z", "0-0 1-1 2-2", "<b>x y</b><x/> z"),
        # an element without text is carried in one piece, without its spaces
        ("a <b><x/> </b> c", "x y", "0-0 1-1", "x <b><x/></b>y"),
        ("a <!-- no --> c", "x y", "0-0 1-1", "x <!-- no -->y"),
        # no word at all
        ("a <x/>", "", "", "<x/>"),
    ],
)
def test_tags_stand_where_the_links_say(
    source: str, target: str, links: str, expected: str
) -> None:
    assert carry(source, target, links) == expected


# <b> covers a and c, <i> within it c. Links: a-0, c-2, but mass gives <b> only 0 to 1, since word 1
# belongs to d twice and word 2 to e as well; <i> stands at 2, so <b> is widened over it.
def test_an_element_is_widened_over_what_it_holds() -> None:
    text, notes = carry_and_tell(
        "<b>a <i>c</i></b> d e f", "x y z", "0-0 1-2 2-1 3-1 4-2", html=False
    )
    assert text == "<b>x y <i>z</i></b>"
    assert "widened" in notes["<b>"]


# Both elements want word 0; the link of the first is not shared, the second has another word.
def test_of_crossing_neighbours_one_is_cut() -> None:
    assert carry("<b>a</b> <i>c d</i>", "x y", "0-0 1-0 2-1") == "<b>x</b> <i>y</i>"


def test_a_lost_element_leaves_its_contents() -> None:
    text, notes = carry_and_tell("<b>a</b> c<x/>", "x", "1-0")
    assert (text, notes["<b>"]) == ("x<x/>", ("no-links",))


def test_a_tag_inside_of_a_word_takes_the_word() -> None:
    assert carry("un<b>happy</b> man", "x y", "0-0 1-1") == "<b>x</b> y"


WORDS = st.lists(st.sampled_from(["a", "bc", "&amp;", "."]), min_size=1, max_size=3)


def _element(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    content = st.lists(inner, max_size=3).map(" ".join)
    return st.builds(lambda name, text: f"<{name}>{text}</{name}>", st.sampled_from("bi"), content)


MARKUP = st.lists(
    st.recursive(WORDS.map(" ".join) | st.just("<x/>"), _element, max_leaves=6), max_size=4
).map(" ".join)


# Whatever the links: the output parses, has the text of the target, and no tag twice.
@settings(max_examples=60, deadline=None)
@given(MARKUP, WORDS, st.sets(st.tuples(st.integers(0, 40), st.integers(0, 2)), max_size=20))
def test_the_output_is_always_well_formed(
    source: str, target: list[str], pairs: set[tuple[int, int]]
) -> None:
    markup, plain = parse_markup(source), parse_plain(" ".join(target))
    words = (segment(markup.text.plain), segment(plain.plain))
    kept = [(i, j) for i, j in pairs if i < len(words[0]) and j < len(words[1])]
    alignment = Alignment.of(((i, j), 0.5 + (i % 3) / 6) for i, j in kept)
    text, placed = place_markup(markup, plain, words, alignment)
    xml.dom.minidom.parseString(f"<line>{text}</line>")
    assert parse_markup(text).text.plain == plain.plain
    lost = [each for each in placed if each.target is None]
    assert not any(each.node.is_point for each in lost)
    assert text.count("<x/>") == source.count("<x/>")
    assert text.count("</") == source.count("</") - len(lost)
