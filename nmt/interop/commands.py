"""The commands ``fairseq write-data``, ``read-data``, ``import-model`` and ``export-model``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitext.errors import InputError, UnknownNameError, choose_from

if TYPE_CHECKING:
    from collections.abc import Callable

    from nmt.interop.fairseq_data import Side

Source = Annotated[str | None, typer.Option(help="Source language, where it is not clear.")]
Target = Annotated[str | None, typer.Option(help="Target language, where it is not clear.")]
Joiner = Annotated[
    str, typer.Option(help="How symbols are text: none (spaces), sentencepiece, subword-nmt.")
]


def write_data(
    output: Annotated[Path, typer.Argument(help="The folder to write.")],
    source: Annotated[str, typer.Option(help="Source language: the ending of its files.")],
    target: Annotated[str, typer.Option(help="Target language: the ending of its files.")],
    train: Annotated[str | None, typer.Option(help="PREFIX of PREFIX.en and PREFIX.de.")] = None,
    valid: Annotated[list[str] | None, typer.Option(help="The same; may come again.")] = None,
    test: Annotated[list[str] | None, typer.Option(help="The same; may come again.")] = None,
    model: Annotated[
        str | None, typer.Option(help="Folder or hub name: cut raw text into its pieces.")
    ] = None,
    trim: Annotated[
        bool, typer.Option("--trim", help="Of its pieces, keep those of the training text.")
    ] = False,
    source_dictionary: Annotated[Path | None, typer.Option(help="A dict.en.txt to use.")] = None,
    target_dictionary: Annotated[Path | None, typer.Option(help="A dict.de.txt to use.")] = None,
    joined: Annotated[
        bool, typer.Option("--joined", help="One dictionary for both languages.")
    ] = False,
    least: Annotated[int, typer.Option(min=0, help="How often a symbol must occur.")] = 0,
    size: Annotated[int | None, typer.Option(min=5, help="The most symbols.")] = None,
    multiple: Annotated[
        int, typer.Option(min=1, help="Make up symbols to a multiple of this number.")
    ] = 8,
    progress: Annotated[bool | None, typer.Option(help="Show progress on stderr.")] = None,
) -> None:
    """Binarise bitext for fairseq, as fairseq-preprocess does.

    Without --model, lines are symbols parted by spaces, and a dictionary is built of the training
    text unless one is given.
    """
    from bitext.progress import report_progress
    from nmt.interop.fairseq_data import write_data as write

    files = _files(source, target, train, valid or [], test or [])
    given = (source_dictionary, target_dictionary)
    if model is not None:
        if any(given) or size is not None:
            raise InputError(
                "--model brings its own dictionary; leave out the dictionaries, --size"
            )
        sides = _piece_sides(model, source, target, files, trim, least, multiple)
    else:
        options = {"joined": joined, "least": least, "size": size, "multiple": multiple}
        sides = _symbol_sides(source, target, files, given, options)
    with report_progress("pairs", show=progress) as done:
        written = write(output, *sides, files, progress=done)
    for side in sides:
        print(f"dict.{side.language}.txt: {len(side.dictionary)} symbols")
    for one in written:
        print(one)


def _files(
    source: str, target: str, train: str | None, valid: list[str], test: list[str]
) -> dict[str, tuple[str, str]]:
    """Split -> its two files, named as fairseq names them: valid, valid1, ..."""
    prefixes = {"train": train} if train else {}
    for name, found in (("valid", valid), ("test", test)):
        prefixes |= {f"{name}{i or ''}": prefix for i, prefix in enumerate(found)}
    if not prefixes:
        raise InputError("nothing to write; give --train, --valid or --test")
    return {split: (f"{start}.{source}", f"{start}.{target}") for split, start in prefixes.items()}


def _piece_sides(
    model: str,
    source: str,
    target: str,
    files: dict[str, tuple[str, str]],
    trim: bool,
    least: int,
    multiple: int,
) -> tuple[Side, Side]:
    from nmt.interop.fairseq_data import text_lines
    from nmt.interop.fairseq_pieces import PieceSides

    pieces = PieceSides(model, source, target)
    if not trim:
        return pieces.whole()
    if "train" not in files:
        raise InputError("--trim needs --train, whose pieces are kept")
    texts = [text_lines(path) for path in files["train"]]
    return pieces.trimmed(*texts, least=least, multiple=multiple)


def _symbol_sides(
    source: str,
    target: str,
    files: dict[str, tuple[str, str]],
    given: tuple[Path | None, Path | None],
    options: dict[str, bool | int | None],
) -> tuple[Side, Side]:
    from nmt.interop.fairseq_data import Side, dictionaries_of
    from nmt.interop.fairseq_dictionary import read_dictionary

    first, second = given
    if options["joined"] and first and second:
        raise InputError("--joined takes one dictionary, and two were given")
    if options["joined"] and (only := first or second):
        first = second = only
    found = [read_dictionary(path) if path else None for path in (first, second)]
    if None in found:
        if "train" not in files:
            raise InputError("without --train there is no text to build a dictionary of; give"
                             " --source-dictionary and --target-dictionary")  # fmt: skip
        built = dictionaries_of(*files["train"], **options)  # type: ignore[arg-type]
        found = [one or other for one, other in zip(found, built, strict=True)]
    one, other = found
    assert one is not None
    assert other is not None
    return Side(source, one), Side(target, other)


def read_data(
    folder: Annotated[Path, typer.Argument(help="A folder of fairseq-preprocess.")],
    output: Annotated[Path, typer.Argument(help="The folder to write: SPLIT.en-de.tsv each.")],
    source: Source = None,
    target: Target = None,
    joiner: Joiner = "none",
    progress: Annotated[bool | None, typer.Option(help="Show progress on stderr.")] = None,
) -> None:
    """Write binarised bitext as text: lines of 'source TAB target'."""
    from bitext.progress import report_progress
    from bitext.text import atomic_folder
    from nmt.interop.fairseq_data import open_data

    if joiner not in _JOIN:
        raise UnknownNameError(choose_from("joiner", joiner, _JOIN))
    join = _JOIN[joiner]
    data = open_data(folder, source, target)
    pair = f"{data.source}-{data.target}"
    with atomic_folder(output, marker=f"train.{pair}.tsv") as new:
        for split, (sources, _) in data.splits.items():
            with (
                open(new / f"{split}.{pair}.tsv", "w", encoding="utf-8", newline="\n") as file,
                report_progress(split, len(sources), show=progress) as done,
            ):
                for one, other in data.text(split):
                    file.write(f"{join(one)}\t{join(other)}\n")
                    done(1)
    for split, (sources, _) in data.splits.items():
        print(output / f"{split}.{pair}.tsv", f"{len(sources)} pairs", sep="\t")


_JOIN: dict[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "sentencepiece": lambda text: text.replace(" ", "").replace("▁", " ").strip(),
    "subword-nmt": lambda text: f"{text} ".replace("@@ ", "").rstrip(),
}


def import_model(
    checkpoint: Annotated[Path, typer.Argument(help="A model.pt: XLM-R, or a Transformer.")],
    output: Annotated[Path, typer.Argument(help="The folder to write.")],
    source: Source = None,
    target: Target = None,
    dictionaries: Annotated[
        Path | None, typer.Option(help="The folder of dict.*.txt; default: the checkpoint's.")
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="tokenizer.json, or SentencePiece's .model; default: beside it."),
    ] = None,
    joiner: Joiner = "none",
    start: Annotated[
        bool | None, typer.Option(help="Sources begin with <s>, as an MLLM's do.")
    ] = None,
) -> None:
    """Turn a model of fairseq into a folder that bitext and transformers load."""
    from nmt.interop.fairseq_import import import_model as run

    print(
        run(
            checkpoint, output, source=source, target=target, dictionaries=dictionaries,
            segmenter=tokenizer, joiner=joiner, start=start,
        )
    )  # fmt: skip


def export_model(
    model: Annotated[str, typer.Argument(help="The folder of a translation model.")],
    output: Annotated[Path, typer.Argument(help="The folder to write.")],
    source: Source = None,
    target: Target = None,
) -> None:
    """Turn a translation model into fairseq's model.pt and dictionaries."""
    from nmt.interop.fairseq_import import export_model as run

    print(run(model, output, source=source, target=target))
