"""What the settings of methods may be; ``aligners/methods.py`` reads it from their annotations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bitext.bounds import Weight

Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Positive = Weight
Rounds = Annotated[int, Field(ge=1, le=100)]
Alpha = Annotated[float, Field(ge=1, le=100)]
Reading = Literal["threshold", "mutual"]
Scale = Literal["shares", "pair"]
