"""Sentences to pieces and back, with the signs that say which language is wanted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from bitext.errors import InputError, UnknownNameError, choose_from
from encoders.strict import Strict
from encoders.subwords import SubwordSplitter

SETTINGS_FILE = "translation.json"
"""Beside the checkpoint: what its tokenizer cannot say."""


class Frame(NamedTuple):
    """What stands around a target's pieces in training."""

    before: list[int]  # what the decoder is given in translation: ``Codec.prefix``
    after: list[int]  # what it learns to say in the end
    given: int  # how many of the first it does not learn to say


class Codec(Protocol):
    """How one model reads sentences and writes them."""

    pad: int
    end: int
    max_source: int  # pieces of the encoder's input, special ones included
    max_target: int

    @property
    def languages(self) -> tuple[str, ...]:
        """Those of both sides."""
        ...

    def source(
        self,
        sentences: Sequence[str],
        source_lang: str,
        target_lang: str,
        *,
        tag: str | None = None,
    ) -> list[list[int]]:
        """The encoder's whole input.

        :param tag: a special piece before each sentence, such as ``<bt>``.
        :raises UnknownNameError: if the model does not know a language, or the direction.
        """
        ...

    def around(
        self, source_lang: str, target_lang: str, *, tag: str | None = None
    ) -> tuple[list[int], list[int]]:
        """What the encoder's input has before and after a sentence's own pieces."""
        ...

    def target(self, sentences: Sequence[str], target_lang: str) -> list[list[int]]:
        """The pieces alone, without prefix and end."""
        ...

    def prefix(self, target_lang: str) -> list[int]:
        """What the decoder is given before the first piece."""
        ...

    def frame(self, target_lang: str) -> Frame:
        """What stands around a target's pieces in training."""
        ...

    def text(self, ids: Sequence[int]) -> str:
        """The sentence of these pieces; special ones are skipped."""
        ...


class TranslationSettings(Strict):
    """What ``translation.json`` holds."""

    version: Literal[1] = 1
    source_langs: tuple[str, ...]
    target_langs: tuple[str, ...]
    tags: Literal["none", "source", "decoder", "checkpoint"] = "none"  # the last: hub_codec.py
    max_source: int
    max_target: int


def tag_of(language: str) -> str:
    """The piece that stands for a language, such as ``<2de>``."""
    return f"<2{language}>"


class TaggedCodec:
    """The codec of a model of ours: one tokenizer for all languages, tags where there are several.

    The tag of the target language is the first piece of the source (Johnson et al., 2017), or the
    first piece that the decoder is given.

    :param tokenizer: a fast tokenizer with the tags among its pieces.
    :raises InputError: if the settings are those of an existing checkpoint (``hub_codec.py``).
    """

    def __init__(self, tokenizer: Any, settings: TranslationSettings) -> None:
        if settings.tags == "checkpoint":
            raise InputError(
                f"{SETTINGS_FILE} says that the checkpoint has signs of its own for languages, "
                "which only the engine torch knows"
            )
        self.tokenizer = tokenizer
        self.settings = settings
        self.pad = int(tokenizer.pad_token_id)
        self.end = int(_end_of(tokenizer))
        self.languages = tuple(sorted({*settings.source_langs, *settings.target_langs}))
        self.max_source, self.max_target = settings.max_source, settings.max_target
        self._splitter = SubwordSplitter(tokenizer)
        tagged = () if settings.tags == "none" else settings.target_langs
        self._tags = {lang: int(tokenizer.convert_tokens_to_ids(tag_of(lang))) for lang in tagged}

    def source(
        self,
        sentences: Sequence[str],
        source_lang: str,
        target_lang: str,
        *,
        tag: str | None = None,
    ) -> list[list[int]]:
        before, after = self.around(source_lang, target_lang, tag=tag)
        return [[*before, *one.ids, *after] for one in self._splitter.texts(sentences)]

    def around(
        self, source_lang: str, target_lang: str, *, tag: str | None = None
    ) -> tuple[list[int], list[int]]:
        self._check("source", source_lang, self.settings.source_langs)
        self._check("target", target_lang, self.settings.target_langs)
        wanted = [self._tags[target_lang]] if self.settings.tags == "source" else []
        before = [*self._splitter.prefix, *wanted, *tag_ids(self.tokenizer, tag)]
        return before, self._splitter.suffix

    def target(self, sentences: Sequence[str], target_lang: str) -> list[list[int]]:
        self._check("target", target_lang, self.settings.target_langs)
        return [list(one.ids) for one in self._splitter.texts(sentences)]

    def prefix(self, target_lang: str) -> list[int]:
        self._check("target", target_lang, self.settings.target_langs)
        return (
            [self.end, self._tags[target_lang]] if self.settings.tags == "decoder" else [self.end]
        )

    def frame(self, target_lang: str) -> Frame:
        before = self.prefix(target_lang)
        return Frame(before, [self.end], len(before))

    def text(self, ids: Sequence[int]) -> str:
        decoded: str = self.tokenizer.decode(
            list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return decoded.strip()

    def save(self, folder: Path) -> None:
        """Write the tokenizer and ``translation.json``."""
        self.tokenizer.save_pretrained(folder)
        written = self.settings.model_dump_json(indent=1)
        (folder / SETTINGS_FILE).write_text(written + "\n", encoding="utf-8")

    @staticmethod
    def _check(side: str, language: str, known: Sequence[str]) -> None:
        if language not in known:
            raise UnknownNameError(choose_from(f"{side} language", language, known))


def read_settings(folder: Path) -> TranslationSettings | None:
    """What ``translation.json`` says, if the folder has one.

    :raises InputError: if it holds something else.
    """
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return None
    try:
        return TranslationSettings.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path} is no description of a translation model: {reason}") from None


def tag_ids(tokenizer: Any, tag: str | None) -> list[int]:
    """The id of a special piece; none for none.

    :raises UnknownNameError: if the tokenizer has no such special piece.
    """
    if tag is None:
        return []
    known = {str(one): number for number, one in tokenizer.added_tokens_decoder.items()}
    if tag not in known:
        raise UnknownNameError(choose_from("tag", tag, sorted(known)))
    return [int(known[tag])]


def _end_of(tokenizer: Any) -> int:
    end = tokenizer.eos_token_id
    return int(end if end is not None else tokenizer.sep_token_id)
