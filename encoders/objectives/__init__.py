"""Training objectives: each is a loss over one step, with settings of its own.

A recipe names them by their keys here; ``encoders/training.py`` adds up their weighted losses.
"""

from __future__ import annotations

from typing import Any

from encoders.objectives.agreement import AgreedAttention
from encoders.objectives.alignment import GoldWords, LinkedWords
from encoders.objectives.causal import NextPieces
from encoders.objectives.classification import IdentifiedPairs, ParaphrasedSentences
from encoders.objectives.contrastive import ParallelSentences
from encoders.objectives.crossing import BackTranslatedPieces, CrossMaskedPieces
from encoders.objectives.masked import MaskedPairs, MaskedPieces
from encoders.objectives.mixing import MixedDocuments, MixedPhrases
from encoders.objectives.objective import Objective
from encoders.objectives.recovery import RecoveredWords

OBJECTIVES: dict[str, type[Objective[Any]]] = {
    # of one language
    "mlm": MaskedPieces,
    "clm": NextPieces,
    "btmlm": BackTranslatedPieces,
    # of sentence pairs
    "tlm": MaskedPairs,
    "camlm": CrossMaskedPieces,
    "clmlm": MixedDocuments,
    "clpc": ParaphrasedSentences,
    "psi": IdentifiedPairs,
    "sentences": ParallelSentences,
    # of words
    "clwr": RecoveredWords,
    "clwa": AgreedAttention,
    "alm": MixedPhrases,
    "words": LinkedWords,
    "gold": GoldWords,
}

__all__ = ["OBJECTIVES", "Objective"]
