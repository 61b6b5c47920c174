"""Text in a script that a model never saw, written in letters that it knows.

By `anyascii <https://github.com/anyascii/anyascii>`_ (ISC licence): one table from each character
to ASCII, no model, no setup. It is what there is that installs everywhere. ``icu4py`` has no
transforms; PyICU, which has ICU's, is built from source on every machine; Unidecode is GPL;
uroman reads Indic and Ethiopic scripts better, for it knows their inherent vowels, but loads for
seconds and obliges all who publish to name it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import lru_cache

from anyascii import anyascii

from bitext.errors import UnknownNameError, choose_from

_KEPT = ("LATIN ", "COMBINING ")  # how the names of Latin letters and of their marks begin


def to_ascii(text: str) -> str:
    """Every character in ASCII.

    Example: ``"Straße в Москве"`` -> ``"Strasse v Moskve"``
    """
    return anyascii(text)


def to_latin(text: str) -> str:
    """Other scripts in ASCII letters; Latin ones, with their marks, as they are.

    Example: ``"Straße в Москве"`` -> ``"Straße v Moskve"``
    """
    return "".join(map(_latin, text))


@lru_cache(maxsize=1 << 16)
def _latin(character: str) -> str:
    if unicodedata.name(character, "").startswith(_KEPT):
        return character
    return anyascii(character)


TRANSFORMS: dict[str, Callable[[str], str]] = {"ascii": to_ascii, "latin": to_latin}


def find_transform(name: str | None) -> Callable[[str], str] | None:
    """The transform of that name; none for no name.

    :raises UnknownNameError: if there is no such transform.
    """
    if name is None:
        return None
    if name not in TRANSFORMS:
        raise UnknownNameError(choose_from("transliteration", name, TRANSFORMS))
    return TRANSFORMS[name]
