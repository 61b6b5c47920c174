"""Look inside an encoder: what each layer is good for, and which settings suit the model.

Two sets of sentence pairs are looked at, which may be the same: the pairs of a bitext, whose
sentences should find each other, and pairs of words with gold links. Every layer is measured from
one pass of the model over each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from bitext import __version__
from bitext.errors import InputError, MismatchError, TooLongError
from bitext.scoring import evaluate
from bitext.types import Alignment, GoldAlignment, SentencePair
from encoders.encoder import Encoder
from encoders.inspection.calibration import calibrate
from encoders.inspection.geometry import (
    anisotropy,
    language_accuracy,
    linear_cka,
    mean_canonical_correlation,
)
from encoders.inspection.probes import (
    UNITS,
    Neighbourhood,
    RetrievalAccuracy,
    align_layers,
    centred_sides,
    retrieval_accuracy,
)
from encoders.inspection.thresholds import retrieval_threshold
from encoders.pooling import SENTENCE_POOLINGS, Vectors

LEAST_PAIRS = 4
"""Two languages cannot be compared by fewer sentences: each half needs a mean and a variance."""

Progress = Callable[[int], None]
_VectorsOf = Mapping[tuple[int, str], Vectors]  # by (layer, pooling)
_LinksOf = Mapping[tuple[int, str], Sequence[Alignment]]  # by (layer, unit)


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What one layer is good for. Geometry is that of mean-pooled unit vectors, not centred."""

    layer: int
    aer: Mapping[str, float]
    """By unit; nothing without gold."""
    retrieval: Mapping[str, RetrievalAccuracy]
    """By pooling."""
    cka: float
    cca: float
    cca_components: tuple[int, int]
    """How many principal components of each side the correlations are of."""
    anisotropy_source: float
    anisotropy_target: float
    language_accuracy: float
    """How often the nearer language mean is that of a sentence's own language; 0.5 is chance."""


@dataclass(frozen=True, slots=True)
class AlignmentAdvice:
    """How to align; what gold alone could tell is ``None`` without it."""

    layer: int
    rule: str
    """How the layer was chosen."""
    unit: str | None = None
    method: str | None = None
    distortion: float | None = None
    threshold: float | None = None
    aer: float | None = None
    """With all of these settings."""


@dataclass(frozen=True, slots=True)
class RetrievalAdvice:
    """How to embed sentences, and from which cosine on two are translations."""

    layer: int
    rule: str
    pooling: str
    centred: bool
    threshold: float
    accuracy: float
    """The mean of both directions, without the threshold."""
    f1: float
    """Of telling true pairs from the best wrong neighbours at the threshold."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """All layers of one model, from 0 up, and what they recommend."""

    pairs: int
    gold_pairs: int
    layers: tuple[LayerReport, ...]
    alignment: AlignmentAdvice
    retrieval: RetrievalAdvice
    signature: str
    """The choices that the figures depend on."""

    def preset(self) -> dict[str, dict[str, object]]:
        """The measured keys of a ``bitext.json``, by task."""
        aligned, embedded = asdict(self.alignment), asdict(self.retrieval)
        return {
            "alignment": {
                key: aligned[key]
                for key in ("layer", "method", "unit", "distortion", "threshold")
                if aligned[key] is not None
            },
            "retrieval": {
                key: embedded[key] for key in ("layer", "pooling", "centred", "threshold")
            },
        }


def inspect_layers(
    encoder: Encoder,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    aligned: Sequence[SentencePair] = (),
    gold: Sequence[GoldAlignment] = (),
    distortion: float | None = None,
    too_long: str = "error",
    progress: Progress | None = None,
) -> Analysis:
    """Measure every layer of ``encoder`` and recommend settings.

    :param sources: sentences; line i translates line i of ``targets``.
    :param aligned: the pairs that ``gold`` is of, both sides lists of words.
    :param distortion: of the alignments; ``None`` for the model's preset.
    :param progress: called with the number of sentences done since the last call.
    :raises InputError: if there are fewer than ``LEAST_PAIRS`` pairs, or a sentence is empty.
    :raises MismatchError: if sides, or gold and its pairs, are not equally many.
    :raises TooLongError: if a sentence has more pieces than the model takes.
    """
    _check_sides(sources, targets, aligned, gold)
    if distortion is None:
        distortion = encoder.preset.alignment.distortion
    every = range(encoder.layers + 1)
    source, target = (
        _embed(encoder, texts, side, too_long, progress)
        for side, texts in (("source", sources), ("target", targets))
    )
    try:
        links = align_layers(
            encoder,
            aligned,
            layers=every,
            distortion=distortion,
            too_long=too_long,
            progress=progress,
        )
    except TooLongError as error:
        raise error.called(f"gold {error.name}") from None
    layers = tuple(_report(layer, source, target, links, gold) for layer in every)
    return Analysis(
        pairs=len(sources),
        gold_pairs=len(gold),
        layers=layers,
        alignment=_advise_alignment(encoder, layers, aligned, gold, distortion, too_long),
        retrieval=_advise_retrieval(layers, source, target),
        signature=_signature(encoder, distortion if gold else None),
    )


def _check_sides(
    sources: Sequence[str],
    targets: Sequence[str],
    aligned: Sequence[SentencePair],
    gold: Sequence[GoldAlignment],
) -> None:
    if len(sources) != len(targets):
        raise MismatchError(f"{len(sources)} source sentences have {len(targets)} target ones")
    if len(aligned) != len(gold):
        raise MismatchError(f"{len(aligned)} pairs have {len(gold)} gold alignments")
    if len(sources) < LEAST_PAIRS:
        raise InputError(
            f"languages are compared by at least {LEAST_PAIRS} pairs, got {len(sources)}"
        )


def _embed(
    encoder: Encoder, texts: Sequence[str], side: str, too_long: str, progress: Progress | None
) -> _VectorsOf:
    """The unit vectors of ``texts`` at every layer by every pooling that the model has."""
    poolings = [p for p in SENTENCE_POOLINGS if p != "cls" or encoder.has_cls]
    try:
        found = encoder.sentences_of_layers(
            texts,
            layers=range(encoder.layers + 1),
            poolings=poolings,
            too_long=too_long,
            progress=progress,
        )
    except TooLongError as error:
        raise error.called(f"pair {error.sentence + 1}, {side}") from None
    for (layer, pooling), vectors in found.items():
        if not np.isfinite(vectors).all():
            raise InputError(
                f"model '{encoder.name}' gives numbers that are not finite at layer {layer}"
            )
        empty = np.flatnonzero(~vectors.any(axis=1)).tolist()
        if empty and pooling == "mean":
            raise InputError(f"pair {empty[0] + 1}: the {side} has nothing in it to compare")
    return found


def _report(
    layer: int,
    sources: _VectorsOf,
    targets: _VectorsOf,
    links: _LinksOf,
    gold: Sequence[GoldAlignment],
) -> LayerReport:
    source, target = sources[layer, "mean"], targets[layer, "mean"]
    correlation, components = mean_canonical_correlation(source, target)
    return LayerReport(
        layer=layer,
        aer={unit: evaluate(links[layer, unit], gold).aer for unit in UNITS} if gold else {},
        retrieval={
            pooling: retrieval_accuracy(sources[n, pooling], targets[n, pooling])
            for n, pooling in sources
            if n == layer
        },
        cka=linear_cka(source, target),
        cca=correlation,
        cca_components=components,
        anisotropy_source=anisotropy(source),
        anisotropy_target=anisotropy(target),
        language_accuracy=language_accuracy(source, target),
    )


def _advise_alignment(
    encoder: Encoder,
    layers: Sequence[LayerReport],
    aligned: Sequence[SentencePair],
    gold: Sequence[GoldAlignment],
    distortion: float,
    too_long: str,
) -> AlignmentAdvice:
    """Of equally good layers the lower one, which is faster."""
    if not gold:
        best = max(layers, key=lambda report: (report.retrieval["mean"].centred, -report.layer))
        return AlignmentAdvice(best.layer, "no gold: best centred retrieval of mean vectors")
    _, layer, unit = min((aer, r.layer, unit) for r in layers for unit, aer in r.aer.items())
    found = calibrate(
        encoder,
        aligned,
        gold,
        layer=layer,
        unit=unit,
        distortion=distortion,
        too_long=too_long,
    )
    method, threshold, aer = found
    return AlignmentAdvice(layer, "lowest AER", unit, method, distortion, threshold, aer)


def _advise_retrieval(
    layers: Sequence[LayerReport], sources: _VectorsOf, targets: _VectorsOf
) -> RetrievalAdvice:
    """Of equally good settings: not centred, then the lower layer, then the first pooling."""
    choices = [
        (accuracy.centred if centred else accuracy.raw, centred, report.layer, pooling)
        for centred in (False, True)
        for report in layers
        for pooling, accuracy in report.retrieval.items()
    ]
    accuracy, centred, layer, pooling = max(choices, key=lambda choice: choice[0])
    sides = sources[layer, pooling], targets[layer, pooling]
    found = Neighbourhood.of(*(centred_sides(*sides) if centred else sides))
    threshold, f1 = retrieval_threshold(found)
    rule = "highest accuracy, mean of both directions"
    return RetrievalAdvice(layer, rule, pooling, centred, threshold, accuracy, f1)


def _signature(encoder: Encoder, distortion: float | None) -> str:
    revision = f" revision {encoder.revision}" if encoder.revision else ""
    parts = [
        f"bitext {__version__}",
        f"model {encoder.name}@{encoder.fingerprint}{revision}",
        encoder.dtype,
        *([] if distortion is None else ["method argmax", f"distortion {distortion:g}"]),
    ]
    return " | ".join(parts)
