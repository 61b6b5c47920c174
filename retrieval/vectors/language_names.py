"""What languages may be called."""

from __future__ import annotations

import re

from bitext.errors import InputError

_LANGUAGE = re.compile(r"[A-Za-z0-9]+([-_][A-Za-z0-9]+)*")


def check_language(language: str) -> None:
    """:raises InputError: if ``language`` cannot be the name of one."""
    if not _LANGUAGE.fullmatch(language):
        raise InputError(
            f"expected a language such as 'de', 'zh-Hant' or 'eng_Latn', got '{language}'"
        )
