"""The translation models that requests may name: those named by hand, and those in a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from bitext.errors import (
    BitextError,
    InputError,
    ModelNotFoundError,
    TooLargeError,
    UnknownNameError,
    choose_from,
)
from encoders.gathering.events import Told, tell_nobody
from service.errors import NoTranslationModelError, NotReadyError
from service.settings import Settings

if TYPE_CHECKING:
    from encoders.shelf import Shelf
    from nmt.translation.translator import TranslationModel


class Languages(NamedTuple):
    """What a model translates from and to."""

    source: tuple[str, ...]
    target: tuple[str, ...]

    def fit(self, source: str | None, target: str | None) -> bool:
        """Whether a direction, as far as it is said, is among them."""
        known = (source, self.source), (target, self.target)
        return all(language in (None, *languages) for language, languages in known)

    def __str__(self) -> str:
        return f"{_some(self.source)} to {_some(self.target)}"


@dataclass(frozen=True, slots=True)
class TranslationKey:
    """A translation model as it lies on the disk now: a folder that is replaced has another."""

    name: str
    folder: str
    state: tuple[int, int]


class Translators:
    """Translation models by name. Every method belongs in a thread.

    They are loaded when first used, and let go when the models of the shelf, of all kinds, take
    more than they may.
    """

    def __init__(
        self, settings: Settings, shelf: Callable[[], Shelf], told: Told = tell_nobody
    ) -> None:
        self._settings = settings
        self._shelf = shelf
        self._told = told

    def places(self) -> dict[str, str]:
        """Each model's folder or hub name: first those named by hand, then by name."""
        folder = self._settings.translators
        lying = sorted(folder.iterdir()) if folder.is_dir() else []
        found = {path.name: _model_in(path) for path in lying if not path.name.startswith(".")}
        there = {name: str(model) for name, model in found.items() if model is not None}
        return {**self._settings.translation_models, **there, **self._settings.translation_models}

    def get(self, name: str) -> TranslationModel:
        """The model ``name``, loaded if it is not there yet.

        :raises UnknownNameError: if there is no such model.
        :raises ModelNotFoundError: if one that was named by hand is not on this machine.
        :raises NotReadyError: if it is there and cannot be used.
        """
        places = self.places()
        self._check(name, places)
        try:
            try:
                key = _key(name, places[name])
            except ModelNotFoundError:  # where it should be is the operator's to know
                raise ModelNotFoundError(f"model '{name}' is not on this machine") from None
            model = self._shelf().get(key, lambda: self._load(key), name)
        except (InputError, TooLargeError) as error:
            reason = str(error).replace(places[name], name)
            raise NotReadyError(f"model '{name}' cannot be used: {reason}") from error
        self._shelf().remove(lambda other: _is_older(other, key))
        return model

    def choose(self, name: str | None, source_lang: str | None, target_lang: str | None) -> str:
        """``name`` if there is such a model; without one, the only one that translates so.

        :raises NoTranslationModelError: if there is none at all.
        :raises UnknownNameError: if none, or more than one, can be meant.
        """
        places = self.places()
        if name is not None or len(places) == 1:
            chosen = next(iter(places)) if name is None else name
            self._check(chosen, places)
            return chosen
        self._check_any(places)
        known = {each: self.languages(each) for each in places}
        fitting = [each for each, own in known.items() if own and own.fit(source_lang, target_lang)]
        if len(fitting) == 1:
            return fitting[0]
        told = "; ".join(f"'{each}' ({own or 'languages unknown'})" for each, own in known.items())
        if fitting:
            raise UnknownNameError(f"several models translate so: choose one as 'model' of {told}")
        raise UnknownNameError(
            f"no translation model is known to translate from {source_lang or 'any language'} to "
            f"{target_lang or 'any language'}; choose one as 'model' of {told}"
        )

    def languages(self, name: str) -> Languages | None:
        """What a model translates, as far as that is known without loading it.

        :raises UnknownNameError: if there is no such model.
        """
        if (model := self.held(name)) is not None:
            return Languages(model.languages("source"), model.languages("target"))
        from nmt.pieces.tokenization import read_settings

        for folder in self._folders(name):
            with suppress(BitextError):  # damaged: whoever uses the model is told
                if (found := read_settings(folder)) is not None:
                    return Languages(found.source_langs, found.target_langs)
        return None

    def held(self, name: str) -> TranslationModel | None:
        """The model ``name`` if it is in memory."""
        for key, model in self._shelf().held().items():
            if isinstance(key, TranslationKey) and key.name == name:
                return cast("TranslationModel", model)  # whose import takes seconds
        return None

    def evict(self, name: str) -> None:
        """Let go of a model; who is using it keeps it until that is done.

        :raises UnknownNameError: if there is no such model.
        """
        self._check(name, self.places())
        self._shelf().remove(lambda key: isinstance(key, TranslationKey) and key.name == name)

    def _folders(self, name: str) -> list[Path]:
        """Where a model's description may be."""
        place = self.places().get(name)
        if place is None or not Path(place).is_dir():
            return []
        return [Path(place), Path(place) / "checkpoint"]  # the latter in what CTranslate2 runs

    def _load(self, key: TranslationKey) -> TranslationModel:
        from nmt.search.gathering import GatheringEngine
        from nmt.translation.translator import DTYPES, TranslationModel

        # What CTranslate2 runs is computed as it was exported.
        exported = (Path(key.folder) / "model.bin").is_file()
        dtype = self._settings.dtype if self._settings.dtype in DTYPES and not exported else None
        model = TranslationModel.load(key.folder, device=self._settings.device, dtype=dtype)
        model.engine = GatheringEngine(model.engine, model=key.name, told=self._told)
        model.name = key.name
        return model

    def _check(self, name: str, places: Mapping[str, str]) -> None:
        self._check_any(places)
        if name not in places:
            raise UnknownNameError(choose_from("translation model", name, places))

    def _check_any(self, places: Mapping[str, str]) -> None:
        if not places:
            raise NoTranslationModelError(
                "there is no translation model here; the operator can train one with 'bitext "
                "train', or export one with 'bitext export', and put its folder into "
                "translation-models/ in the data folder, or name it in BITEXT_TRANSLATION_MODELS"
            )


def _key(name: str, place: str) -> TranslationKey:
    from encoders.hub import find_folder

    folder = find_folder(place)
    there = folder.stat()
    return TranslationKey(name, str(folder), (there.st_ino, there.st_mtime_ns))


def _model_in(folder: Path) -> Path | None:
    """The folder of a model, or that inside of the folder of a training run."""
    for place in (folder, folder / "model"):
        if (place / "config.json").is_file():
            return place
    return None


def _is_older(other: object, key: TranslationKey) -> bool:
    """What a folder held before it was replaced."""
    return isinstance(other, TranslationKey) and other.name == key.name and other != key


def _some(languages: tuple[str, ...]) -> str:
    shown = ", ".join(languages[:10])
    return shown if len(languages) <= 10 else f"{shown} and {len(languages) - 10} more"
