"""Put an index that was built where the service looks for it: ``placing.py BUILT PLACE MOST``."""

from __future__ import annotations

import sys
from pathlib import Path

from bitext.text import sync_folder
from retrieval.vectors.manifest import MANIFEST_FILE


def place(built: Path, target: Path, most: int) -> int:
    """Rename it. Where it is gone and there is one at its place, that has been done before.

    :param most: indexes that there may be.
    """
    if not built.exists() and target.exists():
        return 0
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        print(f"bitext: there is an index '{target.name}' by now; it was kept", file=sys.stderr)
        return 2
    if sum((one / MANIFEST_FILE).is_file() for one in target.parent.iterdir()) >= most:
        print(
            f"bitext: there are {most} indexes, as many as there may be (BITEXT_MAX_INDEXES)",
            file=sys.stderr,
        )
        return 2
    built.rename(target)
    sync_folder(target.parent)
    return 0


if __name__ == "__main__":
    sys.exit(place(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
