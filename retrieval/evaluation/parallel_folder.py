"""Folders of translations: which files there are, and which two are line-parallel.

Two forms are known by their names:

- **pairs**, as the Tatoeba test of LASER: ``deu.txt`` beside ``deu.eng.txt``. Each language has
  English lines of its own;
- **line-parallel**, as NTREX and FLORES: ``deu.txt``, ``eng.txt`` (or ``deu_Latn.devtest``), line
  ``i`` of each meaning the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from bitext.errors import InputError, UnknownNameError, choose_from

ENDINGS = (".txt", ".devtest", ".dev")
ENGLISH = ("eng", "en", "eng_Latn")
"""What the pivot is called, where the caller does not say."""


class Parallel(NamedTuple):
    """Two files whose lines correspond, and what their languages are called."""

    source_language: str
    target_language: str
    source: Path
    target: Path

    @property
    def languages(self) -> tuple[str, str]:
        return self.source_language, self.target_language

    @property
    def files(self) -> tuple[Path, Path]:
        return self.source, self.target


@dataclass(frozen=True, slots=True)
class ParallelFolder:
    """The files of a folder, by language."""

    path: Path
    files: dict[str, Path]
    own_pivots: dict[str, Path]
    """Language -> the file of its translations into the pivot; empty where all share one."""
    pivot: str

    @property
    def shared(self) -> bool:
        """Whether line ``i`` means the same in every language."""
        return not self.own_pivots

    def against_pivot(self, languages: Sequence[str] | None = None) -> list[Parallel]:
        """Each language, by default all there are, with the pivot.

        :raises UnknownNameError: if there is no such language.
        """
        found = []
        for language in self.chosen(languages):
            if language != self.pivot:
                other = self.own_pivots.get(language) or self.files[self.pivot]
                found.append(Parallel(language, self.pivot, self.files[language], other))
        if not found:
            raise InputError(f"{self.path} has no language to search from or to '{self.pivot}'")
        return found

    def all_pairs(self, languages: Sequence[str] | None = None) -> list[Parallel]:
        """Each language with each other one.

        :raises InputError: if lines of different languages do not correspond.
        """
        self.check_shared()
        chosen = self.chosen(languages)
        if len(chosen) < 2:
            raise InputError(f"pairs need at least 2 languages of {self.path}, got {len(chosen)}")
        return [
            Parallel(one, other, self.files[one], self.files[other])
            for one, other in combinations(chosen, 2)
        ]

    def chosen(self, languages: Sequence[str] | None) -> list[str]:
        """:raises UnknownNameError: if one of ``languages`` has no file."""
        if languages is None:
            return sorted(self.files)
        for language in languages:
            if language not in self.files:
                raise UnknownNameError(choose_from("language", language, self.files))
        return list(dict.fromkeys(languages))

    def check_shared(self) -> None:
        """:raises InputError: if lines of different languages do not correspond."""
        if not self.shared:
            raise InputError(
                f"{self.path} has translations into '{self.pivot}' only; pairs of other languages "
                "and a pool need a folder whose files are all line-parallel"
            )


def read_parallel_folder(folder: str | Path, pivot: str | None = None) -> ParallelFolder:
    """Look which files ``folder`` has.

    :param pivot: the language that others are searched from and to; by default, English.
    :raises InputError: if they are of neither form, or there is no such pivot.
    """
    folder = Path(folder)
    ending = _ending(folder)
    stems = {path.name.removesuffix(ending): path for path in sorted(folder.glob(f"*{ending}"))}
    for name in (pivot,) if pivot else ENGLISH:
        own = {
            stem.removesuffix(f".{name}"): path
            for stem, path in stems.items()
            if stem.endswith(f".{name}")
        }
        if own:
            lonely = sorted(set(own) - set(stems))
            if lonely:
                raise InputError(f"{own[lonely[0]]} has no {lonely[0]}{ending} beside it")
            return ParallelFolder(folder, {k: stems[k] for k in own}, own, name)
        if name in stems:
            return ParallelFolder(folder, stems, {}, name)
    sought = f"'{pivot}'" if pivot else "English (" + ", ".join(ENGLISH) + ")"
    raise InputError(f"{folder} has no file of {sought}; --pivot takes one of its languages")


def _ending(folder: Path) -> str:
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    for ending in ENDINGS:
        if any(folder.glob(f"*{ending}")):
            return ending
    raise InputError(f"{folder} has no files that end in {', '.join(ENDINGS)}")
