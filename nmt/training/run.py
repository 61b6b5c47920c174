"""The folder of a training run: its log, its last checkpoint, and the best weights so far."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

import torch

from bitext.errors import MismatchError
from bitext.text import atomic_write, sync_folder
from encoders.training import processes
from encoders.training.run import RunFolder, Tensors, load_tensors, save_tensors, writing

Kept = list[tuple[float, str]]
"""Weights that are kept: what was measured of them, larger is better, and their name."""


class TrainingFolder(RunFolder):
    """A run folder that keeps several weights beside the checkpoint."""

    def claim_text(self, fingerprint: str) -> None:
        """:raises MismatchError: if the run was begun with other text."""
        path = self.path / "text.json"
        if not path.is_file():
            if processes.rank() == 0:
                with atomic_write(path) as file:
                    json.dump({"fingerprint": fingerprint}, file)
        elif json.loads(path.read_text(encoding="utf-8"))["fingerprint"] != fingerprint:
            raise MismatchError(
                f"{self.path} holds a run on other text: a file has changed since; bring it back, "
                "or choose another output folder"
            )

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
