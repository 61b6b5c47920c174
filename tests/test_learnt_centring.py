"""TextIndex that centres by what was learnt before, as ``bitext centring fit`` does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_text_index import HALVES, LETTERS, OTHER_HALVES, LetterEncoder

from bitext.errors import InputError, MismatchError, UnknownNameError
from retrieval.store.addition import Entry
from retrieval.store.text_index import TextIndex
from retrieval.vectors.centring import Centring, fit_centring
from retrieval.vectors.encoding import space_of

SPACE = space_of(LETTERS, None, None)


@pytest.fixture(params=["mean", "components:1", "whitening"])
def learnt(request: pytest.FixtureRequest) -> Centring:
    texts = {"de": [*HALVES, "ab"], "fr": [*OTHER_HALVES, "ac"]}
    blocks = {language: [LETTERS.sentences(some)] for language, some in texts.items()}
    return fit_centring(request.param, blocks, SPACE, dim=3)


@pytest.fixture
def index(learnt: Centring, tmp_path: Path) -> TextIndex:
    made = TextIndex.create(tmp_path / "index", LETTERS, centring=learnt)
    rows = [Entry("de", "ab"), Entry("fr", "bc"), Entry("de", "abc")]
    made.add_mixed(rows, encoder=LETTERS)
    return made


def test_vectors_are_centred_as_was_learnt(index: TextIndex, learnt: Centring) -> None:
    rows = learnt.apply_mixed(LETTERS.sentences(["ab", "bc", "abc"]), ["de", "fr", "de"])
    [query] = learnt.apply(LETTERS.sentences(["abb"]), "fr")
    for one in (index, TextIndex.load(index.folder)):
        [hits] = one.retrieve(["abb"], k=3, encoder=LETTERS, language="fr")
        scores = {hit.id: hit.score for hit in hits}
        assert [scores[n] for n in range(3)] == pytest.approx((rows @ query).tolist(), abs=1e-6)
        assert one.space == learnt.centred(SPACE)
        assert one.centring
        # Vectors that were centred by the same are welcome, raw ones are not.
        [again] = one.search(query[None], k=3, space=learnt.centred(SPACE))
        assert again == hits
        with pytest.raises(MismatchError, match="was built with centre"):
            one.search(query[None], k=3, space=SPACE)


def test_languages_must_be_said_and_known(index: TextIndex) -> None:
    with pytest.raises(InputError, match="say which language the queries are in; .* de, fr"):
        index.retrieve(["a"], k=1, encoder=LETTERS)
    with pytest.raises(UnknownNameError, match="unknown language 'es'; choose one of: de, fr"):
        index.retrieve(["a"], k=1, encoder=LETTERS, language="es")
    with pytest.raises(UnknownNameError, match="unknown language 'es'; choose one of: de, fr"):
        index.add(["a"], language="es", encoder=LETTERS)
    with pytest.raises(InputError, match="does not centre by means: it takes none"):
        index.set_mean("es", HALVES, encoder=LETTERS)
    assert (index.count(), dict(index.means)) == (3, {})


def test_snapshot_has_it(index: TextIndex, tmp_path: Path) -> None:
    expected = index.retrieve(["a"], k=3, encoder=LETTERS, language="de")
    index.snapshot(tmp_path / "snapshot")
    restored = TextIndex.restore(tmp_path / "snapshot", tmp_path / "restored")
    assert restored.retrieve(["a"], k=3, encoder=LETTERS, language="de") == expected


def test_vectors_of_another_space(learnt: Centring, tmp_path: Path) -> None:
    for encoder, options, sentence in [
        (LETTERS, {"layer": 2}, "layer 1, what is to be centred has layer 2"),
        (LetterEncoder("other", "def"), {}, "model letters .abc., what is to be centred has"),
    ]:
        with pytest.raises(MismatchError, match=sentence):
            TextIndex.create(tmp_path / "index", encoder, centring=learnt, **options)  # type: ignore[arg-type]
    assert not (tmp_path / "index").exists()


def test_another_centring_in_its_folder(index: TextIndex, learnt: Centring) -> None:
    tensors = {name: np.roll(tensor, 1) for name, tensor in learnt.tensors.items()}
    other = Centring(learnt.kind, learnt.space, learnt.counts, tensors)
    other.save(index.folder / "centring")
    with pytest.raises(InputError, match="centring is not what the index was built with"):
        TextIndex.load(index.folder)
