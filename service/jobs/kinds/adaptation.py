"""All settings of a job of adaptation; brings torch."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from encoders.training.adaptation import Adaptation
from service.jobs.kinds.fields import Device, Model


class AdaptSettings(Adaptation):
    """The keys of the file of `bitext adapt`, and these.

    Files are named one by one. Gold is `input:stem`, or an object of src, tgt and gold.
    """

    gold: list[Any] = Field([])
    model: Model = None
    device: Device = "cpu"

    @model_validator(mode="after")
    def _names_gold(self) -> AdaptSettings:
        for one in self.gold:
            names = one.values() if isinstance(one, dict) else [one]
            if not all(isinstance(name, str) for name in names):
                raise ValueError("gold: expected 'input:stem', or objects of src, tgt and gold")
        return self
