"""What a training run computes before its first step: vocabulary, pieces, guides, first vectors.

Each part is written whole into the run's folder and found there by a resumed run.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.text import atomic_folder, read_bitext
from encoders.statistics.lexicon import UnitLinks, align_units, stems_of
from encoders.statistics.static import static_vectors
from encoders.statistics.words import number_words
from encoders.training.batches import BatchSource, TrainingCorpus
from encoders.training.corpus import (
    CorpusFile,
    ParallelSentences,
    PieceReader,
    Sentences,
    find_corpora,
    find_monolingual,
    read_gold_pairs,
    read_monolingual,
    read_pairs,
)
from encoders.training.recipe import LexiconSettings, Recipe, Training, VocabularySettings
from encoders.training.vocabulary import train_vocabulary

logger = logging.getLogger(__name__)
_SIDES = ("source", "target")


@dataclass(frozen=True, slots=True)
class Streams:
    """What batches are drawn from, by what objectives read; ``None``: there is no such text."""

    pairs: BatchSource | None
    text: BatchSource | None
    gold: BatchSource | None


def prepare_tokenizer(recipe: Recipe, files: list[CorpusFile], folder: Path) -> Any:
    """The joint vocabulary, trained on a language-balanced part of the corpora."""
    there = folder / "tokenizer"
    if not (there / "tokenizer.json").is_file():
        logger.info("training a vocabulary of %d pieces", recipe.vocabulary.size)
        sentences = sample_sentences(files, recipe.vocabulary, recipe.seed)
        trained = train_vocabulary(
            sentences,
            size=recipe.vocabulary.size,
            min_character_count=recipe.vocabulary.min_character_count,
            max_pieces=recipe.model.max_pieces,
        )
        with atomic_folder(there) as new:
            trained.save_pretrained(new)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(there, local_files_only=True)
    forget_loading(tokenizer)
    return tokenizer


def forget_loading(tokenizer: Any) -> None:
    """Forget how a tokenizer was loaded, which would else be saved with it."""
    for name in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(name, None)


def sample_sentences(
    files: list[CorpusFile], settings: VocabularySettings, seed: int
) -> Iterator[str]:
    """Sentences of all languages, each language's share of characters ~ its size ** alpha."""
    by_language: dict[str, set[str]] = {}
    for file in files:
        for pair in read_bitext(file.path):
            by_language.setdefault(file.source, set()).add(str(pair.source))
            by_language.setdefault(file.target, set()).add(str(pair.target))
    sizes = {language: sum(map(len, texts)) for language, texts in by_language.items()}
    total = sum(size**settings.alpha for size in sizes.values())
    rng = np.random.default_rng(seed)
    for language, texts in sorted(by_language.items()):
        room = settings.characters * sizes[language] ** settings.alpha / total
        ordered = sorted(texts)
        for number in rng.permutation(len(ordered)):
            room -= len(ordered[number])
            if room < 0:
                break
            yield ordered[number]


def find_text(training: Training, data: Path) -> None:
    """Look for all text, before a folder is claimed and time spent: a wrong name costs nothing.

    :raises InputError: if text that ``training`` names is not there.
    """
    find_corpora(training.corpora, data)
    find_monolingual(training.monolingual, data)
    gold = [f"{stem}.{ending}" for stem in training.gold for ending in ("src", "tgt", "gold")]
    dev = [] if training.dev is None else training.dev.files()
    for name in (*gold, *dev):
        if not (data / name).is_file():
            raise InputError(f"{data / name}: there is no such file")


def prepare_streams(
    training: Training,
    tokenizer: Any,
    data: Path,
    folder: Path,
    *,
    transliterate: str | None = None,
) -> Streams:
    """All text of a run as pieces, with guiding links where an objective reads them.

    :param data: the folder that the names in ``training`` are relative to.
    :param folder: the run's, where what was computed is kept.
    :param transliterate: what is done to text before the tokenizer.
    :raises InputError: if text cannot be found or read, or a language has none that fits.
    """
    reader = PieceReader(tokenizer, transliterate)
    longest = training.max_sentence_pieces

    def link(pairs: ParallelSentences) -> UnitLinks:
        return link_words(pairs, training.lexicon, reader.names)

    pairs = _prepare_parts(
        find_corpora(training.corpora, data),
        folder,
        lambda files: read_pairs(files, reader, longest),
        link if training.reads("links") else None,
    )
    text = _prepare_parts(
        find_monolingual(training.monolingual, data),
        folder,
        lambda files: read_monolingual(files, reader, longest),
        None,
    )
    gold: dict[str, tuple[ParallelSentences, UnitLinks | None]] = {}
    for stem in training.gold:
        gold[stem] = read_gold_pairs(data / stem, reader.splitter, longest)
        if not len(gold[stem][0]):
            raise InputError(f"gold: {stem} has no sentence pair of 1 to {longest} pieces")
    return Streams(
        *(TrainingCorpus(parts, training.seed) if parts else None for parts in (pairs, text, gold))
    )


def prepared_streams(folder: Path, seed: int) -> Streams:
    """The parallel text that lies prepared in the folder of an earlier run, with its links.

    :raises InputError: if there is none.
    """
    parts: dict[str, tuple[ParallelSentences, UnitLinks | None]] = {}
    for path in sorted(folder.glob("*.links.npz")):
        name = path.name.removesuffix(".links.npz")
        parts[name] = _load_pieces(folder / f"{name}.pieces.npz"), _load_links(path)
    if not parts:
        raise InputError(f"{folder} holds no prepared text with links")
    return Streams(TrainingCorpus(parts, seed), None, None)


def _prepare_parts(
    files: Iterable[CorpusFile],
    folder: Path,
    read: Callable[[list[CorpusFile]], tuple[ParallelSentences, int]],
    link: Callable[[ParallelSentences], UnitLinks] | None,
) -> dict[str, tuple[ParallelSentences, UnitLinks | None]]:
    by_languages: dict[str, list[CorpusFile]] = {}
    for file in files:
        by_languages.setdefault(file.languages, []).append(file)
    parts: dict[str, tuple[ParallelSentences, UnitLinks | None]] = {}
    for name, own in sorted(by_languages.items()):
        pairs = _prepare_pieces(folder / f"{name}.pieces.npz", own, read)
        if not len(pairs):
            raise InputError(
                f"{name} has no sentence{' pair' if own[0].target else ''} of a length that fits"
            )
        links = None if link is None else _prepare_links(folder / f"{name}.links.npz", pairs, link)
        parts[name] = pairs, links
    return parts


def _prepare_pieces(
    path: Path,
    files: list[CorpusFile],
    read: Callable[[list[CorpusFile]], tuple[ParallelSentences, int]],
) -> ParallelSentences:
    if not path.is_file():
        pairs, dropped = read(files)
        kind = "pairs" if files[0].target else "sentences"
        logger.info("%s: %d %s, %d empty or too long", path.name, len(pairs), kind, dropped)
        arrays = {
            f"{side}.{name}": getattr(getattr(pairs, side), name)
            for side in _SIDES
            for name in Sentences.__slots__
        }
        _write(path, lambda at: np.savez(at, **arrays))
    return _load_pieces(path)


def _load_pieces(path: Path) -> ParallelSentences:
    with np.load(path) as found:
        source, target = (
            Sentences(**{name: found[f"{side}.{name}"] for name in Sentences.__slots__})
            for side in _SIDES
        )
    return ParallelSentences(source, target)


def _prepare_links(
    path: Path, pairs: ParallelSentences, link: Callable[[ParallelSentences], UnitLinks]
) -> UnitLinks:
    """The guiding links between the words of one language pair."""
    if not path.is_file():
        links = link(pairs)
        logger.info("%s: %.1f guiding links a pair", path.name, len(links.source) / len(pairs))
        arrays = {field: getattr(links, field) for field in UnitLinks.__slots__}
        _write(path, lambda at: np.savez(at, **arrays))
    return _load_links(path)


def _load_links(path: Path) -> UnitLinks:
    with np.load(path) as found:
        return UnitLinks(**{field: found[field] for field in UnitLinks.__slots__})


def link_words(
    pairs: ParallelSentences, settings: LexiconSettings, names: Sequence[str]
) -> UnitLinks:
    """Link the words of one language pair by what its own text tells.

    :param names: the pieces of the vocabulary.
    """
    bitext, spellings = number_words(pairs, names)
    return align_units(
        bitext,
        stems=stems_of(spellings),
        iterations=settings.iterations,
        threshold=settings.threshold,
        beside=settings.beside,
    )


def prepare_vectors(recipe: Recipe, corpus: TrainingCorpus, folder: Path) -> NDArray[np.float32]:
    """Static vectors of the vocabulary, shape (pieces, dim)."""
    path = folder / "vectors.npy"
    if not path.is_file():
        logger.info("factorising the pieces' co-occurrence in sentence pairs")
        vectors = static_vectors(
            [pairs.by_piece() for pairs in corpus.sentence_pairs()],
            vocabulary=recipe.vocabulary.size,
            dim=recipe.model.dim,
            seed=recipe.seed,
        )
        _write(path, lambda at: np.save(at, vectors))
    return np.asarray(np.load(path), dtype=np.float32)


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name("new." + path.name)
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error.strerror}") from None
    temporary.replace(path)
