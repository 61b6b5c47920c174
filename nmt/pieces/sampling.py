"""Training text in pieces that are drawn anew in every round: subword regularisation, BPE-dropout.

A model sees a word in several spellings, which helps most where there is little text. Development
data and translation always have the best segmentation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from sentencepiece import sentencepiece_model_pb2

from bitext.errors import InputError
from encoders.training.loop import seed_of
from nmt.pieces.tokenization import Frame
from nmt.training.batches import Batch, BatchSource, BitextBatches, Plan
from nmt.training.config import VocabularySettings
from nmt.training.data import EncodedBitext, Pieces

_PROTO: Any = sentencepiece_model_pb2  # generated, without types
_UNIGRAM, _BPE = 1, 2  # SentencePiece's numbers of model types
_SEEDS = 2**31


class PieceSampler:
    """Draws segmentations, by SentencePiece.

    Of a unigram vocabulary, a segmentation ``x`` has the probability ``p(x) ** alpha / sum``, over
    all of a sentence's segmentations (Kudo, 2018, equation 5 for l = infinity). Of a BPE one, each
    merge is left out with the probability ``dropout`` (Provilkov et al., 2020).

    :param tokenizer: fast or slow.
    :raises InputError: if it is of the other kind, or of none that can be sampled.
    """

    def __init__(self, tokenizer: Any, *, alpha: float | None = None, dropout: float = 0.0) -> None:
        self._strength = dropout if alpha is None else alpha
        self._normalizer: Any = None
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is not None:
            written = json.loads(backend.to_str())
            model = sentencepiece.SentencePieceProcessor(model_proto=_proto_of(written))
            self._normalizer = backend.normalizer
            ids = {model.id_to_piece(k): k for k in range(model.get_piece_size())}
            self._sides = ((model, ids),) * 2
        elif hasattr(tokenizer, "spm_source"):  # Marian
            own = tokenizer.encoder
            theirs = tokenizer.target_encoder if tokenizer.separate_vocabs else own
            self._sides = ((tokenizer.spm_source, own), (tokenizer.spm_target, theirs))
        else:
            self._sides = ((tokenizer.sp_model, tokenizer.encoder),) * 2
        self._unknown = int(tokenizer.unk_token_id)
        for model, _ in self._sides:
            _check_kind(_kind_of(model), alpha)

    def normal(self, texts: Sequence[str]) -> list[str]:
        """The texts as the tokenizer sees them; what the other methods take."""
        if self._normalizer is None:
            return list(texts)
        return [self._normalizer.normalize_str(text) for text in texts]

    def best(self, texts: Sequence[str], *, target: bool) -> list[list[int]]:
        """The segmentation that the tokenizer itself gives, unless it knows bytes."""
        model, ids = self._sides[target]
        return self._numbers(model.encode(list(texts), out_type=str, num_threads=1), ids)

    def draw(self, texts: Sequence[str], seed: int, *, target: bool) -> list[list[int]]:
        """One segmentation of each text, a function of texts and seed alone."""
        model, ids = self._sides[target]
        # the library's random numbers begin with this seed in each new thread, which a call with
        # one thread has one of
        sentencepiece.set_random_generator_seed(seed % _SEEDS)
        drawn = model.encode(
            list(texts),
            out_type=str,
            num_threads=1,
            enable_sampling=True,
            alpha=self._strength,
            nbest_size=-1,
        )
        return self._numbers(drawn, ids)

    def _numbers(self, rows: list[list[str]], ids: dict[str, int]) -> list[list[int]]:
        return [[ids.get(piece, self._unknown) for piece in row] for row in rows]


def sampler_of(tokenizer: Any, settings: VocabularySettings) -> PieceSampler | None:
    """What a config asks for; ``None`` if it asks for nothing random.

    :raises InputError: if this vocabulary cannot be sampled so.
    """
    alpha, dropout = settings.sampling_alpha, settings.bpe_dropout
    if alpha is None and not dropout:
        return None
    return PieceSampler(tokenizer, alpha=alpha, dropout=dropout)


def _kind_of(model: sentencepiece.SentencePieceProcessor) -> int:
    proto = _PROTO.ModelProto()
    proto.ParseFromString(model.serialized_model_proto())
    return int(proto.trainer_spec.model_type)


def _check_kind(kind: int, alpha: float | None) -> None:
    if kind not in (_UNIGRAM, _BPE):
        raise InputError("only unigram and BPE vocabularies can be sampled")
    if alpha is not None and kind == _BPE:
        raise InputError(
            "vocabulary.sampling_alpha is for unigram vocabularies; this is a BPE one: "
            "set vocabulary.bpe_dropout"
        )
    if alpha is None and kind == _UNIGRAM:
        raise InputError(
            "vocabulary.bpe_dropout is for BPE vocabularies; this is a unigram one: "
            "set vocabulary.sampling_alpha"
        )


def _proto_of(written: dict[str, Any]) -> bytes:
    """A SentencePiece model with the pieces of a ``tokenizer.json``.

    :raises InputError: if those are of another kind.
    """
    kind = written["model"].get("type") or "Unigram"
    splits = json.dumps(written.get("pre_tokenizer") or {})
    if kind not in ("Unigram", "BPE") or "Metaspace" not in splits:
        raise InputError(
            f"a vocabulary of kind {kind} cannot be sampled, only one of SentencePiece's; leave "
            "vocabulary.sampling_alpha and vocabulary.bpe_dropout out"
        )
    made = _PROTO.ModelProto()
    made.normalizer_spec.name = "identity"
    made.normalizer_spec.add_dummy_prefix = True
    made.normalizer_spec.remove_extra_whitespaces = True
    made.normalizer_spec.escape_whitespaces = True
    made.trainer_spec.model_type = _UNIGRAM if kind == "Unigram" else _BPE
    scored = _unigram_pieces(written) if kind == "Unigram" else _bpe_pieces(written)
    special = {entry["content"] for entry in written["added_tokens"]}
    unknown = _unknown_of(written)
    types = _PROTO.ModelProto.SentencePiece
    for piece, score in scored:
        added = made.pieces.add()
        added.piece, added.score = piece, score
        if piece == unknown:
            added.type = types.UNKNOWN
        elif piece in special:
            added.type = types.CONTROL
        elif piece.startswith("<0x"):
            added.type = types.UNUSED
    for role in ("unk", "bos", "eos", "pad"):
        setattr(made.trainer_spec, f"{role}_id", -1)
    made.trainer_spec.unk_id = [piece for piece, _ in scored].index(unknown)
    written_proto: bytes = made.SerializeToString()
    return written_proto


def _unigram_pieces(written: dict[str, Any]) -> list[tuple[str, float]]:
    return [(piece, float(score)) for piece, score in written["model"]["vocab"]]


def _bpe_pieces(written: dict[str, Any]) -> list[tuple[str, float]]:
    """Pieces by id; the earlier a merge, the higher its score."""
    rank: dict[str, int] = {}
    for number, merge in enumerate(written["model"]["merges"]):
        pair = merge.split(" ") if isinstance(merge, str) else merge
        rank.setdefault("".join(pair), number)
    ids = written["model"]["vocab"]
    last = len(rank)
    return [(piece, -float(rank.get(piece, last))) for piece in sorted(ids, key=ids.__getitem__)]


def _unknown_of(written: dict[str, Any]) -> str:
    model = written["model"]
    if "unk_id" in model:
        return str(model["vocab"][model["unk_id"]][0])
    return str(model["unk_token"])


class _Side(NamedTuple):
    """One side of a corpus: its text, what stands around its pieces, and its best segmentation."""

    texts: list[str]
    before: list[int]
    after: list[int]
    best: Pieces
    drawn: NDArray[np.bool_]  # which sentences may be segmented otherwise
    longest: int
    target: bool


@dataclass(frozen=True, slots=True)
class _Round:
    """Plans are of this round's segmentations."""

    batches: BitextBatches
    rows: Plan


class SampledBatches(BatchSource):
    """Corpora in batches, segmented anew in each round.

    Everything is a function of the seed and the round, so that a resumed run goes on with the very
    pieces; to find its place it draws the earlier rounds again, in a second or two each.

    :param texts: the pairs of each corpus that are trained on, in order.
    :param around: what stands around the source's pieces, of each corpus.
    :param frames: the same of the target.
    :param longest: pieces of source and target that the model takes.
    """

    def __init__(
        self,
        corpora: Sequence[EncodedBitext],
        texts: Sequence[Sequence[tuple[str, str]]],
        around: Sequence[tuple[list[int], list[int]]],
        frames: Sequence[Frame],
        sampler: PieceSampler,
        *,
        pad: int,
        seed: int,
        longest: tuple[int, int],
        temperature: float = 1.0,
    ) -> None:
        self._best = BitextBatches(corpora, pad=pad, seed=seed, temperature=temperature)
        self._sampler, self._seed = sampler, seed
        self._sides: list[tuple[_Side, _Side]] = []
        for corpus, pairs, ends, frame in zip(corpora, texts, around, frames, strict=True):
            source = [one for one, _ in pairs], ends[0], ends[1], corpus.source
            target = [one for _, one in pairs], frame.before, frame.after, corpus.target
            self._sides.append(
                (self._side(*source, longest[0], False), self._side(*target, longest[1], True))
            )

    def __len__(self) -> int:
        return len(self._best)

    def _side(
        self,
        texts: list[str],
        before: list[int],
        after: list[int],
        best: Pieces,
        longest: int,
        target: bool,
    ) -> _Side:
        normal = self._sampler.normal(texts)
        found = self._sampler.best(normal, target=target)
        # where the tokenizer itself has other pieces (bytes, say), it knows better
        same = [[*before, *ids, *after] == best[row].tolist() for row, ids in enumerate(found)]
        return _Side(normal, before, after, best, np.array(same), longest, target)

    def plans(self, *, tokens: int, stage: int, start: int) -> Iterator[_Round]:
        number, taken = 0, 0
        while True:
            batches = self._round(stage, number)
            plans = batches.plan(tokens, stage, number)
            for plan in plans[max(0, start - taken) :]:
                yield _Round(batches, plan)
            taken += len(plans)
            number += 1

    def build(self, plan: _Round) -> Batch:
        return plan.batches.build(plan.rows)

    def prepare(self, model: Any, *, stage: int, step: int) -> dict[str, float]:
        """Nothing: these batches are made of text alone."""
        return self._best.prepare(model, stage=stage, step=step)

    def _round(self, stage: int, number: int) -> BitextBatches:
        """The corpora as this round segments them: of the pairs that it has, and only those."""
        drawn = self._best.drawn(stage, number)
        made = []
        for corpus, (pairs, sides) in enumerate(zip(drawn, self._sides, strict=True)):
            source, target = (
                self._segment(side, pairs, seed_of(self._seed, stage, number, corpus, side.target))
                for side in sides
            )
            made.append(replace(self._best.corpora[corpus], source=source, target=target))
        return self._best.with_corpora(made)

    def _segment(self, side: _Side, pairs: NDArray[np.int64], seed: int) -> Pieces:
        """New segmentations of these sentences; of the others, the best."""
        wanted = np.unique(pairs)
        wanted = wanted[side.drawn[wanted]]
        found = self._sampler.draw([side.texts[k] for k in wanted], seed, target=side.target)
        rows: dict[int, list[int]] = {}
        for number, ids in zip(wanted.tolist(), found, strict=True):
            whole = [*side.before, *ids, *side.after]
            if len(whole) <= side.longest:
                rows[number] = whole
        every = range(len(side.best))
        return Pieces.of(rows[k] if k in rows else side.best[k].tolist() for k in every)
