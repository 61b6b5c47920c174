"""What fairseq 0.12.2 lacks to run on Python 3.11 and later, and with PyTorch 2.6 and later.

No file of fairseq is changed. :func:`prepare` comes before the first import of fairseq,
:func:`repair` after it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
from typing import Any

import torch


def prepare() -> None:
    """Let fairseq be imported, and its checkpoints be loaded as weights only."""
    _allow_dataclass_defaults()
    # the one class besides tensors and plain values that is in its checkpoints
    torch.serialization.add_safe_globals([argparse.Namespace])


def repair() -> None:
    """Keep fairseq's encoder from a fused path that current PyTorch refuses to run."""
    from fairseq.modules.transformer_layer import TransformerEncoderLayerBase

    build = TransformerEncoderLayerBase.__init__

    @functools.wraps(build)
    def build_plainly(self: Any, *args: Any, **options: Any) -> None:
        build(self, *args, **options)
        self.can_use_fastpath = False
        self.BT_version = False

    TransformerEncoderLayerBase.__init__ = build_plainly


def _allow_dataclass_defaults() -> None:
    """Python 3.11 refuses defaults that have no hash, and fairseq's settings are such defaults.

    They get the hash of any object. To turn them into default factories would please Python too,
    but fairseq looks at the defaults themselves when it registers its settings.
    """
    make_field = dataclasses._get_field  # type: ignore[attr-defined]

    @functools.wraps(make_field)
    def make_hashable_field(cls: type, name: str, *rest: Any) -> Any:
        if cls.__module__.partition(".")[0] == "fairseq":
            default = getattr(cls, name, None)
            if isinstance(default, dataclasses.Field):
                default = default.default
            if dataclasses.is_dataclass(default) and type(default).__hash__ is None:
                type(default).__hash__ = object.__hash__  # type: ignore[method-assign]
        return make_field(cls, name, *rest)

    dataclasses._get_field = make_hashable_field  # type: ignore[attr-defined]
