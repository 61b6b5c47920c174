"""What every timed trainer shares, in a process and an environment of its own.

Standard library and torch only: a trainer of others is run by a Python that has no bitext. The
first argument names a file with the job, as JSON: the folder of the data, ``threads``, ``dtype``,
and the shape of the network. A trainer trains without end, and tells :class:`Turns` of each update.
After a few that are not counted it waits; each line on standard input lets it make so many more,
which a JSON line on standard output answers: source and target pieces, padding left out, and
processor and wall seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

WARM = 2
"""Updates before the first that are counted."""


class Turns:
    """Stops a trainer after so many updates, until it is its turn again."""

    def __init__(self) -> None:
        self.job: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what a library prints does not mix with the answers
        import torch

        torch.set_num_threads(self.job["threads"])
        self._begin(WARM)

    def _begin(self, updates: int) -> None:
        self._left = updates
        self._source = self._target = 0
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def updated(self, source: int, target: int) -> None:
        """An update is done.

        :param source: pieces of its batch; those that the encoder is given.
        :param target: those that are predicted.
        """
        self._source += int(source)
        self._target += int(target)
        self._left -= 1
        if self._left:
            return
        answer = {
            "source": self._source,
            "target": self._target,
            "cpu": time.process_time() - self._processor,
            "wall": time.perf_counter() - self._wall,
        }
        print(json.dumps(answer), file=self._answers, flush=True)
        asked = sys.stdin.readline()
        if not asked:
            os._exit(0)  # not every trainer lets itself be ended
        self._begin(int(asked))
