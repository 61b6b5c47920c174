"""How an index searches, by a name and settings (``ivf:lists=1024,probes=16``), and which to take.

- ``flat``: compares with every vector; exact.
- ``ivf``: compares with those of the nearest of many lists (Sivic & Zisserman, 2003).
- ``hnsw``: walks a graph of neighbours (Malkov & Yashunin, 2018).
- ``pq``: as ``ivf``, over vectors cut into pieces that are each named by one byte (product
  quantisation; Jégou et al., 2011).
- ``opq``: as ``pq``, turned before so that the pieces lose less (Ge et al., 2013).
- ``auto``: what :func:`choose_kind` says.

Anything else is taken for a string of FAISS's index factory, such as ``OPQ64,IVF1024,PQ64``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveInt

from bitext.errors import InputError, UnknownNameError, choose_from
from bitext.memory import available
from bitext.settings import Changed, parse, spell

EXACT_UP_TO = 200_000
"""Vectors for which a search of all of them is quick enough not to give up exactness."""
LEAST = 1_000
"""Vectors below which no lists are trained unless a kind says how many it wants."""
CODES = 256
"""Values of a byte, each of which needs a vector to be trained on."""
FACTORY = "factory"


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Flat(_Settings):
    """Exact search has no settings."""


class Ivf(_Settings):
    """Inverted lists."""

    lists: PositiveInt | None = None
    """How many; ``None`` for 4 · √count."""
    probes: PositiveInt = 32
    """Lists that a query is compared with."""
    spare: NonNegativeInt = 8
    """Candidates beyond ``k`` whose cosines are computed exactly."""


class Quantised(Ivf):
    """Inverted lists of bytes instead of numbers."""

    bytes: PositiveInt | None = None
    """Of a vector; divides dim. ``None`` for the largest divisor up to dim / 4 and 64."""
    spare: NonNegativeInt = 128


class Hnsw(_Settings):
    """A graph of neighbours."""

    links: PositiveInt = 32
    """Neighbours of a vector on each level (M)."""
    construction: PositiveInt = 80
    """Candidates for these neighbours (efConstruction)."""
    width: PositiveInt = 128
    """Candidates kept while walking (efSearch)."""
    spare: NonNegativeInt = 8


KINDS: dict[str, type[_Settings]] = {
    "auto": Flat,
    "flat": Flat,
    "ivf": Ivf,
    "hnsw": Hnsw,
    "pq": Quantised,
    "opq": Quantised,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to search, with the settings that differ from their defaults."""

    name: str
    changed: Changed = ()
    factory: str = ""
    """What FAISS's factory is to make, if ``name`` is ``factory``; nobody has checked it yet."""

    @classmethod
    def parse(cls, text: str) -> Kind:
        """Read ``name``, ``name:setting=value,...`` or a FAISS factory string.

        :raises UnknownNameError: if there is no such kind or setting.
        :raises InputError: if a value is not what the setting takes.
        """
        # FAISS spells its parts with capitals, we our names without.
        if text[:1].isupper():
            return cls(FACTORY, factory=text)
        try:
            return cls(*parse(text, what="kind", names=KINDS, settings_of=KINDS.__getitem__))
        except UnknownNameError as error:
            if text.partition(":")[0] in KINDS:
                raise
            choices = choose_from("kind of index", text, KINDS)
            raise UnknownNameError(f"{choices}, or a FAISS factory string") from error

    def __str__(self) -> str:
        return self.factory or spell(self.name, self.changed)

    @property
    def exact(self) -> bool:
        """Whether it looks at every vector."""
        return self.name == "flat" or self.factory == "Flat"

    @property
    def quantised(self) -> bool:
        """Whether it keeps bytes that stand for a vector instead of its numbers."""
        return self.name in ("pq", "opq")

    @property
    def keeps_vectors(self) -> bool:
        """Whether it gives true cosines by itself; of a factory's kinds nobody knows."""
        return self.exact or self.name in ("auto", "ivf", "hnsw")

    def setting(self, name: str) -> Any:
        """The value of a setting, its default if it was not changed; ``None`` if there is none."""
        if self.name == FACTORY:
            return Quantised().spare if name == "spare" else None
        settings = KINDS[self.name].model_validate(dict(self.changed))
        return getattr(settings, name, None)

    def lists(self, count: int) -> int:
        """How many lists ``count`` vectors are sorted into; 0 if into none."""
        if self.name == FACTORY:
            found = re.search(r"IVF(\d{1,9})", self.factory)
            return int(found[1]) if found else 0
        if self.name not in ("ivf", "pq", "opq"):
            return 0
        return self.setting("lists") or max(1, round(4 * math.sqrt(count)))

    def least(self) -> int:
        """How many vectors it takes to train it; fewer are searched exactly."""
        if self.exact or self.name == "hnsw":
            return 0
        if self.name == FACTORY:
            return max(self.lists(0), CODES)
        return max(self.setting("lists") or LEAST, CODES if self.quantised else 1)

    def sample(self, count: int) -> int:
        """How many of ``count`` vectors it is trained on: 64 a list and a value of a byte."""
        return 0 if self.name == "hnsw" else min(count, max(64 * self.lists(count), CODES * 64))

    def bytes(self, dim: int) -> int:
        """Of a quantised vector.

        :raises InputError: if the setting does not divide ``dim``.
        """
        wanted = self.setting("bytes")
        if wanted is None:
            return max(n for n in range(1, 65) if dim % n == 0 and n <= max(1, dim // 4))
        if dim % wanted:
            raise InputError(f"{self}: bytes={wanted} must divide the dim of the vectors, {dim}")
        return int(wanted)

    def faiss(self, count: int, dim: int) -> str:
        """The factory string for ``count`` vectors."""
        match self.name:
            case "flat" | "auto":
                return "Flat"
            case "ivf":
                return f"IVF{self.lists(count)},Flat"
            case "hnsw":
                return f"HNSW{self.setting('links')},Flat"
            case "pq":
                return f"IVF{self.lists(count)},PQ{self.bytes(dim)}"
            case "opq":
                return f"OPQ{self.bytes(dim)},IVF{self.lists(count)},PQ{self.bytes(dim)}"
            case _:
                return self.factory


class Choice(NamedTuple):
    """A kind, and the sentence that says why."""

    kind: str
    reason: str


def choose_kind(count: int, dim: int, memory: int | None = None) -> Choice:
    """The kind for ``count`` vectors.

    ``hnsw`` is never chosen: it finds more than ``ivf`` in the same time, but takes longer to build
    and more memory, and keeps what is removed (docs/scaling.md has figures).

    :param memory: bytes that the index may take; ``None`` for half of what is free.
    """
    memory = available() // 2 if memory is None else memory
    floats = 4 * dim * count
    need = f"{count:,} vectors of dim {dim} take {_size(floats)}"
    if floats > memory:
        size = (Kind("opq").bytes(dim) + 24) * count
        reason = f"{need}, more than the {_size(memory)} there are for it; as bytes {_size(size)}"
        return Choice("opq", reason + ("" if size <= memory else ", also more: split them"))
    if count <= EXACT_UP_TO:
        return Choice("flat", f"{need}, and up to {EXACT_UP_TO:,} an exact search is quick")
    return Choice("ivf", f"{need}, and beyond {EXACT_UP_TO:,} an exact search is slow")


def _size(size: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
