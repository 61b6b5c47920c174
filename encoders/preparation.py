"""What a pretraining run computes before its first step: vocabulary, pieces, guides, first vectors.

Each part is written whole into the run's folder and found there by a resumed run.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import transformers
from numpy.typing import NDArray

from bitext.errors import InputError
from bitext.text import atomic_folder, read_bitext
from encoders.cells import UnitBitext
from encoders.corpus import CorpusFile, TrainingCorpus, read_pieces
from encoders.lexicon import UnitLinks, align_units
from encoders.recipe import LexiconSettings, Recipe, VocabularySettings
from encoders.static import static_vectors
from encoders.subwords import SubwordSplitter
from encoders.vocabulary import train_vocabulary

logger = logging.getLogger(__name__)
_Arrays = TypeVar("_Arrays", UnitBitext, UnitLinks)


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
    for how_it_was_loaded in ("is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(how_it_was_loaded, None)  # else they are saved with it
    return tokenizer


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


def prepare_corpus(
    recipe: Recipe, files: list[CorpusFile], tokenizer: Any, folder: Path
) -> TrainingCorpus:
    """The pieces and guiding links of every language pair."""
    splitter = SubwordSplitter(tokenizer)
    languages = Counter(f"{file.source}-{file.target}" for file in files)
    parts = {}
    for pair in sorted(languages):
        own = [file for file in files if f"{file.source}-{file.target}" == pair]

        def read(own: list[CorpusFile] = own, pair: str = pair) -> UnitBitext:
            bitext, dropped = read_pieces(own, splitter, recipe.max_sentence_pieces)
            logger.info("%s: %d pairs, %d empty or too long", pair, len(bitext), dropped)
            return bitext

        bitext = _cached(folder / f"{pair}.pieces.npz", UnitBitext, read)
        if not len(bitext):
            raise InputError(
                f"corpora: {pair} has no sentence pair of 1 to {recipe.max_sentence_pieces} pieces"
            )

        def link(bitext: UnitBitext = bitext, pair: str = pair) -> UnitLinks:
            return link_pieces(bitext, recipe.lexicon, pair)

        parts[pair] = bitext, _cached(folder / f"{pair}.links.npz", UnitLinks, link)
    return TrainingCorpus(parts, recipe.seed)


def link_pieces(bitext: UnitBitext, settings: LexiconSettings, pair: str) -> UnitLinks:
    """The guiding links of one language pair, and a word in the log on how many there are."""
    links = align_units(
        bitext,
        iterations=settings.iterations,
        threshold=settings.threshold,
        beside=settings.beside,
    )
    pieces = min(len(bitext.source), len(bitext.target))
    logger.info("%s: %.2f guiding links a piece", pair, len(links.source) / max(1, pieces))
    return links


def prepare_vectors(recipe: Recipe, corpus: TrainingCorpus, folder: Path) -> NDArray[np.float32]:
    """Static vectors of the vocabulary, shape (pieces, dim)."""
    path = folder / "vectors.npy"
    if not path.is_file():
        logger.info("factorising the pieces' co-occurrence in sentence pairs")
        vectors = static_vectors(
            corpus.bitexts(),
            vocabulary=recipe.vocabulary.size,
            dim=recipe.model.dim,
            seed=recipe.seed,
        )
        _write(path, lambda at: np.save(at, vectors))
    return np.asarray(np.load(path), dtype=np.float32)


def _cached(path: Path, kind: type[_Arrays], compute: Callable[[], _Arrays]) -> _Arrays:
    if not path.is_file():
        value = compute()
        arrays = {field.name: getattr(value, field.name) for field in fields(kind)}
        _write(path, lambda at: np.savez(at, **arrays))
    with np.load(path) as arrays:
        return kind(**arrays)


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    temporary = path.with_name("new." + path.name)
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
