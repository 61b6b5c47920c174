"""The codecs of existing encoder–decoders: mBART, mBART-50, M2M100, NLLB, Marian, T5, mT5.

What their tokenizers do by modes that are set and set back is here a function of the languages.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from bitext.errors import InputError
from encoders.subwords import SubwordSplitter
from nmt.pieces.language_codes import english_name, find_code, plain
from nmt.pieces.tokenization import (
    Codec,
    Frame,
    TaggedCodec,
    TranslationSettings,
    one_line,
    save_codec,
    tag_ids,
)

FAMILIES = ("mbart", "m2m_100", "marian", "t5", "mt5", "umt5")
"""Model types whose frames are known."""
_MAX_PIECES = 512
"""Of a side, where the model itself has no bound: what T5 was trained with."""


_NLLB = re.compile(r"[a-z]{3}_[A-Z][a-z]{3}$")


class _Splitter(Protocol):
    """Text to ids, no special ones around them."""

    def __call__(self, texts: Sequence[str], *, target: bool = False) -> list[list[int]]: ...


class _FastSplitter:
    """A vocabulary may have ``</s>`` among its pieces; in text it is unknown, and ends nothing."""

    def __init__(self, tokenizer: Any) -> None:
        self._splitter = SubwordSplitter(tokenizer)
        self._special = {int(one) for one in tokenizer.added_tokens_decoder}
        self._unknown = int(tokenizer.unk_token_id)

    def __call__(self, texts: Sequence[str], *, target: bool = False) -> list[list[int]]:
        return [self._plain(one.ids) for one in self._splitter.texts(texts)]

    def _plain(self, ids: list[int]) -> list[int]:
        if self._special.isdisjoint(ids):
            return list(ids)
        return [self._unknown if one in self._special else one for one in ids]


class _SentencePieceSplitter:
    """Tokenizers that have SentencePiece's ids renumbered, and modes, are asked below both.

    ``</s>`` or ``>>de<<`` in somebody's text is text there.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._unknown = int(tokenizer.unk_token_id)
        if hasattr(tokenizer, "spm_source"):  # Marian
            own = tokenizer.encoder
            theirs = tokenizer.target_encoder if tokenizer.separate_vocabs else own
            self._sides = ((tokenizer.spm_source, own), (tokenizer.spm_target, theirs))
        else:
            self._sides = ((tokenizer.sp_model, tokenizer.encoder),) * 2

    def __call__(self, texts: Sequence[str], *, target: bool = False) -> list[list[int]]:
        model, ids = self._sides[target]
        return [
            [ids.get(piece, self._unknown) for piece in pieces]
            for pieces in model.encode(list(texts), out_type=str)
        ]


class HubCodec(ABC):
    """What the codecs of all families share.

    :param tokenizer: the checkpoint's own; it is saved as it is.
    :param config: the checkpoint's.
    :param settings: of a model that was fine-tuned: its directions and bounds.
    :raises InputError: if the family is not known.
    """

    codes: tuple[str, ...] | None = None
    """The tokenizer's own names of languages; ``None``: any may be named."""

    def __init__(
        self, tokenizer: Any, config: Any, settings: TranslationSettings | None = None
    ) -> None:
        self.tokenizer, self.config = tokenizer, config
        self.pad, self.end = int(tokenizer.pad_token_id), int(tokenizer.eos_token_id)
        self.start = config.decoder_start_token_id
        self._hidden = {self.pad, self.end}
        self.given_settings = settings
        bound = settings.max_source if settings is not None else bound_of(config, tokenizer)
        self.max_source, self.max_target = bound, bound
        slow = hasattr(tokenizer, "spm_source") or hasattr(tokenizer, "sp_model")
        self._split: _Splitter = (
            _SentencePieceSplitter(tokenizer) if slow else _FastSplitter(tokenizer)
        )

    @property
    def settings(self) -> TranslationSettings:
        """What ``translation.json`` says."""
        if self.given_settings is not None:
            return self.given_settings
        return TranslationSettings(
            source_langs=self.source_languages,
            target_langs=self.target_languages,
            tags="checkpoint",
            max_source=self.max_source,
            max_target=self.max_target,
        )

    @property
    def source_languages(self) -> tuple[str, ...]:
        return self.codes or ()

    @property
    def target_languages(self) -> tuple[str, ...]:
        return self.codes or ()

    @property
    def languages(self) -> tuple[str, ...]:
        """As the caller of the training named them, or as the tokenizer does."""
        own = self.settings
        return tuple(sorted({*own.source_langs, *own.target_langs}))

    def source(
        self,
        sentences: Sequence[str],
        source_lang: str,
        target_lang: str,
        *,
        tag: str | None = None,
    ) -> list[list[int]]:
        before, after = self.around(source_lang, target_lang, tag=tag)
        return [[*before, *ids, *after] for ids in self._split(sentences)]

    def around(
        self, source_lang: str, target_lang: str, *, tag: str | None = None
    ) -> tuple[list[int], list[int]]:
        before, after = self._around_source(source_lang, target_lang)
        return [*before, *tag_ids(self.tokenizer, tag)], after

    def target(self, sentences: Sequence[str], target_lang: str) -> list[list[int]]:
        self._code("target", target_lang)
        return self._split(sentences, target=True)

    def prefix(self, target_lang: str) -> list[int]:
        return self.frame(target_lang).before

    def frame(self, target_lang: str) -> Frame:
        self._code("target", target_lang)
        return Frame([int(self.start)], [self.end], 1)

    def text(self, ids: Sequence[int]) -> str:
        # to some tokenizers the pieces of languages are ordinary ones
        shown = [one for one in ids if one not in self._hidden]
        return one_line(
            self.tokenizer.decode(
                shown, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def save(self, folder: Path) -> None:
        """Write the tokenizer and ``translation.json``."""
        save_codec(folder, self.tokenizer, self.settings)

    def check_language(self, side: str, language: str) -> None:
        """Accept any of a language's names.

        :param side: ``source`` or ``target``.
        :raises UnknownNameError: if the model does not know it.
        """
        self._code(side, language)

    @abstractmethod
    def _around_source(self, source_lang: str, target_lang: str) -> tuple[list[int], list[int]]:
        """What stands before and after the pieces of a source."""

    def _code(self, side: str, language: str) -> str:
        """The tokenizer's own name.

        :raises UnknownNameError: if it has none, or the model was fine-tuned for others.
        """
        if self.given_settings is not None:
            tuned = self.given_settings
            known = tuned.source_langs if side == "source" else tuned.target_langs
            language = find_code(language, known, side=side)
        codes = self.source_languages if side == "source" else self.target_languages
        return find_code(language, codes, side=side) if self.codes is not None else language


class _CodeCodec(HubCodec):
    """mBART, mBART-50, M2M100, NLLB: a piece for each language, on both sides.

    Its place differs, and is asked of the tokenizer: behind the end in mBART (Liu et al., 2020),
    before the first piece in the others (Tang et al., 2020; Fan et al., 2021).
    """

    def __init__(
        self, tokenizer: Any, config: Any, settings: TranslationSettings | None = None
    ) -> None:
        super().__init__(tokenizer, config, settings)
        # the fast ones are asked now: to ask is to change them
        self.codes = tuple(_codes_of(tokenizer))
        self._hidden |= {int(tokenizer.convert_tokens_to_ids(code)) for code in self.codes}
        self._source = {code: self._ask(code, "src") for code in self.codes}
        self._target = {code: self._ask(code, "tgt") for code in self.codes}

    def _ask(self, code: str, side: str) -> tuple[list[int], list[int]]:
        name = code.strip("_") if hasattr(self.tokenizer, "get_lang_token") else code
        getattr(self.tokenizer, f"set_{side}_lang_special_tokens")(name)
        found = list(self.tokenizer.prefix_tokens), list(self.tokenizer.suffix_tokens)
        self.tokenizer.set_src_lang_special_tokens(self.tokenizer.src_lang)
        return found

    def _around_source(self, source_lang: str, target_lang: str) -> tuple[list[int], list[int]]:
        self._code("target", target_lang)
        return self._source[self._code("source", source_lang)]

    def frame(self, target_lang: str) -> Frame:
        code = self._code("target", target_lang)
        before, after = self._target[code]
        if self.config.model_type == "mbart":  # what the model's own shift begins with
            return Frame([after[-1], *before], after, 1)
        # NLLB's old behaviour has no code before the target, which translation always gave
        before = [int(self.tokenizer.convert_tokens_to_ids(code))]
        return Frame([int(self.start), *before], [self.end], 1)


class _MarianCodec(HubCodec):
    """Marian's: two SentencePiece models, and ``>>fra<<`` before the source of many-target ones."""

    def __init__(
        self, tokenizer: Any, config: Any, settings: TranslationSettings | None = None
    ) -> None:
        super().__init__(tokenizer, config, settings)
        self._tags = {one: tokenizer.encoder[one] for one in tokenizer.supported_language_codes}
        named = [tokenizer.source_lang, tokenizer.target_lang]
        if self._tags or (all(named) and all(english_name(one) for one in named)):
            self.codes = tuple(self._tags) or tuple(named)

    @property
    def source_languages(self) -> tuple[str, ...]:
        own = self.tokenizer.source_lang
        return () if own is None or english_name(own) is None else (str(own),)

    @property
    def target_languages(self) -> tuple[str, ...]:
        return tuple(self._tags) or ((str(self.tokenizer.target_lang),) if self.codes else ())

    def _around_source(self, source_lang: str, target_lang: str) -> tuple[list[int], list[int]]:
        self._code("source", source_lang)
        code = self._code("target", target_lang)
        return [self._tags[code]] if self._tags else [], [self.end]

    def _code(self, side: str, language: str) -> str:
        if side == "source" and not self.source_languages and self.given_settings is None:
            return language  # a group of languages, such as "mul"
        return super()._code(side, language)


class _TextCodec(HubCodec):
    """T5's: the task is said in words before the source (Raffel et al., 2020)."""

    def _around_source(self, source_lang: str, target_lang: str) -> tuple[list[int], list[int]]:
        self._code("source", source_lang)
        self._code("target", target_lang)
        return self._split([self.words(source_lang, target_lang)])[0], [self.end]

    def words(self, source_lang: str, target_lang: str) -> str:
        """The checkpoint's own words for this direction, or such as it has for others."""
        source, target = plain(source_lang), plain(target_lang)
        tasks = getattr(self.config, "task_specific_params", None) or {}
        own = tasks.get(f"translation_{source}_to_{target}", {}).get("prefix")
        if own is not None:
            return str(own)
        names = [english_name(one) or one for one in (source_lang, target_lang)]
        return f"translate {names[0]} to {names[1]}: "


_CODECS: dict[str, type[HubCodec]] = {
    "mbart": _CodeCodec,
    "m2m_100": _CodeCodec,
    "marian": _MarianCodec,
    "t5": _TextCodec,
    "mt5": _TextCodec,
    "umt5": _TextCodec,
}


def hub_codec(
    name: str, tokenizer: Any, config: Any, settings: TranslationSettings | None = None
) -> HubCodec:
    """The codec of an existing encoder–decoder.

    :param name: what messages call it.
    :param settings: of its ``translation.json``, if it was fine-tuned here.
    :raises InputError: if its family is not known.
    """
    if config.model_type not in _CODECS:
        raise InputError(
            f"model '{name}' is a {config.model_type} model without translation.json, so it is not "
            f"known how it is told languages; known families: {', '.join(FAMILIES)}"
        )
    return _CODECS[config.model_type](tokenizer, config, settings)


def codec_of(name: str, tokenizer: Any, config: Any, settings: TranslationSettings | None) -> Codec:
    """The codec of a loaded checkpoint, ours or another's.

    :raises InputError: if it is neither.
    """
    if settings is None or settings.tags == "checkpoint":
        return hub_codec(name, tokenizer, config, settings)
    return TaggedCodec(tokenizer, settings)


def bound_of(config: Any, tokenizer: Any) -> int:
    """How many pieces of a side the model takes."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None:
        return int(positions)
    longest = int(tokenizer.model_max_length)
    return longest if longest < 10**6 else _MAX_PIECES


def _codes_of(tokenizer: Any) -> list[str]:
    """The pieces that name languages."""
    own = getattr(tokenizer, "lang_token_to_id", None) or getattr(
        tokenizer, "lang_code_to_id", None
    )
    if own is not None:
        return list(own)
    return [str(one) for one in tokenizer.extra_special_tokens if _NLLB.match(str(one))]
