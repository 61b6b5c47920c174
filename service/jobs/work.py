"""The folder of a job, what it may read, and the files that its commands are given.

lock             held by the process that works here; see keeper.py
log.txt          what the commands said, of all attempts
progress.jsonl   how far they are
steps            how many of them have ended well
inputs/          links to the files that the settings name
out/             what they make
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitext.errors import InputError, UnknownNameError, choose_from
from bitext.text import atomic_write
from encoders.preset import BUNDLED
from service.errors import UnknownJobError, UnknownUploadError
from service.jobs.tables import UploadRow
from service.settings import Settings

UPLOAD, INPUT, JOB = "upload:", "input:", "job:"
ID = re.compile(r"[0-9a-f]{16}")
_UNSAFE = re.compile(r"[^\w.+-]|^[.-]")


def link_name(name: str) -> str:
    """The name under which a job finds a file; how it ends tells what is in it."""
    return _UNSAFE.sub("_", name)[-100:]


class Work:
    """Where a job works. Made once when it is submitted, as a trial, and once when it runs.

    :param folder: ``None`` for a trial, which looks at everything and writes nothing.
    :param find: an upload by its id.
    """

    def __init__(
        self,
        settings: Settings,
        find: Callable[[str], UploadRow | None],
        folder: Path | None = None,
    ) -> None:
        self.service = settings
        self.uploads: set[str] = set()
        """Those that were named."""
        self._find = find
        self._folder = folder
        self._links = 0

    @property
    def is_trial(self) -> bool:
        return self._folder is None

    @property
    def folder(self) -> Path:
        return self._folder or Path("/nowhere")

    @property
    def inputs(self) -> Path:
        """What names of text are relative to."""
        return self.folder / "inputs"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    # --- files

    def file(self, given: str, field: str) -> str:
        """A file that the settings name, as a name below :attr:`inputs`.

        :param given: ``upload:ID`` or ``input:relative/path``.
        :raises InputError: if it is neither, or leads elsewhere.
        """
        return self._link(*self._source(given, field))

    def path(self, given: str, field: str) -> str:
        """The same, absolute."""
        return str(self.inputs / self.file(given, field))

    def stem(self, given: str, endings: tuple[str, ...], field: str) -> str:
        """Several files of one name, ``input:relative/stem`` without the endings."""
        if not given.startswith(INPUT):
            raise InputError(
                f"field '{field}': expected 'input:relative/stem', or an object of "
                f"{', '.join(endings)}, got '{given[:80]}'"
            )
        return self.together({end: f"{given}.{end}" for end in endings}, endings, field)

    def together(self, given: dict[str, str], endings: tuple[str, ...], field: str) -> str:
        """Several files that belong together, one for each of ``endings``; their stem."""
        if set(given) != set(endings):
            raise InputError(f"field '{field}': expected an object of {', '.join(endings)}")
        self._links += 1
        stem = f"{self._links}/text"
        for ending, name in given.items():
            self._make_link(self._source(name, f"{field}.{ending}")[0], f"{stem}.{ending}")
        return stem

    def write(self, name: str, content: Any) -> Path:
        """A settings file of the command."""
        path = self.folder / name
        if self._folder is not None:
            with atomic_write(path) as file:
                json.dump(content, file, ensure_ascii=False, indent=1)
        return path

    # --- models

    def model(self, given: str | None, field: str) -> str:
        """A model that the service allows, or ``job:ID``: the one that a job has trained.

        :raises UnknownNameError: if it is neither, or the job has left none.
        """
        names = (*self.service.model_names, BUNDLED)
        if given is None:
            return self.service.model
        if given.startswith(JOB):
            return str(self._trained(given.removeprefix(JOB), field))
        if given not in names:
            told = choose_from("model", given[:80], dict.fromkeys(names))
            raise UnknownNameError(f"field '{field}': {told}, or job:ID")
        return given

    # ---

    def _trained(self, id: str, field: str) -> Path:
        folder = self.service.jobs / id / "out" / "model"
        if not ID.fullmatch(id) or not (folder / "config.json").is_file():
            raise UnknownJobError(f"field '{field}': job '{id[:80]}' has left no model")
        return folder

    def _source(self, given: str, field: str) -> tuple[Path, str]:
        """Where a file lies, and its name."""
        if given.startswith(UPLOAD):
            return self._upload(given.removeprefix(UPLOAD), field)
        if given.startswith(INPUT):
            path = self._input(given.removeprefix(INPUT), field)
            if not _is_file(path):
                raise InputError(f"field '{field}': there is no file '{given[:80]}'")
            return path, path.name
        raise InputError(
            f"field '{field}': expected 'upload:ID' or 'input:relative/path', got '{given[:80]}'"
        )

    def _upload(self, id: str, field: str) -> tuple[Path, str]:
        found = self._find(id) if ID.fullmatch(id) else None
        if found is None:
            raise UnknownUploadError(f"field '{field}': there is no upload '{id[:80]}'")
        self.uploads.add(id)
        return self.service.uploads / id, found.name

    def _input(self, name: str, field: str) -> Path:
        """A path below the operator's folder, wherever links lead."""
        if self.service.input_dir is None:
            raise InputError(
                f"field '{field}': the service has no folder of inputs (BITEXT_INPUT_DIR); upload "
                "the file"
            )
        top = self.service.input_dir.expanduser().resolve()
        try:
            path = (top / name).resolve()
        except (OSError, ValueError, RuntimeError):  # a loop of links, a NUL
            path = top.parent
        if not name or Path(name).is_absolute() or not path.is_relative_to(top):
            raise InputError(f"field '{field}': '{name[:80]}' is no path below the inputs")
        return path

    def _link(self, path: Path, name: str) -> str:
        """A name that says no more than the file's own; twice the same file has two."""
        self._links += 1
        return self._make_link(path, f"{self._links}/{link_name(name)}")

    def _make_link(self, path: Path, name: str) -> str:
        if self._folder is not None:
            link = self.inputs / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(path)
        return name


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name longer than names may be
        return False
