"""From a config to a trained translation model."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import transformers

from bitext.errors import InputError
from bitext.text import atomic_folder, atomic_write, read_sentences
from encoders.checkpoint import find_device, quietly
from encoders.training import processes
from nmt.network.finetune import (
    PretrainedTranslator,
    check_translator,
    find_translator,
    start_from_translator,
    trim_tokenizer,
)
from nmt.network.fusion import begin_fused
from nmt.network.initialize import PretrainedEncoder, Report, initialize, read_encoder, share_blocks
from nmt.network.model import MAX_PIECES, Shape, build_network, save_translation_checkpoint
from nmt.pieces.hub_codec import HubCodec
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings, tag_of
from nmt.pieces.vocabulary import add_tags, gives_back, train_vocabulary, trim_vocabulary
from nmt.training.config import ModelSettings, TrainConfig
from nmt.training.data import read_pairs
from nmt.training.mixture import Mixture
from nmt.training.monolingual import read_text
from nmt.training.run import TrainingFolder
from nmt.training.tasks import read_learned, sources_of
from nmt.training.trainer import Trainer
from nmt.training.validation import dev_measure

logger = logging.getLogger(__name__)

_LOSSLESS = 0.99
"""Share of sentences an encoder's tokenizer must give back for it to write output."""


def train(
    config: TrainConfig,
    *,
    data: Path,
    output: Path,
    device: str = "cpu",
    progress: bool | None = None,
) -> Path:
    """Train a translation model and save it as an ordinary checkpoint folder.

    Work in progress lies in ``output/run``: a run that was stopped, however it was, goes on from
    its last checkpoint, with the batches and the randomness it would have had. The model it began
    with is kept in ``output/start``, with its report of where each tensor came from.

    :param data: the folder that the config's files are relative to.
    :param output: where the checkpoint folder ``model`` and the ``run`` folder are made.
    :return: the checkpoint folder.
    :raises InputError: if text cannot be read, sizes do not fit, or the disk is full.
    :raises MismatchError: if ``output`` holds a run of another config.
    """
    place = find_device(device)
    check_files(config, data)
    with processes.together(place):
        with processes.one_after_the_other():
            run = TrainingFolder(output, config)
            model, codec, report = _prepare(config, data, run.path)
            if not (output / "start" / "config.json").is_file():
                save_translation_checkpoint(output / "start", model, codec, beside=report.write)
        learned = read_learned(config, codec, data)
        if processes.rank() == 0:
            for said in learned.cleaning:
                logger.info("%s", said.sentence())
            _write_json(run.path / "cleaning.json", [asdict(said) for said in learned.cleaning])
        batches = Mixture(
            config.stages, [sources_of(one, learned, config) for one in config.stages]
        )
        model.to(place)
        Trainer(
            model,
            batches,
            config,
            run,
            measure=dev_measure(config, codec, data),
            new=[one.tensor for one in report.origins if one.kind == "new"],
            progress=progress,
        ).fit()
        if processes.rank() == 0:
            save_translation_checkpoint(output / "model", model, codec, beside=report.write)
    return output / "model"


def _prepare(
    config: TrainConfig, data: Path, folder: Path
) -> tuple[Any, TaggedCodec | HubCodec, Report]:
    """The network that training begins with, its codec, and where its tensors came from.

    :param folder: of the run, which keeps the vocabulary.
    """
    if config.fuse is not None:
        return begin_fused(config, config.fuse, _texts(config, data))
    whole = find_translator(config.initialize)
    if whole is not None:
        check_translator(whole, config)
        words = _prepare_vocabulary(folder, lambda: _their_vocabulary(config, whole, data))
        return start_from_translator(whole, words.tokenizer, words.kept, config, _languages(config))
    encoder = _encoder_of(config)
    words = _prepare_vocabulary(folder, lambda: _make_vocabulary(config, encoder, data))
    codec = _codec_of(config, words, encoder)
    model, report = start(config, codec, words, encoder)
    return model, codec, report


def check_files(config: TrainConfig, data: Path) -> None:
    """:raises InputError: if a file that the config names is not there."""
    bitext = [*config.data.corpora, *config.data.dev]
    named = [name for one in bitext for name in (one.file, one.source, one.target)]
    named += [one.file for one in [*config.data.monolingual, *config.data.dev_monolingual]]
    for name in [*named, *config.vocabulary.text]:
        if name is not None and not (data / name).is_file():
            raise InputError(f"no such file: {data / name}")


@dataclass(frozen=True, slots=True)
class Words:
    """The vocabulary, and which pieces of the encoder's it is made of, if it is."""

    tokenizer: Any
    kept: list[int] | None


def start(
    config: TrainConfig, codec: TaggedCodec, words: Words, encoder: PretrainedEncoder | None
) -> tuple[Any, Report]:
    """The network that training begins with, and where its tensors came from."""
    shape = _shape_of(config.model, len(words.tokenizer), encoder)
    model = build_network(shape, codec, seed=config.seed)
    report = initialize(model, encoder, words.tokenizer, config.initialize, kept=words.kept)
    if config.initialize.shared:
        share_blocks(model)
        report.notes.append("the decoder's blocks are the encoder's, cross-attention apart")
    logger.info("%s", report.summary())
    return model, report


def _encoder_of(config: TrainConfig) -> PretrainedEncoder | None:
    how = config.initialize
    return None if how.model is None else read_encoder(how.model, how.revision)


def _shape_of(settings: ModelSettings, pieces: int, encoder: PretrainedEncoder | None) -> Shape:
    known: dict[str, Any] = {
        name: value for name, value in settings.model_dump().items() if value is not None
    }
    if encoder is None:
        return Shape(pieces=pieces, **known)
    theirs: dict[str, Any] = {
        "dim": int(encoder.config.hidden_size),
        "heads": int(encoder.config.num_attention_heads),
        "feed_forward": int(encoder.config.intermediate_size),
        "encoder_layers": encoder.layers,
        "decoder_layers": encoder.layers,
        "activation": str(encoder.config.hidden_act),
        "max_pieces": min(MAX_PIECES, encoder.positions),
    }
    return Shape(pieces=pieces, **(theirs | known))


def _languages(config: TrainConfig) -> tuple[list[str], list[str]]:
    data = config.data
    every = [*data.corpora, *data.dev]
    sources = {one.source_lang or data.source_lang for one in every}
    targets = {one.target_lang or data.target_lang for one in every}
    spoken = {one.lang for one in [*data.monolingual, *data.dev_monolingual]}
    return sorted(sources | spoken), sorted(targets | spoken)


def _tags(config: TrainConfig) -> str:
    chosen = config.vocabulary.tags
    if chosen != "auto":
        return chosen
    return "none" if len(_languages(config)[1]) == 1 else "source"


def _codec_of(config: TrainConfig, words: Words, encoder: PretrainedEncoder | None) -> TaggedCodec:
    sources, targets = _languages(config)
    shape = _shape_of(config.model, len(words.tokenizer), encoder)
    settings = TranslationSettings(
        source_langs=tuple(sources),
        target_langs=tuple(targets),
        tags=_tags(config),
        max_source=shape.max_pieces,
        max_target=shape.max_pieces,
    )
    return TaggedCodec(words.tokenizer, settings)


def _prepare_vocabulary(folder: Path, make: Callable[[], Words]) -> Words:
    """Make the vocabulary, or read what an earlier try of this run has made."""
    made = folder / "vocabulary"
    if not (made / "kept.json").is_file():
        words = make()
        with atomic_folder(made, marker="kept.json") as temporary:
            words.tokenizer.save_pretrained(temporary)
            (temporary / "kept.json").write_text(json.dumps(words.kept), encoding="utf-8")
    kept = json.loads((made / "kept.json").read_text(encoding="utf-8"))
    with quietly():
        tokenizer = transformers.AutoTokenizer.from_pretrained(made, local_files_only=True)
    return Words(tokenizer, kept)


def _their_vocabulary(config: TrainConfig, whole: PretrainedTranslator, data: Path) -> Words:
    """That of an encoder–decoder, or the part of it which the corpora use."""
    tokenizer, kept = whole.tokenizer, None
    if config.vocabulary.source == "encoder":
        texts, least = _texts(config, data), config.vocabulary.min_count
        tokenizer, kept = trim_tokenizer(whole, texts, min_count=least)
    own = [one.tag for one in config.data.corpora if one.tag is not None]
    if own:
        add_tags(tokenizer, list(dict.fromkeys(own)))
    return Words(tokenizer, kept)


def _make_vocabulary(config: TrainConfig, encoder: PretrainedEncoder | None, data: Path) -> Words:
    how = config.vocabulary
    kept: list[int] | None = None
    if _takes_encoders(config, encoder, data):
        assert encoder is not None
        trimmed = trim_vocabulary(encoder.tokenizer, _texts(config, data), min_count=how.min_count)
        tokenizer, kept = trimmed.tokenizer, trimmed.kept.tolist()
    else:
        tokenizer = train_vocabulary(_texts(config, data), size=how.size)
    own = [one.tag for one in config.data.corpora if one.tag is not None]
    tags = [tag_of(lang) for lang in _languages(config)[1]] if _tags(config) != "none" else []
    more = list(dict.fromkeys([*tags, *own]))
    if more:
        add_tags(tokenizer, more)
    return Words(tokenizer, kept)


def _takes_encoders(config: TrainConfig, encoder: PretrainedEncoder | None, data: Path) -> bool:
    """Whether the vocabulary is the encoder's: only if decoding gives text back."""
    chosen = config.vocabulary.source
    if encoder is None or chosen == "corpus":
        return False
    share = gives_back(encoder.tokenizer, _texts(config, data))
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


def _texts(config: TrainConfig, data: Path) -> Iterator[str]:
    """The sentences that the vocabulary is made for: all that is learned from, and more text."""
    for corpus in config.data.corpora:
        yield from chain.from_iterable(islice(read_pairs(corpus, data), corpus.first))
    for text in config.data.monolingual:
        yield from read_text(text, data)
    for name in config.vocabulary.text:
        for line in read_sentences(data / name):
            yield from line.split("\t")


def _write_json(path: Path, what: Any) -> None:
    with atomic_write(path) as file:
        json.dump(what, file, indent=1)
