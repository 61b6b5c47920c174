"""The joint vocabulary of source and target: trained on the corpus, or an encoder's, trimmed.

Both come out as an ordinary fast tokenizer whose decoding gives the text back.
"""

from __future__ import annotations

import io
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from bitext.errors import InputError
from encoders.subwords import SubwordSplitter

# XLM-R's order, so that the ids mean the same in every model of ours
SPECIAL_PIECES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
BYTES = [f"<0x{number:02X}>" for number in range(256)]
"""Pieces that spell a character of which the training text had none."""
_UNLIKELY = -100.0  # log-probability of a byte: any other way of writing a word is preferred
_SIGN = r"(?!▁)[\p{N}\p{P}\p{S}]"  # the word mark is itself a symbol to Unicode
_SENTENCES = 2_000_000  # that a vocabulary is learned from, drawn of more
_PROBE = 2000
"""Sentences that are encoded and decoded to see whether a tokenizer gives text back."""


def train_vocabulary(texts: Iterable[str], *, size: int) -> PreTrainedTokenizerFast:
    """A unigram vocabulary (Kudo, 2018) with bytes for what it has never seen.

    SentencePiece learns it, the same from the same text every time.

    :param texts: sentences of all languages.
    :param size: pieces, special ones and the 256 bytes included; a small corpus gives fewer.
    :raises InputError: if ``size`` leaves no room for pieces.
    """
    fixed = len(SPECIAL_PIECES) + len(BYTES)
    if size <= fixed:
        raise InputError(f"vocabulary.size {size} must be more than {fixed}: bytes and signs")
    vocabulary = [
        *((piece, 0.0) for piece in SPECIAL_PIECES),
        *((byte, _UNLIKELY) for byte in BYTES),
        *_learn(texts, size - fixed),
    ]
    unknown = SPECIAL_PIECES.index("<unk>")
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=unknown, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    # a sign is a piece of its own, so that a word has the same pieces beside it as elsewhere
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(), pre_tokenizers.Split(Regex(_SIGN), behavior="isolated")]
    )
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[(name, SPECIAL_PIECES.index(name)) for name in ("<s>", "</s>")],
    )
    return as_transformers(tokenizer)


def _learn(texts: Iterable[str], size: int) -> list[tuple[str, float]]:
    """Pieces with their log-probabilities, the likeliest first."""
    written = io.BytesIO()
    control = 3  # its own <unk>, <s> and </s>, which are left out
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=(unicodedata.normalize("NFC", text) for text in texts),
        model_writer=written,
        vocab_size=size + control,
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",
        split_digits=True,
        input_sentence_size=_SENTENCES,
        shuffle_input_sentence=True,
        num_threads=1,
        minloglevel=2,
    )
    model = sentencepiece.SentencePieceProcessor(model_proto=written.getvalue())
    pieces = [(model.id_to_piece(k), model.get_score(k)) for k in range(control, len(model))]
    return pieces[:size]


def as_transformers(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """The form in which ``transformers`` saves and loads it."""
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token="<unk>",
        mask_token="<mask>",
        clean_up_tokenization_spaces=False,
    )


def gives_back(tokenizer: Any, texts: Iterable[str]) -> float:
    """The share of texts that decoding gives back, spaces apart: whether it can write output."""
    splitter = SubwordSplitter(tokenizer)
    sample = [" ".join(text.split()) for text in islice(texts, _PROBE)]
    found = [
        tokenizer.decode(one.ids, clean_up_tokenization_spaces=False)
        for one in splitter.texts(sample)
    ]
    same = sum(bool(text == other.strip()) for text, other in zip(sample, found, strict=True))
    return same / max(1, len(sample))


class Trimmed(NamedTuple):
    """A tokenizer with fewer pieces, and which of the old ones they were."""

    tokenizer: Any
    kept: np.ndarray[Any, np.dtype[np.int64]]  # old id of each new one, (pieces,)


def trim_vocabulary(tokenizer: Any, texts: Iterable[str], *, min_count: int = 1) -> Trimmed:
    """Keep what the texts use: special pieces, single characters, and pieces seen often enough.

    The best segmentation of those texts stays what it was where the vocabulary is a unigram or
    WordPiece one, since its pieces are all kept (for ``min_count`` 1).

    :raises InputError: if the tokenizer is of a kind whose pieces depend on one another (BPE).
    """
    written, kept = trim_written(tokenizer, texts, min_count=min_count)
    roles = {
        name: getattr(tokenizer, name)
        for name in ("bos_token", "eos_token", "cls_token", "sep_token", "pad_token", "unk_token")
        if getattr(tokenizer, name, None) is not None
    }
    if getattr(tokenizer, "mask_token", None) is not None:
        roles["mask_token"] = str(tokenizer.mask_token)
    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(written)),
        clean_up_tokenization_spaces=False,
        **roles,
    )
    return Trimmed(made, np.array(kept, dtype=np.int64))


def trim_written(
    tokenizer: Any, texts: Iterable[str], *, min_count: int = 1
) -> tuple[dict[str, Any], list[int]]:
    """What ``tokenizer.json`` of the trimmed vocabulary holds, and the old id of each piece.

    :raises InputError: if the tokenizer is of a kind whose pieces depend on one another (BPE).
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    written: dict[str, Any] = {"model": {"type": "slow"}}
    if backend is not None:
        written = json.loads(backend.to_str())
    kind = written["model"].get("type") or "Unigram"
    if kind not in ("Unigram", "WordPiece"):
        raise InputError(
            f"a vocabulary of kind {kind} cannot be trimmed, only Unigram and WordPiece; "
            "choose vocabulary.source = 'corpus'"
        )
    used = count_pieces(SubwordSplitter(tokenizer), texts)
    special = {entry["id"] for entry in written["added_tokens"]}
    vocabulary: Any = written["model"]["vocab"]
    names: list[str] = (
        [piece for piece, _ in vocabulary]
        if kind == "Unigram"
        else sorted(vocabulary, key=vocabulary.__getitem__)
    )
    letters = {i for i, name in enumerate(names) if len(name.removeprefix("##").lstrip("▁")) <= 1}
    seen = {number for number, count in used.items() if count >= min_count}
    kept = [i for i in range(len(names)) if i in special or i in letters or i in seen]
    new_id = {old: new for new, old in enumerate(kept)}
    if kind == "Unigram":
        written["model"]["vocab"] = [vocabulary[old] for old in kept]
        written["model"]["unk_id"] = new_id[written["model"]["unk_id"]]
    else:
        written["model"]["vocab"] = {names[old]: new for new, old in enumerate(kept)}
    for entry in written["added_tokens"]:
        if entry["id"] not in new_id:  # beyond the model's own pieces, as XLM-R's <mask> may be
            new_id[entry["id"]] = len(kept)
            kept.append(entry["id"])
        entry["id"] = new_id[entry["id"]]
    _renumber_frame(written, new_id)
    return written, kept


def count_pieces(splitter: SubwordSplitter, texts: Iterable[str]) -> Counter[int]:
    """How often the texts have each piece."""
    counts: Counter[int] = Counter()
    remaining = iter(texts)
    while chunk := list(islice(remaining, 10_000)):
        for one in splitter.texts(chunk):
            counts.update(one.ids)
    return counts


def _renumber_frame(written: dict[str, Any], new_id: dict[int, int]) -> None:
    """The ids of special pieces that a template or BERT's frame names."""
    frame = written.get("post_processor") or {}
    for one in [frame, *frame.get("processors", [])]:
        for piece in (one.get("special_tokens") or {}).values():
            piece["ids"] = [new_id[i] for i in piece["ids"]]
        for role in ("sep", "cls"):
            if isinstance(one.get(role), list):
                one[role][1] = new_id[one[role][1]]


def add_tags(tokenizer: Any, tags: Sequence[str]) -> list[int]:
    """Add special pieces, such as ``<2de>``; their ids."""
    tokenizer.add_special_tokens({"additional_special_tokens": list(tags)})
    return [int(number) for number in tokenizer.convert_tokens_to_ids(list(tags))]
