"""How far a long search has come, kept in a folder so that a killed one can go on."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np

from bitext.errors import InputError, MismatchError
from bitext.text import atomic_folder
from retrieval.mining.best import Best

SAVE_SECONDS = 30.0
"""How often it is written down: about the most work that a killed run loses."""
STATE_FILE = "search.json"
FORMAT = "bitext search 1"


class Interruption:
    """The best found so far, in both directions, and of how many sources.

    Written whole and then put in place of the last, so that it is true however the run ends.

    :param folder: ``None`` keeps nothing.
    :param identity: what tells the vectors that are searched from others.
    """

    def __init__(self, folder: Path | None, identity: str, forward: Best, backward: Best) -> None:
        self._folder = folder
        self._bests = {"forward": forward, "backward": backward}
        shapes = {name: list(best.scores.shape) for name, best in self._bests.items()}
        self._search = {"format": FORMAT, "identity": identity, **shapes}
        self._saved = time.monotonic()

    def load(self) -> int:
        """Take over what a run before has left; say how many sources it had done.

        :raises MismatchError: if that was another search.
        :raises InputError: if it cannot be read.
        """
        if self._folder is None or not (self._folder / STATE_FILE).is_file():
            return 0
        try:
            state = json.loads((self._folder / STATE_FILE).read_text(encoding="utf-8"))
            done = int(state.pop("done"))
            if state != self._search:
                raise MismatchError(
                    f"{self._folder} is of a search among other vectors or for another k; delete "
                    "it to begin anew"
                )
            for name, best in self._bests.items():
                best.scores[:] = np.load(self._folder / f"{name}.scores.npy", allow_pickle=False)
                best.ids[:] = np.load(self._folder / f"{name}.ids.npy", allow_pickle=False)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise InputError(
                f"cannot go on from {self._folder}, delete it to begin anew: {error}"
            ) from error
        return done

    def save_now_and_then(self, done: int) -> None:
        """Write down that ``done`` sources are done, unless it is too soon."""
        if self._folder is not None and time.monotonic() - self._saved >= SAVE_SECONDS:
            self._save(self._folder, done)
            self._saved = time.monotonic()

    def _save(self, folder: Path, done: int) -> None:
        with atomic_folder(folder, marker=STATE_FILE) as new:
            for name, best in self._bests.items():
                np.save(new / f"{name}.scores.npy", best.scores)
                np.save(new / f"{name}.ids.npy", best.ids)
            state = json.dumps({**self._search, "done": done})
            (new / STATE_FILE).write_text(state, encoding="utf-8")


def discard(folder: Path) -> None:
    """Remove what an interrupted search has left in ``folder``, if it left something.

    :raises InputError: if ``folder`` holds something else.
    """
    if not folder.exists():
        return
    if not (folder / STATE_FILE).is_file():
        raise InputError(f"will not remove {folder}: it has no {STATE_FILE}")
    shutil.rmtree(folder)
