"""Retrieval scores: a case worked by hand, plain numpy, and a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from bitext import __version__
from bitext.errors import InputError, MismatchError, UnknownNameError
from bitext.significance import Resampling
from encoders.encoder import Encoder
from retrieval.evaluation.parallel_folder import read_parallel_folder
from retrieval.evaluation.pool import PoolScore, average_precision, pool_precision
from retrieval.evaluation.recall import evaluate, intervals, recall_at, score_vectors, xsim

Rows = NDArray[np.float32]

# Three pairs in the plane; the third target points away from its source. Cosines with the targets:
#   source 0: 1, 0, 0; source 1: 0, 1, -1; source 2: 0.8, 0.6, -0.6
SOURCE = np.array([[1, 0], [0, 1], [0.8, 0.6]], np.float32)
TARGET = np.array([[1, 0], [0, 1], [0, -1]], np.float32)


def test_recall_by_hand() -> None:
    # Forward: sources 0 and 1 find theirs first, source 2 finds it third.
    assert recall_at(SOURCE, TARGET, [1, 2, 3]) == pytest.approx({1: 2 / 3, 2: 2 / 3, 3: 1})
    # Backward: target 0 = (1, 0): 1, 0, 0.8 -> right. Target 1 = (0, 1): 0, 1, 0.6 -> right.
    # Target 2 = (0, -1): 0, -1, -0.6 -> source 0, then 2, then 1: right at k = 2.
    assert recall_at(TARGET, SOURCE, [2]) == pytest.approx({1: 2 / 3, 2: 1})


def test_score_by_hand() -> None:
    score = score_vectors(SOURCE, TARGET, ks=[2], signature="made so")
    assert score.error("forward") == pytest.approx(1 / 3)
    assert str(score) == (
        "forward recall@1 66.67 recall@2 66.67 error 33.33  "
        "backward recall@1 66.67 recall@2 100.00 error 33.33  "
        "(3 pairs) | made so | raw | exact cosine"
    )
    assert json.loads(json.dumps(score.as_dict()))["backward"] == {
        "recall@1": pytest.approx(2 / 3),
        "recall@2": 1.0,
        "error": pytest.approx(1 / 3),
    }


def test_centring_by_hand() -> None:
    """A language that points elsewhere as a whole is brought back by taking its mean away."""
    source = np.array([[1, 0, 0], [0.8, 0.6, 0]], np.float32)
    target = np.array([[0.8, 0, 0.6], [0.6, 0.8, 0]], np.float32)
    # Raw, backward: target 0 with the sources: 0.8, 0.64 -> right; target 1: 0.6, 0.96 -> right;
    # forward: source 0: 0.8, 0.6 -> right; source 1: 0.64, 0.96 -> right.
    assert score_vectors(source, target).recall == {"forward": {1: 1.0}, "backward": {1: 1.0}}
    # Centred, two points of a side always lie opposite one another, here in the same order:
    # source 0 - source 1 = (0.2, -0.6, 0) and target 0 - target 1 = (0.2, -0.8, 0.6), cosine > 0.
    centred = score_vectors(source, target, centred=True)
    assert centred.recall == {"forward": {1: 1.0}, "backward": {1: 1.0}}
    assert "| centred |" in centred.signature
    # With one side's lines exchanged, each is nearest to the wrong one.
    exchanged = score_vectors(source, target[::-1].copy(), centred=True)
    assert exchanged.recall == {"forward": {1: 0.0}, "backward": {1: 0.0}}


def test_centring_helps_where_languages_lie_apart() -> None:
    """The same meanings, but for noise, at opposite offsets."""
    random = np.random.default_rng(0)
    meaning = random.standard_normal((200, 16))
    offset = np.zeros(16)
    offset[0] = 3
    source = unit(meaning + offset + 0.1 * random.standard_normal((200, 16)))
    target = unit(meaning * 2 - offset + 0.1 * random.standard_normal((200, 16)))
    raw, centred = (score_vectors(source, target, centred=c) for c in (False, True))
    assert centred.error("forward") < raw.error("forward")


def unit(rows: NDArray[np.float64]) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 60), st.integers(2, 20))
def test_equal_to_plain_numpy(seed: int, pairs: int, dim: int) -> None:
    random = np.random.default_rng(seed)
    source = unit(random.standard_normal((pairs, dim)))
    target = unit(source + random.standard_normal((pairs, dim)))
    found = score_vectors(source, target, ks=[1, 3]).recall
    similarity = source @ target.T
    own = np.diag(similarity)
    assert found["forward"][1] == np.mean(similarity.argmax(1) == np.arange(pairs))
    assert found["backward"][1] == np.mean(similarity.argmax(0) == np.arange(pairs))
    # among the three nearest: fewer than three are nearer
    assert found["forward"][3] == np.mean((similarity > own[:, None]).sum(1) < 3)


def test_copies_count_for_the_earlier_line() -> None:
    twice = np.array([[1, 0], [1, 0]], np.float32)
    assert recall_at(twice, twice, [1, 2]) == {1: 0.5, 2: 1.0}


def test_what_cannot_be_scored() -> None:
    with pytest.raises(MismatchError, match="3 queries need as many candidates, got 2"):
        recall_at(SOURCE, TARGET[:2], [1])
    with pytest.raises(MismatchError, match="0 queries"):
        recall_at(SOURCE[:0], TARGET[:0], [1])
    with pytest.raises(InputError, match="k must be at least 1, got 0"):
        recall_at(SOURCE, TARGET, [0])


def test_sentences_find_themselves(encoder: Encoder) -> None:
    sentences = ["the house is small", "eine katze schläft", "नमस्ते दुनिया"]
    done: list[int] = []
    raw, centred = evaluate(encoder, sentences, sentences, layer=1, progress=done.append)
    assert raw.recall == centred.recall == {"forward": {1: 1.0}, "backward": {1: 1.0}}
    assert (raw.centred, centred.centred, raw.layer) == (False, True, 1)
    assert raw.signature == (
        f"bitext {__version__} | model {encoder.name}@{encoder.fingerprint} | float32 | layer 1 "
        "| pooling mean | raw | exact cosine"
    )
    assert sum(done) == 6


def test_scores_follow_from_the_encoder_s_vectors(encoder: Encoder) -> None:
    sources = ["the house is small", "a cat sleeps", "the garden is big"]
    targets = ["das haus ist klein", "eine katze schläft", "der garten ist groß"]
    [score] = evaluate(encoder, sources, targets, layer=2, pooling="max", centring=[False])
    source, target = (encoder.sentences(s, layer=2, pooling="max") for s in (sources, targets))
    assert score.recall == score_vectors(source, target).recall


def test_sentences_that_cannot_be_scored(encoder: Encoder) -> None:
    with pytest.raises(InputError, match=r"target sentence 2 \(' '\) has nothing in it"):
        evaluate(encoder, ["a", "the"], ["a", " "])
    with pytest.raises(UnknownNameError, match="no layer 99"):
        evaluate(encoder, ["a"], ["a"], layer=99)
    with pytest.raises(UnknownNameError, match="unknown pooling 'sum'"):
        evaluate(encoder, ["a"], ["a"], pooling="sum")


# --- the error by margin


def laser_error(x: Rows, y: Rows, margin: str, k: int = 4) -> float:
    """LASER's xsim.py, told again: of the k nearest the best by margin, for each row of x."""
    cosines = (x @ y.T).astype(np.float64)
    near = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    mean_x = np.sort(cosines, axis=1)[:, -k:].mean(axis=1)
    mean_y = np.sort(cosines, axis=0)[-k:].mean(axis=0)
    wrong = 0
    for i in range(len(x)):
        scores = []
        for j in near[i]:
            around = (mean_x[i] + mean_y[j]) / 2
            scores.append(
                {"ratio": cosines[i, j] / around, "distance": cosines[i, j] - around}[margin]
            )
        wrong += near[i][int(np.argmax(scores))] != i
    return wrong / len(x)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.integers(4, 60), st.sampled_from(["ratio", "distance"]))
def test_error_of_laser(seed: int, pairs: int, margin: str) -> None:
    random = np.random.default_rng(seed)
    shared = random.standard_normal(16)  # as of a model whose cosines are all high
    source = unit(shared + random.standard_normal((pairs, 16)))
    target = unit(source * 4 + random.standard_normal((pairs, 16)))
    assert xsim(source, target, margin=margin) == laser_error(source, target, margin)


def test_margin_by_hand() -> None:
    """A target near to everything is the nearest of both sources; the margin sees through it."""
    # Cosines: source 0 with targets 0, 1: 0.6, 0.8; source 1: -0.28, 0.96.
    source = np.array([[0, 1], [0.8, 0.6]], np.float32)
    target = np.array([[-0.8, 0.6], [0.6, 0.8]], np.float32)
    assert (source @ target.T).ravel() == pytest.approx([0.6, 0.8, -0.28, 0.96])
    # With k = 2 the means are those of rows and columns: sources 0.7, 0.34; targets 0.16, 0.88.
    # Source 0: 0.6 - (0.7 + 0.16)/2 = 0.17; 0.8 - (0.7 + 0.88)/2 = 0.01: target 0 is the best.
    # Source 1: -0.28 - 0.25; 0.96 - 0.61 = 0.35: target 1.
    assert xsim(source, target, margin="absolute", k=2) == 0.5
    assert xsim(source, target, margin="distance", k=2) == 0
    assert xsim(source, target, margin="ratio", k=2) == 0  # 0.6/0.43 > 0.8/0.79
    score = score_vectors(source, target, margin="distance")
    assert score.recall["forward"][1] == 0.5
    assert score.error("forward") == 0
    assert score.signature.endswith("| raw | exact cosine | error by distance margin, k 4")
    with pytest.raises(UnknownNameError, match="unknown margin 'cosine'; choose one of: absolute"):
        xsim(source, target, margin="cosine")


def test_intervals_of_recall() -> None:
    # 100 sentences, of which every fourth has lost its translation: recall 0.75, and
    # 0.75 +- 1.96 sqrt(0.75 0.25 / 100) = 0.75 +- 0.085.
    source = np.eye(101, dtype=np.float32)[:100]
    target = source.copy()
    target[::4] = np.eye(101, dtype=np.float32)[100]
    score = score_vectors(source, target)
    low, high = score.intervals("forward", Resampling(resamples=2000))[0]
    assert [score.recall["forward"][1], low, high] == pytest.approx([0.75, 0.665, 0.835], abs=0.02)
    record = score.as_dict(Resampling())
    assert set(record["forward"]["intervals"]) == {"recall@1", "error"}  # type: ignore[index]
    assert str(record["signature"]).endswith("| 95 % of 1000 resamples, seed 0")


def test_means_resample_shared_lines_together() -> None:
    """Two languages that fail on the same lines: their mean is no surer than one of them."""
    table = np.array([[1.0]] * 50 + [[0.0]] * 50)
    how = Resampling(resamples=2000)
    [one] = intervals([table], how, shared=True)
    [both] = intervals([table, table], how, shared=True)
    [apart] = intervals([table, table], how, shared=False)
    assert both == one
    # Apart, the variance of the mean of two is half that of one.
    assert (apart.high - apart.low) / (one.high - one.low) == pytest.approx(0.5**0.5, abs=0.08)


# --- one pool of all languages


def test_average_precision_by_hand() -> None:
    hits = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]], np.bool_)
    # Three are relevant. Ranks 1 and 3: (1/1 + 2/3)/3; none; all three first: 1; rank 2: (1/2)/3.
    assert average_precision(hits, 3) == pytest.approx([5 / 9, 0, 1, 1 / 6])
    # A hundred are relevant, but four ranks are looked at: divided by 4.
    assert average_precision(hits, 100)[2] == pytest.approx(3 / 4)


def test_pool_by_hand() -> None:
    # Two languages of two lines. Line 0 lies together in both; line 1 of the first language is
    # nearer to line 0 of its own language than to its translation.
    sides = {
        "de": np.array([[1, 0, 0], [0.8, 0.6, 0]], np.float32),
        "en": np.array([[1, 0, 0], [0, 0.6, 0.8]], np.float32),
    }
    # de 0: en 0 (1.0) first: 1. de 1: de 0 and en 0 (0.8 both), en 1 (0.36): rank 3: 1/3.
    # en 0: de 0 first: 1. en 1: de 1 (0.36) before de 0 and en 0 (0): 1.
    found = pool_precision(sides)
    assert found["de"].tolist() == pytest.approx([1, 1 / 3])
    assert found["en"].tolist() == [1, 1]
    score = PoolScore(found, 3, 4, "raw", "made so")
    assert [score.of("de"), score.mean] == pytest.approx([2 / 3, 5 / 6])


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**16), st.integers(1, 12), st.integers(2, 4), st.integers(1, 5))
def test_pool_equals_plain_sorting(seed: int, lines: int, languages: int, depth: int) -> None:
    random = np.random.default_rng(seed)
    sides = {str(n): unit(random.standard_normal((lines, 8))) for n in range(languages)}
    found = pool_precision(sides, depth=depth)
    pool = np.concatenate(list(sides.values()))
    for query, vector in enumerate(pool):
        order = np.argsort(-(pool.astype(np.float64) @ vector), kind="stable")
        order = order[order != query][:depth]
        hits = 0
        gained = 0.0
        for rank, other in enumerate(order, start=1):
            if other % lines == query % lines:
                hits += 1
                gained += hits / rank
        expected = gained / min(languages - 1, depth)
        assert found[str(query // lines)][query % lines] == pytest.approx(expected)


def test_copies_of_a_query_do_not_crowd_it_out() -> None:
    # All six sentences are equal; ids are 0 to 5 by language, and equal scores come in that order.
    sides = {name: np.ones((2, 1), np.float32) for name in "abc"}
    found = pool_precision(sides, depth=2)
    # The last query, id 5, is not among the first three ids 0, 1, 2; it sees 0 and 1, and its
    # translations are 1 and 3: rank 2 of 2: (1/2)/2.
    assert found["c"][1] == pytest.approx(1 / 4)


def test_pools_that_cannot_be() -> None:
    with pytest.raises(InputError, match="a pool needs at least 2 languages, got 1"):
        pool_precision({"de": SOURCE})
    with pytest.raises(MismatchError, match="the same lines in every language, got de 3, en 2"):
        pool_precision({"de": SOURCE, "en": TARGET[:2]})


# --- folders


def make_files(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("a\n")
    return folder


def test_folder_of_pairs(tmp_path: Path) -> None:
    path = make_files(tmp_path / "t", "deu.txt", "deu.eng.txt", "fra.txt", "fra.eng.txt", "x.tsv")
    folder = read_parallel_folder(path)
    assert (folder.pivot, folder.shared) == ("eng", False)
    pairs = folder.against_pivot()
    assert [(p.source_language, p.source.name, p.target.name) for p in pairs] == [
        ("deu", "deu.txt", "deu.eng.txt"), ("fra", "fra.txt", "fra.eng.txt"),
    ]  # fmt: skip
    with pytest.raises(InputError, match="has translations into 'eng' only"):
        folder.all_pairs()


def test_folder_of_parallel_lines(tmp_path: Path) -> None:
    folder = read_parallel_folder(make_files(tmp_path / "n", "deu.txt", "eng.txt", "fra-CA.txt"))
    assert folder.shared
    assert [pair[:2] for pair in folder.against_pivot()] == [("deu", "eng"), ("fra-CA", "eng")]
    assert [pair[:2] for pair in folder.against_pivot(["fra-CA"])] == [("fra-CA", "eng")]
    assert [pair[:2] for pair in folder.all_pairs()] == [
        ("deu", "eng"), ("deu", "fra-CA"), ("eng", "fra-CA"),
    ]  # fmt: skip
    with pytest.raises(UnknownNameError, match="unknown language 'fra'; choose one of: deu, eng"):
        folder.against_pivot(["fra"])


def test_folder_of_flores(tmp_path: Path) -> None:
    path = make_files(tmp_path / "f", "deu_Latn.devtest", "eng_Latn.devtest", "deu_Latn.dev")
    [pair] = read_parallel_folder(path).against_pivot()
    assert (pair.source.name, pair.target.name) == ("deu_Latn.devtest", "eng_Latn.devtest")


@pytest.mark.parametrize(
    ("names", "pivot", "sentence"),
    [
        (["deu.txt"], None, r"has no file of English \(eng, en, eng_Latn\); --pivot takes"),
        (["deu.txt", "eng.txt"], "fra", "has no file of 'fra'"),
        (["deu.eng.txt"], None, "deu.eng.txt has no deu.txt beside it"),
        (["deu.tsv"], None, "has no files that end in .txt, .devtest, .dev"),
    ],
)
def test_folders_of_other_things(
    tmp_path: Path, names: list[str], pivot: str | None, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        read_parallel_folder(make_files(tmp_path / "x", *names), pivot)
