"""The sample index: a small credited corpus that lets a newcomer search before having any data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitext.errors import BitextError
from bitext.text import atomic_folder, open_lines

if TYPE_CHECKING:
    from encoders.encoder import Encoder

SAMPLE = "sample"
CORPUS = Path(__file__).parent / "sample" / "sentences.tsv"


def read_sample() -> list[tuple[str, str]]:
    """The (language, text) rows of the corpus, translations next to one another."""
    rows = []
    for line in open_lines(CORPUS):
        language, _, text = line.partition("\t")
        rows.append((language, text))
    return rows


def keep_sample(folder: Path, encoder: Encoder) -> bool:
    """Make sure that ``folder`` holds the sample as ``encoder`` sees it; whether it was built now.

    It appears whole or not at all, and is built again where model or corpus have changed.
    """
    from retrieval.store.text_index import TextIndex
    from retrieval.vectors.manifest import MANIFEST_FILE

    rows = read_sample()
    if _is_current(folder, encoder, rows):
        return False
    with atomic_folder(folder, marker=MANIFEST_FILE) as new:
        index = TextIndex.create(new, encoder)
        index.add_mixed(rows, encoder=encoder, too_long="windows")
    return True


def _is_current(folder: Path, encoder: Encoder, rows: list[tuple[str, str]]) -> bool:
    from retrieval.store.text_index import TextIndex

    if not folder.exists():
        return False
    try:
        index = TextIndex.load(folder)
        held = [(sentence.language, sentence.text) for sentence in index.sentences()]
    except BitextError:  # damaged, or of an older format
        return False
    own = index.manifest
    wanted = (
        encoder.fingerprint,
        encoder.check_layer(None, "retrieval"),
        encoder.preset.retrieval.pooling,
    )
    return (own.fingerprint, own.layer, own.pooling) == wanted and held == rows
