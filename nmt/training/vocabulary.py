"""The vocabulary of a run: made of its text, or that of the model it starts from."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import transformers

from bitext.errors import InputError
from bitext.text import atomic_folder, read_sentences
from encoders.checkpoint import reading
from nmt.network.finetune import PretrainedTranslator, trim_tokenizer
from nmt.network.initialize import PretrainedEncoder
from nmt.pieces.tokenization import tag_of
from nmt.pieces.vocabulary import add_tags, gives_back, train_vocabulary, trim_vocabulary
from nmt.training.config import TrainConfig
from nmt.training.data import read_pairs
from nmt.training.languages import languages_of, tags_of
from nmt.training.monolingual import read_text

logger = logging.getLogger(__name__)

_LOSSLESS = 0.99
"""Share of sentences an encoder's tokenizer must give back for it to write output."""


@dataclass(frozen=True, slots=True)
class Words:
    """The vocabulary, and which pieces of the encoder's it is made of, if it is."""

    tokenizer: Any
    kept: list[int] | None


def prepare_vocabulary(folder: Path, make: Callable[[], Words]) -> Words:
    """Make the vocabulary, or read what an earlier try of this run has made."""
    made = folder / "vocabulary"
    if not (made / "kept.json").is_file():
        words = make()
        with atomic_folder(made, marker="kept.json") as temporary:
            words.tokenizer.save_pretrained(temporary)
            (temporary / "kept.json").write_text(json.dumps(words.kept), encoding="utf-8")
    kept = json.loads((made / "kept.json").read_text(encoding="utf-8"))
    with reading(str(made)):
        tokenizer = transformers.AutoTokenizer.from_pretrained(made, local_files_only=True)
    return Words(tokenizer, kept)


def their_vocabulary(config: TrainConfig, whole: PretrainedTranslator, data: Path) -> Words:
    """That of an encoder–decoder, or the part of it which the corpora use."""
    tokenizer, kept = whole.tokenizer, None
    if config.vocabulary.source == "encoder":
        texts, least = texts_of(config, data), config.vocabulary.min_count
        tokenizer, kept = trim_tokenizer(whole, texts, min_count=least)
    own = [one.tag for one in config.data.corpora if one.tag is not None]
    if own:
        add_tags(tokenizer, list(dict.fromkeys(own)))
    return Words(tokenizer, kept)


def make_vocabulary(config: TrainConfig, encoder: PretrainedEncoder | None, data: Path) -> Words:
    how = config.vocabulary
    kept: list[int] | None = None
    if _takes_encoders(config, encoder, data):
        assert encoder is not None
        trimmed = trim_vocabulary(
            encoder.tokenizer, texts_of(config, data), min_count=how.min_count
        )
        tokenizer, kept = trimmed.tokenizer, trimmed.kept.tolist()
    else:
        tokenizer = train_vocabulary(texts_of(config, data), size=how.size)
    own = [one.tag for one in config.data.corpora if one.tag is not None]
    tags = [tag_of(lang) for lang in languages_of(config)[1]] if tags_of(config) != "none" else []
    more = list(dict.fromkeys([*tags, *own]))
    if more:
        add_tags(tokenizer, more)
    return Words(tokenizer, kept)


def _takes_encoders(config: TrainConfig, encoder: PretrainedEncoder | None, data: Path) -> bool:
    """Whether the vocabulary is the encoder's: only if decoding gives text back."""
    chosen = config.vocabulary.source
    if encoder is None or chosen == "corpus":
        return False
    share = gives_back(encoder.tokenizer, texts_of(config, data))
    if share >= _LOSSLESS:
        return True
    if chosen == "encoder":
        raise InputError(
            f"vocabulary.source 'encoder': the tokenizer of '{encoder.name}' gives back only "
            f"{share:.1%} of the sentences (it lower-cases, say), so it cannot write "
            "translations; choose 'corpus'"
        )
    logger.info(
        "the vocabulary is made of the corpus: the encoder's tokenizer gives back %.1f %% of it",
        100 * share,
    )
    return False


def texts_of(config: TrainConfig, data: Path) -> Iterator[str]:
    """The sentences that the vocabulary is made for: all that is learned from, and more text."""
    for corpus in config.data.corpora:
        yield from chain.from_iterable(islice(read_pairs(corpus, data), corpus.first))
    for text in config.data.monolingual:
        yield from read_text(text, data)
    for name in config.vocabulary.text:
        for line in read_sentences(data / name):
            yield from line.split("\t")
