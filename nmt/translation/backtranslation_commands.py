"""The command ``bitext back-translate``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitext.errors import InputError
from bitext.progress import report_progress
from bitext.resumable import Setting
from bitext.text import name_of, ordinary, read_sentences
from encoders.options import AllowDownload, Device, ShowProgress
from encoders.preset import BUNDLED

if TYPE_CHECKING:
    from bitext.bridges import Similarity
    from encoders.encoder import Encoder


def back_translate(
    model: Annotated[
        str, typer.Argument(help="What translates FILE's language into the other: a folder.")
    ],
    file: Annotated[
        str, typer.Argument(help="Text in the target language, a sentence a line; - is stdin.")
    ],
    output: Annotated[Path, typer.Option(help="Where the pairs go: what was made TAB the line.")],
    source_lang: Annotated[
        str | None, typer.Option(help="Of what is made; not needed if MODEL has one direction.")
    ] = None,
    target_lang: Annotated[str | None, typer.Option(help="Of FILE; likewise.")] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Drop pairs that retrieval scores below this.")
    ] = None,
    margin: Annotated[
        str,
        typer.Option(
            help="What the score is: absolute, the cosine; or distance or ratio, against the "
            "neighbours among 512 lines."
        ),
    ] = "absolute",
    filter_model: Annotated[
        str, typer.Option(help="The encoder that scores: a folder or hub name.")
    ] = BUNDLED,
    beam_size: Annotated[int, typer.Option(min=1, help="1 is greedy.")] = 5,
    sample: Annotated[
        bool, typer.Option("--sample", help="Draw the translations instead of searching.")
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="For --sample; default: 1.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="torch or ctranslate2; default: what MODEL is made for.")
    ] = None,
    device: Device = "cpu",
    allow_download: AllowDownload = False,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what an interrupted run left.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The report as an object.")] = False,
    progress: ShowProgress = None,
) -> None:
    """Make pairs to train on from text that exists in the target language alone.

    MODEL translates each line; the pair is dropped if its translation is empty, copied, looping or
    of a length that cannot be, or scores less than --min-score by the vectors of --filter-model.
    How many were kept, and why others were not, is told on stderr. An interrupted run is gone on
    with by the same command.
    """
    if seed is not None and not sample:
        raise InputError("--seed is for --sample, which is not given")
    ordinary(output, Path.is_file, "a file")
    lines = read_sentences(file)
    search: dict[str, Any] = {"sample": True, "seed": seed or 1} if sample else {}
    search["beam_size"] = beam_size
    from nmt.translation.backtranslation import CHUNK, BackTranslator, back_translate_file
    from nmt.translation.translator import TranslationModel

    encoder = None
    if min_score is not None:
        encoder = _encoder(filter_model, device, allow_download)
    translator = TranslationModel.load(model, device=device, engine=engine)
    made, given = translator.direction(target_lang, source_lang)[::-1]
    settings: dict[str, Setting] = {
        "model": translator.fingerprint,
        "engine": translator.engine.name,
        "source language": made,
        "target language": given,
        "search": json.dumps(search, sort_keys=True),
        "filter model": "none" if encoder is None else encoder.fingerprint,
        "margin": margin,
        "least score": str(min_score),
        "chunk": CHUNK,
    }
    work = BackTranslator(
        translator=translator,
        source_lang=made,
        target_lang=given,
        similarity=_similarity(encoder, margin),
        least=min_score or 0.0,
        search=search,
    )
    with report_progress("lines", show=progress) as done:
        report = back_translate_file(
            lines,
            output,
            work,
            settings,
            name=name_of(file),
            restart=restart,
            progress=done,
        )
    told = json.dumps(report.as_dict()) if as_json else str(report)
    print(told, file=sys.stderr)


def _encoder(name: str, device: str, allow_download: bool) -> Encoder:
    from encoders.options import load_encoder

    return load_encoder(name, None, "float32", device, allow_download=allow_download)


def _similarity(encoder: Encoder | None, margin: str) -> Similarity | None:
    from bitext.bridges import similarity_by

    return None if encoder is None else similarity_by(encoder, margin)
