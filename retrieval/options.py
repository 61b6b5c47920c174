"""What the options of several commands are called, and the model they choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bitext.errors import ModelNotFoundError

if TYPE_CHECKING:
    from encoders.encoder import Encoder
    from retrieval.manifest import Space

BUNDLED = "bundled"

File = Annotated[str, typer.Argument(help="One sentence a line; - is stdin.")]
Model = Annotated[str, typer.Option(help="A folder or hub name.")]
IndexModel = Annotated[str | None, typer.Option(help="A folder or hub name; default: the index's.")]
Revision = Annotated[str | None, typer.Option(help="Of a hub model.")]
Layer = Annotated[
    int | None, typer.Option(help="Hidden states pooled, from 0; default: the model's own.")
]
IndexLayer = Annotated[int | None, typer.Option(help="Must be the index's, its default.")]
Pooling = Annotated[str, typer.Option(help="Over the pieces of a sentence: mean, cls or max.")]
IndexPooling = Annotated[str | None, typer.Option(help="Must be the index's, its default.")]
Dtype = Annotated[str, typer.Option(help="float32 or bfloat16.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:0, ...")]
TooLong = Annotated[
    str, typer.Option(help="Sentences beyond the model's length: error or windows.")
]
AllowDownload = Annotated[
    bool, typer.Option("--allow-download", help="Fetch a model that is not here.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the folder, once the new one is whole.")
]
SkipEmpty = Annotated[
    bool, typer.Option("--skip-empty", help="Leave empty lines out; stderr says how many.")
]
ShowProgress = Annotated[bool | None, typer.Option(help="Show progress on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="One object a line.")]


class ModelChoice(NamedTuple):
    """Which model was asked for, and how to run it."""

    model: str | None
    revision: str | None
    dtype: str
    device: str
    allow_download: bool

    def load(self, built: Space | None = None) -> Encoder:
        """The encoder; without a name, the one that ``built`` was built with."""
        from encoders.checkpoint import download, find_folder
        from encoders.registry import default_registry

        model, revision = self.model or BUNDLED, self.revision
        if self.model is None and built is not None:
            model, revision = built.model, self.revision or built.revision
        if self.allow_download:
            try:
                find_folder(model, revision)
            except ModelNotFoundError:
                download(model, revision)
        return default_registry().encoder(
            model, revision=revision, dtype=self.dtype, device=self.device
        )
