"""The numbers in a text, spelt one way."""

from __future__ import annotations

import re
import unicodedata

_SPACES = " \u00a0\u2009\u202f"
_SIGNS = r".,'’٫٬"
# thousands: at most three digits, then threes, all with the same sign between; then a decimal part
_NUMBER = re.compile(
    rf"[0-9]{{1,3}}(?P<sign>[{_SIGNS}{_SPACES}])[0-9]{{3}}(?:(?P=sign)[0-9]{{3}})*(?![0-9])"
    r"(?:[.,٫][0-9]+(?![0-9]|[.,][0-9]))?"
    # or no thousands, and one sign before the decimals: 3.14, but not 1.2.2020
    r"|(?<![0-9][.,])[0-9]+[.,٫][0-9]+(?![0-9]|[.,][0-9])"
    r"|[0-9]+"
)
_DECIMAL = re.compile(r"[.,٫](?=[0-9]+$)")


def numbers_in(text: str) -> list[str]:
    """The numbers of ``text`` in order: digits of every script as 0-9, thousands joined.

    ``1,000``, ``1.000``, ``1 000`` and ``१,०००`` are all ``1000``, and ``3,14`` is ``3.14``. A sign
    before exactly three digits is taken for one of thousands. Leading zeros do not count, nor do
    zeros at the end of decimals.
    """
    if not any(map(str.isdecimal, text)):
        return []
    plain = "".join(_digit(c) for c in text)
    return [_spell(match) for match in _NUMBER.finditer(plain)]


def _digit(character: str) -> str:
    if character.isascii() or not character.isdecimal():
        return character
    return str(unicodedata.decimal(character))


def _spell(match: re.Match[str]) -> str:
    found = match[0]
    sign = match["sign"]
    whole, decimals = found, ""
    if sign is not None:
        whole = found.replace(sign, "")
    if mark := _DECIMAL.search(whole):
        whole, decimals = whole[: mark.start()], whole[mark.end() :].rstrip("0")
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{decimals}" if decimals else whole
