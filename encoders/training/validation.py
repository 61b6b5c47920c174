"""Figures of a model in training on development data: AER and retrieval accuracy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bitext.gold import read_gold_of
from bitext.text import read_bitext, read_parallel, words
from bitext.types import GoldAlignment, SentencePair
from encoders.checkpoint import Checkpoint, ModelKey
from encoders.encoder import Encoder
from encoders.inspection.calibration import calibrate
from encoders.inspection.probes import alignment_score, encoder_retrieval
from encoders.objectives.network import Network
from encoders.preset import AlignmentPreset, Preset
from encoders.training.recipe import DevAlignment, DevSettings
from encoders.training.trainer import Measure

_Probe = Callable[[Encoder, int], float]


def dev_measure(dev: DevSettings | None, data: Path, network: Network) -> Measure | None:
    """A function that measures the model as it then is; ``None`` without dev data.

    Its figures: the AER of each gold set and the accuracy of each bitext, in %, and ``dev``, which
    decides: minus the mean AER, or the mean accuracy.

    :param data: the folder that the dev data's names are relative to.
    :raises InputError: if dev data cannot be read.
    """
    if dev is None:
        return None
    aer = {f"AER {Path(one.gold).stem}": _alignment_probe(one, data) for one in dev.alignment}
    accuracy = {f"accuracy {Path(one).name}": _retrieval_probe(data / one) for one in dev.retrieval}
    layer = network.layers if dev.layer is None else dev.layer

    encoder = encoder_of(network)

    def measure() -> dict[str, float]:
        figures = {name: probe(encoder, layer) for name, probe in (aer | accuracy).items()}
        deciding = aer if dev.measure == "aer" else accuracy
        mean = sum(figures[name] for name in deciding) / len(deciding)
        return {**figures, "dev": -mean if dev.measure == "aer" else mean}

    return measure


def encoder_of(network: Network) -> Encoder:
    """An encoder that shares the weights of a model in training."""
    key = ModelKey("in training", device=str(network.device))
    return Encoder(Checkpoint(key, network.encoder, network.tokenizer, "", network.preset))


def calibrated_preset(dev: DevSettings | None, data: Path, network: Network) -> Preset:
    """The model's preset, with the method and threshold that suit what it has become.

    They are measured on the gold sets of ``dev``, all together, at its layer; without gold the
    preset stays as it is, but for a threshold, which belonged to the weights of before.
    """
    preset = network.preset
    said = preset.alignment.model_dump(exclude_unset=True)
    if dev is None or not dev.alignment:
        said.pop("threshold", None)
        return preset.model_copy(update={"alignment": AlignmentPreset(**said)})
    layer = network.layers if dev.layer is None else dev.layer
    network.model.eval()
    sets = [_read_gold(one, data) for one in dev.alignment]
    found = calibrate(
        encoder_of(network),
        [pair for pairs, _ in sets for pair in pairs],
        [one for _, gold in sets for one in gold],
        layer=layer,
    )
    said |= {"layer": layer, "unit": "word", "distortion": 0.0, "similarity": "cosine"}
    said |= {"method": found.method, "threshold": found.threshold}
    return preset.model_copy(update={"alignment": AlignmentPreset(**said)})


def _alignment_probe(dev: DevAlignment, data: Path) -> _Probe:
    pairs, gold = _read_gold(dev, data)
    return lambda encoder, layer: 100 * alignment_score(encoder, pairs, gold, layer=layer).aer


def _read_gold(dev: DevAlignment, data: Path) -> tuple[list[SentencePair], list[GoldAlignment]]:
    pairs = [
        SentencePair(words(str(pair.source)), words(str(pair.target)))
        for pair in read_parallel(data / dev.source, data / dev.target)
    ]
    return pairs, read_gold_of(data / dev.gold, None, pairs)


def _retrieval_probe(path: Path) -> _Probe:
    pairs = list(read_bitext(path))
    sources, targets = [str(p.source) for p in pairs], [str(p.target) for p in pairs]
    return lambda encoder, layer: (
        100 * encoder_retrieval(encoder, sources, targets, layer=layer).centred
    )
