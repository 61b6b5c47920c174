"""Adaptation of any checkpoint to bilingual work: all of it, parts of it, or low-rank additions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import nn

from bitext.errors import InputError
from encoders import processes
from encoders.batches import ReplayedCorpus, TrainingCorpus
from encoders.checkpoint import find_device, load_for_training
from encoders.encoder import Encoder
from encoders.hub import find_folder, fingerprint
from encoders.layers import blocks
from encoders.objectives.network import Network
from encoders.objectives.objective import Positive, Share, Weight
from encoders.preparation import Streams, forget_loading, prepare_streams
from encoders.preset import PRESET_FILE
from encoders.recipe import Training, check_layers, check_lengths
from encoders.run import RunFolder
from encoders.strict import Strict, read_toml
from encoders.trainer import Trainer
from encoders.training import save_model
from encoders.validation import dev_measure


class LoraSettings(Strict):
    """Low-rank additions (Hu et al., 2022) to matrices of the blocks, merged into them at the end."""

    rank: Positive = 8
    alpha: Weight = 16.0  # the additions are scaled by alpha / rank
    dropout: float = Field(0.0, ge=0, lt=1)
    matrices: Literal["attention", "all"] = "all"


class TuneSettings(Strict):
    """Which weights move."""

    method: Literal["full", "lora"] = "full"
    embeddings: bool = True  # whether word embeddings move; never with lora
    layers: tuple[int, int] | None = None  # first and last block that moves, from 1; default: all
    lora: LoraSettings = LoraSettings()


class ReplaySettings(Strict):
    """Text of what the model knew already, mixed among the new."""

    corpora: list[str] = Field(min_length=1)
    share: Share = 0.25  # of the batches


class Adaptation(Training):
    """How a model is adapted."""

    tune: TuneSettings = TuneSettings()
    replay: ReplaySettings | None = None
    teacher: str | None = None  # a model to learn from: folder or hub name

    @model_validator(mode="after")
    def _fits_together(self) -> Adaptation:
        if self.replay is not None and not self.corpora:
            raise ValueError("replay: old text is mixed among new parallel text; name corpora")
        return self


def read_adaptation(path: str | Path) -> Adaptation:
    """Read the settings of :func:`adapt`.

    :raises InputError: if the file is missing, is not TOML, or has a key or value that is not
        allowed; the sentence names the key.
    """
    return read_toml(path, Adaptation)


def adapt(
    name: str,
    settings: Adaptation,
    *,
    data: Path,
    output: Path,
    revision: str | None = None,
    device: str = "cpu",
    progress: bool | None = None,
) -> Path:
    """Train a checkpoint further and save the result as an ordinary checkpoint folder.

    As :func:`encoders.training.pretrain`, it goes on from ``output/run`` where it was stopped.

    :param name: of the model: a folder or a hub name.
    :param data: the folder that the names of text in ``settings`` are relative to.
    :return: ``output/model``.
    :raises InputError: if text cannot be found or read, the disk is full, or the model's
        vocabulary and embeddings do not belong together.
    :raises MismatchError: if ``output`` holds a run of other settings or of another model.
    """
    place = find_device(device)
    folder = find_folder(name, revision)
    with processes.together(place):
        model, tokenizer, dtype = load_for_training(name, revision, seed=settings.seed)
        forget_loading(tokenizer)
        network = Network(model.to(place), tokenizer, teacher=_teacher(settings.teacher, device))
        check_layers(settings, network.layers)
        _check_room(settings, network)
        with processes.one_after_the_other():
            run = RunFolder(output, settings, also=f"\n{name}@{fingerprint(folder)}\n")
            streams = _streams(settings, tokenizer, data, run.path)
        choose_trained(network, settings.tune)
        measure = dev_measure(settings.dev, data, network)
        Trainer(network, streams, settings, run, measure=measure, progress=progress).fit()
        merge_lora(model)
        if processes.rank() == 0:
            save_model(model, tokenizer, output / "model", dtype=dtype, beside=folder / PRESET_FILE)
    return output / "model"


def _teacher(name: str | None, device: str) -> Encoder | None:
    from encoders.registry import default_registry

    return None if name is None else default_registry().encoder(name, device=device)


def _check_room(settings: Adaptation, network: Network) -> None:
    most = positions_of(network)
    try:
        check_lengths(settings, most, "the model's positions,")
    except ValueError as error:
        raise InputError(str(error)) from None


def positions_of(network: Network) -> int:
    """The longest input the model takes, special pieces included."""
    from encoders.validation import encoder_of

    encoder = encoder_of(network)
    return encoder.max_pieces + 2


def _streams(settings: Adaptation, tokenizer: Any, data: Path, folder: Path) -> Streams:
    streams = prepare_streams(settings, tokenizer, data, folder)
    if settings.replay is None:
        return streams
    there = folder / "replay"
    there.mkdir(exist_ok=True)
    changed = {"corpora": settings.replay.corpora, "monolingual": [], "gold": []}
    old = prepare_streams(settings.model_copy(update=changed), tokenizer, data, there)
    assert isinstance(streams.pairs, TrainingCorpus)
    assert isinstance(old.pairs, TrainingCorpus)
    mixed = ReplayedCorpus(streams.pairs, old.pairs, settings.replay.share, settings.seed)
    return replace(streams, pairs=mixed)


def choose_trained(network: Network, tune: TuneSettings) -> None:
    """Let those weights move that ``tune`` names, and no others.

    :raises InputError: if it names blocks that the model does not have.
    """
    stack = blocks(network.encoder, network.layers)
    first, last = (1, len(stack)) if tune.layers is None else tune.layers
    if not 1 <= first <= last <= len(stack):
        raise InputError(
            f"tune.layers: expected the first and the last of the blocks 1 to {len(stack)}, "
            f"got {first} and {last}"
        )
    chosen = stack[first - 1 : last]
    if tune.method == "lora":
        network.model.requires_grad_(False)
        add_lora(chosen, tune.lora)
        return
    if tune.layers is not None:
        for block in stack:
            block.requires_grad_(False)
        for block in chosen:
            block.requires_grad_(True)
    if not tune.embeddings:
        network.encoder.get_input_embeddings().requires_grad_(False)


def add_lora(chosen: list[nn.Module], settings: LoraSettings) -> None:
    """Put low-rank additions beside the matrices of ``chosen`` blocks.

    :raises InputError: if ``peft`` is not installed.
    """
    peft = _peft()
    for block in chosen:
        names = [n for n, module in block.named_modules() if isinstance(module, nn.Linear)]
        if settings.matrices == "attention":
            names = [n for n in names if "att" in n.lower()]
        config = peft.LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha,
            lora_dropout=settings.dropout,
            target_modules=names,
        )
        peft.inject_adapter_in_model(config, block)


def merge_lora(model: nn.Module) -> None:
    """Add what was learnt beside each matrix to it, and leave ordinary matrices."""
    from importlib.util import find_spec

    if find_spec("peft") is None:
        return
    from peft.tuners.lora import LoraLayer

    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LoraLayer):
                child.merge()
                setattr(parent, name, child.get_base_layer())


def _peft() -> Any:
    try:
        import peft
    except ImportError:
        raise InputError("tune.method 'lora' needs peft: pip install 'bitext[lora]'") from None
    return peft
