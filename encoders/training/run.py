"""The folder of a training run: claimed by one recipe, with its log and its checkpoints."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from bitext.errors import BitextError, InputError, MismatchError
from bitext.text import atomic_folder, atomic_write
from encoders.training import processes

Tensors = dict[str, torch.Tensor]
Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class Place:
    """How far a run has come, and what early stopping has seen so far."""

    stage: int = 0
    step: int = 0  # steps of the stage that are done
    best: float | None = None  # of the dev measure, larger is better
    waited: int = 0  # measurements since then
    losses: dict[str, list[float]] = field(default_factory=dict)  # since the last line of the log
    scale: float = 0.0  # of the loss, in float16
    unscaled: int = 0  # steps since the scale changed


class RunFolder:
    """What a run leaves on disk while it goes on; nothing in it is ever half-written.

    :param output: the folder that the caller named; the run's own is ``output/run``.
    :param settings: what the run does: another run of the folder must have the very same.
    :raises InputError: if the folder cannot be made, or holds folders of somebody else, which
        would be replaced.
    :raises MismatchError: if it holds a run of other settings.
    """

    def __init__(self, output: Path, settings: BaseModel, *, also: str = "") -> None:
        for name in ("start", "model"):
            there = output / name
            if there.is_dir() and any(there.iterdir()) and not (there / "config.json").is_file():
                raise InputError(f"will not replace {there}: it is not a checkpoint")
        self.path = output / "run"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot write {self.path}: {error.strerror}") from None
        self._claim(settings.model_dump_json(indent=1) + also)

    def _claim(self, written: str) -> None:
        if processes.rank() == 0:
            self._tidy()
        path = self.path / "recipe.json"
        if not path.is_file():
            with atomic_write(path) as file:
                file.write(written)
        elif path.read_text(encoding="utf-8") != written:
            raise MismatchError(
                f"{self.path} holds a run of another recipe; choose another output folder or "
                "remove it"
            )

    def _tidy(self) -> None:
        """Remove what a kill has left half-written."""
        beside = [*self.path.parent.glob(".start.*.tmp"), *self.path.parent.glob(".model.*.tmp")]
        for left in [*self.path.glob(".*.tmp"), *beside]:
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)

    def save(self, place: Any, state: Tensors) -> None:
        """Write a checkpoint in the place of the last one.

        :raises InputError: if it cannot be written; the last one is whole then.
        """
        with atomic_folder(self.path / "checkpoint", marker="place.json") as temporary:
            save_tensors(state, temporary / "state.safetensors")
            with writing(self.path):
                (temporary / "place.json").write_text(json.dumps(asdict(place)), encoding="utf-8")

    def load(self, device: torch.device, kind: type[Kind]) -> tuple[Kind, Tensors] | None:
        """The last checkpoint, if there is one.

        :param kind: the dataclass that was saved as its place.
        :raises InputError: if it is damaged.
        """
        folder = self.path / "checkpoint"
        if not (folder / "place.json").is_file():
            return None
        path = folder / "place.json"
        try:
            place = kind(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise _damaged(path, error) from None
        return place, load_tensors(folder / "state.safetensors", device)

    def save_best(self, weights: Tensors) -> None:
        """Keep the weights that did best on the dev data."""
        with atomic_folder(self.path / "best", marker="state.safetensors") as temporary:
            save_tensors(weights, temporary / "state.safetensors")

    def load_best(self, device: torch.device) -> Tensors:
        return load_tensors(self.path / "best" / "state.safetensors", device)


@contextmanager
def forgotten_unless_begun(output: Path) -> Iterator[None]:
    """Take away what the block has made in ``output`` if it fails before its first checkpoint.

    What was wrong with the settings or the text can then be put right, and the same command given
    again. A run that was there before the block is left alone.
    """
    run, was_there = output / "run", (output / "run").exists()
    try:
        yield
    except BitextError:
        if processes.rank() == 0 and not was_there and not (run / "checkpoint").exists():
            for folder in (run, output / "start"):
                shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                output.rmdir()
        raise


def save_tensors(tensors: Tensors, path: Path) -> None:
    """Write tensors; tied ones, which share their storage, are written each for itself.

    :raises InputError: if the disk is full or the folder may not be written.
    """
    apart = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    with writing(path.parent.parent):
        save_file(apart, path)


def load_tensors(path: Path, device: torch.device) -> Tensors:
    """Read what :func:`save_tensors` wrote.

    :raises InputError: if it is missing or damaged.
    """
    try:
        return load_file(path, device=str(device))
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return InputError(
        f"cannot read {path}: {reason}; somebody has changed the run's folder: remove it, and the "
        "run begins anew"
    )


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Say in one sentence why something could not be written in ``folder``."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot write {folder}: {reason}") from None


class Log:
    """The run's figures: a JSON object a line, and TensorBoard events where they are wanted.

    :param tensorboard: also write events below ``folder/tensorboard``.
    :raises InputError: if TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, *, tensorboard: bool) -> None:
        self.path = folder / "log.jsonl"
        self._folder = folder / "tensorboard"
        self._events: Any = _event_writer(self._folder) if tensorboard else None

    def write(self, stage: str, step: int, figures: dict[str, float], at: int) -> None:
        """Add one line.

        :param at: steps of all stages so far, TensorBoard's axis.
        """
        rounded = {name: round(value, 6) for name, value in figures.items()}
        with writing(self.path), self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"stage": stage, "step": step, **rounded}) + "\n")
        if self._events is not None:
            for name, value in figures.items():
                self._events.add_scalar(name, value, at)
            self._events.flush()

    def forget_after(
        self, stage: int, step: int, stages: list[str], before: int, *, ending: str | None = None
    ) -> None:
        """Drop the lines of steps beyond a checkpoint, which are done, and logged, again.

        :param before: steps of the stages before that one.
        :param ending: what the names of figures begin with that are logged once a stage has ended,
            which the stage of a checkpoint has not.
        """
        if self._events is not None:
            self._events.close()
            self._events = _event_writer(self._folder, forget_from=before + step + 1)
        if not self.path.is_file():
            return
        order = {name: number for number, name in enumerate(stages)}
        with atomic_write(self.path) as kept:
            for line in self.path.read_text(encoding="utf-8").splitlines():
                try:
                    said = json.loads(line)
                except ValueError:  # the end of it was lost as the disk was full
                    continue
                ends = ending is not None and any(name.startswith(ending) for name in said)
                number = order[said["stage"]]
                if number < stage or (number == stage and said["step"] <= step and not ends):
                    kept.write(line + "\n")


def _event_writer(folder: Path, forget_from: int | None = None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError(
            "tensorboard = true needs TensorBoard: pip install 'bitext[tensorboard]'"
        ) from None
    return SummaryWriter(str(folder), purge_step=forget_from)
