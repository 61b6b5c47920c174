"""Which number format a model's weights take when the user leaves it to us (``auto``).

Half the bits make products twice as fast where the processor has instructions for them, and the
vectors change in their third digit. So the links of a model depend on the machine then. A small
model is fast anyway: it stays in float32 everywhere, and its printed figures with it.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from safetensors import safe_open

AUTO = "auto"
INT8 = "int8"
SMALL_MODEL = 50_000_000
"""Weights below which ``auto`` is float32; the bundled model has 11 million, mBERT 178."""
_BFLOAT16_PRODUCTS = ("avx512_bf16", "amx_bf16")


def automatic_dtype(folder: Path, device: torch.device) -> str:
    """``bfloat16`` for a model that is not small, on a device that multiplies it fast; else
    ``float32``.

    Where torch cannot say what the processor has (older releases), it counts as slow.
    """
    if count_weights(folder) < SMALL_MODEL:
        return "float32"
    return "bfloat16" if multiplies_bfloat16(device) else "float32"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for products of bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type != "cpu":
        return False
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) is True for name in _BFLOAT16_PRODUCTS)


def count_weights(folder: Path) -> int:
    """How many numbers the safetensors files of a checkpoint hold, from their headers alone.

    :raises SafetensorError: if a file is damaged.
    """
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as weights:
            shapes = [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118
        total += sum(math.prod(shape) for shape in shapes)
    return total
