"""Training objectives: each is a loss over one step, with settings of its own.

A recipe names them by their keys here; ``encoders/training/trainer.py`` adds up the losses.
"""

from __future__ import annotations

from typing import Any

from encoders.objectives.agreement import AgreedAttention
from encoders.objectives.alignment import GoldWords, LinkedWords
from encoders.objectives.causal import NextPieces
from encoders.objectives.classification import IdentifiedPairs, ParaphrasedSentences
from encoders.objectives.continual import ElasticWeights, StartingPoint
from encoders.objectives.contrastive import (
    ParallelSentences,
    SentenceAlignment,
    TranslationRanking,
)
from encoders.objectives.crossing import BackTranslatedPieces, CrossMaskedPieces
from encoders.objectives.distillation import DistilSentences, DistilWords
from encoders.objectives.hierarchical import HierarchicalContrast
from encoders.objectives.masked import MaskedPairs, MaskedPieces
from encoders.objectives.mixing import MixedDocuments, MixedPhrases
from encoders.objectives.momentum import MomentumContrast
from encoders.objectives.objective import Objective
from encoders.objectives.recovery import RecoveredWords
from encoders.objectives.self_training import Consistency, SelfTraining

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
    "ranking": TranslationRanking,
    "clsa": SentenceAlignment,
    "xlco": MomentumContrast,
    "hictl": HierarchicalContrast,
    # of words
    "clwr": RecoveredWords,
    "clwa": AgreedAttention,
    "alm": MixedPhrases,
    "words": LinkedWords,
    "gold": GoldWords,
    "so": SelfTraining,
    "consistency": Consistency,
    # of a teacher
    "distil_words": DistilWords,
    "distil_sentences": DistilSentences,
    # of what the model was before
    "l2sp": StartingPoint,
    "ewc": ElasticWeights,
}

__all__ = ["OBJECTIVES", "Objective"]
