"""Random segmentations: the right probabilities, and the same ones for the same seed."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from bitext.errors import InputError
from nmt.pieces.sampling import PieceSampler, SampledBatches, sampler_of
from nmt.pieces.tokenization import TaggedCodec, TranslationSettings
from nmt.pieces.vocabulary import SPECIAL_PIECES, as_transformers, train_vocabulary
from nmt.training.batches import IGNORED
from nmt.training.config import Corpus, DataSettings, VocabularySettings
from nmt.training.data import encode_corpus

TEXTS = ["the house is small", "das haus ist klein", "a cat sleeps in the old house", "so what?"]


def tokenizer_of(pieces: dict[str, float]) -> Any:
    """A unigram tokenizer of these pieces and their log-probabilities."""
    vocab = [(name, 0.0) for name in SPECIAL_PIECES] + list(pieces.items())
    made = Tokenizer(models.Unigram(vocab, unk_id=3))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return as_transformers(made)


def test_segmentations_have_kudos_probabilities() -> None:
    """``▁ab`` can be written ``▁ab`` (p .4) or ``▁a b`` (.3 * .2 = .06)."""
    tokenizer = tokenizer_of(
        {"▁ab": math.log(0.4), "▁a": math.log(0.3), "b": math.log(0.2), "▁": math.log(0.1)}
    )
    sampler = PieceSampler(tokenizer, alpha=0.5)
    drawn = sampler.draw(["ab"] * 4000, 7, target=False)
    whole = Counter(len(one) for one in drawn)[1] / 4000
    # .4 ** .5 / (.4 ** .5 + .06 ** .5) = .721; three standard errors are .021
    assert whole == pytest.approx(0.721, abs=0.022)


def test_the_best_one_is_the_tokenizers() -> None:
    tokenizer = trained()
    codec = codec_of(tokenizer)
    sampler = PieceSampler(tokenizer, alpha=0.3)
    best = sampler.best(sampler.normal(TEXTS), target=True)
    assert best == codec.target(TEXTS, "de")
    # and whatever is drawn is the same text
    for ids, text in zip(sampler.draw(sampler.normal(TEXTS), 3, target=True), TEXTS, strict=True):
        assert codec.text(ids) == text


def test_merges_are_left_out_of_a_bpe_vocabulary() -> None:
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        TEXTS * 9, BpeTrainer(special_tokens=SPECIAL_PIECES, vocab_size=80, show_progress=False)
    )
    tokenizer = as_transformers(made)
    sampler = PieceSampler(tokenizer, dropout=0.2)
    best = codec_of(tokenizer).target(TEXTS, "de")
    assert sampler.best(TEXTS, target=True) == best
    drawn = sampler.draw(TEXTS, 1, target=True)
    assert sum(map(len, drawn)) > sum(map(len, best)), "fewer merges are more pieces"
    assert [codec_of(tokenizer).text(ids) for ids in drawn] == TEXTS
    # with (nearly) every merge left out, each character is a piece
    [letters] = PieceSampler(tokenizer, dropout=0.999).draw(["the house"], 1, target=True)
    assert tokenizer.convert_ids_to_tokens(letters) == list("▁the▁house")


def codec_of(tokenizer: Any) -> TaggedCodec:
    return TaggedCodec(
        tokenizer,
        TranslationSettings(
            source_langs=("en",), target_langs=("de",), max_source=60, max_target=60
        ),
    )


@cache  # of equally likely pieces, two trainings may have either order
def trained() -> Any:
    return train_vocabulary(TEXTS * 5, size=320)


def batches_of(data: Path, seed: int = 5) -> tuple[SampledBatches, TaggedCodec]:
    lines = [
        "the house\tdas haus\n",
        "the house is small\tdas haus ist klein\n",
        "so small\tso klein ☃\n",
    ]
    (data / "pairs.tsv").write_text("".join(lines))
    codec = codec_of(trained())
    corpus = Corpus(file="pairs.tsv")
    settings = DataSettings(source_lang="en", target_lang="de", corpora=[corpus])
    texts: list[tuple[str, str]] = []
    encoded, _ = encode_corpus(corpus, settings, codec, data, texts=texts)
    sampler = PieceSampler(codec.tokenizer, alpha=0.2)
    frames = [codec.frame("de")]
    made = SampledBatches(
        [encoded], [texts], [codec.around("en", "de")], frames, sampler,
        pad=codec.pad, seed=seed, longest=(60, 60),
    )  # fmt: skip
    return made, codec


def seen(batches: SampledBatches, start: int, count: int) -> list[list[list[int]]]:
    plans = islice(batches.plans(tokens=1000, stage=0, start=start), count)
    return [batches.build(plan).source.tolist() for plan in plans]


def test_a_resumed_run_draws_what_an_unbroken_one_would(tmp_path: Path) -> None:
    unbroken = seen(batches_of(tmp_path)[0], 0, 6)
    assert seen(batches_of(tmp_path)[0], 4, 2) == unbroken[4:]
    assert seen(batches_of(tmp_path, seed=6)[0], 0, 6) != unbroken
    assert len({str(one) for one in unbroken}) > 1, "rounds differ"


def test_drawn_pieces_are_the_same_text_in_the_same_frame(tmp_path: Path) -> None:
    batches, codec = batches_of(tmp_path)
    for plan in islice(batches.plans(tokens=1000, stage=0, start=0), 5):
        batch = batches.build(plan)
        labels = [[one for one in row if one != IGNORED] for row in batch.labels.tolist()]
        assert {codec.text(one) for one in labels} == {
            "das haus",
            "das haus ist klein",
            "so klein ☃",
        }
        assert all(row[-1] == codec.end for row in labels)
        assert all(row[0] == codec.end for row in batch.decoder_input.tolist())
        assert all(row[0] == 0 for row in batch.source.tolist()), "<s> comes first"


def test_the_wrong_kind_of_randomness_is_refused() -> None:
    unigram = trained()
    with pytest.raises(InputError, match="is for BPE vocabularies; this is a unigram one"):
        sampler_of(unigram, VocabularySettings(bpe_dropout=0.1))
    assert sampler_of(unigram, VocabularySettings()) is None
    words = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")),
        unk_token="[UNK]",
    )
    with pytest.raises(InputError, match="kind WordPiece cannot be sampled"):
        sampler_of(words, VocabularySettings(sampling_alpha=0.2))
