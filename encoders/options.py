"""The options by which commands of every package choose a model and say how to run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import ModelNotFoundError

if TYPE_CHECKING:
    from encoders.encoder import Encoder

Model = Annotated[str, typer.Option(help="A folder or hub name.")]
Revision = Annotated[str | None, typer.Option(help="Of a hub model.")]
Layer = Annotated[
    int | None, typer.Option(help="Hidden states used, from 0; default: the model's own.")
]
Dtype = Annotated[str, typer.Option(help="auto, bfloat16, float32 or int8.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:0, ...")]
TooLong = Annotated[
    str, typer.Option(help="Sentences beyond the model's length: error or windows.")
]
GoldIndex = Annotated[
    int | None,
    typer.Option(min=0, max=1, help="The number of the first word in gold; default: 0, checked."),
]
AllowDownload = Annotated[
    bool, typer.Option("--allow-download", help="Fetch a model that is not here.")
]
ShowProgress = Annotated[bool | None, typer.Option(help="Show progress on stderr.")]
AsJson = Annotated[bool, typer.Option("--json", help="One object a line.")]


def load_encoder(
    model: str, revision: str | None, dtype: str, device: str, *, allow_download: bool
) -> Encoder:
    """The encoder that the options name, from the registry of this process.

    :raises ModelNotFoundError: if it is not on this machine and was not to be fetched.
    """
    from encoders.hub import download, find_folder

    try:
        find_folder(model, revision)  # before torch is imported, which takes seconds
    except ModelNotFoundError:
        if not allow_download:
            raise
        download(model, revision)
    from encoders.registry import default_registry

    return default_registry().encoder(model, revision=revision, dtype=dtype, device=device)
