"""The options by which commands choose an aligner and say how it works."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import InputError
from bitext.formats.files import FORMATS

if TYPE_CHECKING:
    from aligners.aligner import Aligner

Target = Annotated[
    str | None, typer.Argument(help="The target sentences, if FILE has the source ones only.")
]
_METHODS = (
    "argmax, backward, entmax, forward, grow-diag, grow-diag-final, grow-diag-final-and, "
    "grow-diag-final-and-moses, grow-diag-final-lilt, grow-diag-final-moses, grow-diag-lilt, "
    "grow-diag-moses, intersection, itermax, mwmf, partial, softmax, transport, unbalanced, union; "
    "default: the model's own. Settings follow a colon: softmax:temperature=0.1."
)
Method = Annotated[str | None, typer.Option(help=_METHODS)]
Methods = Annotated[
    list[str] | None,
    typer.Option("--method", help=f"{_METHODS} Several, with --format jsonl: say --method again."),
]
Unit = Annotated[
    str | None, typer.Option(help="What is matched: piece or word; default: the model's own.")
]
SimilarityOption = Annotated[
    str | None, typer.Option(help="Methods look at: cosine or dot; default: the model's own.")
]
Distortion = Annotated[
    float | None,
    typer.Option(help="How much distant positions count less, 0 to 1; default: the model's own."),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="Drop links that score less, 0 to 1; default: the model's own."),
]
NullEntropy = Annotated[
    float | None,
    typer.Option(help="Drop links less decided than this, 0 to 1; default: the model's own."),
]
CorpusPriorWeight = Annotated[
    float,
    typer.Option(
        "--corpus-prior",
        help="Learn from all pairs which words translate each other, and add this much of it to "
        "the similarities; 0.1 is a good weight, 0 learns nothing.",
    ),
]
Plot = Annotated[Path | None, typer.Option(help="Draw a few pairs, too: a .svg or .png file.")]
ChunkSize = Annotated[int, typer.Option("--chunk", min=1, help="Pairs aligned at a time.")]
Raw = Annotated[bool, typer.Option("--raw", help="Segment raw text into words.")]
Format = Annotated[
    str | None, typer.Option(help=f"Of the links: {', '.join(FORMATS)}; default: pharaoh.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Short for --format jsonl.")]
Scores = Annotated[bool, typer.Option("--scores", help="Short for --format scored.")]
Detail = Annotated[
    bool,
    typer.Option("--detail", help="With jsonl: probabilities, null words, the pair's score."),
]
PairScores = Annotated[
    bool, typer.Option("--pair-scores", help="Before the links, the pair's score and a tab.")
]
Gold = Annotated[Path | None, typer.Option(help="Score against this file, on stderr.")]
Output = Annotated[
    Path | None,
    typer.Option(help="Write here, when all is done; the same command goes on with a broken run."),
]
Restart = Annotated[bool, typer.Option("--restart", help="Throw away what a broken run left.")]
Devices = Annotated[
    str, typer.Option(help="cpu, cuda, cuda:0, ...; several, a process each: cuda:0,cuda:1.")
]
Processes = Annotated[
    int | None,
    typer.Option(min=1, help="Each with a model of its own; default: 1, or one a device."),
]


@dataclass(frozen=True, slots=True)
class AlignerChoice:
    """An aligner as options name it; any process can load it."""

    model: str
    revision: str | None = None
    dtype: str = "auto"
    device: str = "cpu"
    allow_download: bool = False
    methods: tuple[str, ...] = ()
    layer: int | None = None
    unit: str | None = None
    similarity: str | None = None
    distortion: float | None = None
    threshold: float | None = None
    null_entropy: float | None = None
    prior_weight: float = 0.0
    too_long: str = "error"

    def check(self) -> None:
        """Refuse what no model could make right, before one is loaded.

        :raises UnknownNameError: if a method, unit or similarity does not exist.
        :raises InputError: if a share is not in [0, 1], or a method is named twice.
        """
        from aligners.aligner import check_choices
        from aligners.methods import Method

        check_choices(
            unit=self.unit,
            similarity=self.similarity,
            distortion=self.distortion,
            threshold=self.threshold,
            null_entropy=self.null_entropy,
            prior_weight=self.prior_weight,
        )
        seen = set()
        for method in map(Method.parse, self.methods):
            if method in seen:
                raise InputError(f"method {method} is given twice")
            seen.add(method)

    def on(self, device: str) -> AlignerChoice:
        return replace(self, device=device)

    def load(self) -> Aligner:
        """:raises ModelNotFoundError: if the model is not here and was not to be fetched."""
        from aligners.aligner import Aligner
        from encoders.options import load_encoder

        encoder = load_encoder(
            self.model,
            self.revision,
            self.dtype,
            self.device,
            allow_download=self.allow_download,
        )
        return Aligner(
            encoder,
            method=next(iter(self.methods), None),
            layer=self.layer,
            unit=self.unit,
            similarity=self.similarity,
            distortion=self.distortion,
            threshold=self.threshold,
            null_entropy=self.null_entropy,
            prior_weight=self.prior_weight,
            too_long=self.too_long,
        )


def devices_of(names: str, processes: int | None) -> list[str]:
    """The device of each process; more processes than devices take them in turn.

    Example: ``("cuda:0,cuda:1", None)`` -> ``["cuda:0", "cuda:1"]``, ``("cpu", 2)`` ->
    ``["cpu", "cpu"]``

    :raises InputError: if a name is empty or there are fewer processes than devices.
    """
    devices = [name.strip() for name in names.split(",")]
    if not all(devices):
        raise InputError(f"expected devices such as cpu or cuda:0,cuda:1, got '{names}'")
    count = len(devices) if processes is None else processes
    if count < len(devices):
        raise InputError(f"{len(devices)} devices need as many processes, got --processes {count}")
    return [devices[number % len(devices)] for number in range(count)]
