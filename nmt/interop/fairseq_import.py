"""fairseq's models into folders of ``transformers``, with their tokenizer, and back."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from bitext.errors import InputError, MismatchError
from bitext.text import atomic_folder
from encoders.checkpoint import quietly
from nmt.interop.fairseq_checkpoint import FairseqCheckpoint, read_checkpoint, write_checkpoint
from nmt.interop.fairseq_dictionary import (
    SPECIAL,
    Dictionary,
    make_dictionary,
    read_dictionary,
    write_dictionary,
)
from nmt.interop.fairseq_models import (
    encoder_model,
    is_encoder,
    positions,
    transformer_parts,
    translation_model,
)
from nmt.interop.fairseq_tokenizer import MASK, tokenizer_for
from nmt.network.model import load_translation_checkpoint, save_translation_checkpoint
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings

# beside a checkpoint, the first that is there cuts text into symbols
_SEGMENTERS = ("tokenizer.json", "sentencepiece.bpe.model", "sentencepiece.model", "spm.model")


def import_model(
    path: str | Path,
    output: str | Path,
    *,
    source: str | None = None,
    target: str | None = None,
    dictionaries: str | Path | None = None,
    segmenter: str | Path | None = None,
    joiner: str = "none",
    start: bool | None = None,
) -> str:
    """Turn a ``model.pt`` into a folder; what it became, in a sentence.

    An XLM-R becomes an encoder checkpoint, a Transformer a translation model.

    :param source: languages, where the checkpoint does not name them; not of an encoder.
    :param dictionaries: the folder of ``dict.*.txt``; by default, the checkpoint's.
    :param segmenter: ``tokenizer.json`` or a SentencePiece ``.model``; by default, the one that
        lies beside the checkpoint, if any does.
    :param joiner: see :func:`~nmt.interop.fairseq_tokenizer.tokenizer_for`, like ``start``, which
        is true by default for an encoder and false for a translation model.
    :raises InputError: if a file cannot be read, or the model has no equal in ``transformers``.
    :raises MismatchError: if checkpoint, dictionary and segmenter do not belong together.
    """
    checkpoint = read_checkpoint(path)
    place = Path(dictionaries) if dictionaries else checkpoint.path.parent
    cutter = Path(segmenter) if segmenter else _beside(checkpoint.path)
    if is_encoder(checkpoint):
        begins = True if start is None else start
        return _import_encoder(checkpoint, Path(output), place, cutter, joiner, begins)
    languages = _languages(checkpoint, source, target)
    dictionary = _joined(place, *languages)
    model = translation_model(checkpoint)
    _check_size(dictionary, len(model.get_input_embeddings().weight), checkpoint.path)
    tokenizer = tokenizer_for(dictionary, cutter, joiner=joiner, start=bool(start))
    most = positions(checkpoint)
    settings = TranslationSettings(
        source_langs=languages[:1], target_langs=languages[1:], max_source=most, max_target=most
    )
    save_translation_checkpoint(Path(output), model, TaggedCodec(tokenizer, settings))
    return f"{output}: {type(model).__name__}, {'-'.join(languages)}, {_described(model, cutter)}"


def _described(model: Any, cutter: Path | None) -> str:
    count = sum(parameter.numel() for parameter in model.parameters())
    cut = f"text is cut by {cutter}" if cutter else "text must come cut into symbols"
    return f"{count:,} parameters, {cut}"


def _beside(path: Path) -> Path | None:
    return next((path.parent / n for n in _SEGMENTERS if (path.parent / n).is_file()), None)


def _languages(
    checkpoint: FairseqCheckpoint, source: str | None, target: str | None
) -> tuple[str, str]:
    found = []
    for given, name in ((source, "source"), (target, "target")):
        language = given or checkpoint.setting(f"{name}_lang")
        if not language:
            raise InputError(f"{checkpoint.path} does not name its {name} language; give --{name}")
        found.append(str(language))
    return found[0], found[1]


def _joined(folder: Path, source: str, target: str) -> Dictionary:
    """The one dictionary of both languages.

    :raises MismatchError: if they have two.
    """
    names = [folder / f"dict.{language}.txt" for language in (source, target)]
    if not names[0].is_file() and (folder / "dict.txt").is_file():
        return read_dictionary(folder / "dict.txt")
    first, second = map(read_dictionary, names)
    if first.symbols != second.symbols:
        raise MismatchError(f"{names[0]} and {names[1]} differ; only models with one vocabulary"
                            " (--joined-dictionary) can be converted")  # fmt: skip
    return first


def _check_size(dictionary: Dictionary, rows: int, path: Path) -> None:
    if len(dictionary) != rows:
        raise MismatchError(
            f"{path} has {rows} embeddings, its dictionary {len(dictionary)} symbols (the four"
            " special ones included); they do not belong together"
        )


def _import_encoder(
    checkpoint: FairseqCheckpoint,
    output: Path,
    place: Path,
    cutter: Path | None,
    joiner: str,
    start: bool,
) -> str:
    dictionary = read_dictionary(place / "dict.txt")
    model = encoder_model(checkpoint)
    rows = len(model.get_input_embeddings().weight)
    if MASK not in dictionary.ids and len(dictionary) + 1 == rows:
        # fairseq's task adds it when it loads the dictionary
        dictionary = make_dictionary([*dictionary.symbols[4:], MASK], [*dictionary.counts[4:], 1])
    _check_size(dictionary, rows, checkpoint.path)
    tokenizer = tokenizer_for(dictionary, cutter, joiner=joiner, start=start)
    tokenizer.model_max_length = model.config.max_position_embeddings - 2
    with atomic_folder(output, marker="config.json") as folder, quietly():
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        for file in folder.iterdir():
            file.chmod(0o644)  # safetensors writes for the owner's eyes only
    return f"{output}: XLMRobertaForMaskedLM, {_described(model, cutter)}"


# --- back


def export_model(
    name: str | Path, output: str | Path, *, source: str | None = None, target: str | None = None
) -> str:
    """Turn a translation model of ours into ``model.pt`` and dictionaries; what it became.

    :param source: the direction, where the model knows several.
    :raises InputError: if fairseq has no such model.
    :raises MismatchError: if its special pieces have other ids than fairseq's.
    """
    loaded = load_translation_checkpoint(name)
    codec = loaded.codec
    assert isinstance(codec, TaggedCodec)
    source = _one_of(codec.settings.source_langs, source, "source")
    target = _one_of(codec.settings.target_langs, target, "target")
    settings, weights = transformer_parts(loaded.model, source, target)
    dictionary = dictionary_of(codec.tokenizer, len(weights["encoder.embed_tokens.weight"]))
    with atomic_folder(output, marker="model.pt") as folder:
        write_checkpoint(folder / "model.pt", settings, weights)
        for language in sorted({source, target}):
            write_dictionary(dictionary, folder / f"dict.{language}.txt")
        shutil.copyfile(loaded.folder / "tokenizer.json", folder / "tokenizer.json")
    return f"{output}: transformer, {source}-{target}, {len(dictionary)} symbols"


def _one_of(known: tuple[str, ...], given: str | None, side: str) -> str:
    if given is None and len(known) == 1:
        return known[0]
    if given not in known:
        raise InputError(f"the model knows {', '.join(known)}; choose one by --{side}")
    return given


def dictionary_of(tokenizer: Any, size: int | None = None) -> Dictionary:
    """A tokenizer's pieces in the order of their ids, as a dictionary with the same ids.

    :param size: how many embeddings there are, where they may be more: the rest is made up.
    :raises MismatchError: if the first four pieces are not fairseq's special ones.
    """
    ids: dict[str, int] = tokenizer.get_vocab()
    pieces = sorted(ids, key=ids.__getitem__)
    if tuple(pieces[:4]) != SPECIAL or list(map(ids.__getitem__, pieces)) != list(range(len(ids))):
        raise MismatchError(f"the first pieces are {', '.join(pieces[:4])}; fairseq's dictionaries"
                            f" begin with {', '.join(SPECIAL)}")  # fmt: skip
    taken = sum(1 for piece in pieces if re.fullmatch(r"madeupword\d{4}", piece))
    more = range(taken, taken + (size or len(pieces)) - len(pieces))
    return make_dictionary([*pieces[4:], *(f"madeupword{i:04d}" for i in more)])
