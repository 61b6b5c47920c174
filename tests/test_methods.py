"""Methods by name and settings: how they are spelt, checked and read back."""

from __future__ import annotations

import numpy as np
import pytest

from aligners.matching import backward, forward, itermax
from aligners.methods import MATCHERS, Method, settings_of
from aligners.probability import softmax
from aligners.symmetrize import symmetrize
from bitext.errors import InputError, UnknownNameError
from bitext.types import Alignment


@pytest.mark.parametrize("name", sorted(MATCHERS))
def test_a_name_alone_is_a_method_of_defaults(name: str) -> None:
    method = Method.parse(name)
    assert (method.name, method.changed, str(method)) == (name, (), name)


def test_settings_are_read_checked_and_spelt_in_one_order() -> None:
    method = Method.parse("softmax:threshold=0.25, temperature=1e-1")
    assert str(method) == "softmax:temperature=0.1,threshold=0.25"
    assert Method.parse(str(method)) == method
    assert method.setting("threshold") == 0.25
    assert method.setting("n_max") is None


def test_a_setting_of_its_default_is_not_spelt() -> None:
    assert str(Method.parse("itermax:n_max=2,alpha=0.8")) == "itermax:alpha=0.8"
    assert Method.parse("itermax").setting("alpha") == 0.9


def test_settings_reach_the_matcher() -> None:
    matrices = list(np.random.default_rng(5).random((3, 6, 7)))
    found = Method.parse("itermax:n_max=4,alpha=0.5").match(matrices)
    for matrix, links in zip(matrices, found, strict=True):
        assert np.array_equal(links, itermax(matrix, n_max=4, alpha=0.5))
    assert not np.array_equal(
        Method.parse("softmax:threshold=0.05").match(matrices)[0], softmax(matrices[0])
    )


def test_two_directions_are_symmetrised_as_their_files_would_be() -> None:
    matrix = np.random.default_rng(8).random((7, 9))
    there, back = (
        Alignment.of(((int(i), int(j)), 1.0) for i, j in np.argwhere(links))
        for links in (forward(matrix), backward(matrix))
    )
    for name in ("union", "grow-diag", "grow-diag-final-and", "grow-diag-moses"):
        links = Method.parse(name).match([matrix])[0]
        expected = symmetrize(there, back, name).links
        assert tuple((int(i), int(j)) for i, j in np.argwhere(links)) == expected


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("softmx", "unknown method 'softmx'; choose one of: argmax, backward"),
        ("softmax:heat=1", "unknown setting of softmax 'heat'; choose one of: temperature, thr"),
        ("argmax:alpha=1", "method argmax has no settings, and no 'alpha'"),
    ],
)
def test_unknown_names_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(UnknownNameError, match=sentence):
        Method.parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("softmax:temperature=0", "softmax: temperature=0: input should be greater than 0"),
        ("softmax:threshold=2", "softmax: threshold=2: input should be less than or equal to 1"),
        ("softmax:threshold=nan", "softmax: threshold=nan: input should be a finite number"),
        ("itermax:n_max=1.5", "itermax: n_max=1.5: input should be a valid integer"),
        (
            "softmax:threshold=0.1,threshold=0.2",
            "'softmax:threshold=0.1,threshold=0.2' says a",
        ),
        ("softmax:", "expected 'method:setting=value,...', got 'softmax:'"),
        ("softmax:threshold", "expected 'method:setting=value,...', got 'softmax:threshold'"),
    ],
)
def test_values_that_do_not_fit_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError) as refused:
        Method.parse(text)
    assert str(refused.value).startswith(sentence)


def test_every_setting_has_a_default_and_a_limit() -> None:
    for name in MATCHERS:
        for field in settings_of(name).model_fields.values():
            assert not field.is_required()
            assert field.metadata or field.annotation not in (int, float)
