"""Word alignment as evidence for pairs."""

from __future__ import annotations

from bitext.bridges import coverage_by
from bitext.types import SentencePair
from encoders.registry import default_registry


def test_translations_have_more_than_strangers_and_no_words_none() -> None:
    coverage = coverage_by(default_registry().encoder("bundled"))
    right, wrong, nothing = coverage(
        [
            SentencePair("The old house has a small garden.", "Das alte Haus hat einen Garten."),
            SentencePair("The old house has a small garden.", "Um acht Uhr fährt der Zug ab."),
            SentencePair("", "Das alte Haus hat einen Garten."),
        ]
    )
    assert 1 >= right > 0.5 > wrong > nothing == 0


def test_a_long_pair_is_read_in_windows() -> None:
    encoder = default_registry().encoder("bundled")
    half = "the house is small and the garden is large , " * (encoder.max_pieces // 8)
    [score] = coverage_by(encoder)([SentencePair(half, half)])
    assert 0 < score <= 1
