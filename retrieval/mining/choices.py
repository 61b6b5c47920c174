"""What a mining is asked for: its sides, how vectors are centred, how they are searched."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from bitext.errors import InputError
from bitext.text import name_of, read_sentences

if TYPE_CHECKING:
    from retrieval.mining.run import MiningRun, Search, Texts
    from retrieval.vectors.files import Vectors


class MinedSide:
    """The sentences of a file, counted as they are read, and those planted after them."""

    def __init__(self, path: str, *, tabs: bool) -> None:
        """:param tabs: whether a sentence may hold some."""
        self.path = path
        self._tabs = tabs
        self.count = 0

    def texts(self, planted: Sequence[str]) -> Texts:
        from retrieval.mining.run import Texts

        return Texts(chain(self._read(), planted), name_of(self.path))

    def _read(self) -> Iterator[str]:
        for number, line in enumerate(read_sentences(self.path), start=1):
            if "\t" in line and not self._tabs:
                raise InputError(
                    f"{name_of(self.path)}, line {number} has a tab, which separates the columns "
                    "of what is written; --json has none"
                )
            self.count = number
            yield line


Centre = Callable[["MiningRun", "Sequence[Vectors]"], "Sequence[Vectors]"]


def centring_of(named: str | None, languages: str | None) -> Centre:
    """What is done to raw vectors.

    :raises BitextError: if there is no such kind or folder, or languages are missing.
    """
    from retrieval.vectors.centring import Centring, Kind

    if named is None or not Path(named).is_dir():
        if languages is not None and named is not None:
            raise InputError(f"there is no folder {named}, which --centring names for --languages")
        if languages is not None:
            raise InputError("--languages is for --centring FOLDER, which is not given")
        if named is None:
            return lambda run, vectors: vectors
        kind = str(Kind.parse(named))
        return lambda run, vectors: run.centre(vectors, kind)
    learnt = Centring.load(named)
    source, hyphen, target = (languages or "").partition("-")
    if not (source and hyphen and target):
        raise InputError(f"--centring {named} needs --languages, as de-en")
    for language in (source, target):
        learnt.check_language(language)
    return lambda run, vectors: run.centre_by(vectors, learnt, (source, target))


def search_kind(search: str) -> str | None:
    """``exact`` or a kind of index; ``None`` for what suits the number of sentences.

    :raises BitextError: if there is no such kind of index.
    """
    from retrieval.index.kinds import Kind
    from retrieval.mining.approximate import EXACT

    if search == "auto":
        return None
    return search if search == EXACT else str(Kind.parse(search))


def search_of(kind: str | None, vectors: Sequence[Vectors], k: int, device: str) -> Search:
    """The search asked for, or what suits the number of sentences, which stderr then tells."""
    from retrieval.mining.approximate import choose_search
    from retrieval.mining.run import Search

    if kind is None:
        source, target = vectors
        choice = choose_search(len(source), len(target), source.manifest.dim)
        kind = choice.search
        print(f"search: {kind}, as {choice.reason}", file=sys.stderr)
    return Search(k, kind, device=device)
