"""What a run learns from, and how each task of a stage makes batches of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitext.errors import InputError
from nmt.batches import BatchSource, BitextBatches
from nmt.config import Denoise, Stage, TrainConfig
from nmt.data import Cleaning, EncodedBitext, encode_corpus
from nmt.denoising import DenoisingBatches
from nmt.monolingual import EncodedText, encode_text, joined, word_starts
from nmt.online import OnlineBackTranslation
from nmt.tokenization import TaggedCodec


@dataclass(frozen=True, slots=True)
class Learned:
    """The encoded text of a run."""

    codec: TaggedCodec
    bitext: list[EncodedBitext]
    monolingual: list[EncodedText]
    cleaning: list[Cleaning]


def read_learned(config: TrainConfig, codec: TaggedCodec, data: Path) -> Learned:
    """Read and encode all that the run trains on.

    :raises InputError: if something cannot be read, or nothing of it is left.
    """
    pairs = [encode_corpus(one, config.data, codec, data) for one in config.data.corpora]
    texts = [encode_text(one, config.data, codec, data) for one in config.data.monolingual]
    cleaning = [*(said for _, said in pairs), *(said for _, said in texts)]
    return Learned(codec, [one for one, _ in pairs], [one for one, _ in texts], cleaning)


def sources_of(stage: Stage, learned: Learned, config: TrainConfig) -> dict[str, BatchSource]:
    """Where the batches of each task of a stage come from."""
    codec, tasks = learned.codec, stage.tasks
    sources: dict[str, BatchSource] = {}
    if tasks.translate is not None:
        sources["translate"] = BitextBatches(
            learned.bitext,
            pad=codec.pad,
            seed=config.seed,
            temperature=config.data.temperature,
        )
    if tasks.denoise is not None:
        sources["denoise"] = denoising(tasks.denoise, learned, config)
    if tasks.back_translate is not None:
        special = codec.tokenizer.all_special_ids
        sources["back_translate"] = OnlineBackTranslation(
            learned.monolingual,
            codec,
            tasks.back_translate,
            seed=config.seed,
            temperature=config.data.temperature,
            forbidden=[int(one) for one in special if one != codec.end],
        )
    return sources


def denoising(task: Denoise, learned: Learned, config: TrainConfig) -> DenoisingBatches:
    """Noisy copies of the monolingual text.

    :raises InputError: if the vocabulary has no piece for what is hidden.
    """
    codec, texts = learned.codec, learned.monolingual
    if codec.tokenizer.mask_token_id is None:
        raise InputError("the task denoise needs a tokenizer with a mask, and this one has none")
    if task.join_pieces:
        edge = max(len(text.frame.around([])) for text in texts)
        most = min(task.join_pieces, codec.max_source - edge, codec.max_target - 3)
        texts = [joined(text, most, codec) for text in texts]
    return DenoisingBatches(
        texts,
        task.noise,
        starts=word_starts(codec.tokenizer),
        mask=int(codec.tokenizer.mask_token_id),
        pad=codec.pad,
        seed=config.seed,
        temperature=config.data.temperature,
    )
