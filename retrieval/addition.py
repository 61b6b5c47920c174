"""An addition to a TextIndex on its way: rows after the live ones, until they are named."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal

import numpy as np
from pydantic import NonNegativeInt

from bitext.errors import InputError
from encoders.pooling import centre
from retrieval.encoding import check_directions
from retrieval.language_names import check_language
from retrieval.manifest import Manifest
from retrieval.store import Transaction
from retrieval.vectors import Rows, append_rows, read_rows, row_bytes

MEAN_SENTENCES = 10
"""The fewest different sentences a mean is taken from: taking its mean from one leaves nothing."""


class TextIndexManifest(Manifest):
    """What the folder of a TextIndex holds."""

    format: Literal["bitext text index 1"] = "bitext text index 1"  # type: ignore[assignment]
    languages: dict[str, NonNegativeInt]
    """Sentences of each language."""
    means: dict[str, str]
    """Digest of each language's mean; empty where vectors are not centred."""


class RunningMean:
    """The mean of one language's vectors, taken in float64 as they come."""

    def __init__(self, language: str, dim: int) -> None:
        self.language = language
        self._sum = np.zeros(dim, np.float64)
        self._count = 0
        self._different: set[str] = set()  # sentences, until there are enough

    def add(self, texts: Sequence[str], vectors: Rows) -> None:
        self._sum += vectors.sum(axis=0, dtype=np.float64)
        self._count += len(vectors)
        if len(self._different) < MEAN_SENTENCES:
            self._different.update(texts)

    def value(self) -> Rows:
        """Shape (dim,).

        :raises InputError: if there were too few different sentences.
        """
        if len(self._different) < MEAN_SENTENCES:
            raise InputError(
                f"the mean of language '{self.language}' needs at least {MEAN_SENTENCES} different "
                f"sentences, got {len(self._different)}; set it from other text of that language, "
                "or do not centre"
            )
        return (self._sum / self._count).astype(np.float32)


class Draft:
    """Sentences and means that come after what ``old`` names.

    Vectors are written as they come, and gone over once more in :meth:`finish`: the mean of a new
    language is known only then.
    """

    def __init__(
        self,
        old: TextIndexManifest,
        means: Mapping[str, Rows],
        file: IO[bytes],
        checksum: Any,
        transaction: Transaction,
    ) -> None:
        """``file`` stands at the end of the old rows, and ``checksum`` is hashlib's state there."""
        self.old = old
        self.means = dict(means)
        self.checksum = checksum
        self._file = file
        self._transaction = transaction
        self._languages: list[str] = []  # of each new row
        self._new_means: dict[str, RunningMean] = {}

    @property
    def count(self) -> int:
        """Old and new sentences together."""
        return self.old.count + self.added

    @property
    def added(self) -> int:
        return len(self._languages)

    def add(self, rows: Sequence[tuple[str, str]], vectors: Rows) -> None:
        """Add (language, text) rows and their vectors, not centred.

        :raises InputError: if a language has no name one could give, or a vector no direction.
        """
        languages = [language for language, _ in rows]
        texts = [text for _, text in rows]
        for language in set(languages):
            check_language(language)
        check_directions(vectors, texts, before=self.added)
        append_rows(self._file, vectors, self.old.dim)
        self._transaction.add(rows)
        self._languages += languages
        if self.old.centre is not None:
            self._collect(languages, texts, vectors)

    def set_mean(self, language: str, mean: Rows) -> None:
        """Fix the mean of a language that has none.

        :raises InputError: if it has one, or the index is not centred.
        """
        check_language(language)
        if self.old.centre is None:
            raise InputError("the index is not centred: it takes no means")
        if language in self.means:
            raise InputError(f"the index has a mean for language '{language}' already")
        self.means[language] = mean
        self._transaction.set_mean(language, mean)

    def finish(self) -> TextIndexManifest:
        """Centre what is to be centred; the manifest that makes all of it live."""
        for language, mean in self._new_means.items():
            self.set_mean(language, mean.value())
        dim = self.old.dim
        at = self.old.count
        self._file.seek(at * row_bytes(dim))
        for block in read_rows(self._file, self.added, dim):
            if self.old.centre is not None:
                block = self._centred(block, at - self.old.count)
                self._file.seek(at * row_bytes(dim))
                append_rows(self._file, block, dim)
            self.checksum.update(block.astype("<f4").tobytes())
            at += len(block)
        return self._manifest()

    def _collect(self, languages: Sequence[str], texts: Sequence[str], vectors: Rows) -> None:
        """Let the new vectors take part in the means that are not fixed yet."""
        of = np.array(languages)
        for language in set(languages) - set(self.means):
            mean = self._new_means.setdefault(language, RunningMean(language, self.old.dim))
            own = of == language
            mean.add(
                [text for text, is_own in zip(texts, own, strict=True) if is_own], vectors[own]
            )

    def _centred(self, block: Rows, start: int) -> Rows:
        languages = self._languages[start : start + len(block)]
        return centre(block, np.stack([self.means[language] for language in languages]))

    def _manifest(self) -> TextIndexManifest:
        fields = self.old.model_dump()
        digests = {language: digest_of_mean(mean) for language, mean in sorted(self.means.items())}
        counts = Counter(self.old.languages) + Counter(self._languages)
        fields.update(
            count=self.count,
            checksum=self.checksum.hexdigest(),
            languages=dict(sorted(counts.items())),
            means=digests,
            centre=None if self.old.centre is None else digest_of_means(digests),
        )
        return TextIndexManifest(**fields)


def digest_of_mean(mean: Rows) -> str:
    return hashlib.sha256(mean.astype("<f4").tobytes()).hexdigest()[:16]


def digest_of_means(digests: Mapping[str, str]) -> str:
    """The centre of an index: one short digest of all its means."""
    text = "\n".join(f"{language} {digest}" for language, digest in sorted(digests.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
