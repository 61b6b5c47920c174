"""How many cores this process may use, and libraries that use as many and no more.

A container's share of a machine is in its control group, which OpenMP and torch do not look at:
with a thread a core of the whole machine they hold one another up. In small batches a thread a core
*each of several batches* does more than several threads in one; so the model's threads are counted
there, and the small products of numpy stay in the thread that asks.
"""

from __future__ import annotations

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
COUNTED = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
"""Variables by which torch, FAISS and tokenizers take as many threads as there are cores."""
SINGLE = "OPENBLAS_NUM_THREADS"
"""That of numpy's products."""


def available_cores(groups: Path = GROUPS) -> int:
    """Cores that this process may run on at the same time, at least 1."""
    try:
        own = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Linux
        own = os.cpu_count() or 1
    quota = _quota(groups)
    return own if quota is None else max(1, min(own, math.ceil(quota)))


def limit_libraries(cores: int, environ: MutableMapping[str, str] | None = None) -> None:
    """Set what is not set: to be called before numpy or torch is imported, which read it then."""
    environ = os.environ if environ is None else environ
    for name in COUNTED:
        environ.setdefault(name, str(cores))
    environ.setdefault(SINGLE, "1")


def _quota(groups: Path) -> float | None:
    """Cores that the control group of this process grants, if it limits them."""
    try:
        quota, period = (groups / "cpu.max").read_text().split()  # version 2
    except (OSError, ValueError):
        try:
            quota, period = (
                (groups / "cpu" / f"cpu.cfs_{name}_us").read_text().strip()
                for name in ("quota", "period")
            )
        except OSError:
            return None
    if quota == "max" or int(quota) <= 0:
        return None
    return int(quota) / int(period)
