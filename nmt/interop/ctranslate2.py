"""CTranslate2: translation models in eight bits, without torch in the loop.

An exported folder holds ``model.bin``, ``config.json`` and the vocabulary, as CTranslate2 wants
them, and in ``checkpoint`` the tokenizer and configuration of the model it was made of.

CTranslate2's beam search is :mod:`nmt.search.beams` with ``early_stopping``, and its scores are the
same: sums of log-probabilities by the length, with its end and a forced tag, to the power of the
penalty.
Two things differ. What is forbidden, by ``no_repeat_ngram`` or the checkpoint, does not count in
the probabilities of what is left; and right after a prefix no hypothesis ends.

This is the only module that knows CTranslate2.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from pydantic import NonNegativeInt, ValidationError

from bitext.errors import InputError, UnknownNameError, choose_from
from bitext.text import atomic_folder
from encoders.batching import BatchCost
from encoders.checkpoint import find_device, quietly, reading
from encoders.hub import fingerprint
from encoders.strict import Strict
from encoders.training.run import writing
from nmt.network.fused import FusedConfig, refusal
from nmt.network.model import TranslationCheckpoint
from nmt.pieces.hub_codec import codec_of
from nmt.pieces.tokenization import Codec, read_settings
from nmt.search.engine import Item, batches, forbidden_pieces
from nmt.search.frontier import Found
from nmt.search.search import SearchSettings

QUANTIZATIONS = (
    "int8",
    "int8_float32",
    "int8_float16",
    "int8_bfloat16",
    "int16",
    "float16",
    "bfloat16",
    "float32",
)
"""How weights may be stored; int8 leaves open how the rest is computed."""

COST = BatchCost(most=4096, start=128)
"""Pieces of the source times beams that are searched together."""

CHECKPOINT = "checkpoint"
_SETTINGS = "bitext.json"
_VOCABULARY = "shared_vocabulary.json"


class _Exported(Strict):
    """What ``bitext.json`` holds."""

    version: Literal[1] = 1
    quantization: str
    starts: bool
    """Whether CTranslate2 knows itself what the decoder starts from."""
    end: NonNegativeInt
    forbidden: tuple[int, ...] = ()


def import_ctranslate2() -> Any:
    """:raises InputError: if it is not installed."""
    try:
        import ctranslate2
        import ctranslate2.converters
    except ImportError:
        raise InputError(
            'CTranslate2 is not here; install it with: pip install "bitext[ctranslate2]"'
        ) from None
    return ctranslate2


# --- export


def export_ctranslate2(
    checkpoint: TranslationCheckpoint, output: str | Path, *, quantization: str = "int8"
) -> None:
    """Write a folder that :func:`load_exported` and CTranslate2 itself load.

    :param checkpoint: on the cpu, in float32.
    :raises UnknownNameError: if there is no such quantization.
    :raises InputError: if CTranslate2 has no such model, or the folder cannot be written.
    """
    if quantization not in QUANTIZATIONS:
        raise UnknownNameError(choose_from("quantization", quantization, QUANTIZATIONS))
    if isinstance(checkpoint.model.config, FusedConfig):
        raise refusal(str(checkpoint.folder))
    library = import_ctranslate2()
    _prepare(checkpoint.model.config)
    converter = _converter(library, checkpoint)
    with atomic_folder(output, marker="model.bin") as folder, quietly(), writing(Path(output)):
        try:
            converter.convert(str(folder), quantization=quantization, force=True)
        except (ValueError, NotImplementedError, KeyError) as error:
            kind = checkpoint.model.config.model_type
            reason = str(error).splitlines()[0]
            raise InputError(f"CTranslate2 cannot export a {kind} model: {reason}") from error
        _copy_checkpoint(checkpoint.folder, folder / CHECKPOINT)
        described = _Exported(
            quantization=quantization,
            starts=_config_of(folder).get("decoder_start_token") is not None,
            end=checkpoint.codec.end,
            forbidden=tuple(forbidden_pieces(checkpoint.model)),
        )
        (folder / _SETTINGS).write_text(described.model_dump_json(indent=1) + "\n")


def _prepare(config: Any) -> None:
    """BART's configurations of today lack what the converter looks for."""
    if config.model_type == "bart":
        config.normalize_before = False
        config.normalize_embedding = True
    elif config.model_type == "mbart":
        config.normalize_before = True
        config.normalize_embedding = True


def _converter(library: Any, checkpoint: TranslationCheckpoint) -> Any:
    class Converter(library.converters.TransformersConverter):  # type: ignore[misc]
        """Takes the model and tokenizer that are loaded already."""

        def load_model(self, *args: Any, **kwargs: Any) -> Any:
            return checkpoint.model

        def load_tokenizer(self, *args: Any, **kwargs: Any) -> Any:
            return _tokenizer_of(checkpoint.folder)

    return Converter(str(checkpoint.folder))


def _tokenizer_of(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )


def _copy_checkpoint(source: Path, target: Path) -> None:
    """All but the weights."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        wanted = path.suffix in (".json", ".txt", ".model", ".spm")
        if wanted and path.is_file() and not path.name.endswith(".index.json"):
            shutil.copyfile(path, target / path.name)


def _config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


# --- use


class CTranslate2Engine:
    """An exported model."""

    name = "ctranslate2"

    def __init__(
        self, translator: Any, vocabulary: Sequence[str], exported: _Exported, size: int
    ) -> None:
        self._translator = translator
        self.device = str(translator.device)
        self.dtype = str(translator.compute_type)
        self.bytes = size
        self._pieces = list(vocabulary)
        self._ids = {piece: i for i, piece in enumerate(vocabulary)}
        self._exported = exported
        self._forbidden = [i for i in exported.forbidden if i < len(self._pieces)]

    def find(
        self, items: Sequence[Item], how: SearchSettings, *, counted: int
    ) -> list[list[Found]]:
        """As :class:`nmt.search.engine.Engine` says.

        :raises InputError: if samples are asked for: CTranslate2 draws them by one stream of random
            numbers, so that they would depend on what else is in the batch.
        """
        if how.sample:
            raise InputError("engine ctranslate2 does not sample as bitext does; use engine torch")
        # one call has one limit, which counts the prefix; without a ratio it is mostly the same
        limits = [item.limit + len(item.given) - 1 - counted for item in items]
        order = sorted(range(len(items)), key=lambda place: limits[place])
        found: list[list[Found]] = [[] for _ in items]
        for limit, same in groupby(order, key=lambda place: limits[place]):
            chosen = list(same)
            lengths = [len(items[place].source) for place in chosen]
            for batch in batches(lengths, how.width, COST):
                places = [chosen[i] for i in batch]
                own = self._batch([items[place] for place in places], how, limit, counted)
                for place, hypotheses in zip(places, own, strict=True):
                    found[place] = hypotheses
        return found

    def _batch(
        self, items: Sequence[Item], how: SearchSettings, limit: int, counted: int
    ) -> list[list[Found]]:
        first = 1 if self._exported.starts else 0
        prefixes = [self._spelt(item.given[first:]) for item in items]
        results = self._translator.translate_batch(
            [self._spelt(item.source) for item in items],
            target_prefix=prefixes if any(prefixes) else None,
            beam_size=how.beam_size,
            num_hypotheses=how.n_best,
            length_penalty=how.length_penalty,
            no_repeat_ngram_size=how.no_repeat_ngram,
            suppress_sequences=[[self._pieces[i]] for i in self._forbidden] or None,
            max_decoding_length=limit,
            min_decoding_length=0,
            max_input_length=0,
            return_scores=True,
            return_end_token=True,
        )
        found = []
        for item, result in zip(items, results, strict=True):
            prefix = len(item.given) - 1  # is returned, but for what the decoder starts from
            free = prefix - counted  # pieces of the prefix that do not count
            scored = zip(result.hypotheses, result.scores, strict=True)
            own = [self._found(p[prefix:], s, len(p), free, how) for p, s in scored]
            found.append(sorted(own, key=lambda one: -one.score))
        return found

    def _found(
        self, pieces: Sequence[str], score: float, length: int, free: int, how: SearchSettings
    ) -> Found:
        """:param length: of the whole hypothesis, by which its score was divided."""
        ids = [self._ids[piece] for piece in pieces]
        truncated = not ids or ids[-1] != self._exported.end
        if free:
            score *= (length / (length - free)) ** how.length_penalty
        return Found(ids if truncated else ids[:-1], score, truncated)

    def _spelt(self, ids: Sequence[int]) -> list[str]:
        return [self._pieces[i] for i in ids]


def load_exported(
    folder: Path, *, device: str = "cpu", dtype: str | None = None
) -> tuple[CTranslate2Engine, Codec, str]:
    """The engine and codec of a folder that was exported, and what tells it from others.

    It computes with as many threads as torch does.

    :param dtype: how to compute; by default as the folder's weights are.
    :raises InputError: if the folder holds something else, or this machine cannot compute so.
    :raises UnknownNameError: if there is no such device or dtype.
    """
    library = import_ctranslate2()
    exported = _read_exported(folder)
    place = find_device(device)
    if dtype is not None:
        possible = library.get_supported_compute_types(place.type)
        if dtype not in possible:
            raise UnknownNameError(choose_from("dtype of engine ctranslate2", dtype, possible))
    with reading(str(folder)):
        translator = library.Translator(
            str(folder),
            device=place.type,
            device_index=place.index or 0,
            compute_type=dtype or "default",
            intra_threads=torch.get_num_threads(),
        )
        vocabulary = json.loads((folder / _VOCABULARY).read_text(encoding="utf-8"))
        codec = _codec_in(folder / CHECKPOINT, str(folder))
    size = (folder / "model.bin").stat().st_size  # CTranslate2 tells of no size in memory
    engine = CTranslate2Engine(translator, vocabulary, exported, size)
    return engine, codec, f"{fingerprint(folder / CHECKPOINT)}-{exported.quantization}"


def _read_exported(folder: Path) -> _Exported:
    try:
        return _Exported.model_validate_json((folder / _SETTINGS).read_bytes())
    except OSError:
        raise InputError(
            f"{folder} was not exported by bitext: it has a model.bin and no {_SETTINGS}"
        ) from None
    except ValidationError:
        raise InputError(f"{folder / _SETTINGS} is not as bitext export writes it") from None


def _codec_in(folder: Path, name: str) -> Codec:
    config = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    return codec_of(name, _tokenizer_of(folder), config, read_settings(folder))
