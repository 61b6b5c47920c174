"""Inline markup of one line: tags apart from text, and text that cannot be taken for tags.

Tags are kept as they were written, attributes and all. XML's rules are the default; HTML's allow
``<br>`` without an end, attributes without quotes, and names in either case.
"""

from __future__ import annotations

import html as entities
import re
from dataclasses import dataclass, field
from html.entities import html5

from bitext.errors import InputError

HTML_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"}
    | {"track", "wbr"}
)
"""The elements of HTML that never have content."""

_NAME = r"[A-Za-z_:][\w:.-]*"
_QUOTED = r"\"[^\"<]*\"|'[^'<]*'"
_XML_TAG = re.compile(rf"<(/?)({_NAME})((?:\s+{_NAME}\s*=\s*(?:{_QUOTED}))*)\s*(/?)>")
_HTML_TAG = re.compile(
    rf"<(/?)({_NAME})((?:\s+[^\s\"'<>/=]+(?:\s*=\s*(?:{_QUOTED}|[^\s\"'=<>`]+))?)*)\s*(/?)>"
)
_ATTRIBUTE = re.compile(rf"({_NAME})\s*=\s*(?:{_QUOTED})")
_ENTITY = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]*);")


class MarkupError(InputError):
    """Markup that is not well-formed; ``column`` counts characters of the line from 1."""

    def __init__(self, reason: str, place: int) -> None:
        self.column = place + 1
        self.reason = reason
        super().__init__(f"column {self.column}: {reason}")


@dataclass(slots=True)
class Node:
    """An element, or a point: a tag without content, a comment, an element without text.

    ``start`` and ``end`` are offsets in the text without tags. Of a point ``opening`` is all of its
    markup.
    """

    opening: str
    start: int
    end: int = -1
    closing: str = ""
    children: list[Node] = field(default_factory=list)
    is_point: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """Text with its entities decoded; ``raw[k]`` is how character ``k`` is written."""

    plain: str
    raw: tuple[str, ...]

    def written(self, start: int, end: int) -> str:
        """The characters ``start`` to ``end`` as they stand in markup."""
        return "".join(self.raw[start:end])


@dataclass(frozen=True, slots=True)
class Markup:
    """A line without its tags, and the tree of these."""

    text: Text
    nodes: list[Node]


def parse_markup(line: str, *, html: bool = False) -> Markup:
    """Take the tags out of ``line``.

    Example: ``parse_markup("a <b>c</b>")`` has the text ``a c`` and the node ``<b>``, 2 to 3.

    :raises MarkupError: if a tag is not a tag, is not closed or crosses another, or a ``<`` or
        ``&`` begins neither tag nor entity.
    """
    return _Parser(line, html).parse()


def parse_plain(line: str) -> Text:
    """Text to which tags are to be added: entities are kept, ``<``, ``>`` and a lone ``&`` become
    entities.

    :raises MarkupError: if it has a tag already.
    """
    if tag := _HTML_TAG.search(line):
        raise MarkupError(f"the target has the tag '{tag[0]}' already", tag.start())
    begins = line.find("<")
    while begins >= 0:
        if aside := _aside(line, begins):
            raise MarkupError(f"the target has the tag '{aside}' already", begins)
        begins = line.find("<", begins + 1)
    pieces: list[tuple[str, str]] = []
    place = 0
    while place < len(line):
        raw = line[place]
        if match := _entity(line, place):
            pieces += _characters(match)
            raw = match
        else:
            pieces.append((raw, entities.escape(raw, quote=False)))
        place += len(raw)
    return _text(pieces)


def _aside(line: str, place: int) -> str:
    """The comment or instruction that begins at ``place`` and ends in its line, or nothing.

    Not by a regular expression: where many begin and none ends, that would take seconds.
    """
    if line.startswith("<!--", place):
        end = line.find("--", place + 4)
        if not line.startswith("-->", end):
            return ""
        end += 3
    elif line.startswith("<?", place):
        end = line.find("?>", place + 2) + 2
    else:
        return ""
    found = line[place:end] if end > place + 3 else ""
    return "" if "\n" in found else found


def _entity(line: str, place: int) -> str:
    """The entity that begins at ``place``, or nothing."""
    match = _ENTITY.match(line, place)
    if match is None:
        return ""
    known = match[1].startswith("#") or f"{match[1]};" in html5
    # A number that is no character, such as &#0;, decodes to U+FFFD or to nothing.
    return match[0] if known and entities.unescape(match[0]) not in ("", "\ufffd") else ""


def _characters(entity: str) -> list[tuple[str, str]]:
    """The characters of an entity, the first of which is written as the whole of it."""
    first, *rest = list(entities.unescape(entity))
    return [(first, entity), *((character, "") for character in rest)]


def _text(pieces: list[tuple[str, str]]) -> Text:
    return Text("".join(plain for plain, _ in pieces), tuple(raw for _, raw in pieces))


class _Parser:
    """One pass over a line with a stack of the elements that are open."""

    def __init__(self, line: str, html: bool) -> None:
        self.line = line
        self.html = html
        self.pieces: list[tuple[str, str]] = []
        self.top: list[Node] = []
        self.stack: list[tuple[str, int, Node]] = []  # name, place in the line, node

    def parse(self) -> Markup:
        place = 0
        while place < len(self.line):
            place += self._take(place)
        if self.stack:
            name, at, _ = self.stack[-1]
            raise MarkupError(f"<{name}> is never closed", at)
        return Markup(_text(self.pieces), self.top)

    def _take(self, place: int) -> int:
        """Read what stands at ``place``; how long it is."""
        character = self.line[place]
        if character == "<":
            return self._take_tag(place)
        if character == "&":
            entity = _entity(self.line, place)
            if not entity:
                raise MarkupError("'&' begins no entity; write &amp; for the character", place)
            self.pieces += _characters(entity)
            return len(entity)
        self.pieces.append((character, character))
        return 1

    def _take_tag(self, place: int) -> int:
        if aside := _aside(self.line, place):
            self._add_point(aside)
            return len(aside)
        match = (_HTML_TAG if self.html else _XML_TAG).match(self.line, place)
        if match is None:
            shown = self.line[place : place + 12]
            raise MarkupError(f"'{shown}' begins no tag; write &lt; for the character", place)
        slash, name, attributes, alone = match.groups()
        if slash:
            if attributes or alone:
                raise MarkupError(f"'{match[0]}' closes and has more than a name", place)
            self._close(name, match[0], place)
        else:
            self._check_attributes(attributes, match[0], place)
            if alone or (self.html and name.lower() in HTML_VOID):
                self._add_point(match[0])
            else:
                self._open(name, match[0], place)
        return len(match[0])

    def _check_attributes(self, attributes: str, tag: str, place: int) -> None:
        names = [match[1] for match in _ATTRIBUTE.finditer(attributes)]
        if not self.html and len(names) != len(set(names)):
            raise MarkupError(f"'{tag}' has an attribute twice", place)

    def _siblings(self) -> list[Node]:
        return self.stack[-1][2].children if self.stack else self.top

    def _add_point(self, markup: str) -> None:
        at = len(self.pieces)
        self._siblings().append(Node(markup, at, at, is_point=True))

    def _open(self, name: str, tag: str, place: int) -> None:
        node = Node(tag, len(self.pieces))
        self._siblings().append(node)
        self.stack.append((name, place, node))

    def _close(self, name: str, tag: str, place: int) -> None:
        if not self.stack:
            raise MarkupError(f"'{tag}' closes what was never opened", place)
        opened, at, node = self.stack.pop()
        same = name.lower() == opened.lower() if self.html else name == opened
        if not same:
            raise MarkupError(
                f"'{tag}' crosses <{opened}>, opened at column {at + 1} and not closed", place
            )
        node.end, node.closing = len(self.pieces), tag
        if not "".join(plain for plain, _ in self.pieces[node.start :]).strip():
            _make_point(node)


def _make_point(node: Node) -> None:
    """An element without text travels in one piece, with the points but not the spaces it holds."""
    inner = "".join(child.opening for child in node.children)
    node.opening = f"{node.opening}{inner}{node.closing}"
    node.closing, node.children, node.is_point = "", [], True
