"""Bitext to batches: what is left out, what is in each batch, and which come when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from bitext.errors import InputError
from nmt.pieces.tokenization import Frame, TaggedCodec, TranslationSettings
from nmt.pieces.vocabulary import add_tags, train_vocabulary
from nmt.training.batches import IGNORED, BitextBatches, Row, cut, make_batch
from nmt.training.config import Bitext, Corpus, DataSettings
from nmt.training.data import EncodedBitext, Pieces, encode_corpus, read_pairs


class Letters:
    """A codec of one piece a letter: 0 pads, 1 ends."""

    pad, end = 0, 1
    languages: tuple[str, ...] = ("de", "en")
    max_source = max_target = 20

    def source(
        self, texts: Sequence[str], source_lang: str, target_lang: str, *, tag: str | None = None
    ) -> list[list[int]]:
        return [[*map(ord, text), self.end] for text in texts]

    def around(
        self, source_lang: str, target_lang: str, *, tag: str | None = None
    ) -> tuple[list[int], list[int]]:
        return [], [self.end]

    def target(self, texts: Sequence[str], target_lang: str) -> list[list[int]]:
        return [list(map(ord, text)) for text in texts]

    def prefix(self, target_lang: str) -> list[int]:
        return [self.end]

    def frame(self, target_lang: str) -> Frame:
        return Frame([self.end], [self.end], 1)

    def text(self, ids: Sequence[int]) -> str:
        return "".join(map(chr, ids))


def settings(**more: object) -> DataSettings:
    return DataSettings.model_validate(
        {"source_lang": "en", "target_lang": "de", "corpora": [{"file": "a.tsv"}], **more}
    )


LINES = [
    "one\teins",
    "\tleer",
    "empty\t ",
    "one\teins",  # again
    "abcdefghijkl\txyz",  # 13 pieces with the end
    "ab\tabcdefgh",  # 3 and, with start and end, 10
    "two\tzwei",
]


def test_what_is_left_out_is_counted(write: Callable[..., Path]) -> None:
    write("a.tsv", *LINES)
    how = settings(max_pieces=12, max_ratio=3)
    corpus, said = encode_corpus(how.corpora[0], how, Letters(), write("b").parent)
    assert (said.pairs, said.kept) == (7, 2)
    assert (said.empty, said.repeated, said.too_long, said.uneven) == (2, 1, 1, 1)
    assert said.sentence() == (
        "a.tsv: 2 of 7 pairs; left out: 2 with an empty side, 1 repeated, 1 too long, "
        "1 of too uneven lengths"
    )
    assert corpus.source[1].tolist() == [*b"two", 1]
    assert corpus.target[1].tolist() == [1, *b"zwei", 1]


def test_repeats_may_stay_and_fewer_may_be_asked_for(write: Callable[..., Path]) -> None:
    folder = write("a.tsv", *LINES).parent
    how = settings(unique=False)
    corpus, said = encode_corpus(Corpus(file="a.tsv", first=4), how, Letters(), folder)
    assert (said.pairs, said.kept, len(corpus)) == (4, 2, 2)


def test_nothing_is_left(write: Callable[..., Path]) -> None:
    folder = write("a.tsv", "one\t").parent
    with pytest.raises(InputError, match="a.tsv: 0 of 1 pairs; left out: 1 with an empty side;"):
        encode_corpus(Corpus(file="a.tsv"), settings(), Letters(), folder)


def test_columns_may_be_swapped(write: Callable[..., Path]) -> None:
    folder = write("a.tsv", "one\teins").parent
    assert list(read_pairs(Bitext(file="a.tsv", swap=True), folder)) == [("eins", "one")]


def test_sides_of_unequal_length(write: Callable[..., Path]) -> None:
    folder = write("a.en", "one", "two").parent
    write("a.de", "eins")
    with pytest.raises(InputError, match="2 lines"):
        list(read_pairs(Bitext(source="a.en", target="a.de"), folder))


def test_a_corpus_is_tagged_by_one_piece(write: Callable[..., Path]) -> None:
    folder = write("a.tsv", "one\teins").parent
    tokenizer = train_vocabulary(["one two three", "eins zwei drei"] * 9, size=300)
    (tag,) = add_tags(tokenizer, ["<bt>"])
    langs = TranslationSettings(
        source_langs=("en",), target_langs=("de",), max_source=64, max_target=64
    )
    codec = TaggedCodec(tokenizer, langs)
    tagged, _ = encode_corpus(Corpus(file="a.tsv", tag="<bt>"), settings(), codec, folder)
    plain, _ = encode_corpus(Corpus(file="a.tsv"), settings(), codec, folder)
    assert tagged.source[0].tolist() == [0, tag, *plain.source[0][1:].tolist()]


def corpus_of(size: int, *, seed: int = 0, weight: float = 1.0) -> EncodedBitext:
    """Pairs of random lengths."""
    rng = np.random.default_rng(seed)
    source = [[7] * int(n) for n in rng.integers(2, 20, size)]
    target = [[1, *[7] * int(n), 1] for n in rng.integers(1, 20, size)]
    return EncodedBitext(Pieces.of(source), Pieces.of(target), 1, "en", "de", weight)


def one_epoch(batches: BitextBatches, tokens: int) -> list[list[Row]]:
    """The plans that go through a single corpus once."""
    plans, found = [], 0
    for plan in batches.plans(tokens=tokens, stage=0, start=0):
        plans.append(plan)
        found += len(plan)
        if found >= len(batches):
            return plans
    raise AssertionError


def test_batches_keep_the_limit_and_an_epoch_has_each_pair_once() -> None:
    batches = BitextBatches([corpus_of(300)], pad=0, seed=3)
    plans = one_epoch(batches, 128)
    assert sorted(row.pair for plan in plans for row in plan) == list(range(300))
    for plan in plans:
        batch = batches.build(plan)
        assert batch.source.numel() + batch.labels.numel() <= 128
    slots = sum(batches.build(plan).source.numel() for plan in plans)
    pieces = int(batches.corpora[0].source.lengths().sum())
    assert pieces > 0.8 * slots  # unsorted, half of it would be padding


def test_the_second_epoch_has_other_batches() -> None:
    batches = BitextBatches([corpus_of(50)], pad=0, seed=3)
    first = one_epoch(batches, 128)
    plans = batches.plans(tokens=128, stage=0, start=len(first))
    second = list(islice(plans, len(first)))
    assert [set(plan) for plan in first] != [set(plan) for plan in second]


@pytest.mark.parametrize("start", [0, 1, 7, 60])
def test_a_resumed_run_goes_on_with_the_very_batch(start: int) -> None:
    corpora = [corpus_of(90), corpus_of(30, seed=1)]
    batches = BitextBatches(corpora, pad=0, seed=3, temperature=2)
    every = list(islice(batches.plans(tokens=200, stage=1, start=0), 64))
    rest = list(islice(batches.plans(tokens=200, stage=1, start=start), 64 - start))
    assert rest == every[start:]


def test_a_pair_longer_than_a_batch_is_one_of_its_own() -> None:
    lengths = np.array([[5, 5], [50, 50], [5, 5]])
    found = cut(lengths, 40, np.random.default_rng(0))
    assert sorted(sorted(batch.tolist()) for batch in found) == [[0, 2], [1]]


@pytest.mark.parametrize(
    ("temperature", "weights", "share"),
    [
        (1.0, (1, 1), 0.9),  # 900 / 1000
        (5.0, (1, 1), 0.608),  # 900 ** 0.2 = 3.898; 100 ** 0.2 = 2.512; 3.898 / 6.410
        (1.0, (1, 9), 0.5),  # 900 / (900 + 9 x 100)
        (1.0, (1, 0), 1.0),
    ],
)
def test_shares_of_corpora(temperature: float, weights: tuple[int, int], share: float) -> None:
    corpora = [corpus_of(900, weight=weights[0]), corpus_of(100, seed=1, weight=weights[1])]
    batches = BitextBatches(corpora, pad=0, seed=3, temperature=temperature)
    drawn: Counter[int] = Counter()
    for plan in islice(batches.plans(tokens=10_000, stage=0, start=0), 60):
        drawn.update(row.corpus for row in plan)
    assert drawn[0] / drawn.total() == pytest.approx(share, abs=0.02)


def test_a_batch_by_hand() -> None:
    sources = [np.array([5, 6, 2], np.int32), np.array([5, 2], np.int32)]
    # one is given its start; the other its start and a tag, 9
    targets = [np.array([2, 7, 2], np.int32), np.array([2, 9, 7, 8, 2], np.int32)]
    batch = make_batch(sources, targets, [1, 2], pad=0)
    assert batch.source.tolist() == [[5, 6, 2], [5, 2, 0]]
    assert batch.source_mask.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.decoder_input.tolist() == [[2, 7, 0, 0], [2, 9, 7, 8]]
    none = IGNORED
    assert batch.labels.tolist() == [[7, 2, none, none], [none, 7, 8, 2]]
    assert batch.pieces == 3 + 2 + 2 + 4
