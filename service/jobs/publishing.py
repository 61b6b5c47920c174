"""Let /v1/translate find a model that was trained: ``publishing MODEL PLACE``.

It is exported for CTranslate2 where that is installed and has such a model; otherwise copied.
"""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

from bitext.errors import BitextError, InputError
from bitext.text import atomic_folder


def publish(model: Path, place: Path) -> str:
    """Put ``model`` at ``place``, in one step; in which form."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if find_spec("ctranslate2") is not None:
        from nmt.interop.ctranslate2 import export_ctranslate2
        from nmt.network.model import load_translation_checkpoint

        try:
            with atomic_folder(place) as folder:
                made = folder / "made"
                export_ctranslate2(load_translation_checkpoint(str(model)), made)
                for path in made.iterdir():
                    path.rename(folder / path.name)
                made.rmdir()
            return "for CTranslate2"
        except InputError as error:
            print(f"copied as it is: {error}", file=sys.stderr)
    with atomic_folder(place) as folder:
        shutil.copytree(model, folder, dirs_exist_ok=True)
    return "as it is"


if __name__ == "__main__":
    try:
        print(f"published {publish(Path(sys.argv[1]), Path(sys.argv[2]))}: {sys.argv[2]}")
    except BitextError as mistake:
        print(f"bitext: {mistake}", file=sys.stderr)
        sys.exit(2)
