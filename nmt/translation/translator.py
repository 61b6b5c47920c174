"""TranslationModel: sentences of one language -> hypotheses in another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from bitext.errors import InputError, TooLongError, UnknownNameError, choose_from
from bitext.segmentation import sentences as find_sentences
from bitext.types import Hypothesis
from encoders.strict import describe
from nmt.pieces.hub_codec import HubCodec
from nmt.pieces.tokenization import Codec
from nmt.search.engine import Engine, Item, TorchEngine
from nmt.search.frontier import Found
from nmt.search.search import SearchSettings

ENGINES = ("torch", "ctranslate2")

DTYPES = ("float32", "bfloat16")
"""Of engine torch."""

TOO_LONG = ("error", "split")
"""What is done with a source of more pieces than the model takes."""

STREAM = 1024
"""Sentences of a stream that are translated together."""

TooLong = Literal["error", "split"]


class _Part(NamedTuple):
    """A source, or a part of one that was too long."""

    sentence: int
    item: Item
    prefix: list[int]


class TranslationModel:
    """Translates; threads may share it. ::

        model = TranslationModel.load("models/en-de")
        [[best]] = model.translate(["A dog runs."], source_lang="en", target_lang="de")
        best.text, best.score

    :param engine: what searches.
    :param codec: what makes pieces of text, and text of pieces.
    """

    def __init__(self, engine: Engine, codec: Codec, *, name: str = "", fingerprint: str = ""):
        self.engine = engine
        self.codec = codec
        self.name = name
        self.fingerprint = fingerprint

    @classmethod
    def load(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        device: str = "cpu",
        dtype: str | None = None,
        engine: str | None = None,
    ) -> TranslationModel:
        """Load a model by its folder, or by the name of a hub model that is on this machine.

        :param dtype: of torch, ``float32`` (the default) or ``bfloat16``; of CTranslate2, by
            default what the folder was exported as, or ``float32``, ``int8``, ``int8_float32``, ...
        :param engine: ``torch`` or ``ctranslate2``; by default, what the folder is made for.
        :raises ModelNotFoundError: if there is no such model on this machine.
        :raises InputError: if it is no translation model, or not one for the engine.
        :raises UnknownNameError: if the engine, device or dtype does not exist here.
        """
        if engine not in (None, *ENGINES):
            raise UnknownNameError(choose_from("engine", str(engine), ENGINES))
        exported = (Path(name) / "model.bin").is_file()
        if exported and engine == "torch":
            raise InputError(f"model '{name}' was exported for CTranslate2; torch cannot load it")
        if not exported and engine == "ctranslate2":
            raise InputError(
                f"model '{name}' was not exported for CTranslate2; say "
                f"bitext export {name} FOLDER --format ctranslate2, and use that folder"
            )
        if exported:
            from nmt.interop.ctranslate2 import load_exported

            own, codec, fingerprint = load_exported(Path(name), device=device, dtype=dtype)
            return cls(own, codec, name=str(name), fingerprint=fingerprint)
        if dtype not in (None, *DTYPES):
            raise UnknownNameError(choose_from("dtype", str(dtype), DTYPES))
        from nmt.network.model import load_translation_checkpoint

        checkpoint = load_translation_checkpoint(
            name, revision=revision, device=device, dtype=dtype or "float32"
        )
        return cls.of(checkpoint.model, checkpoint.codec, str(name), checkpoint.fingerprint)

    @classmethod
    def of(
        cls, model: Any, codec: Codec, name: str = "", fingerprint: str = ""
    ) -> TranslationModel:
        """Of a network in memory, which must be in eval mode whenever it translates."""
        engine = TorchEngine(model, end=codec.end, pad=codec.pad)
        return cls(engine, codec, name=name, fingerprint=fingerprint)

    @property
    def bytes(self) -> int:
        """Memory its weights take."""
        return self.engine.bytes

    def translate(
        self,
        sentences: Sequence[str],
        source_lang: str | None = None,
        target_lang: str | None = None,
        *,
        prefixes: Sequence[str] | None = None,
        too_long: str = "error",
        **search: Any,
    ) -> list[list[Hypothesis]]:
        """The hypotheses of each sentence, best first; of one without text, a single empty one.

        :param source_lang: may be left out where the model has one, as ``target_lang``.
        :param prefixes: what the hypotheses of each sentence begin with.
        :param too_long: ``error``, or ``split``: a source that is too long is translated sentence
            by sentence, as many at a time as fit. Hypotheses of the same rank are joined, and
            score the mean.
        :param search: the fields of :class:`nmt.search.search.SearchSettings`.
        :raises UnknownNameError: if the model does not translate so.
        :raises TooLongError: if a source has more pieces than the model takes.
        :raises InputError: if a setting is out of its range, a prefix leaves no room, or one string
            is given for a list.
        """
        if isinstance(sentences, str):
            raise InputError("sentences must be a list of strings, and came as one string")
        how = search_settings(**search)
        if too_long not in TOO_LONG:
            raise UnknownNameError(choose_from("too_long", too_long, TOO_LONG))
        source_lang, target_lang = self.direction(source_lang, target_lang)
        parts = self._parts(sentences, prefixes, source_lang, target_lang, too_long, how)
        counted = len(self.codec.prefix(target_lang)) - 1
        found = self.engine.find([part.item for part in parts], how, counted=counted)
        by_sentence: list[list[list[Hypothesis]]] = [[] for _ in sentences]
        for part, own in zip(parts, found, strict=True):
            by_sentence[part.sentence].append([self._hypothesis(part, one) for one in own])
        return [_joined(own) for own in by_sentence]

    def stream(
        self,
        sentences: Iterable[str],
        source_lang: str | None = None,
        target_lang: str | None = None,
        *,
        prefixes: Iterable[str] | None = None,
        too_long: str = "error",
        chunk: int = STREAM,
        **search: Any,
    ) -> Iterator[list[Hypothesis]]:
        """The same for any number of sentences, ``chunk`` at a time, so that memory is bounded.

        Sentences are counted through in the errors.
        """
        prefixed = None if prefixes is None else iter(prefixes)
        done, source = 0, iter(sentences)
        while block := list(islice(source, chunk)):
            own = None if prefixed is None else list(islice(prefixed, len(block)))
            try:
                yield from self.translate(
                    block, source_lang, target_lang, prefixes=own, too_long=too_long, **search
                )
            except TooLongError as error:
                raise TooLongError(error.reason, sentence=done + error.sentence) from None
            done += len(block)
        if prefixed is not None and next(prefixed, None) is not None:
            raise InputError(f"there are more prefixes than the {done} sentences")

    def direction(self, source_lang: str | None, target_lang: str | None) -> tuple[str, str]:
        """Both languages, where the model leaves no choice.

        :raises InputError: if there is a choice, and none was made.
        :raises UnknownNameError: if the model does not know one.
        """
        if source_lang is None and target_lang is not None:
            target = self._language("target", target_lang, None)
            return self._language("source", None, target), target
        source = self._language("source", source_lang, target_lang)
        return source, self._language("target", target_lang, source)

    def languages(self, side: str) -> tuple[str, ...]:
        """Those that it knows on a side, ``source`` or ``target``."""
        settings = getattr(self.codec, "settings", None)
        if settings is None:
            return self.codec.languages
        known: tuple[str, ...] = getattr(settings, f"{side}_langs")
        return known

    def _language(self, side: str, given: str | None, other: str | None) -> str:
        known = self.languages(side)
        if given is not None and isinstance(self.codec, HubCodec):
            self.codec.check_language(side, given)  # it has several names
            return given
        if given is not None:
            if given not in known:
                raise UnknownNameError(choose_from(f"{side} language", given, known))
            return given
        choice = [language for language in known if language != other]
        if len(choice) != 1:
            names = ", ".join(choice)
            raise InputError(f"the model has several {side} languages: say which of {names}")
        return choice[0]

    def _parts(
        self,
        sentences: Sequence[str],
        prefixes: Sequence[str] | None,
        source_lang: str,
        target_lang: str,
        too_long: str,
        how: SearchSettings,
    ) -> list[_Part]:
        """What is searched for: nothing for sentences without text, several parts of long ones."""
        texts = [(i, text) for i, text in enumerate(sentences) if text.strip()]
        sources = self._pieces([text for _, text in texts], source_lang, target_lang)
        forced = self._forced(prefixes, len(sentences), target_lang)
        parts = []
        for (i, text), source in zip(texts, sources, strict=True):
            prefix = forced[i]
            for own in self._fitting(i, text, source, source_lang, target_lang, too_long):
                parts.append(self._part(i, own, prefix, target_lang, how))
                prefix = []  # of the first part alone
        return parts

    def _pieces(self, texts: list[str], source_lang: str, target_lang: str) -> list[list[int]]:
        return self.codec.source(texts, source_lang, target_lang) if texts else []

    def _forced(
        self, prefixes: Sequence[str] | None, sentences: int, target_lang: str
    ) -> list[list[int]]:
        if prefixes is None:
            return [[] for _ in range(sentences)]
        if len(prefixes) != sentences:
            raise InputError(
                f"there are {len(prefixes)} prefixes for {sentences} sentences; there must be as "
                "many, and empty ones where none is wanted"
            )
        return self.codec.target(prefixes, target_lang) if sentences else []

    def _fitting(
        self,
        sentence: int,
        text: str,
        source: list[int],
        source_lang: str,
        target_lang: str,
        too_long: str,
    ) -> list[list[int]]:
        """The source, or that of its parts, each of which the model takes."""
        if len(source) <= self.codec.max_source:
            return [source]
        if too_long == "error":
            raise self._too_long(sentence, source, "")
        spans = [text[start:end] for start, end in find_sentences(text)]
        lengths = [len(own) for own in self.codec.source(spans, source_lang, target_lang)]
        packed = list(_packed(spans, lengths, self.codec.max_source))
        parts = self.codec.source(packed, source_lang, target_lang)
        for part, words in zip(parts, packed, strict=True):
            if len(part) > self.codec.max_source:
                raise self._too_long(sentence, part, f" in the sentence '{words.strip()[:40]}...'")
        return parts

    def _too_long(self, sentence: int, source: list[int], where: str) -> TooLongError:
        model = f"model '{self.name}'" if self.name else "the model"
        advice = "" if where else "; too_long 'split' translates it sentence by sentence"
        return TooLongError(
            f"has {len(source)} pieces{where}, and {model} takes {self.codec.max_source}{advice}",
            sentence=sentence,
        )

    def _part(
        self,
        sentence: int,
        source: list[int],
        prefix: list[int],
        target_lang: str,
        how: SearchSettings,
    ) -> _Part:
        start = self.codec.prefix(target_lang)
        counted = len(start) - 1
        room = self.codec.max_target - len(start) - len(prefix)
        if room <= 0:
            raise InputError(
                f"sentence {sentence + 1}: the prefix of {len(prefix)} pieces leaves no room in "
                f"the {self.codec.max_target} pieces that the model writes"
            )
        limit = counted + how.limit(len(source), room)
        return _Part(sentence, Item(source, [*start, *prefix], limit), prefix)

    def _hypothesis(self, part: _Part, found: Found) -> Hypothesis:
        text = self.codec.text([*part.prefix, *found.ids])
        return Hypothesis(text, found.score, found.truncated)


def search_settings(**given: Any) -> SearchSettings:
    """The settings, checked.

    :raises InputError: if one does not exist or is out of its range.
    """
    try:
        return SearchSettings(**given)
    except ValidationError as error:
        raise InputError(describe(error, SearchSettings)) from None


def _packed(spans: Sequence[str], lengths: Sequence[int], most: int) -> Iterator[str]:
    """Neighbours put together, as long as they have at most so many pieces."""
    together, pieces = "", 0
    for span, length in zip(spans, lengths, strict=True):
        if together and pieces + length > most:
            yield together
            together, pieces = "", 0
        together, pieces = together + span, pieces + length
    yield together


def _joined(parts: list[list[Hypothesis]]) -> list[Hypothesis]:
    """The hypotheses of a sentence, of those of its parts."""
    if not parts:
        return [Hypothesis("", 0.0)]
    if len(parts) == 1:
        return parts[0]
    return [
        Hypothesis(
            " ".join(one.text for one in ranked if one.text),
            sum(one.score for one in ranked) / len(ranked),
            any(one.truncated for one in ranked),
        )
        for ranked in zip(*parts, strict=True)
    ]
