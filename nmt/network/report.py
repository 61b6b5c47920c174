"""Where each tensor of a new network came from."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

REPORT_FILE = "initialization.json"

Kind = Literal["copied", "averaged", "new"]


class Origin(NamedTuple):
    """Where one tensor of the network came from."""

    tensor: str
    kind: Kind
    source: str


@dataclass(slots=True)
class Report:
    """Where every tensor came from."""

    model: str | None
    fingerprint: str | None = None
    origins: list[Origin] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, tensor: str, kind: Kind, source: str = "") -> None:
        self.origins.append(Origin(tensor, kind, source))

    def summary(self) -> str:
        """A few lines for people."""
        parts: dict[str, Counter[str]] = {}
        for one in self.origins:
            parts.setdefault(_part_of(one.tensor), Counter())[one.kind] += 1
        lines = [f"initialised from {self.model or 'nothing'}"]
        for part, kinds in parts.items():
            counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
            lines.append(f"  {part}: {counts} tensors")
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def write(self, folder: Path) -> None:
        """Write ``initialization.json``."""
        written = {
            "model": self.model,
            "fingerprint": self.fingerprint,
            "notes": self.notes,
            "tensors": [one._asdict() for one in self.origins],
        }
        text = json.dumps(written, indent=1, ensure_ascii=False)
        (folder / REPORT_FILE).write_text(text + "\n", encoding="utf-8")


def _part_of(tensor: str) -> str:
    if "encoder_attn" in tensor:
        return "cross-attention"
    for side in ("encoder", "decoder"):
        if tensor.startswith(f"model.{side}."):
            return side
    return "pieces"
