"""A fast tokenizer whose ids are those of a fairseq dictionary.

What cuts text into the dictionary's symbols is not in fairseq's checkpoints. It is given: an MLLM's
or our own ``tokenizer.json``, or a SentencePiece model. Without either, text must come cut, its
symbols parted by spaces, and only what is decoded is put together again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from bitext.errors import InputError, MismatchError, UnknownNameError, choose_from
from nmt.interop.fairseq_dictionary import END, SPECIAL, START, UNKNOWN, Dictionary

MASK = "<mask>"
_MADE_UP = re.compile(r"madeupword\d+")
_UNIGRAM, _BPE = 1, 2  # SentencePiece's numbers for kinds of models

JOINERS: dict[str, Any] = {
    "none": lambda: _each_followed_by_a_space(),
    "sentencepiece": lambda: decoders.Metaspace(),
    "subword-nmt": lambda: decoders.Sequence(
        [_each_followed_by_a_space(), decoders.Replace("@@ ", ""), decoders.Fuse()]
    ),
}
"""How symbols become text: parted by spaces; ``▁`` is a space; ``@@`` joins to the next one."""


def _each_followed_by_a_space() -> Any:
    return decoders.Replace(Regex("$"), " ")


def tokenizer_for(
    dictionary: Dictionary,
    segmenter: Path | None,
    *,
    joiner: str = "none",
    start: bool = False,
) -> PreTrainedTokenizerFast:
    """A tokenizer with the dictionary's ids.

    :param segmenter: ``tokenizer.json`` or a folder with one, or a SentencePiece ``.model``.
    :param joiner: one of ``JOINERS``, where there is no segmenter.
    :param start: whether sentences begin with ``<s>``, as XLM-R's do; fairseq's translation has
        only ``</s>`` at the end.
    :raises InputError: if the segmenter cannot be read, or cannot have these ids.
    :raises MismatchError: if its pieces are not the dictionary's.
    """
    if repeated := dictionary.repeated():
        raise InputError(
            f"the dictionary has '{repeated[0]}' twice; such a one cannot be converted"
        )
    if segmenter is None:
        made = _by_spaces(dictionary, joiner)
    elif segmenter.suffix == ".model":
        made = _of_sentencepiece(dictionary, segmenter)
    else:
        made = _reordered(dictionary, segmenter)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if start else "$A </s>",
        special_tokens=[("<s>", START), ("</s>", END)],
    )
    made.add_special_tokens([s for s in (*SPECIAL, MASK) if s in dictionary.ids])
    assert made.get_vocab_size() == len(dictionary)
    mask = {"mask_token": MASK} if MASK in dictionary.ids else {}
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<s>", cls_token="<s>", pad_token="<pad>", eos_token="</s>", sep_token="</s>",
        unk_token="<unk>", clean_up_tokenization_spaces=False, **mask,
    )  # fmt: skip


def _by_spaces(dictionary: Dictionary, joiner: str) -> Tokenizer:
    if joiner not in JOINERS:
        raise UnknownNameError(choose_from("joiner", joiner, JOINERS))
    made = Tokenizer(models.WordLevel(dictionary.ids, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.decoder = JOINERS[joiner]()
    return made


def _check(dictionary: Dictionary, pieces: Mapping[str, object], path: Path) -> None:
    """Whether a dictionary's symbols are pieces, but for those that stand for none."""
    strange = [
        symbol
        for symbol in dictionary.symbols
        if symbol not in pieces
        and symbol not in (*SPECIAL, MASK)
        and not _MADE_UP.fullmatch(symbol)
    ]
    if strange:
        raise MismatchError(
            f"{len(strange)} of the dictionary's {len(dictionary)} symbols, such as"
            f" '{strange[0]}', are no pieces of {path}; they do not belong together"
        )


# --- SentencePiece


def _of_sentencepiece(dictionary: Dictionary, path: Path) -> Tokenizer:
    model = _read_sentencepiece(path)
    if model.trainer_spec.model_type != _UNIGRAM:
        kind = "bpe" if model.trainer_spec.model_type == _BPE else "word or char"
        raise InputError(
            f"{path} is a SentencePiece model of kind {kind}; only unigram can be converted:"
            " cut the text with it beforehand, and give no tokenizer"
        )
    scores = {piece.piece: float(piece.score) for piece in model.pieces}
    _check(dictionary, scores, path)
    made = Tokenizer(models.Unigram(_scored(dictionary, scores), unk_id=UNKNOWN))
    made.normalizer = _sentencepiece_normalizer(model.normalizer_spec)
    scheme = "always" if model.normalizer_spec.add_dummy_prefix else "never"
    made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    made.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return made


def _read_sentencepiece(path: Path) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from sentencepiece import sentencepiece_model_pb2

    messages: Any = sentencepiece_model_pb2  # its classes are made when it is imported
    model = messages.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except DecodeError:
        raise InputError(f"{path} is not a SentencePiece model") from None
    return model


def _sentencepiece_normalizer(spec: Any) -> Any:
    """Its table of characters, and one space for several."""
    steps: list[Any] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    return normalizers.Sequence(steps)


def _scored(dictionary: Dictionary, scores: Mapping[str, float]) -> list[tuple[str, float]]:
    """The dictionary's symbols with their scores; what is no piece is as unlikely as any."""
    least = min(scores.values())
    special = dict.fromkeys(SPECIAL, 0.0)
    return [(symbol, {**special}.get(symbol, scores.get(symbol, least)))
            for symbol in dictionary.symbols]  # fmt: skip


# --- tokenizer.json


def _reordered(dictionary: Dictionary, path: Path) -> Tokenizer:
    """The tokenizer of a ``tokenizer.json`` with the dictionary's pieces alone, in its order."""
    written = _read_json(path / "tokenizer.json" if path.is_dir() else path)
    model = written["model"]
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):
        scores = {piece: float(score) for piece, score in vocabulary}
        model["vocab"] = [list(one) for one in _scored(dictionary, scores)]
        model["unk_id"] = UNKNOWN
    else:
        if model.get("merges"):
            raise InputError(f"{path} is a BPE tokenizer, whose pieces depend on one another; only"
                             " unigram, WordPiece and words can take another order")  # fmt: skip
        model["vocab"] = dict(dictionary.ids)
    added = {token["content"] for token in written.get("added_tokens", [])}
    _check(dictionary, {*_names(vocabulary), *added}, path)  # type: ignore[arg-type]
    written["added_tokens"] = []
    written["post_processor"] = None
    return Tokenizer.from_str(json.dumps(written))


def _names(vocabulary: Any) -> list[str]:
    return [one[0] if isinstance(one, list) else one for one in vocabulary]


def _read_json(path: Path) -> Any:
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        written["model"]["vocab"]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path} is not a tokenizer.json") from None
    return written
