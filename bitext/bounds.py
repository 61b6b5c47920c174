"""How large a number in a settings file or a request may be.

Python counts without an end; torch, NumPy and memory do not. So every number has a largest value
that is far above what anybody needs and still one that all of them can hold.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

LARGEST_SEED = 2**63 - 1
"""What NumPy's generators and torch's take, with room for a number to be added."""
LARGEST_COUNT = 10**9
"""Of steps, lines, pieces and the like; fits into 32 bits."""
LARGEST_SIZE = 10**6
"""Of one dimension of a network, or of a vocabulary."""
LARGEST_WEIGHT = 1e9

Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Positive = Annotated[int, Field(gt=0, le=LARGEST_COUNT)]
Size = Annotated[int, Field(gt=0, le=LARGEST_SIZE)]
Layer = Annotated[int, Field(ge=0, le=LARGEST_SIZE)]
"""0 is that of the embeddings. How many there are, the model says when it is there."""
Rate = Annotated[float, Field(ge=0, le=LARGEST_WEIGHT)]
"""A factor, a weight, a learning rate; 0 turns it off."""
Weight = Annotated[float, Field(gt=0, le=LARGEST_WEIGHT)]
