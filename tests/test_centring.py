"""Centrings: learnt from few vectors whose means and components follow by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bitext.errors import InputError, MismatchError, UnknownNameError
from retrieval.vectors.centring import Centring, Kind, Moments, fit_centring, shrunk
from retrieval.vectors.manifest import Space

SPACE = Space(model="m", fingerprint="f1", revision=None, layer=2, pooling="mean", centre=None)
X, Y, Z, W = np.eye(4, dtype=np.float32)
Rows = NDArray[np.float32]


def rows(*vectors: Rows) -> Rows:
    return np.stack(vectors * 5)  # enough of each


# Vectors of a language are this direction of its own (a third axis) and one of two meanings.
GERMAN, ENGLISH = rows(0.6 * Z + 0.8 * X, 0.6 * Z - 0.8 * X), rows(-0.6 * Z + 0.8 * Y, -0.6 * Z)
FRENCH = rows(0.6 * W + 0.8 * X, 0.6 * W - 0.8 * X)


def learn(kind: str, **languages: Rows) -> Centring:
    return fit_centring(kind, {name: [v] for name, v in languages.items()}, SPACE, dim=4)


def test_mean_by_hand() -> None:
    found = learn("mean", de=GERMAN)
    # the mean is 0.6 Z: what is left of the first is 0.8 X, and X as a unit vector
    np.testing.assert_allclose(found.apply(GERMAN[:2], "de"), [X, -X], atol=1e-6)
    np.testing.assert_allclose(found.apply((Z + 0 * X)[None], "de"), [Z], atol=1e-6)
    assert (found.counts, found.languages, found.dim) == ({"de": 10}, ["de"], 4)


def test_zeros_stay_zeros_and_do_not_count() -> None:
    with_gaps = np.concatenate([GERMAN, np.zeros((3, 4), np.float32)])
    found = learn("mean", de=with_gaps)
    assert found.counts == {"de": 10}
    np.testing.assert_allclose(found.apply(with_gaps[-1:], "de"), [0 * X])
    np.testing.assert_allclose(found.tensors["mean/de"], 0.6 * Z, atol=1e-7)


def test_blocks_give_what_all_at_once_gives() -> None:
    blocks = [GERMAN[:3], GERMAN[3:3], GERMAN[3:]]
    apart = fit_centring("mean", {"de": blocks}, SPACE, dim=4)
    assert apart.digest == learn("mean", de=GERMAN).digest


def test_components_of_the_means_by_hand() -> None:
    """The means are 0.6 Z, -0.6 Z + 0.4 Y and 0.6 W.

    Those of German and of a language whose mean is -0.6 Z differ along Z alone: Z is the component.
    """
    other = rows(-0.6 * Z + 0.8 * Y, -0.6 * Z - 0.8 * Y)
    found = learn("components:1", de=GERMAN, xx=other)
    np.testing.assert_allclose(np.abs(found.tensors["removed/de"]), [Z], atol=1e-6)
    sentence = (0.6 * X + 0.8 * Z)[None]
    # 0.6 X + 0.2 Z without the mean, 0.6 X without Z
    np.testing.assert_allclose(found.apply(sentence, "de"), [X], atol=1e-6)
    by_mean = learn("mean", de=GERMAN, xx=other).apply(sentence, "de")
    np.testing.assert_allclose(by_mean, [(3 * X + Z) / np.sqrt(10)], atol=1e-6)


def test_subspace_takes_no_mean_away() -> None:
    """All vectors share W, which LSAR keeps: it tells no languages apart."""
    german = rows(0.6 * Z + 0.8 * W, 0.8 * W + 0.6 * Z)
    other = rows(-0.6 * Z + 0.8 * W, 0.8 * W - 0.6 * Z)
    found = learn("subspace:1", de=german, xx=other)
    np.testing.assert_allclose(found.apply(german[:1], "de"), [W], atol=1e-6)


def test_the_subspace_is_that_of_the_paper() -> None:
    """Xie et al.'s equations, written out: their common vector is orthogonal to the rest."""
    means = np.random.default_rng(0).normal(size=(6, 4))  # (dim, languages)
    centred = means - means.mean(axis=1, keepdims=True)
    u, s, v = np.linalg.svd(centred, full_matrices=False)
    fitted = means.mean(axis=1, keepdims=True) + u[:, :2] * s[:2] @ v[:2]
    common = np.linalg.pinv(fitted).T @ np.ones(4)
    common /= common @ common
    theirs = np.linalg.svd(fitted - common[:, None])[0][:, :2]
    vectors = {str(i): [np.tile(means[:, i], (10, 1)).astype(np.float32)] for i in range(4)}
    ours = fit_centring("subspace:2", vectors, SPACE, dim=6).tensors["removed/0"]
    assert abs(common @ theirs).max() < 1e-9
    np.testing.assert_allclose(ours.T @ ours, theirs @ theirs.T, atol=1e-5)


def test_own_components_by_hand() -> None:
    """Of 0.6 Z ± 0.8 X the second moments are 0.36 along Z and 0.64 along X: X goes first."""
    found = learn("own:1", de=GERMAN, fr=FRENCH)
    np.testing.assert_allclose(found.apply(GERMAN[:2], "de"), [Z, Z], atol=1e-6)
    np.testing.assert_allclose(found.apply(FRENCH[:1], "fr"), [W], atol=1e-6)


def test_whitening_makes_directions_alike() -> None:
    """Of ±0.96 X + 0.28 Z and ±0.28 Y + 0.96 Z, X varies more than Y; not once it is white."""
    vectors = rows(*(s * 0.96 * X + 0.28 * Z for s in (1, -1)),
                   *(s * 0.28 * Y + 0.96 * Z for s in (1, -1)))  # fmt: skip
    many = np.tile(vectors, (500, 1))
    found = learn("whitening", de=many)
    left = many.astype(np.float64) - many.mean(axis=0)
    white = left @ found.tensors["scale"]
    along = (white**2).mean(axis=0)
    # shrunk towards the identity by little, for there are many
    assert along[0] == pytest.approx(along[1], rel=0.02)
    assert (left**2).mean(axis=0)[0] > 10 * (left**2).mean(axis=0)[1]
    assert np.linalg.norm(found.apply(many[:4], "de"), axis=1) == pytest.approx([1] * 4)


def test_shrinkage_by_hand() -> None:
    """diag(3, 1): dim 2, trace 4, sum of squares 10, so (1 - 1) * 10 + 16 above, and below, of 10
    vectors, (10 + 1 - 1) * (10 - 16 / 2) = 20. Eight tenths of it become the identity times 2.
    """
    np.testing.assert_allclose(shrunk(np.diag([3.0, 1.0]), 10), np.diag([2.2, 1.8]))
    np.testing.assert_allclose(shrunk(np.diag([3.0, 1.0]), 1), 2 * np.eye(2))  # no more than all
    np.testing.assert_allclose(shrunk(np.eye(2), 10), np.eye(2))


def test_moments_by_hand() -> None:
    found = Moments(4, squares=True)
    found.add(np.stack([X, -X, Y]))
    np.testing.assert_allclose(found.mean, Y / 3)
    np.testing.assert_allclose(np.diag(found.second), [2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(np.diag(found.covariance), [2 / 3, 1 / 3 - 1 / 9, 0, 0])


@pytest.mark.parametrize("kind", ["mean", "components:1", "subspace:1", "own:2", "whitening"])
def test_what_is_saved_comes_back(kind: str, tmp_path: Path) -> None:
    made = learn(kind, de=GERMAN, fr=FRENCH)
    made.save(tmp_path / "centring")
    found = Centring.load(tmp_path / "centring")
    assert (found.digest, found.kind, found.space, found.counts) == (
        made.digest, kind, SPACE, {"de": 10, "fr": 10},
    )  # fmt: skip
    np.testing.assert_array_equal(found.apply(GERMAN, "de"), made.apply(GERMAN, "de"))
    again = tmp_path / "again"
    made.save(again)
    for name in ("centring.safetensors", "manifest.json"):
        assert (again / name).read_bytes() == (tmp_path / "centring" / name).read_bytes()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    learn("mean", de=GERMAN).save(tmp_path / "c")
    path = tmp_path / "c" / "centring.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x42")
    with pytest.raises(InputError, match=r"centring\.safetensors is damaged"):
        Centring.load(tmp_path / "c")
    path.unlink()
    with pytest.raises(InputError, match=r"centring\.safetensors is missing"):
        Centring.load(tmp_path / "c")


def test_the_digest_tells_centrings_apart() -> None:
    other_space = SPACE.model_copy(update={"layer": 1})
    found = {
        learn("mean", de=GERMAN).digest,
        learn("mean", de=FRENCH).digest,
        learn("mean", fr=GERMAN).digest,
        learn("mean", de=GERMAN, fr=FRENCH).digest,
        learn("own:1", de=GERMAN).digest,
        fit_centring("mean", {"de": [GERMAN]}, other_space, dim=4).digest,
    }
    assert len(found) == 6


def test_vectors_of_another_space_are_refused() -> None:
    made = learn("mean", de=GERMAN)
    assert made.centred(SPACE) == SPACE.model_copy(update={"centre": made.digest})
    with pytest.raises(
        MismatchError,
        match="the centring was built with layer 2, what is to be centred has layer 1",
    ):
        made.centred(SPACE.model_copy(update={"layer": 1}))
    with pytest.raises(MismatchError, match="the vectors are centred already, with centre c9"):
        made.centred(SPACE.model_copy(update={"centre": "c9"}))
    with pytest.raises(MismatchError, match="centred already"):
        fit_centring("mean", {}, SPACE.model_copy(update={"centre": "c9"}), dim=4)


def test_a_language_it_was_not_learnt_for() -> None:
    with pytest.raises(UnknownNameError, match="unknown language 'it'; choose one of: de, fr"):
        learn("mean", de=GERMAN, fr=FRENCH).apply(GERMAN, "it")


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("means", "unknown kind of centring 'means'; choose one of: components, mean"),
        ("mean:2", "centring 'mean' takes no number, got 'mean:2'"),
        ("components", "takes a number from 1, as components:1; got 'components'"),
        ("own:0", "takes a number from 1, as own:1; got 'own:0'"),
        ("own:x", "takes a number from 1, as own:1; got 'own:x'"),
        ("components:2", "centring components:2 needs at least 3 languages, got 2"),
        ("own:4", "centring own:4 leaves nothing of vectors of dim 4"),
    ],
)
def test_kinds_that_cannot_be(kind: str, sentence: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=sentence):
        learn(kind, de=GERMAN, fr=FRENCH)


def test_too_few_vectors() -> None:
    with pytest.raises(InputError, match="at least 10 vectors of 'de', got 9"):
        learn("mean", de=GERMAN[:9])
    with pytest.raises(InputError, match="needs vectors that differ"):
        learn("whitening", de=np.tile(X, (20, 1)))
    with pytest.raises(InputError, match="at least one language"):
        learn("mean")


def test_kinds_are_spelt_as_they_are_read() -> None:
    assert [str(Kind.parse(text)) for text in ("mean", "own:12")] == ["mean", "own:12"]
