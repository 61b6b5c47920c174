"""Pretraining of a multilingual encoder with a mix of objectives, resumable at any moment."""

from __future__ import annotations

import json
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from bitext.errors import InputError, MismatchError, UnknownNameError, choose_from
from bitext.progress import report_progress
from bitext.text import atomic_folder, atomic_write
from encoders.checkpoint import DTYPES, find_device, quietly
from encoders.corpus import Batch, TrainingCorpus, find_corpora
from encoders.layers import LayerTap
from encoders.objectives import OBJECTIVES, READS, READS_PAIRS
from encoders.objectives.step import SpecialPieces, Step
from encoders.preparation import prepare_corpus, prepare_tokenizer, prepare_vectors
from encoders.recipe import ModelSettings, Recipe, Stage

logger = logging.getLogger(__name__)

WEIGHT_DECAY = 0.01
CLIP = 1.0
LOG_STEPS = 20
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
    :raises InputError: if the corpora cannot be found or read.
    :raises MismatchError: if ``output`` holds a run of another recipe.
    """
    check_objectives(recipe)
    place = find_device(device)
    files = find_corpora(recipe.corpora, data)
    folder = _claim(output, recipe)
    tokenizer = prepare_tokenizer(recipe, files, folder)
    corpus = prepare_corpus(recipe, files, tokenizer, folder)
    model = build_model(recipe.model, tokenizer, recipe.seed)
    start_from(model, prepare_vectors(recipe, corpus, folder))
    if not (output / "start" / "config.json").is_file():
        save_model(model, tokenizer, output / "start")
    trainer = Trainer(model.to(place), tokenizer, corpus, recipe, folder, progress)
    trainer.fit()
    save_model(model, tokenizer, output / "model")
    return output / "model"


def check_objectives(recipe: Recipe) -> None:
    """:raises UnknownNameError: if a stage names an objective or layer that does not exist."""
    for stage in recipe.stages:
        for name, settings in stage.objectives.items():
            if name not in OBJECTIVES:
                raise UnknownNameError(
                    f"stage '{stage.name}': {choose_from('objective', name, OBJECTIVES)}"
                )
            if unread := settings.model_fields_set - READS[name]:
                raise UnknownNameError(
                    f"stage '{stage.name}': objective '{name}' does not read '{min(unread)}'; it "
                    f"reads {', '.join(sorted(READS[name]))}"
                )
            if settings.layer is not None and settings.layer > recipe.model.layers:
                raise UnknownNameError(
                    f"stage '{stage.name}': objective '{name}' names layer {settings.layer}, "
                    f"and the model has 0 to {recipe.model.layers}"
                )


def _claim(output: Path, recipe: Recipe) -> Path:
    """Make ``output/run`` this recipe's own, or see that it already is.

    :raises InputError: if ``output`` holds folders of somebody else, which would be replaced.
    """
    for name in ("start", "model"):
        there = output / name
        if there.is_dir() and any(there.iterdir()) and not (there / "config.json").is_file():
            raise InputError(f"will not replace {there}: it is not a checkpoint")
    folder = output / "run"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from None
    for left_by_a_kill in folder.glob(".*.tmp"):
        shutil.rmtree(left_by_a_kill, ignore_errors=True)
    path = folder / "recipe.json"
    written = recipe.model_dump_json(indent=1)
    if not path.is_file():
        with atomic_write(path) as file:
            file.write(written)
    elif path.read_text(encoding="utf-8") != written:
        raise MismatchError(
            f"{folder} holds a run of another recipe; choose another output folder or remove it"
        )
    return folder


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


def sinusoids(positions: int, dim: int) -> torch.Tensor:
    """Sine and cosine of each position at ``dim / 2`` wavelengths (Vaswani et al., 2017).

    Near positions have similar vectors, which gives words of the same place in two sentences a
    head start. Shape (positions, dim).
    """
    wavelengths = 10000 ** (torch.arange(0, dim, 2) / dim)
    angles = torch.arange(positions)[:, None] / wavelengths
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(positions, -1)[:, :dim]


def save_model(model: Any, tokenizer: Any, folder: Path) -> None:
    """Save as an ordinary ``transformers`` folder, weights in half precision."""
    with atomic_folder(folder, marker="config.json") as temporary, quietly():
        halves: dict[int, torch.Tensor] = {}  # tied weights stay one tensor, written once
        weights = {
            name: halves.setdefault(tensor.data_ptr(), tensor.half())
            for name, tensor in model.state_dict().items()
        }
        model.save_pretrained(temporary, state_dict=weights)
        tokenizer.save_pretrained(temporary)
        for path in temporary.iterdir():
            path.chmod(0o644)  # safetensors writes for the owner's eyes only


class Trainer:
    """Runs the stages of a recipe over a corpus."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        corpus: TrainingCorpus,
        recipe: Recipe,
        folder: Path,
        progress: bool | None = None,
    ) -> None:
        self.model = model
        self.corpus = corpus
        self.recipe = recipe
        self.folder = folder
        self.progress = progress
        self.device = next(model.parameters()).device
        self.tap = LayerTap(model.base_model)
        self.special = SpecialPieces(
            begin=tokenizer.bos_token_id,
            pad=tokenizer.pad_token_id,
            end=tokenizer.eos_token_id,
            mask=tokenizer.mask_token_id,
            vocabulary=len(tokenizer),
        )
        self._losses: dict[str, list[float]] = {}

    def fit(self) -> None:
        """Train through all stages, from the last checkpoint if there is one."""
        first, done, moments = self._resume()
        self.model.train()
        for number, stage in enumerate(self.recipe.stages):
            if number < first:
                continue
            self._run(number, stage, done if number == first else 0, moments)
            moments = {}

    def _run(self, number: int, stage: Stage, done: int, moments: dict[str, torch.Tensor]) -> None:
        optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=stage.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        _restore(optimizer, self.model, moments)
        batches = self.corpus.batches(
            alpha=stage.alpha,
            tokens=stage.batch_tokens,
            join=stage.join_pieces,
            stage=number,
            start=done,
        )
        began = time.monotonic()
        pieces = 0
        with report_progress(stage.name, stage.steps, show=self.progress) as advance:
            advance(done)
            for step, batch in zip(range(done, stage.steps), batches, strict=False):
                for group in optimizer.param_groups:
                    group["lr"] = stage.learning_rate * _schedule(step, stage)
                self._step(number, stage, step, batch, optimizer)
                advance(1)
                pieces += int((batch.source >= 0).sum() + (batch.target >= 0).sum())
                last = step + 1 == stage.steps
                if last or (step + 1) % LOG_STEPS == 0:
                    self._log(stage, step + 1, pieces / (time.monotonic() - began))
                if last or (step + 1) % self.recipe.checkpoint_steps == 0:
                    self._save(number, step + 1, optimizer)

    def _step(
        self, number: int, stage: Stage, step: int, batch: Batch, optimizer: torch.optim.Optimizer
    ) -> None:
        seed = int(np.random.SeedSequence((self.recipe.seed, number, step)).generate_state(1)[0])
        torch.manual_seed(seed)  # dropout of a resumed run is that of an uninterrupted one
        top = self.recipe.model.layers
        active = {
            name: (settings, top if settings.layer is None else settings.layer)
            for name, settings in stage.objectives.items()
            if step % settings.every == 0
        }
        view = Step(
            batch=batch,
            model=self.model,
            tap=self.tap,
            special=self.special,
            generator=torch.Generator().manual_seed(seed),
            layers=frozenset(layer for n, (_, layer) in active.items() if n in READS_PAIRS),
            device=self.device,
            precision=DTYPES[stage.precision],
        )
        losses = {name: OBJECTIVES[name](view, *chosen) for name, chosen in active.items()}
        if not losses:
            return
        total = sum(active[name][0].weight * loss for name, loss in losses.items())
        assert isinstance(total, torch.Tensor)
        if not torch.isfinite(total):
            raise FloatingPointError(f"stage '{stage.name}', step {step}: the loss is {total}")
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        optimizer.step()
        for name, loss in losses.items():
            self._losses.setdefault(name, []).append(float(loss.detach()))

    def _log(self, stage: Stage, step: int, rate: float) -> None:
        means = {name: sum(values) / len(values) for name, values in self._losses.items()}
        self._losses.clear()
        means["pieces/s"] = rate
        line = {"stage": stage.name, "step": step, **{k: round(v, 4) for k, v in means.items()}}
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")

    def _save(self, stage: int, step: int, optimizer: torch.optim.Optimizer) -> None:
        with atomic_folder(self.folder / "checkpoint", marker="place.json") as temporary:
            tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
            for name, parameter in self.model.named_parameters():
                for moment, tensor in optimizer.state.get(parameter, {}).items():
                    tensors[f"{moment}.{name}"] = tensor
            # tied tensors share their storage, which safetensors refuses
            unique = {k: v.detach().clone().contiguous() for k, v in tensors.items()}
            save_file(unique, temporary / "state.safetensors")
            place = {"stage": stage, "step": step}
            (temporary / "place.json").write_text(json.dumps(place), encoding="utf-8")

    def _resume(self) -> tuple[int, int, dict[str, torch.Tensor]]:
        """Stage and steps done, and the optimizer's moments by name."""
        folder = self.folder / "checkpoint"
        if not (folder / "place.json").is_file():
            return 0, 0, {}
        place = json.loads((folder / "place.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "state.safetensors", device=str(self.device))
        own = {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
        self.model.load_state_dict(own)
        self._forget_log_after(place["stage"], place["step"])
        logger.info("going on from stage %d, step %d", place["stage"] + 1, place["step"])
        moments = {k: v for k, v in tensors.items() if not k.startswith("model.")}
        return place["stage"], place["step"], moments

    def _forget_log_after(self, stage: int, step: int) -> None:
        """The steps after the checkpoint are done, and logged, again."""
        path = self.folder / "log.jsonl"
        if not path.is_file():
            return
        order = {one.name: number for number, one in enumerate(self.recipe.stages)}
        with atomic_write(path) as kept:
            for line in path.read_text(encoding="utf-8").splitlines():
                said = json.loads(line)
                if (order[said["stage"]], said["step"]) <= (stage, step):
                    kept.write(line + "\n")


def _restore(
    optimizer: torch.optim.Optimizer, model: Any, moments: dict[str, torch.Tensor]
) -> None:
    for name, parameter in model.named_parameters():
        if f"step.{name}" in moments:
            optimizer.state[parameter] = {
                moment: moments[f"{moment}.{name}"] for moment in ("step", "exp_avg", "exp_avg_sq")
            }


def _schedule(step: int, stage: Stage) -> float:
    """Linear warm-up, then linear decay to nothing."""
    if step < stage.warmup_steps:
        return (step + 1) / stage.warmup_steps
    return max(0.0, (stage.steps - step) / max(1, stage.steps - stage.warmup_steps))
