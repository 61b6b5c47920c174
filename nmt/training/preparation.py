"""What training begins with: the network, its codec, and where its tensors came from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from nmt.network.finetune import check_translator, find_translator, start_from_translator
from nmt.network.fusion import begin_fused
from nmt.network.initialize import (
    SHARED,
    PretrainedEncoder,
    initialize,
    read_encoder,
    share_blocks,
)
from nmt.network.model import MAX_PIECES, Shape, build_network
from nmt.network.report import Report
from nmt.pieces.hub_codec import HubCodec
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings
from nmt.training.config import ModelSettings, TrainConfig
from nmt.training.languages import check_languages, languages_of, tags_of
from nmt.training.vocabulary import (
    Words,
    make_vocabulary,
    prepare_vocabulary,
    texts_of,
    their_vocabulary,
)

logger = logging.getLogger(__name__)


def prepare(
    config: TrainConfig, data: Path, folder: Path
) -> tuple[Any, TaggedCodec | HubCodec, Report]:
    """The network that training begins with, its codec, and where its tensors came from.

    :param folder: of the run, which keeps the vocabulary.
    """
    if config.fuse is not None:
        return begin_fused(config, config.fuse, texts_of(config, data))
    whole = find_translator(config.initialize)
    if whole is not None:
        check_translator(whole, config)
        words = prepare_vocabulary(folder, lambda: their_vocabulary(config, whole, data))
        return start_from_translator(
            whole, words.tokenizer, words.kept, config, languages_of(config)
        )
    check_languages(config)
    encoder = _encoder_of(config)
    words = prepare_vocabulary(folder, lambda: make_vocabulary(config, encoder, data))
    codec = _codec_of(config, words, encoder)
    model, report = _start(config, codec, words, encoder)
    return model, codec, report


def _start(
    config: TrainConfig, codec: TaggedCodec, words: Words, encoder: PretrainedEncoder | None
) -> tuple[Any, Report]:
    """The network that training begins with, and where its tensors came from."""
    shape = _shape_of(config.model, len(words.tokenizer), encoder)
    model = build_network(shape, codec, seed=config.seed)
    report = initialize(model, encoder, words.tokenizer, config.initialize, kept=words.kept)
    if config.initialize.shared:
        share_blocks(model)
        report.notes.append(SHARED)
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


def _codec_of(config: TrainConfig, words: Words, encoder: PretrainedEncoder | None) -> TaggedCodec:
    sources, targets = languages_of(config)
    shape = _shape_of(config.model, len(words.tokenizer), encoder)
    settings = TranslationSettings(
        source_langs=tuple(sources),
        target_langs=tuple(targets),
        tags=tags_of(config),
        max_source=shape.max_pieces,
        max_target=shape.max_pieces,
    )
    return TaggedCodec(words.tokenizer, settings)
