"""The beginning of a BERT-fused run: a trained model, warm, with new attention to an encoder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from bitext.errors import InputError
from encoders.registry import default_registry
from nmt.network.fused import Fusion, fuse
from nmt.network.initialize import Report
from nmt.network.model import TranslationCheckpoint, load_translation_checkpoint
from nmt.pieces.tokenization import TaggedCodec
from nmt.pieces.vocabulary import gives_back
from nmt.training.config import DROPOUTS, FuseSettings, TrainConfig

logger = logging.getLogger(__name__)

_LOSSLESS = 0.99
"""Share of sentences that pieces must give back: the frozen encoder reads what they spell."""
_MEBIBYTE = 2**20


def begin_fused(
    config: TrainConfig, how: FuseSettings, texts: Iterable[str]
) -> tuple[Any, TaggedCodec, Report]:
    """The model of ``initialize.model`` with new attention to a frozen encoder's features.

    :param texts: that it will be trained on, both sides.
    :return: the network, its codec, and where its tensors came from.
    :raises ModelNotFoundError: if model or encoder are not on this machine.
    :raises InputError: if the model is of another shape, or its pieces lose the text.
    :raises UnknownNameError: if the encoder has no such layer.
    """
    base = load_translation_checkpoint(
        str(config.initialize.model), revision=config.initialize.revision
    )
    codec = base.codec
    if not isinstance(codec, TaggedCodec):
        raise InputError(f"model '{config.initialize.model}' is not one of bitext's own shape")
    share = gives_back(codec.tokenizer, texts)
    if share < _LOSSLESS:
        raise InputError(
            f"model '{config.initialize.model}': its pieces give back only {share:.1%} of the "
            "sentences, and the frozen encoder reads what they spell; fuse a model whose "
            "vocabulary was made of the corpus"
        )
    asked = {name: getattr(config.model, name) for name in DROPOUTS & config.model.model_fields_set}
    network = fuse(base.model, _fusion_of(how), seed=config.seed, **asked)
    network.requires_grad_(True)
    network.read_with(codec.text, memory=how.memory * _MEBIBYTE)
    report = _report_of(network, base, config, how)
    logger.info("%s", report.summary())
    return network, codec, report


def _fusion_of(how: FuseSettings) -> Fusion:
    encoder = default_registry().encoder(how.encoder, revision=how.revision)
    layer = encoder.layers if how.layer is None else how.layer
    return Fusion(
        encoder=how.encoder,
        revision=how.revision,
        fingerprint=encoder.fingerprint,
        layer=encoder.check_layer(layer, "alignment"),
        dim=encoder.dim,
        drop_net=how.drop_net,
    )


def _report_of(
    network: Any, base: TranslationCheckpoint, config: TrainConfig, how: FuseSettings
) -> Report:
    report = Report(str(config.initialize.model), base.fingerprint)
    for name, _ in network.named_parameters():
        if ".fused." in name:
            report.add(name, "new")
        else:
            report.add(name, "copied", name)
    report.notes.append(f"attends to encoder '{how.encoder}', frozen, which is not in the folder")
    return report
