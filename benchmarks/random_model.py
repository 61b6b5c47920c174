"""Checkpoints of random weights, on which speed does not depend, and a vocabulary from text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SMALL: dict[str, int] = {
    "hidden_size": 64,
    "num_hidden_layers": 12,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 514,
}
MBERT: dict[str, int] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
    "vocab_size": 119547,
}
"""The shape of bert-base-multilingual-cased; the rows that a learnt vocabulary lacks are unused."""


def make_random_model(
    kind: str,
    lines: Iterable[str],
    folder: Path,
    *,
    size: Mapping[str, int] = SMALL,
    pieces: int = 4000,
    spread: float = 0.02,
) -> None:
    """Write a checkpoint with random weights (seed 0).

    :param kind: ``bert`` (WordPiece, cased) or ``xlmr``.
    :param lines: what the vocabulary of at most ``pieces`` is learnt from.
    :param spread: the standard deviation of the weights.
    """
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(0)
    if kind == "bert":
        learnt = tokenizers.BertWordPieceTokenizer(lowercase=False)
        learnt.train_from_iterator(lines, vocab_size=pieces, show_progress=False)
        learnt.save_model(str(folder))
        library: Any = transformers  # its types do not know the fast tokenizers
        tokenizer: Any = library.BertTokenizerFast(str(folder / "vocab.txt"), do_lower_case=False)
        configuration: Any = transformers.BertConfig
        architecture: Any = transformers.BertModel
    else:
        from encoders.training.vocabulary import train_vocabulary

        tokenizer = train_vocabulary(lines, size=pieces, min_character_count=1, max_pieces=512)
        configuration = transformers.XLMRobertaConfig
        architecture = transformers.XLMRobertaModel
    config = configuration(
        **{"vocab_size": len(tokenizer), **size},
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=spread,
    )
    architecture(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def make_random_translator(lines: Iterable[str], folder: Path) -> None:
    """Write an English-German translation model of two small layers, with random weights."""
    import torch

    from encoders.training.vocabulary import train_vocabulary
    from nmt.network.model import Shape, build_network, save_translation_checkpoint
    from nmt.pieces.tokenization import TaggedCodec, TranslationSettings

    tokenizer = train_vocabulary(lines, size=150, min_character_count=1, max_pieces=64)
    settings = TranslationSettings(
        source_langs=("en",), target_langs=("de",), max_source=64, max_target=64
    )
    codec = TaggedCodec(tokenizer, settings)
    shape = Shape(len(tokenizer), 16, 2, 32, encoder_layers=2, decoder_layers=2, max_pieces=64)
    torch.manual_seed(0)
    model = build_network(shape, codec, seed=1).eval()
    model.final_logits_bias[0, codec.end] = 3.0  # so that sentences end
    save_translation_checkpoint(folder, model, codec)
