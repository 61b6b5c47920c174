"""Pretraining of a multilingual encoder with a mix of objectives, resumable at any moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from bitext.text import atomic_folder
from encoders.checkpoint import find_device, quietly
from encoders.objectives.network import Network
from encoders.sinusoids import sinusoids
from encoders.training import processes
from encoders.training.batches import TrainingCorpus
from encoders.training.corpus import find_corpora
from encoders.training.preparation import (
    find_text,
    prepare_streams,
    prepare_tokenizer,
    prepare_vectors,
)
from encoders.training.recipe import ModelSettings, Recipe
from encoders.training.run import RunFolder, forgotten_unless_begun, writing
from encoders.training.trainer import Trainer
from encoders.training.validation import dev_measure

POSITION_SCALE = 0.5
"""Of the first position embeddings next to word embeddings of mean square 1."""


def pretrain(
    recipe: Recipe,
    *,
    data: Path,
    output: Path,
    device: str = "cpu",
    progress: bool | None = None,
) -> Path:
    """Train an encoder from nothing and save it as an ordinary checkpoint folder.

    Work in progress lies in ``output/run``: a run that was stopped, however it was, goes on from
    its last checkpoint, with the batches and the randomness it would have had. The model it began
    with, the static vectors alone, is kept in ``output/start``.

    :param data: the folder that the recipe's corpora are relative to.
    :param output: where the checkpoint folder ``model`` and the ``run`` folder are made.
    :param progress: draw a bar for each stage on stderr; by default only in a terminal.
    :return: the checkpoint folder.
    :raises InputError: if the corpora cannot be found or read, or the disk is full.
    :raises MismatchError: if ``output`` holds a run of another recipe.
    """
    place = find_device(device)
    find_text(recipe, data)
    files = find_corpora(recipe.corpora, data)
    with forgotten_unless_begun(output), processes.together(place):
        with processes.one_after_the_other():
            run = RunFolder(output, recipe)
            tokenizer = prepare_tokenizer(recipe, files, run.path)
            streams = prepare_streams(recipe, tokenizer, data, run.path)
            assert isinstance(streams.pairs, TrainingCorpus), "a recipe has parallel text"
            model = build_model(recipe.model, tokenizer, recipe.seed)
            start_from(model, prepare_vectors(recipe, streams.pairs, run.path))
            if not (output / "start" / "config.json").is_file():
                save_model(model, tokenizer, output / "start")
        network = Network(model.to(place), tokenizer)
        measure = dev_measure(recipe.dev, data, network)
        Trainer(network, streams, recipe, run, measure=measure, progress=progress).fit()
        if processes.rank() == 0:
            save_model(model, tokenizer, output / "model")
    return output / "model"


def build_model(settings: ModelSettings, tokenizer: Any, seed: int) -> Any:
    """An XLM-R of the given size whose blocks, at first, hand on what they get.

    The last matrix of each block's two halves starts at zero, so that training begins from the
    word vectors alone and every layer only adds to them.
    """
    config = transformers.XLMRobertaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.dim,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.feed_forward,
        max_position_embeddings=settings.max_pieces + tokenizer.pad_token_id + 1,
        hidden_dropout_prob=settings.dropout,
        attention_probs_dropout_prob=settings.dropout,
        type_vocab_size=1,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    model: Any = transformers.XLMRobertaForMaskedLM(config)
    with torch.no_grad():
        for layer in model.roberta.encoder.layer:
            layer.attention.output.dense.weight.zero_()
            layer.output.dense.weight.zero_()
        # the output matrix is the embeddings', which are large here: without this the first masked
        # predictions would be far too sure of themselves
        model.lm_head.layer_norm.weight.fill_(settings.dim**-0.5)
    return model


def start_from(model: Any, vectors: NDArray[np.float32]) -> None:
    """Take static vectors as word embeddings, scaled to a mean square of 1, and wavy positions.

    Pieces without a vector keep their random one.
    """
    embeddings = model.roberta.embeddings.word_embeddings.weight
    seen = np.flatnonzero(np.any(vectors != 0, axis=1))
    scaled = vectors[seen] / np.sqrt(np.mean(vectors[seen] ** 2))
    with torch.no_grad():
        embeddings[torch.from_numpy(seen)] = torch.from_numpy(scaled)
        model.roberta.embeddings.token_type_embeddings.weight.zero_()
        positions = model.roberta.embeddings.position_embeddings.weight
        positions.copy_(POSITION_SCALE * sinusoids(*positions.shape))


def save_model(
    model: Any,
    tokenizer: Any,
    folder: Path,
    *,
    dtype: torch.dtype = torch.float16,
    beside: Callable[[Path], None] | None = None,
) -> None:
    """Save as an ordinary ``transformers`` folder.

    :param dtype: of the weights on disk.
    :param beside: writes what else belongs into the folder.
    :raises InputError: if the disk is full, or ``folder`` holds something else.
    """
    with atomic_folder(folder, marker="config.json") as temporary, quietly():
        stored: dict[int, torch.Tensor] = {}  # tied weights stay one tensor, written once
        weights = {
            name: stored.setdefault(tensor.data_ptr(), tensor.to(dtype))
            for name, tensor in model.state_dict().items()
        }
        with writing(folder):
            model.save_pretrained(temporary, state_dict=weights)
            tokenizer.save_pretrained(temporary)
            if beside is not None:
                beside(temporary)
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors writes for the owner's eyes only
