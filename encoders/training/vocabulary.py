"""A joint subword vocabulary for many languages, as an ordinary fast tokenizer.

SentencePiece's unigram model (Kudo, 2018) with two choices of our own. Text is lower-cased, for a
small model has no capacity to learn each word twice. And the word mark ``▁`` is not set before Han
characters, kana, digits and punctuation, so that these have the same pieces whether or not somebody
has already split the text into words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import UnigramTrainer
from transformers import PreTrainedTokenizerFast

# XLM-R's order, so that its model class finds the padding and position ids it expects.
SPECIAL_PIECES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
UNKNOWN = "<unk>"
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}ー]"
_SIGN = r"(?!▁)[\p{N}\p{P}\p{S}]"  # the word mark is itself a symbol to Unicode


def train_vocabulary(
    sentences: Iterable[str], *, size: int, min_character_count: int, max_pieces: int
) -> PreTrainedTokenizerFast:
    """Train a joint vocabulary.

    :param sentences: training text, already in the language mixture that is wanted.
    :param size: number of pieces, the five special ones included.
    :param min_character_count: a rarer character gets no piece of its own; sentences that have one
        are left out here (and read as ``<unk>`` later).
    :param max_pieces: the longest input of the model, special pieces included.
    """
    kept = list(_with_common_characters(list(sentences), min_character_count))
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[\s\p{Cc}\u200b]+"), " "),
            normalizers.Strip(),
            normalizers.Prepend("▁"),
            normalizers.Replace(Regex(r"▁$"), ""),  # nothing but spaces has no pieces
            normalizers.Replace(" ", "▁"),
            normalizers.Replace(Regex(f"▁(?={_UNSPACED}|{_SIGN})"), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("▁", behavior="merged_with_next"),
            # digits and punctuation stand alone: they are aligned as words of their own
            pre_tokenizers.Split(Regex(_SIGN), behavior="isolated"),
            pre_tokenizers.Split(Regex(f"{_UNSPACED}+"), behavior="isolated"),
        ]
    )
    tokenizer.decoder = decoders.Metaspace()
    trainer = UnigramTrainer(
        vocab_size=size,
        special_tokens=SPECIAL_PIECES,
        unk_token=UNKNOWN,
        max_piece_length=16,
        show_progress=False,
    )
    tokenizer.train_from_iterator(kept, trainer, length=len(kept))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[
            ("<s>", SPECIAL_PIECES.index("<s>")),
            ("</s>", SPECIAL_PIECES.index("</s>")),
        ],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        sep_token="</s>",
        unk_token=UNKNOWN,
        mask_token="<mask>",
        model_max_length=max_pieces,
    )


def _with_common_characters(sentences: list[str], min_count: int) -> Iterator[str]:
    counts = Counter(character for sentence in sentences for character in sentence.lower())
    rare = {character for character, count in counts.items() if count < min_count}
    return (sentence for sentence in sentences if rare.isdisjoint(sentence.lower()))
