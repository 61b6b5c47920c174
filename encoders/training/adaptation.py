"""Adaptation of any checkpoint to bilingual work: all of it, parts of it, or low-rank additions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from bitext.bounds import Layer, Size, Weight
from bitext.errors import InputError
from bitext.text import read_sentences
from encoders.checkpoint import find_device, load_for_training
from encoders.encoder import Encoder
from encoders.hub import find_folder, fingerprint
from encoders.languages.adapters import LanguageAdapter, save_adapter
from encoders.languages.addition import LanguageSettings, add_language
from encoders.languages.factorisation import FactorisedEmbedding, merge
from encoders.layers import find_blocks
from encoders.objectives.network import Network
from encoders.objectives.objective import Share
from encoders.preset import PRESET_FILE, Preset, read_preset
from encoders.strict import Strict, read_toml
from encoders.training import processes
from encoders.training.batches import ReplayedCorpus, TrainingCorpus
from encoders.training.corpus import find_corpora, find_monolingual
from encoders.training.preparation import Streams, find_text, forget_loading, prepare_streams
from encoders.training.pretraining import save_model
from encoders.training.recipe import Training, check_layers, check_lengths
from encoders.training.run import RunFolder, forgotten_unless_begun
from encoders.training.trainer import Trainer
from encoders.training.validation import calibrated_preset, dev_measure, encoder_of


class LoraSettings(Strict):
    """Low-rank additions (Hu et al., 2022) to the blocks' matrices, merged into them at the end."""

    rank: Size = 8
    alpha: Weight = 16.0  # the additions are scaled by alpha / rank
    dropout: float = Field(0.0, ge=0, lt=1)
    matrices: Literal["attention", "all"] = "all"


class TuneSettings(Strict):
    """Which weights move."""

    method: Literal["full", "lora"] = "full"
    embeddings: bool = True  # whether word embeddings move; never with lora
    # first and last block that moves, from 1; default: all
    layers: tuple[Layer, Layer] | None = None
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
    language: LanguageSettings | None = None  # one that the model does not know yet

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

    As :func:`encoders.training.pretraining.pretrain`, a stopped run goes on from ``output/run``.

    :param name: of the model: a folder or a hub name.
    :param data: the folder that the names of text in ``settings`` are relative to.
    :return: ``output/model``.
    :raises InputError: if text cannot be found or read, the disk is full, or the model's
        vocabulary and embeddings do not belong together.
    :raises MismatchError: if ``output`` holds a run of other settings or of another model.
    """
    place = find_device(device)
    folder = find_folder(name, revision)
    _find_text(settings, data)
    teacher = None if settings.teacher is None else _load_teacher(settings.teacher, device)
    model, tokenizer, dtype = load_for_training(name, revision, seed=settings.seed)
    forget_loading(tokenizer)
    with forgotten_unless_begun(output), processes.together(place):
        with processes.one_after_the_other():
            run = RunFolder(output, settings, also=f"\n{name}@{fingerprint(folder)}\n")
            tokenizer, additions = _add_language(model, tokenizer, settings, data, run.path)
            network = Network(
                model.to(place),
                tokenizer,
                teacher=teacher,
                preset=_preset(folder, settings),
                additions=additions,
            )
            check_layers(settings, network.layers)
            _check_room(settings, network)
            streams = _prepare(settings, network, data, run.path)
        choose_trained(network, settings.tune)
        measure = dev_measure(settings.dev, data, network)
        Trainer(network, streams, settings, run, measure=measure, progress=progress).fit()
        if processes.rank() == 0:
            network.preset = calibrated_preset(settings.dev, data, network)
            _save(network, output / "model", dtype)
    return output / "model"


def _find_text(settings: Adaptation, data: Path) -> None:
    """:raises InputError: if text that the settings name is not there."""
    find_text(settings, data)
    if settings.replay is not None:
        find_corpora(settings.replay.corpora, data)
    if settings.language is not None:
        find_monolingual(settings.language.text, data)


def _load_teacher(name: str, device: str) -> Encoder:
    from encoders.registry import default_registry

    return default_registry().encoder(name, device=device)


def _add_language(
    model: Any, tokenizer: Any, settings: Adaptation, data: Path, folder: Path
) -> tuple[Any, dict[str, nn.Module]]:
    """The tokenizer with the pieces of a new language, and what is trained beside the model."""
    language = settings.language
    if language is None:
        return tokenizer, {}
    files = find_monolingual(language.text, data)

    def sentences() -> Iterator[str]:
        for file in files:
            yield from read_sentences(file.path)

    tokenizer, adapter = add_language(
        model, tokenizer, language, sentences, folder, seed=settings.seed
    )
    return tokenizer, {} if adapter is None else {"adapter": adapter}


def _preset(folder: Path, settings: Adaptation) -> Preset:
    """What the source model's preset says, and what the new language adds."""
    preset = read_preset(folder)
    language = settings.language
    if language is None or language.transliterate is None:
        return preset
    return preset.model_copy(update={"transliterate": language.transliterate})


def _check_room(settings: Adaptation, network: Network) -> None:
    try:
        check_lengths(settings, encoder_of(network).max_pieces + 2, "the model's positions,")
    except ValueError as error:
        raise InputError(str(error)) from None


def _prepare(settings: Adaptation, network: Network, data: Path, folder: Path) -> Streams:
    how = {"transliterate": network.preset.transliterate}
    streams = prepare_streams(settings, network.tokenizer, data, folder, **how)
    if settings.replay is None:
        return streams
    there = folder / "replay"
    there.mkdir(exist_ok=True)
    changed = {"corpora": settings.replay.corpora, "monolingual": [], "gold": []}
    old = prepare_streams(
        settings.model_copy(update=changed), network.tokenizer, data, there, **how
    )
    assert isinstance(streams.pairs, TrainingCorpus)
    assert isinstance(old.pairs, TrainingCorpus)
    mixed = ReplayedCorpus(streams.pairs, old.pairs, settings.replay.share, settings.seed)
    return replace(streams, pairs=mixed)


def _save(network: Network, folder: Path, dtype: torch.dtype) -> None:
    """Save the model, whatever it was trained by, as an ordinary one, and its adapter beside it."""
    model = network.model
    adapters = [one for one in network.additions.values() if isinstance(one, LanguageAdapter)]
    for adapter in adapters:
        adapter.remove()
    merge_lora(model)
    if isinstance(model.get_input_embeddings(), FactorisedEmbedding):
        merge(model)
    said = network.preset.model_dump(exclude_unset=True)

    def beside(new: Path) -> None:
        if said:
            (new / PRESET_FILE).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        for adapter in adapters:
            save_adapter(adapter, new)

    save_model(model, network.tokenizer, folder, dtype=dtype, beside=beside)


def choose_trained(network: Network, tune: TuneSettings) -> None:
    """Let those weights move that ``tune`` names, and no others.

    :raises InputError: if it names blocks that the model does not have.
    """
    stack = find_blocks(network.encoder, network.layers)
    first, last = (1, len(stack)) if tune.layers is None else tune.layers
    if not 1 <= first <= last <= len(stack):
        raise InputError(
            f"tune.layers: expected the first and the last of the blocks 1 to {len(stack)}, "
            f"got {first} and {last}"
        )
    chosen = stack[first - 1 : last]
    if "adapter" in network.additions:  # it learns the language, the model stays what it is
        network.model.requires_grad_(False)
        return
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
