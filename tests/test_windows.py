"""Long pairs, cut on both sides where a rough comparison finds the way through them."""

from __future__ import annotations

import numpy as np
import pytest

from aligners import windows as windows_module
from aligners.aligner import Aligner
from aligners.comparison import Compared
from aligners.windows import cut_windows, stitch
from bitext.types import SentencePair
from encoders.encoder import Encoder
from encoders.preset import AlignmentPreset, Preset

CORE, OVERLAP = 30, 10


@pytest.fixture(autouse=True)
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Round numbers, whatever suits the bundled model."""
    monkeypatch.setattr(windows_module, "CORE", CORE)
    monkeypatch.setattr(windows_module, "OVERLAP", OVERLAP)


def compared(similarity: np.ndarray) -> Compared:
    """Every word has one unit."""
    rows, columns = similarity.shape
    return Compared(similarity, similarity, np.arange(rows), np.arange(columns), (rows, columns))


def pair_of(words: int) -> SentencePair:
    return SentencePair([f"s{i}" for i in range(words)], [f"t{j}" for j in range(words)])


def step(words: int) -> np.ndarray:
    """Source word i is most like target word i, the more the more of i's digits are zeros."""
    similarity = np.full((words, words), 0.2)
    similarity[np.arange(words), np.arange(words)] = 0.8
    return similarity


def test_windows_are_cut_at_the_surest_link_and_share_some_words() -> None:
    similarity = step(100)
    similarity[41, 41] = 0.99  # the surest between words 30 and 60: the cut is behind it
    similarity[75, 75] = 0.95  # the surest between words 72 and 102
    windows = cut_windows(pair_of(100), compared(similarity))
    assert [window.own for window in windows] == [range(0, 42), range(42, 76), range(76, 100)]
    assert windows[1].start == (42 - OVERLAP, 42 - OVERLAP)
    assert windows[1].pair.source[0] == f"s{42 - OVERLAP}"
    assert windows[1].pair.target[-1] == f"t{76 + OVERLAP - 1}"
    assert windows[0].start == (0, 0)
    assert windows[-1].pair.source[-1] == "s99"


def test_the_path_leaves_out_links_that_run_backward() -> None:
    # A block of 30 words that is surer, but elsewhere: the chain of the other 70 weighs more
    # (70 * .6 against 30 * .75), and the cut is on it.
    similarity = step(100)
    similarity[35:65] = 0.1
    similarity[np.arange(35, 65), np.arange(35, 65)[::-1]] = 0.95
    windows = cut_windows(pair_of(100), compared(similarity))
    for window in windows[1:]:
        assert window.start[0] - window.start[1] in range(-30, 31)


def test_a_pair_without_any_path_is_one_window() -> None:
    windows = cut_windows(pair_of(100), compared(np.full((100, 100), 0.5)))
    assert [window.own for window in windows] == [range(0, 100)]
    assert windows[0].pair == pair_of(100)


def test_own_words_of_all_windows_are_the_whole_source() -> None:
    rng = np.random.default_rng(3)
    for rows, columns in [(90, 200), (200, 90), (301, 299), (46, 500)]:
        pair = SentencePair(["s"] * rows, ["t"] * columns)
        windows = cut_windows(pair, compared(rng.random((rows, columns))))
        owned = [i for window in windows for i in window.own]
        assert owned == list(range(rows))
        for window in windows[:-1]:
            assert len(window.own) >= CORE


def test_stitched_similarities_are_the_windows_and_elsewhere_the_lowest() -> None:
    rough = compared(step(100))
    windows = cut_windows(pair_of(100), rough)
    parts = []
    for number, window in enumerate(windows, start=1):
        shape = len(window.pair.source), len(window.pair.target)
        parts.append(compared(np.full(shape, number / 10)))
    whole = stitch(rough, windows, parts).weights
    assert whole.shape == (100, 100)
    for number, window in enumerate(windows, start=1):
        columns = slice(window.start[1], window.start[1] + len(window.pair.target))
        rows = slice(window.own.start, window.own.stop)
        assert (whole[rows, columns] == number / 10).all()
    assert whole[0, 99] == 0.1  # the lowest of all windows
    assert whole[99, 0] == 0.1


def test_words_without_pieces_do_not_shift_a_windows_rows() -> None:
    # Word 50 has no unit: rows from there on are one less than the words.
    has = np.array([i for i in range(100) if i != 50])
    similarity = step(99)
    rough = Compared(similarity, similarity, has, has, (100, 100))
    windows = cut_windows(pair_of(100), rough)
    parts = []
    for window in windows:
        sides = zip((window.pair.source, window.pair.target), window.start, strict=True)
        words = [np.arange(len(side)) + start for side, start in sides]
        units = [np.flatnonzero(side != 50) for side in words]
        matrix = (words[0][units[0]][:, None] == words[1][units[1]]).astype(float)
        shape = len(words[0]), len(words[1])
        parts.append(Compared(matrix, matrix, units[0], units[1], shape))
    assert np.array_equal(stitch(rough, windows, parts).weights, np.eye(99))


def test_a_long_pair_of_the_model_is_aligned_as_its_parts_are(encoder: Encoder) -> None:
    # The tiny model takes 64 positions; a preset that knows better says 16.
    words = [f"{a}{b}" for a in "abcdefghij" for b in "klmnopqrst"]
    pair = SentencePair(words, words)
    aligner = Aligner(encoder, method="argmax", too_long="windows")
    assert [i for i, _ in aligner.align([pair])[0].links] == list(range(100))
    assert "windows from" in aligner.signature


def test_the_preset_says_from_which_length_on_windows_are_used(encoder: Encoder) -> None:
    pair = SentencePair(["house", "cat", "old"] * 4, ["haus", "katze", "alt"] * 4)
    whole = Aligner(encoder, too_long="windows")
    assert whole.window == encoder.max_pieces
    former = encoder.preset
    try:
        encoder.preset = Preset(alignment=AlignmentPreset(window=8))
        short = Aligner(encoder, too_long="windows")
        assert short.window == 8
        assert short.details([pair])[0].similarity.shape == (12, 12)
        assert "windows" not in Aligner(encoder).signature
    finally:
        encoder.preset = former
