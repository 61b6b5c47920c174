"""Figures of a model in training on development data: AER and retrieval accuracy."""

from __future__ import annotations

from pathlib import Path

from encoders.objectives.network import Network
from encoders.recipe import DevSettings
from encoders.trainer import Measure


def dev_measure(dev: DevSettings | None, data: Path, network: Network) -> Measure | None:
    """A function that measures the model as it is now; ``None`` without dev data."""
    return None
