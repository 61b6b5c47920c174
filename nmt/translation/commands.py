"""The commands ``bitext translate`` and ``bitext export``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from bitext.errors import InputError, TooLongError, UnknownNameError, choose_from
from bitext.progress import report_progress
from bitext.text import STDIN, name_of, read_sentences
from encoders.options import AsJson, Device, Model, Revision, ShowProgress
from encoders.preset import BUNDLED

if TYPE_CHECKING:
    from bitext.resumable import Setting, Watched
    from nmt.translation.lines import Style
    from nmt.translation.translator import TranslationModel

logger = logging.getLogger(__name__)

Write = Callable[[str], object]

TooLong = Annotated[
    str, typer.Option(help="A source beyond the model's length: error or split at sentences.")
]


def translate(
    file: Annotated[str, typer.Argument(help="One sentence a line; - is stdin.")] = STDIN,
    *,
    model: Model,
    revision: Revision = None,
    source_lang: Annotated[
        str | None, typer.Option(help="As en; not needed where the model has one.")
    ] = None,
    target_lang: Annotated[str | None, typer.Option(help="The same, for what is written.")] = None,
    beam_size: Annotated[int, typer.Option(help="1 is greedy search.")] = 5,
    length_penalty: Annotated[
        float, typer.Option(help="Scores are divided by the length to this power.")
    ] = 1.0,
    no_repeat_ngram: Annotated[
        int, typer.Option(help="No run of so many pieces comes twice; 0 allows it.")
    ] = 0,
    n_best: Annotated[
        int, typer.Option(help="Hypotheses a sentence; of several: number TAB score TAB text.")
    ] = 1,
    early_stopping: Annotated[
        bool, typer.Option("--early-stopping", help="Stop at as many hypotheses as beams.")
    ] = False,
    max_length: Annotated[
        int | None, typer.Option(help="Pieces of a translation; default: what the model can.")
    ] = None,
    max_length_ratio: Annotated[
        float | None, typer.Option(help="Pieces of a translation for each of the source.")
    ] = None,
    sample: Annotated[bool, typer.Option("--sample", help="Draw pieces at random.")] = False,
    temperature: Annotated[float, typer.Option(help="Of --sample; above 0.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Of --sample: likeliest pieces; 0: all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Of --sample: their share, up to 1.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of --sample.")] = 1,
    prefix: Annotated[
        str | None, typer.Option(help="What each translation begins with, a line a sentence.")
    ] = None,
    too_long: TooLong = "error",
    alignment: Annotated[
        bool, typer.Option("--alignment", help="Add the links between words, as bitext align.")
    ] = False,
    alignment_model: Annotated[str, typer.Option(help="The encoder for --alignment.")] = BUNDLED,
    engine: Annotated[
        str | None, typer.Option(help="torch or ctranslate2; default: by the folder.")
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(help="float32 or bfloat16; of ctranslate2, int8 and others."),
    ] = None,
    device: Device = "cpu",
    chunk: Annotated[
        int, typer.Option(min=1, help="Sentences that are read, translated and written at a time.")
    ] = 512,
    as_json: AsJson = False,
    output: Annotated[
        Path | None, typer.Option(help="A file instead of stdout; a stopped run goes on.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin --output anew.")] = False,
    progress: ShowProgress = None,
) -> None:
    """Translate sentences: one line a sentence, in order.

    What shows that a translation went wrong is counted on stderr: empty, copied, repeated, too
    short or long, or not ended where --max-length or the model ends it.
    """
    from nmt.translation.lines import Style
    from nmt.translation.translator import TOO_LONG, TranslationModel, search_settings

    if restart and output is None:
        raise InputError("--restart is for --output FILE, of which there is none")
    if too_long not in TOO_LONG:
        raise UnknownNameError(choose_from("too-long", too_long, TOO_LONG))
    how = search_settings(
        beam_size=beam_size,
        length_penalty=length_penalty,
        no_repeat_ngram=no_repeat_ngram,
        n_best=n_best,
        early_stopping=early_stopping,
        max_length=max_length,
        max_length_ratio=max_length_ratio,
        sample=sample,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
    )
    loaded = TranslationModel.load(
        model, revision=revision, device=device, dtype=dtype, engine=engine
    )
    source_lang, target_lang = loaded.direction(source_lang, target_lang)
    links = None
    if alignment:
        from bitext.bridges import links_by
        from encoders.options import load_encoder

        links = links_by(load_encoder(alignment_model, None, "auto", device, allow_download=False))
    work = _Work(
        loaded,
        {**how.model_dump(), "source_lang": source_lang, "target_lang": target_lang},
        Style(as_json=as_json, numbered=n_best > 1, links=links),
        too_long,
        chunk,
    )
    settings = {**work.described(), "alignment": alignment_model if alignment else "none"}
    items = _items(file, prefix)
    opened = _on_stdout() if output is None else _resuming(output, settings, items, file, restart)
    if progress is None and output is None and sys.stdout.isatty():
        progress = False  # a bar and the translations on one terminal would mix
    with opened as write, report_progress("sentences", show=progress) as done:
        work.run(items, file, write, done)


class _Work(NamedTuple):
    """What is done with each chunk."""

    model: TranslationModel
    search: dict[str, Any]
    style: Style
    too_long: str
    chunk: int

    def described(self) -> dict[str, Setting]:
        """All that changes what is written."""
        search = {key: str(value) for key, value in self.search.items()}
        return {
            "model": self.model.fingerprint,
            "engine": self.model.engine.name,
            **search,
            "too_long": self.too_long,
            "json": self.style.as_json,
            "chunk": self.chunk,
        }

    def run(
        self, items: Watched[_Item], file: str, write: Write, done: Callable[[int], None]
    ) -> None:
        """Translate what is left of ``items``; say on stderr what may have gone wrong."""
        from nmt.evaluation.guard import GuardCounts, guard_flags

        counts, truncated = GuardCounts(), 0
        number = items.mark.items
        if number:
            done(number)
        while block := list(islice(items, self.chunk)):
            sources = [item.text for item in block]
            found = self._translate(block, file, number)
            lines = self.style.lines(sources, found, number + 1)
            write("".join(f"{line}\n" for line in lines))
            for source, own in zip(sources, found, strict=True):
                counts.add(guard_flags(source, own[0].text))
                truncated += own[0].truncated
            number += len(block)
            done(len(block))
        if counts.flagged:
            print(counts, file=sys.stderr)
        if truncated:
            told = f"{truncated:,} of {counts.translations:,} translations did not end"
            print(f"{told} before the length that is allowed", file=sys.stderr)

    def _translate(self, block: list[_Item], file: str, number: int) -> Any:
        forced = [item.prefix for item in block]
        try:
            return self.model.translate(
                [item.text for item in block],
                prefixes=forced if any(forced) else None,
                too_long=self.too_long,
                **self.search,
            )
        except TooLongError as error:
            place = f"{name_of(file)}, line {number + error.sentence + 1}"
            raise error.called(place) from None


class _Item(NamedTuple):
    text: str
    prefix: str


def _items(file: str, prefix: str | None) -> Watched[_Item]:
    from bitext.resumable import Watched

    return Watched(_read(file, prefix), "{0.text}\0{0.prefix}".format)


def _read(file: str, prefix: str | None) -> Iterator[_Item]:
    if prefix is None:
        return (_Item(line, "") for line in read_sentences(file))
    from bitext.text import read_parallel

    return (_Item(str(pair.source), str(pair.target)) for pair in read_parallel(file, prefix))


@contextmanager
def _on_stdout() -> Iterator[Write]:
    yield lambda text: print(text, end="", flush=True)


@contextmanager
def _resuming(
    path: Path, settings: dict[str, Setting], items: Watched[_Item], file: str, restart: bool
) -> Iterator[Write]:
    """Go on with what an earlier run has written."""
    from bitext.resumable import packer, resumable_write

    pack = packer(path)
    with resumable_write(path, settings, what="sentences", restart=restart) as out:
        out.skip(items, name_of(file))
        logger.info("%d sentences are done already", out.mark.items)
        yield lambda text: out.write(pack(text), items.mark)


FORMATS = ("ctranslate2", "transformers")


def export(
    model: Annotated[str, typer.Argument(help="A translation model: a folder or hub name.")],
    output: Annotated[Path, typer.Argument(help="The folder to write.")],
    format: Annotated[str, typer.Option(help="ctranslate2 or transformers.")] = "ctranslate2",
    quantization: Annotated[
        str | None, typer.Option(help="Of ctranslate2: int8 (default), int8_float32, float32, ...")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of transformers: float32 (default), float16 or bfloat16.")
    ] = None,
    revision: Revision = None,
) -> None:
    """Write a translation model in another format; bitext translate loads each of them."""
    if format not in FORMATS:
        raise UnknownNameError(choose_from("format", format, FORMATS))
    if format == "ctranslate2" and dtype is not None:
        raise InputError("--dtype is for --format transformers; say --quantization")
    if format == "transformers" and quantization is not None:
        raise InputError("--quantization is for --format ctranslate2; say --dtype")
    from nmt.network.model import load_translation_checkpoint

    checkpoint = load_translation_checkpoint(model, revision=revision)
    if format == "ctranslate2":
        from nmt.interop.ctranslate2 import export_ctranslate2

        export_ctranslate2(checkpoint, output, quantization=quantization or "int8")
    else:
        from nmt.interop.transformers import export_transformers

        export_transformers(checkpoint, output, dtype=dtype or "float32")
    print(output)
