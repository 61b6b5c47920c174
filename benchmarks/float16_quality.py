"""How far cosines are off where vectors are stored as float16, of German and English NTREX.

python benchmarks/float16_quality.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from retrieval_quality import read_sides

from encoders.registry import default_registry
from retrieval.vectors.encoding import space_of
from retrieval.vectors.files import Rows, Vectors, write_vectors


def main() -> None:
    encoder = default_registry().encoder("bundled")
    space = space_of(encoder, None, None)
    wide = [encoder.sentences(side) for side in read_sides("ntrex", "deu")]
    with tempfile.TemporaryDirectory() as temporary:
        narrow: list[Rows] = []
        for name, rows in zip(("source", "target"), wide, strict=True):
            folder = Path(temporary) / name
            write_vectors(folder, [rows], space=space, dim=encoder.dim, dtype="float16")
            narrow.append(Vectors.load(folder).block(0, len(rows)))
    true, found = (a.astype(np.float64) @ b.T.astype(np.float64) for a, b in (wide, narrow))
    error = found - true
    changed = int((true.argmax(axis=1) != found.argmax(axis=1)).sum())
    print(
        f"{len(true)} sentences a side, dim {encoder.dim}: largest error {abs(error).max():.1e}, ",
        end="",
    )
    print(f"root mean square {np.sqrt((error**2).mean()):.1e}, nearest changed {changed}")


if __name__ == "__main__":
    main()
