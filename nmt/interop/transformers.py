"""A plain checkpoint folder in another precision."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from bitext.errors import UnknownNameError, choose_from
from bitext.text import atomic_folder
from encoders.checkpoint import quietly
from encoders.training.run import writing
from nmt.network.model import TranslationCheckpoint

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def export_transformers(
    checkpoint: TranslationCheckpoint, output: str | Path, *, dtype: str = "float32"
) -> None:
    """Write a folder for ``AutoModelForSeq2SeqLM`` and ``AutoTokenizer``, and for bitext itself.

    :param checkpoint: its model is changed to the precision.
    :raises UnknownNameError: if there is no such precision.
    :raises InputError: if the folder cannot be written.
    """
    if dtype not in DTYPES:
        raise UnknownNameError(choose_from("dtype", dtype, DTYPES))
    with atomic_folder(output, marker="config.json") as folder, quietly(), writing(Path(output)):
        checkpoint.model.to(DTYPES[dtype]).save_pretrained(folder)
        for path in sorted(checkpoint.folder.iterdir()):
            kept = path.is_file() and ".safetensors" not in path.name
            if kept and not (folder / path.name).exists() and path.suffix != ".bin":
                shutil.copyfile(path, folder / path.name)
        for path in folder.iterdir():
            path.chmod(0o644)  # safetensors writes for the owner's eyes only
