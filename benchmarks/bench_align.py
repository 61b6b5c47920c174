"""How fast pairs are aligned: against one pair at a time, and against what the machine can do.

Prints, for the bundled model and the German-English gold pairs (BITEXT_DATA):

- pairs a second of ``Aligner.align``, the median of five runs;
- the same pairs one at a time, and the ratio;
- SimAlign itself with the same checkpoint, layer and methods, if it is installed;
- the forward pass's operations a second as a share of a large matrix product's.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import torch
from machine import large_product, product_rate, seconds

from aligners.aligner import Aligner
from bitext.text import data_folder, read_parallel, words
from bitext.types import SentencePair
from encoders.encoder import Encoder
from encoders.hub import find_folder
from encoders.registry import default_registry

METHOD = "itermax"


def one_at_a_time(aligner: Aligner, pairs: list[SentencePair]) -> None:
    """The same work without batches: each pair is encoded and matched by itself."""
    for pair in pairs:
        aligner.align([pair])


def forward_operations(encoder: Encoder, pairs: list[SentencePair], layer: int) -> float:
    """Operations of the blocks' weight matrices up to ``layer``; attention's own are few."""
    model: Any = encoder.checkpoint.model
    blocks = list(model.encoder.layer)[:layer]
    weights = sum(p.numel() for block in blocks for p in block.parameters() if p.dim() == 2)
    sides = [side for pair in pairs for side in (pair.source, pair.target)]
    pieces = sum(len(p.vectors) + 2 for p in encoder.pieces(sides, layer=0))
    return float(2 * weights * pieces)


def simalign_seconds(aligner: Aligner, pairs: list[SentencePair]) -> float | None:
    try:
        from simalign import SentenceAligner  # type: ignore[import-not-found]
    except ImportError:
        return None
    logging.getLogger("simalign.simalign").setLevel(logging.WARNING)
    theirs = SentenceAligner(
        model=str(find_folder("bundled")),
        token_type="bpe",
        matching_methods="i",
        layer=aligner.layer,
    )

    def run() -> None:
        for pair in pairs:
            theirs.get_word_aligns(list(pair.source), list(pair.target))

    return seconds(run)


def main() -> None:
    folder = data_folder() / "alignment"
    if not folder.is_dir():
        sys.exit(f"no data: {folder} is not there (set BITEXT_DATA)")
    pairs = [
        SentencePair(words(str(pair.source)), words(str(pair.target)))
        for pair in read_parallel(folder / "deen.src", folder / "deen.tgt")
    ]
    encoder = default_registry().encoder()
    aligner = Aligner(encoder, method=METHOD, unit="piece", distortion=0.0)
    ours = seconds(lambda: aligner.align(pairs))
    alone = seconds(lambda: one_at_a_time(aligner, pairs))
    print(f"{aligner.signature}; {torch.get_num_threads()} threads, {len(pairs)} pairs")
    print(f"bitext              {len(pairs) / ours:8.1f} pairs/s")
    print(f"one pair at a time  {len(pairs) / alone:8.1f} pairs/s, {alone / ours:.1f} times slower")
    if (theirs := simalign_seconds(aligner, pairs)) is not None:
        rate = len(pairs) / theirs
        print(f"SimAlign            {rate:8.1f} pairs/s, {theirs / ours:.1f} times slower")
    sides = [side for pair in pairs for side in (pair.source, pair.target)]
    encode = seconds(lambda: encoder.pieces(sides, layer=aligner.layer))
    rate = forward_operations(encoder, pairs, aligner.layer) / encode
    best = product_rate(large_product(), torch.float32)
    print(
        f"encoding alone      {len(pairs) / encode:8.1f} pairs/s, {1e-9 * rate:.0f} GFLOP/s: "
        f"{100 * rate / best:.0f} % of a large matrix product's {1e-9 * best:.0f}"
    )


if __name__ == "__main__":
    main()
