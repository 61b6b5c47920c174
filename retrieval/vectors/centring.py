"""What a language's vectors have in common, taken away from them: learnt once, kept on disk.

Sentences of one language share something that has nothing to do with what they say. There are
several ways to take it away; ``x`` is a unit vector of language ``l``, ``m`` the mean of vectors of
``l``, and what is left of ``x`` is made a unit vector again:

===============  =================================================================================
``mean``         ``x - m`` (Libovický et al., 2020)
``components:N`` ``x - m``, and from that the first N principal components of the languages' means
``subspace:N``   those components alone: LSAR (Xie et al., 2022). Their equation splits the means in
                 a common vector and a low-rank rest that is orthogonal to it; the rest spans what
                 the first N components of the centred means span
``own:N``        the first N singular vectors of ``l``'s own vectors, not centred: LIR (Yang et al.,
                 2021, section 3)
``whitening``    ``W (x - m)``, where ``W`` is the inverse root of the covariance within languages
                 (Su et al., 2021): one ``W`` for all, as each its own would turn them apart
===============  =================================================================================

A folder holds one :class:`Centring`: ``centring.safetensors`` and a manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from bitext.errors import InputError, MismatchError, UnknownNameError, choose_from
from bitext.text import atomic_folder
from encoders.pooling import normalise
from retrieval.vectors.files import Rows
from retrieval.vectors.language_names import check_language
from retrieval.vectors.manifest import (
    MANIFEST_FILE,
    Sha256,
    Space,
    check_same_space,
    check_sum,
    read_manifest,
    sum_file,
    write_manifest,
)

CENTRING_FILE = "centring.safetensors"
FEWEST = 10
"""Vectors with a direction that a language must have: one alone would leave nothing of itself."""

Wide = NDArray[np.float64]


class CentringManifest(Space):
    """What the folder of a centring holds; its space is that of the vectors before."""

    format: Literal["bitext centring 1"] = "bitext centring 1"
    kind: str
    dim: PositiveInt
    languages: dict[str, PositiveInt]
    """How many vectors of each it was learnt from."""
    checksum: Sha256
    """SHA-256 of the file of tensors."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A way to centre, and of how many directions: ``mean``, ``components:2``."""

    name: str
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> Kind:
        """:raises UnknownNameError: if there is no such kind.
        :raises InputError: if a number is missing, or is none.
        """
        name, colon, number = text.partition(":")
        if name not in KINDS:
            raise UnknownNameError(choose_from("kind of centring", name, KINDS))
        if not KINDS[name].counts:
            if colon:
                raise InputError(f"centring '{name}' takes no number, got '{text}'")
            return cls(name)
        if not (number.isascii() and number.isdigit() and int(number[:4]) >= 1):
            raise InputError(f"centring '{name}' takes a number from 1, as {name}:1; got '{text}'")
        return cls(name, int(number[:4]))

    def __str__(self) -> str:
        return f"{self.name}:{self.count}" if self.count else self.name


class Moments:
    """Sums over one language's vectors, in float64 as they come; zeros are left out.

    :param squares: keep the second moments too, dim × dim numbers.
    """

    def __init__(self, dim: int, *, squares: bool) -> None:
        self.count = 0
        self._sum = np.zeros(dim, np.float64)
        self._squares = np.zeros((dim, dim), np.float64) if squares else None

    def add(self, rows: Rows) -> None:
        """:param rows: shape (any number, dim)."""
        there = rows[rows.any(axis=1)].astype(np.float64)
        self.count += len(there)
        self._sum += there.sum(axis=0)
        if self._squares is not None:
            self._squares += there.T @ there

    @property
    def mean(self) -> Wide:
        return self._sum / self.count

    @property
    def second(self) -> Wide:
        """The mean of ``x xᵀ``, shape (dim, dim)."""
        assert self._squares is not None, "asked for when they were summed"
        return self._squares / self.count

    @property
    def covariance(self) -> Wide:
        return self.second - np.outer(self.mean, self.mean)


class _Parts(NamedTuple):
    """What is to be done to the vectors of each language, in this order."""

    means: dict[str, Wide]
    """Taken away; shape (dim,)."""
    removed: dict[str, Wide] = {}  # noqa: RUF012
    """Orthonormal directions projected out; shape (directions, dim)."""
    scale: Wide | None = None
    """Multiplied by, symmetric; shape (dim, dim)."""


@dataclass(frozen=True, slots=True)
class Centring:
    """How vectors of some languages are centred; made with :func:`fit_centring` or :meth:`load`."""

    kind: str
    space: Space
    """Where the vectors come from before they are centred: ``space.centre`` is ``None``."""
    counts: Mapping[str, int]
    """How many vectors of each language it was learnt from."""
    tensors: Mapping[str, Rows] = field(repr=False)
    """``mean/LANGUAGE`` (dim,), ``removed/LANGUAGE`` (directions, dim), ``scale`` (dim, dim)."""

    @property
    def languages(self) -> list[str]:
        return sorted(self.counts)

    @property
    def dim(self) -> int:
        return int(self.tensors[f"mean/{self.languages[0]}"].shape[0])

    @property
    def digest(self) -> str:
        """What ``Space.centre`` says of vectors that were centred by this."""
        space = self.space
        parts = [self.kind, space.fingerprint, str(space.layer), space.pooling, space.prefix]
        found = hashlib.sha256("\0".join(parts).encode())
        for name in sorted(self.tensors):
            found.update(name.encode() + b"\0" + self.tensors[name].astype("<f4").tobytes())
        return found.hexdigest()[:16]

    def check(self, space: Space) -> None:
        """:raises MismatchError: if vectors of ``space`` are not what this was learnt from."""
        if space.centre is not None:
            raise MismatchError(f"the vectors are centred already, with centre {space.centre}")
        check_same_space(self.space, space, where="the centring", what="what is to be centred")

    def check_language(self, language: str) -> None:
        """:raises UnknownNameError: if this was not learnt for ``language``."""
        if language not in self.counts:
            raise UnknownNameError(choose_from("language", language, self.counts))

    def centred(self, space: Space) -> Space:
        """The space that vectors of ``space`` are in once they are centred.

        :raises MismatchError: if they are not of the space that this was learnt from.
        """
        self.check(space)
        return space.model_copy(update={"centre": self.digest})

    def apply(self, rows: Rows, language: str) -> Rows:
        """Centre the vectors of one language; zeros stay zeros.

        :param rows: unit rows, shape (count, dim).
        :return: new unit rows of the same shape.
        :raises UnknownNameError: if it was not learnt for ``language``.
        """
        self.check_language(language)
        there = rows.any(axis=1, keepdims=True)
        left = rows - self.tensors[f"mean/{language}"]
        removed = self.tensors.get(f"removed/{language}")
        if removed is not None:
            left -= left @ removed.T @ removed
        if "scale" in self.tensors:
            left = left @ self.tensors["scale"]
        return normalise(np.where(there, left, np.float32(0)))

    def apply_mixed(self, rows: Rows, languages: Sequence[str]) -> Rows:
        """The same for vectors of several languages, one of which each row has."""
        of, left = np.array(languages), np.empty_like(rows)
        for language in sorted(set(languages)):
            left[of == language] = self.apply(rows[of == language], language)
        return left

    def save(self, folder: str | Path) -> None:
        """Write it to ``folder``, which appears when it is whole; an older one is replaced.

        :raises InputError: if ``folder`` is a folder of something else, or cannot be written.
        """
        with atomic_folder(folder, marker=MANIFEST_FILE) as new:
            path = new / CENTRING_FILE
            save_file({name: np.ascontiguousarray(t) for name, t in self.tensors.items()}, path)
            fields = {name: getattr(self.space, name) for name in Space.model_fields}
            made = CentringManifest(
                **fields,
                kind=self.kind,
                dim=self.dim,
                languages=dict(sorted(self.counts.items())),
                checksum=sum_file(path),
            )
            write_manifest(new, made)

    @classmethod
    def load(cls, folder: str | Path) -> Centring:
        """:raises InputError: if a file in ``folder`` is not as it was written."""
        folder = Path(folder)
        manifest = read_manifest(folder, CentringManifest)
        path = folder / CENTRING_FILE
        if not path.is_file():
            raise InputError(f"{path} is missing")
        check_sum(path, sum_file(path), manifest.checksum)
        try:
            tensors = load_file(path)
        except SafetensorError as error:
            raise InputError(f"cannot read {path}: {error}") from None
        space = Space(**{name: getattr(manifest, name) for name in Space.model_fields})
        return cls(manifest.kind, space, manifest.languages, tensors)


def fit_centring(
    kind: str, blocks: Mapping[str, Iterable[Rows]], space: Space, *, dim: int
) -> Centring:
    """Learn to centre from vectors of some languages, which are read once, as they come.

    :param kind: ``mean``, ``components:2`` and so on; see the head of this module.
    :param blocks: for each language blocks of unit rows, each of shape (any number, dim).
    :param space: where the vectors come from.
    :raises UnknownNameError: if there is no such kind.
    :raises InputError: if there are too few vectors of a language, or too few languages.
    :raises MismatchError: if the vectors are centred already.
    """
    chosen = Kind.parse(kind)
    if space.centre is not None:
        raise MismatchError(f"the vectors are centred already, with centre {space.centre}")
    moments = {
        language: _collect(language, rows, dim, KINDS[chosen.name].squares)
        for language, rows in sorted(blocks.items())
    }
    if not moments:
        raise InputError("a centring needs at least one language")
    parts = KINDS[chosen.name].fit(moments, chosen)
    tensors = {f"mean/{language}": mean for language, mean in parts.means.items()}
    tensors |= {f"removed/{language}": rows for language, rows in parts.removed.items()}
    if parts.scale is not None:
        tensors["scale"] = parts.scale
    counts = {language: found.count for language, found in moments.items()}
    narrow = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}
    raw = Space(**{name: getattr(space, name) for name in Space.model_fields})
    return Centring(str(chosen), raw, counts, narrow)


def _collect(language: str, blocks: Iterable[Rows], dim: int, squares: bool) -> Moments:
    check_language(language)
    found = Moments(dim, squares=squares)
    for rows in blocks:
        found.add(rows)
    if found.count < FEWEST:
        raise InputError(
            f"centring needs at least {FEWEST} vectors of '{language}', "
            f"got {found.count}; some hundreds serve well"
        )
    return found


# --- the kinds


def _means(moments: Mapping[str, Moments]) -> dict[str, Wide]:
    return {language: found.mean for language, found in moments.items()}


def _nothing(moments: Mapping[str, Moments]) -> dict[str, Wide]:
    return {language: np.zeros_like(found.mean) for language, found in moments.items()}


def _language_components(moments: Mapping[str, Moments], kind: Kind) -> Wide:
    """The first principal components of the languages' means, shape (count, dim)."""
    if kind.count >= len(moments):
        raise InputError(
            f"centring {kind} needs at least {kind.count + 1} languages, got {len(moments)}"
        )
    means = np.stack(list(_means(moments).values()))
    return _first(means - means.mean(axis=0), kind.count)


def _first(rows: Wide, count: int) -> Wide:
    """The first right singular vectors; of each the sign that makes its largest number positive."""
    found = np.asarray(np.linalg.svd(rows, full_matrices=False)[2][:count])
    largest = found[np.arange(len(found)), np.abs(found).argmax(axis=1)]
    return np.asarray(found * np.sign(largest)[:, None])


def _fit_mean(moments: Mapping[str, Moments], kind: Kind) -> _Parts:
    return _Parts(_means(moments))


def _fit_components(moments: Mapping[str, Moments], kind: Kind) -> _Parts:
    found = _language_components(moments, kind)
    return _Parts(_means(moments), dict.fromkeys(moments, found))


def _fit_subspace(moments: Mapping[str, Moments], kind: Kind) -> _Parts:
    found = _language_components(moments, kind)
    return _Parts(_nothing(moments), dict.fromkeys(moments, found))


def _fit_own(moments: Mapping[str, Moments], kind: Kind) -> _Parts:
    for language, found in moments.items():
        if kind.count >= len(found.mean):
            raise InputError(f"centring {kind} leaves nothing of vectors of dim {len(found.mean)}")
        if kind.count >= found.count:
            raise InputError(f"centring {kind} needs more vectors of language '{language}'")
    removed = {language: _first(found.second, kind.count) for language, found in moments.items()}
    return _Parts(_nothing(moments), removed)


def _fit_whitening(moments: Mapping[str, Moments], kind: Kind) -> _Parts:
    """The symmetric inverse root, so that vectors keep their place; languages weigh alike."""
    pooled = np.mean([found.covariance for found in moments.values()], axis=0)
    free = sum(found.count for found in moments.values()) - len(moments)
    values, vectors = np.linalg.eigh(shrunk(pooled, free))
    if values[0] <= 0:
        raise InputError("centring whitening needs vectors that differ, got equal ones")
    scale = (vectors / np.sqrt(values)) @ vectors.T
    # one number changes no cosine: this one keeps the numbers near 1
    return _Parts(_means(moments), scale=scale / np.linalg.norm(scale, 2))


def shrunk(covariance: Wide, count: int) -> Wide:
    """A covariance from ``count`` vectors, drawn towards a multiple of the identity.

    By how much follows from their number: oracle approximating shrinkage (Chen et al., 2010,
    equation 23). Few vectors thus give a matrix that has an inverse.
    """
    dim = len(covariance)
    trace, squared = float(np.trace(covariance)), float((covariance**2).sum())
    spread = squared - trace**2 / dim
    above = (1 - 2 / dim) * squared + trace**2
    below = (count + 1 - 2 / dim) * spread
    share = 1.0 if below <= 0 else min(1.0, above / below)
    return (1 - share) * covariance + share * trace / dim * np.eye(dim)


class _Way(NamedTuple):
    fit: Callable[[Mapping[str, Moments], Kind], _Parts]
    counts: bool  # whether a number belongs to its name
    squares: bool  # whether it needs second moments


KINDS = {
    "mean": _Way(_fit_mean, counts=False, squares=False),
    "components": _Way(_fit_components, counts=True, squares=False),
    "subspace": _Way(_fit_subspace, counts=True, squares=False),
    "own": _Way(_fit_own, counts=True, squares=True),
    "whitening": _Way(_fit_whitening, counts=False, squares=True),
}
