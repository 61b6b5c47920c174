"""Training objectives: each is a function from a step's batch and states to a loss.

A recipe names them by their keys here; ``encoders/training.py`` adds up their weighted losses.
"""

from __future__ import annotations

from encoders.objectives.alignment import linked_words
from encoders.objectives.contrastive import parallel_sentences
from encoders.objectives.masked import masked_pieces, masked_pieces_of_pairs
from encoders.objectives.step import Objective

OBJECTIVES: dict[str, Objective] = {
    "words": linked_words,
    "sentences": parallel_sentences,
    "mlm": masked_pieces,
    "tlm": masked_pieces_of_pairs,
}
READS_PAIRS = ("words", "sentences")
"""The objectives that read the hidden states of the two sides, encoded apart and unmasked."""
_ALL = {"weight", "every"}
READS = {
    name: _ALL | ({"layer", "temperature"} if name in READS_PAIRS else {"probability"})
    for name in OBJECTIVES
}
"""The settings that each objective reads."""

__all__ = ["OBJECTIVES", "READS", "READS_PAIRS", "Objective"]
