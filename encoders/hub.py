"""Where checkpoints lie on this machine, and fetching them. No torch: a wrong name shows at once.

A name is looked for as a folder and in the local cache of the hub. The network is used by
:func:`download` alone, so that a service that meets a slow one does not wait for the hub client's
retries.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import scan_cache_dir, snapshot_download
from huggingface_hub.errors import CacheNotFound, HFValidationError, LocalEntryNotFoundError

from bitext.errors import InputError, ModelNotFoundError
from encoders.preset import BUNDLED, PRESET_FILE, read_preset

FINGERPRINTED = (".json", ".safetensors", ".model", ".txt", ".bpe")
# what a checkpoint folder may hold that loading needs; never pickled weights
_NEEDED_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.bpe"]


def find_folder(name: str, revision: str | None = None) -> Path:
    """The folder that holds checkpoint ``name`` on this machine.

    :raises ModelNotFoundError: if there is none; the sentence says how to get it.
    """
    if name == BUNDLED:
        return Path(__file__).parent / BUNDLED
    if _is_folder(name):
        folder = Path(name).expanduser()
        if not (folder / "config.json").is_file():
            raise InputError(f"{name}: a checkpoint folder needs a config.json, and it has none")
        return folder
    try:
        cached = Path(snapshot_download(name, revision=revision, local_files_only=True))
    except (HFValidationError, ValueError):
        raise ModelNotFoundError(
            f"model '{name[:100]}' is not a folder here, nor a name such as 'owner/model'"
        ) from None
    except LocalEntryNotFoundError:
        cached = None
    if cached is None or not _is_whole(cached):
        at = f" --revision {revision}" if revision else ""
        state = "neither a folder nor" if cached is None else "only in part"
        raise ModelNotFoundError(
            f"model '{name}' is {state} in the local cache; get it with: bitext download {name}{at}"
        )
    return cached


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):  # too long, nobody's home, a NUL
        return False


def _is_whole(folder: Path) -> bool:
    """An interrupted download leaves a folder without its weights."""
    return (folder / "config.json").is_file() and any(folder.glob("*.safetensors"))


def download(name: str, revision: str | None = None) -> Path:
    """Fetch a checkpoint from the hub into the local cache.

    :raises ModelNotFoundError: if the hub cannot be reached or has no such model.
    """
    if name == BUNDLED:
        return find_folder(name)
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_NEEDED_FILES))
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelNotFoundError(f"model '{name}' could not be downloaded: {reason}") from error


class LocalModel(NamedTuple):
    """A checkpoint on this machine."""

    name: str
    revision: str | None
    bytes: int
    folder: Path


def local_models() -> list[LocalModel]:
    """The bundled checkpoint, and the hub cache's checkpoints that have safetensors weights."""
    bundled = find_folder(BUNDLED)
    models = [LocalModel(BUNDLED, None, _size(bundled), bundled)]
    try:
        cached = [r for r in scan_cache_dir().repos if r.repo_type == "model"]
    except CacheNotFound:
        return models
    for repository in sorted(cached, key=lambda r: r.repo_id):
        for revision in sorted(repository.revisions, key=lambda r: r.commit_hash):
            if any(file.file_name.endswith(".safetensors") for file in revision.files):
                models.append(
                    LocalModel(
                        repository.repo_id,
                        revision.commit_hash,
                        revision.size_on_disk,
                        revision.snapshot_path,
                    )
                )
    return models


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def fingerprint(folder: Path) -> str:
    """Twelve hexadecimal digits of a checkpoint's weights, tokenizer and configuration.

    The preset's transliteration is a part too, for it changes every vector. Large files are
    sampled, 64 blocks each, so that this takes no time next to loading them: it tells models apart,
    it does not prove that one is whole.
    """
    digest = hashlib.sha256()
    if transliterate := read_preset(folder).transliterate:
        digest.update(f"transliterate:{transliterate}".encode())
    for path in sorted(folder.iterdir()):
        if path.name == PRESET_FILE or path.suffix not in FINGERPRINTED:
            continue
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            for start in range(0, size, max(4096, size // 64)):
                file.seek(start)
                digest.update(file.read(4096))
    return digest.hexdigest()[:12]
