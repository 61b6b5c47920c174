"""Geometry and thresholds on cases worked by hand, and what an analysis recommends."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aligners.aligner import Aligner
from bitext.errors import BitextError, InputError
from bitext.scoring import evaluate
from bitext.types import Alignment, GoldAlignment, SentencePair
from encoders.encoder import Encoder
from encoders.inspection.analysis import Analysis, inspect_layers
from encoders.inspection.geometry import (
    anisotropy,
    language_accuracy,
    linear_cka,
    mean_canonical_correlation,
)
from encoders.inspection.probes import Neighbourhood
from encoders.inspection.thresholds import alignment_threshold, retrieval_threshold
from encoders.pooling import normalise
from encoders.preset import PRESET_FILE, AlignmentPreset, Preset, read_preset, write_preset

Vectors = NDArray[np.float32]

SOURCES = [
    "the house is small",
    "the garden is big",
    "a cat sleeps",
    "don't stop",
    "the old house",
    "a big garden and a cat",
]
TARGETS = [
    "das haus ist klein",
    "der garten ist groß",
    "eine katze schläft",
    "alten haus",
    "das haus im garten",
    "ein garten und eine katze",
]
PAIRS = [SentencePair(s.split(), t.split()) for s, t in zip(SOURCES, TARGETS, strict=True)]
GOLD = [
    GoldAlignment.parse(line)
    for line in ("0-0 1-1 2-2 3-3", "0-0 1-1 2-2 3-3", "0-0 1-1 2-2", "1p1", "0-0 2-1", "2-1 3-2")
]


def column(*numbers: float) -> Vectors:
    return np.array(numbers, np.float32)[:, None]


def random_rows(rows: int, dim: int, seed: int = 0) -> Vectors:
    return np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32)


def rotation(dim: int) -> Vectors:
    return np.linalg.qr(random_rows(dim, dim, seed=9))[0]


# --- CKA


def test_cka_of_two_columns_is_their_squared_correlation() -> None:
    # Both have mean 0: Y'X = 1, X'X = Y'Y = 2, so 1 / (2 * 2).
    assert linear_cka(column(1, -1, 0, 0), column(1, 0, -1, 0)) == pytest.approx(1 / 4)


def test_two_sentences_always_agree() -> None:
    # Less the mean (2, 1) the first side is (1, 1) and (-1, -1), and the other (-2), (2): each is a
    # line, Y'X = (-4, -4), so 32 over 4 * 8.
    two = np.array([[3, 2], [1, 0]], np.float32)
    assert linear_cka(two, column(5, 9)) == pytest.approx(1)


def test_cka_sees_through_rotation_scale_and_shift() -> None:
    vectors = random_rows(50, 8)
    assert linear_cka(vectors, vectors) == pytest.approx(1)
    assert linear_cka(vectors, 3 * vectors @ rotation(8) + 5) == pytest.approx(1)


def test_cka_of_independent_sides_is_low() -> None:
    # Of independent columns it is about dim / sentences.
    assert linear_cka(random_rows(2000, 8), random_rows(2000, 8, seed=1)) < 0.02


def test_a_side_without_variance_agrees_with_nothing() -> None:
    constant = np.ones((20, 3), np.float32)
    assert linear_cka(constant, random_rows(20, 3)) == 0
    assert mean_canonical_correlation(constant, random_rows(20, 3)) == (0, (0, 2))


# --- CCA


def test_cca_of_two_columns_is_their_correlation() -> None:
    # The columns of above, five times: Y'X / sqrt(X'X Y'Y) = 1 / 2; a sign does not matter.
    x, y = column(*[1, -1, 0, 0] * 5), column(*[1, 0, -1, 0] * 5)
    correlation, components = mean_canonical_correlation(x, y)
    assert correlation == pytest.approx(1 / 2)
    assert components == (1, 1)
    assert mean_canonical_correlation(x, -y)[0] == pytest.approx(1 / 2)


def test_cca_sees_through_any_invertible_map() -> None:
    vectors = random_rows(200, 8)
    stretched = vectors @ rotation(8) * np.linspace(1, 2, 8, dtype=np.float32) + 5
    for other in (vectors, stretched):
        correlation, components = mean_canonical_correlation(vectors, other)
        assert correlation == pytest.approx(1)
        assert components == (8, 8)


def test_cca_of_independent_sides_is_low() -> None:
    assert mean_canonical_correlation(random_rows(2000, 8), random_rows(2000, 8, seed=1))[0] < 0.1


def test_components_of_little_variance_are_left_out() -> None:
    # 100 sentences allow ten components. Of three equal variances two are 67 %, so all three are
    # kept; where the last is a millionth of the others, two explain more than 99 %.
    four = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]  # columns orthogonal, means 0
    wide = np.array(four * 25, np.float32)
    narrow = wide * np.array([1, 1, 0.001], np.float32)
    assert mean_canonical_correlation(wide, narrow)[1] == (3, 2)


def test_there_are_ten_sentences_a_component() -> None:
    assert mean_canonical_correlation(random_rows(30, 8), random_rows(30, 8))[1] == (3, 3)
    assert mean_canonical_correlation(random_rows(5, 8), random_rows(5, 8))[1] == (1, 1)


# --- anisotropy, languages


def test_anisotropy_is_the_mean_cosine_of_different_sentences() -> None:
    # Cosines of the three pairs: 1, 0, 0.
    assert anisotropy(np.array([[1, 0], [1, 0], [0, 1]], np.float32)) == pytest.approx(1 / 3)
    assert anisotropy(np.array([[1, 0], [-1, 0]], np.float32)) == pytest.approx(-1)


def test_languages_apart_are_told_apart_and_equal_ones_are_not() -> None:
    source, target = random_rows(40, 4), random_rows(40, 4, seed=1)
    far = np.array([100, 0, 0, 0], np.float32)
    assert language_accuracy(source + far, target - far) == 1
    assert language_accuracy(source, source) == 0.5


def test_languages_are_told_apart_by_the_other_half() -> None:
    # Means of sentences 1, 3: source 1, target -1. Of 0, 2: source -1, target 1: all wrong.
    assert language_accuracy(column(-1, 1, -1, 1), column(1, -1, 1, -1)) == 0


# --- thresholds


def test_a_threshold_drops_the_links_that_do_harm() -> None:
    # All four: AER 1 - (2 + 2) / (4 + 2) = 1/3. Without the two below 0.5: 1 - 4 / 4 = 0. The
    # lowest thousandth that drops 0.4999 is 0.5.
    links = [
        Alignment(((0, 0), (0, 1)), (0.9, 0.4999)),
        Alignment(((0, 1), (1, 1)), (0.2, 0.6)),
    ]
    gold = [GoldAlignment.parse("0-0"), GoldAlignment.parse("1-1")]
    assert alignment_threshold(links, gold) == (0.5, 0)


def test_possible_links_do_no_harm_and_are_kept() -> None:
    # 1 - (1 + 2) / (2 + 1) = 0 with both links.
    links = [Alignment(((0, 0), (1, 1)), (0.9, 0.3))]
    assert alignment_threshold(links, [GoldAlignment.parse("0-0 1p1")]) == (0, 0)


def test_without_links_there_is_no_threshold() -> None:
    assert alignment_threshold([Alignment()], [GoldAlignment.parse("0-0")]) == (0, 1)
    assert alignment_threshold([Alignment()], [GoldAlignment.parse("")]) == (0, 0)


def test_the_error_at_the_threshold_is_that_of_the_scorer() -> None:
    random = np.random.default_rng(3)
    links, gold = [], []
    for _ in range(20):
        scored = {
            (int(i), int(j)): float(random.random()) for i, j in random.integers(0, 6, (9, 2))
        }
        links.append(Alignment.of(scored.items()))
        likely = [link for link, score in scored.items() if score > 0.4 or random.random() < 0.3]
        gold.append(GoldAlignment(frozenset(likely[::2]), frozenset(likely)))
    threshold, aer = alignment_threshold(links, gold)
    assert threshold > 0
    assert evaluate([a.above(threshold) for a in links], gold).aer == pytest.approx(aer)
    for other in np.arange(0, 1, 0.05):
        assert evaluate([a.above(other) for a in links], gold).aer >= aer - 1e-12


def neighbourhood(true: list[float], forward: list[float], backward: list[float]) -> Neighbourhood:
    cosines, there, back = (np.array(some, np.float32) for some in (true, forward, backward))
    return Neighbourhood(cosines, there, back, forward=0, backward=0)


def test_a_clean_cut_is_made_in_the_middle() -> None:
    # Wrong up to 0.4, true from 0.6: all of 0.401 to 0.6 tell them apart; their middle is 0.5.
    found = neighbourhood([0.6, 0.9], [0.1, 0.4], [0.2, 0.3])
    threshold, f1 = retrieval_threshold(found)
    assert threshold == pytest.approx(0.5, abs=0.0011)
    assert f1 == 1


def test_a_cut_that_must_err_has_the_highest_f1() -> None:
    # Each true pair counts twice, once a direction. Keeping all but the last wrong one (0.1):
    # 2 * 4 / (4 + 3 + 4) = 8/11. From 0.801 on: 2 * 2 / (2 + 0 + 4) = 2/3. So the first one wins,
    # and the middle of 0.101 to 0.5 is taken.
    found = neighbourhood([0.9, 0.5], [0.8, 0.7], [0.6, 0.1])
    threshold, f1 = retrieval_threshold(found)
    assert f1 == pytest.approx(8 / 11)
    assert threshold == pytest.approx(0.3, abs=0.0011)


# --- the analysis


@pytest.fixture(scope="module")
def analysis(encoder: Encoder) -> Analysis:
    return inspect_layers(encoder, SOURCES, TARGETS, aligned=PAIRS, gold=GOLD)


def test_every_layer_has_its_figures(analysis: Analysis, encoder: Encoder) -> None:
    assert [report.layer for report in analysis.layers] == [0, 1, 2]
    assert (analysis.pairs, analysis.gold_pairs) == (6, 6)
    for report in analysis.layers:
        source, target = (encoder.sentences(s, layer=report.layer) for s in (SOURCES, TARGETS))
        assert report.cka == pytest.approx(linear_cka(source, target), abs=1e-5)
        assert report.anisotropy_source == pytest.approx(anisotropy(source), abs=1e-5)
        assert report.anisotropy_target == pytest.approx(anisotropy(target), abs=1e-5)
        assert sorted(report.retrieval) == ["cls", "max", "mean"]
        for unit in ("piece", "word"):
            aligner = Aligner(encoder, method="argmax", layer=report.layer, unit=unit)
            assert report.aer[unit] == evaluate(aligner.align(PAIRS), GOLD).aer


def test_what_is_recommended_is_the_best_there_is(analysis: Analysis) -> None:
    lowest = min(aer for report in analysis.layers for aer in report.aer.values())
    aligned, embedded = analysis.alignment, analysis.retrieval
    assert aligned.unit is not None
    assert aligned.aer is not None
    assert analysis.layers[aligned.layer].aer[aligned.unit] == lowest >= aligned.aer
    accuracies = [a for report in analysis.layers for a in report.retrieval.values()]
    assert embedded.accuracy == max(max(a.raw, a.centred) for a in accuracies)
    chosen = analysis.layers[embedded.layer].retrieval[embedded.pooling]
    assert embedded.accuracy == (chosen.centred if embedded.centred else chosen.raw)


def test_the_aligner_reaches_the_recommended_error(analysis: Analysis, encoder: Encoder) -> None:
    advice = analysis.alignment
    aligner = Aligner(
        encoder,
        method=advice.method,
        layer=advice.layer,
        unit=advice.unit,
        distortion=advice.distortion,
        threshold=advice.threshold,
    )
    assert evaluate(aligner.align(PAIRS), GOLD).aer == pytest.approx(advice.aer)


def test_of_equal_settings_the_plain_and_early_one_is_recommended(encoder: Encoder) -> None:
    # Every sentence is its own translation: every layer and pooling finds all.
    analysis = inspect_layers(encoder, SOURCES, SOURCES)
    advice = analysis.retrieval
    assert (advice.layer, advice.pooling, advice.centred, advice.accuracy) == (0, "mean", False, 1)
    assert analysis.alignment.layer == 0
    assert analysis.alignment.rule.startswith("no gold")
    assert analysis.layers[0].aer == {}
    assert analysis.preset()["alignment"] == {"layer": 0}


def test_the_distortion_is_the_models_own_unless_said(encoder: Encoder) -> None:
    own = Preset(alignment=AlignmentPreset(distortion=0.5))
    checkpoint = dataclasses.replace(encoder.checkpoint, preset=own)
    distorting = Encoder(checkpoint)
    found = inspect_layers(distorting, SOURCES, TARGETS, aligned=PAIRS, gold=GOLD)
    assert found.alignment.distortion == 0.5
    assert "distortion 0.5" in found.signature
    said = inspect_layers(distorting, SOURCES, TARGETS, aligned=PAIRS, gold=GOLD, distortion=0)
    assert said.alignment.distortion == 0


@pytest.mark.parametrize(
    ("sources", "targets", "gold", "message"),
    [
        (SOURCES[:3], TARGETS[:3], GOLD, "compared by at least 4 pairs, got 3"),
        (SOURCES, TARGETS[:5], GOLD, "6 source sentences have 5 target ones"),
        (SOURCES, TARGETS, GOLD[:2], "6 pairs have 2 gold alignments"),
        ([*SOURCES[:5], "\u200b"], TARGETS, GOLD, "pair 6: the source has nothing in it"),
        ([*SOURCES[:5], "a " * 80], TARGETS, GOLD, "pair 6, source has 80 pieces"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    encoder: Encoder,
    sources: list[str],
    targets: list[str],
    gold: list[GoldAlignment],
    message: str,
) -> None:
    with pytest.raises(BitextError, match=message):
        inspect_layers(encoder, sources, targets, aligned=PAIRS, gold=gold)


# --- keeping it


def test_a_preset_keeps_what_was_not_measured(tmp_path: Path) -> None:
    path = tmp_path / PRESET_FILE
    path.write_text('{"alignment": {"method": "mwmf", "layer": 1}, "retrieval": {"layer": 2}}')
    write_preset(tmp_path, {"alignment": {"layer": 2, "threshold": 0.25}})
    assert json.loads(path.read_text()) == {
        "alignment": {"method": "mwmf", "layer": 2, "threshold": 0.25},
        "retrieval": {"layer": 2},
    }
    assert read_preset(tmp_path).alignment.threshold == 0.25


@pytest.mark.parametrize(("layer", "kept"), [(1, 0.5), (2, 0.0)])
def test_a_threshold_goes_with_its_layer(tmp_path: Path, layer: int, kept: float) -> None:
    write_preset(tmp_path, {"alignment": {"layer": 1, "threshold": 0.5}})
    write_preset(tmp_path, {"alignment": {"layer": layer}})
    assert read_preset(tmp_path).alignment.threshold == kept


def test_a_preset_that_cannot_be_read_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / PRESET_FILE).write_text('{"alignment": {"colour": 1}}')
    with pytest.raises(InputError, match="alignment.colour"):
        write_preset(tmp_path, {"alignment": {"layer": 1}})
    assert (tmp_path / PRESET_FILE).read_text() == '{"alignment": {"colour": 1}}'


def test_a_preset_is_written_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_preset(tmp_path, {"alignment": {"layer": 1}})
    before = (tmp_path / PRESET_FILE).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_preset(tmp_path, {"alignment": {"layer": 2}})
    assert (tmp_path / PRESET_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [PRESET_FILE]


def test_unit_rows_have_the_neighbours_that_the_eye_sees() -> None:
    # Cosines: 1, .8 / .6, 0 (source by row). Wrong neighbours: .8, .6 forward, .6, .8 backward.
    source = np.array([[1, 0], [0.6, 0.8]], np.float32)
    target = normalise(np.array([[1, 0], [0.8, -0.6]], np.float32))
    found = Neighbourhood.of(source, target)
    assert found.true == pytest.approx([1, 0], abs=1e-6)
    assert found.wrong_forward == pytest.approx([0.8, 0.6])
    assert found.wrong_backward == pytest.approx([0.6, 0.8])
