"""Paths of the server by the names that clients know.

What the commands of a job say, they say of files where they lie on the server. That is nobody's
business but the operator's, who finds it in the folder of the job; a client reads ``input:en.txt``,
``upload:ID``, ``job:ID/out/model``, and of the code ``torch/nn/modules/module.py``.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path

import bitext
from service.jobs.work import INPUT, JOB, UPLOAD
from service.settings import Settings

_BEGINS, _ENDS = r"(?<![\w.-])", r"(?:(?P<slash>/)|(?![\w-]|\.\w))"
_PACKAGES = re.compile(
    r"(?<![\w./-])/(?:[^\s'\":,()=]{1,300}/)?"
    r"(?:lib/python3\.\d+(?:/(?:site|dist)-packages)?|(?:site|dist)-packages)/"
)
"""Where Python and its packages lie, in whatever environment the worker has."""
_LINK = r"/inputs/\d+/[\w.+-]*[\w+-]"
"""What :meth:`service.jobs.work.Work.file` makes."""


class Names:
    """What to call the paths that a job's commands may tell of."""

    def __init__(self, settings: Settings) -> None:
        self._known = _known(settings)
        longest_first = sorted(self._known, key=len, reverse=True)
        paths = "|".join(map(re.escape, longest_first))
        self._paths = re.compile(f"{_BEGINS}(?P<path>{paths}){_ENDS}")

    def tell(self, text: str, folder: Path) -> str:
        """``text`` without paths of the server.

        :param folder: of the job that said it.
        """
        if "/" not in text:
            return text
        text = re.sub(re.escape(str(folder.absolute())) + _LINK, _source, text)
        return self._paths.sub(self._name, _PACKAGES.sub("", text))

    def _name(self, found: re.Match[str]) -> str:
        name, slash = self._known[found["path"]], found["slash"] or ""
        if name.endswith(":"):
            return name if slash else name[:-1]
        return name + slash if name else "" if slash else "."


def _source(found: re.Match[str]) -> str:
    """The file that a link of the job leads to, which has a name."""
    try:
        return os.readlink(found[0])
    except OSError:
        return found[0]


def _known(settings: Settings) -> dict[str, str]:
    """Folders of the server, and what to call them; a colon stands for the slash after it."""
    named: list[tuple[Path | None, str]] = [
        (Path(tempfile.gettempdir()), "tmp:"),
        (Path.home(), "~"),
        (Path(sys.prefix), ""),
        (Path(sys.base_prefix), ""),
        (Path(bitext.__file__).parents[1], ""),
        (settings.data_dir, "data:"),
        (settings.indexes, "index:"),
        (settings.snapshots, "snapshot:"),
        (settings.translators, "model:"),
        (settings.uploads, UPLOAD),
        (settings.jobs, JOB),
        (settings.input_dir, INPUT),
        *((Path(model), name) for name, model in settings.translation_models.items()),
        *((Path(name), name) for name in settings.model_names),  # a name that clients know
    ]
    known: dict[str, str] = {}
    for folder, name in named:
        if folder is not None:
            path = folder.expanduser()
            known |= {str(path): name, str(path.absolute()): name, str(path.resolve()): name}
    return {path: name for path, name in known.items() if path.startswith("/") and path != "/"}
