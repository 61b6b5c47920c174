"""What the options of several commands are called, and the model they choose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from encoders.options import load_encoder
from encoders.preset import BUNDLED

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from retrieval.vectors.manifest import Space

File = Annotated[str, typer.Argument(help="One sentence a line; - is stdin.")]
IndexModel = Annotated[str | None, typer.Option(help="A folder or hub name; default: the index's.")]
IndexLayer = Annotated[int | None, typer.Option(help="Must be the index's, its default.")]
Pooling = Annotated[
    str | None,
    typer.Option(help="Over a sentence's pieces: mean, cls or max; default: the model's own."),
]
Prefix = Annotated[
    str | None,
    typer.Option(help="Written before every sentence, such as 'query: '; default: the model's."),
]
Store = Annotated[str, typer.Option(help="Numbers on disk: float32, or float16 in half the bytes.")]
CentringFolder = Annotated[
    Path | None, typer.Option(help="Centre the vectors by this folder of 'bitext centring fit'.")
]
Restart = Annotated[
    bool, typer.Option("--restart", help="Throw away what an interrupted run left.")
]
IndexPooling = Annotated[str | None, typer.Option(help="Must be the index's, its default.")]
SearchKind = Annotated[
    str | None,
    typer.Option(help="How to search: flat, ivf, hnsw, pq, opq, a FAISS factory string, or auto."),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the folder, once the new one is whole.")
]
SkipEmpty = Annotated[
    bool, typer.Option("--skip-empty", help="Leave empty lines out; stderr says how many.")
]
Where = Annotated[
    list[str] | None,
    typer.Option(help="Only sentences with KEY=VALUE, !=, >= or <= in their metadata. Repeatable."),
]
Within = Annotated[
    list[str] | None, typer.Option("--in", help="Only sentences of this language. Repeatable.")
]


class ModelChoice(NamedTuple):
    """Which model was asked for, and how to run it."""

    model: str | None
    revision: str | None
    dtype: str
    device: str
    allow_download: bool

    def load(self, built: Space | None = None) -> Encoder:
        """The encoder; without a name, the one that ``built`` was built with."""
        model, revision = self.model or BUNDLED, self.revision
        if self.model is None and built is not None:
            model, revision = built.model, self.revision or built.revision
        return load_encoder(
            model, revision, self.dtype, self.device, allow_download=self.allow_download
        )
