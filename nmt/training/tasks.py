"""What a run learns from, and how each task of a stage makes batches of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitext.errors import InputError
from nmt.pieces.hub_codec import HubCodec
from nmt.pieces.sampling import SampledBatches, sampler_of
from nmt.pieces.tokenization import Codec, TaggedCodec
from nmt.training.batches import BatchSource, BitextBatches
from nmt.training.config import Denoise, Stage, TrainConfig
from nmt.training.data import Cleaning, EncodedBitext, encode_corpus
from nmt.training.denoising import DenoisingBatches
from nmt.training.monolingual import EncodedText, encode_text, joined, word_starts
from nmt.training.online import OnlineBackTranslation


@dataclass(frozen=True, slots=True)
class Learned:
    """The encoded text of a run."""

    codec: TaggedCodec | HubCodec
    pairs: list[list[tuple[str, str]]]  # of each corpus, as text
    bitext: list[EncodedBitext]
    monolingual: list[EncodedText]
    cleaning: list[Cleaning]


def read_learned(config: TrainConfig, codec: TaggedCodec | HubCodec, data: Path) -> Learned:
    """Read and encode all that the run trains on.

    :raises InputError: if something cannot be read, or nothing of it is left.
    """
    kept: list[list[tuple[str, str]]] = [[] for _ in config.data.corpora]
    pairs = [
        encode_corpus(one, config.data, codec, data, texts=own)
        for one, own in zip(config.data.corpora, kept, strict=True)
    ]
    texts = [encode_text(one, config.data, codec, data) for one in config.data.monolingual]
    cleaning = [*(said for _, said in pairs), *(said for _, said in texts)]
    return Learned(codec, kept, [one for one, _ in pairs], [one for one, _ in texts], cleaning)


def sources_of(stage: Stage, learned: Learned, config: TrainConfig) -> dict[str, BatchSource]:
    """Where the batches of each task of a stage come from."""
    codec, tasks = learned.codec, stage.tasks
    sources: dict[str, BatchSource] = {}
    if tasks.translate is not None:
        sources["translate"] = translation(learned, config)
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


def translation(learned: Learned, config: TrainConfig) -> BatchSource:
    """Bitext in its best segmentations, or in such as are drawn anew in each round."""
    codec, temperature = learned.codec, config.data.temperature
    sampler = sampler_of(codec.tokenizer, config.vocabulary)
    if sampler is None:
        return BitextBatches(
            learned.bitext, pad=codec.pad, seed=config.seed, temperature=temperature
        )
    most = config.data.max_pieces
    return SampledBatches(
        learned.bitext,
        learned.pairs,
        [
            codec.around(one.source_lang, one.target_lang, tag=named.tag)
            for one, named in zip(learned.bitext, config.data.corpora, strict=True)
        ],
        [codec.frame(one.target_lang) for one in learned.bitext],
        sampler,
        pad=codec.pad,
        seed=config.seed,
        longest=(min(most, codec.max_source), min(most, codec.max_target)),
        temperature=temperature,
    )


def room(text: EncodedText, codec: Codec) -> int:
    """How many pieces of text the model takes and writes, beside its special ones."""
    framed = len(text.frame.before) + len(text.frame.after)
    return min(codec.max_source - len(text.around.put([])), codec.max_target - framed)


def denoising(task: Denoise, learned: Learned, config: TrainConfig) -> DenoisingBatches:
    """Noisy copies of the monolingual text.

    :raises InputError: if the vocabulary has no piece for what is hidden.
    """
    codec, texts = learned.codec, learned.monolingual
    if codec.tokenizer.mask_token_id is None:
        raise InputError("the task denoise needs a tokenizer with a mask, and this one has none")
    if task.join_pieces:
        texts = [joined(text, min(task.join_pieces, room(text, codec))) for text in texts]
    return DenoisingBatches(
        texts,
        task.noise,
        starts=word_starts(codec.tokenizer),
        mask=int(codec.tokenizer.mask_token_id),
        pad=codec.pad,
        seed=config.seed,
        temperature=config.data.temperature,
    )
