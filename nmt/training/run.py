"""The folder of a training run: its log, its last checkpoint, and the best weights so far."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

import torch

from bitext.text import sync_folder
from encoders.training.run import RunFolder, Tensors, load_tensors, save_tensors, writing


class TrainingFolder(RunFolder):
    """A run folder that keeps several weights beside the checkpoint."""

    def keep(self, name: str, weights: Tensors) -> None:
        """Keep weights under a name; they are there whole or not at all.

        :raises InputError: if they cannot be written.
        """
        folder = self._kept
        with writing(folder):
            folder.mkdir(exist_ok=True)
        temporary = folder / f".{name}.tmp"
        save_tensors(weights, temporary)
        with writing(folder):
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(folder / f"{name}.safetensors")
            sync_folder(folder)

    def load_kept(self, name: str, device: torch.device) -> Tensors:
        return load_tensors(self._kept / f"{name}.safetensors", device)

    def forget_kept(self, but: Collection[str]) -> None:
        """Remove all kept weights but these."""
        for path in self._kept.glob("*"):
            if path.name.removesuffix(".safetensors") not in but:
                path.unlink(missing_ok=True)

    @property
    def _kept(self) -> Path:
        return self.path / "kept"
