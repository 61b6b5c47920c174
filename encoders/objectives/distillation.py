"""Distillation: a small model's vectors shall be arranged as those of a large one, its teacher.

``distil_words``: with ``P_st = softmax_j cos(x_i, y_j) / temperature`` and ``P_ts = softmax_i`` of
it over the words of a pair, T those of the teacher's vectors and S those of the model's,

    structure = (mean_i KL(T_st_i || S_st_i) + mean_j KL(T_ts_j || S_ts_j)) / 2

``distil_sentences``: with the cosines C_ab of all sentences of the batch, of both languages,

    structure = mean_(a != b) (C_T_ab - C_S_ab) ** 2                              (mse)
    structure = mean_a KL(softmax_b C_T_ab / temperature || softmax_b C_S_ab / temperature)   (kl)

Structure says nothing of the vectors themselves, so that the two models may have different sizes,
layers and tokenizers: relational distillation (Park et al., 2019), its similarities turned into
probabilities as by Passalis & Tefas (2018). Either can also take over the states, by a projection W
that is learnt (Jiao et al., 2020, TinyBERT): ``|W x - teacher's x| ** 2`` or ``1 - cos``.

The batch holds the model's pieces only: the teacher reads the words, or the sentence, that they
spell, as the model's tokenizer has normalised them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import nn
from torch.nn import functional

from bitext.bounds import Layer, Rate, Weight
from bitext.errors import InputError
from encoders.objectives.alignment import both_directions, cosines
from encoders.objectives.contrastive import pooled_sides, unit
from encoders.objectives.network import Network
from encoders.objectives.objective import LayerSettings, Objective, Reads
from encoders.objectives.step import Step

if TYPE_CHECKING:
    from encoders.encoder import Encoder

SPELLINGS = 200_000
"""Words whose spelling is remembered."""


class DistillationSettings(LayerSettings):
    teacher_layer: Layer | None = None  # by default that of the teacher's preset
    structure: Rate = 1.0  # weight of the structure loss
    states: Rate = 0.0  # weight of the loss of projected states
    temperature: Weight = 0.1  # the model's cosines are divided by it
    teacher_temperature: Weight | None = None  # the teacher's; by default the same

    @model_validator(mode="after")
    def _asks_for_something(self) -> DistillationSettings:
        if not self.structure and not self.states:
            raise ValueError("structure and states are both 0: there is nothing to learn")
        return self

    @property
    def temperatures(self) -> tuple[float, float]:
        """The teacher's and the model's."""
        return self.teacher_temperature or self.temperature, self.temperature


class DistilWordsSettings(DistillationSettings):
    states_loss: Literal["cosine", "mse"] = "cosine"


class DistilSentencesSettings(DistillationSettings):
    structure_loss: Literal["mse", "kl"] = "mse"


Said = TypeVar("Said", bound=DistillationSettings)


class _Distillation(Objective[Said]):
    """What both share: a teacher, its layer, the projection.

    :raises InputError: if there is no teacher.
    :raises UnknownNameError: if the teacher has no such layer.
    """

    reads: ClassVar[Reads] = "pairs"
    task: ClassVar[str]

    def __init__(self, settings: Said, network: Network) -> None:
        super().__init__(settings, network)
        if network.teacher is None:
            raise InputError("objectives that distil need a teacher, and no teacher is named")
        self.teacher: Encoder = network.teacher
        self.teacher_layer = self.teacher.check_layer(settings.teacher_layer, self.task)
        self.projection = projection(network.dim, self.teacher.dim) if settings.states else None
        self.spell = lru_cache(SPELLINGS)(speller(network.tokenizer))

    def sides(self) -> frozenset[int]:
        return frozenset({self.layer})


class DistilWords(_Distillation[DistilWordsSettings]):
    """``distil_words``. Words that the teacher has no piece for are left out."""

    Settings = DistilWordsSettings
    task: ClassVar[str] = "alignment"

    def forward(self, step: Step) -> torch.Tensor:
        vectors, masks = step.words(self.layer), step.word_masks()
        taught = self._taught(step, masks)
        there = [mask & side.any(-1) for mask, side in zip(masks, taught, strict=True)]
        settings, loss = self.settings, torch.zeros((), device=step.device)
        if settings.structure:
            loss = loss + settings.structure * word_structure(
                taught, vectors, there, settings.temperatures
            )
        if self.projection is not None:
            wanted = torch.cat([side[own] for side, own in zip(taught, there, strict=True)])
            found = torch.cat([side[own] for side, own in zip(vectors, there, strict=True)])
            distance = state_distance(self.projection(found), wanted, settings.states_loss)
            loss = loss + settings.states * distance
        return loss

    def _taught(self, step: Step, masks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The teacher's vectors of both sides, each of shape (pairs, most words, teacher's dim)."""
        batch, pairs = step.batch, len(step.batch.source)
        spelled = spell_words(batch.source, batch.source_words, self.spell)
        spelled += spell_words(batch.target, batch.target_words, self.spell)
        vectors = self.teacher.words(spelled, layer=self.teacher_layer, too_long="windows")
        sides = []
        for rows, mask in zip((vectors[:pairs], vectors[pairs:]), masks, strict=True):
            padded = np.zeros((*mask.shape, self.teacher.dim), dtype=np.float32)
            for number, row in enumerate(rows):
                padded[number, : len(row)] = row
            sides.append(torch.from_numpy(padded).to(step.device))
        return sides


class DistilSentences(_Distillation[DistilSentencesSettings]):
    """``distil_sentences``, on means of pieces; the teacher's vectors have length 1."""

    Settings = DistilSentencesSettings
    task: ClassVar[str] = "retrieval"

    def forward(self, step: Step) -> torch.Tensor:
        vectors = torch.cat(pooled_sides(step, self.layer)).float()
        taught = self._taught(step)
        settings, loss = self.settings, torch.zeros((), device=step.device)
        if settings.structure:
            loss = loss + settings.structure * sentence_structure(
                taught, vectors, settings.structure_loss, settings.temperatures
            )
        if self.projection is not None:
            distance = state_distance(unit(self.projection(vectors)), taught, "mse")
            loss = loss + settings.states * distance
        return loss

    def _taught(self, step: Step) -> torch.Tensor:
        """The teacher's vectors, sources before targets, shape (2 pairs, teacher's dim)."""
        rows = [*step.batch.source, *step.batch.target]
        texts = [self.spell(tuple(row[row >= 0].tolist())) for row in rows]
        vectors = self.teacher.sentences(texts, layer=self.teacher_layer, too_long="windows")
        return torch.from_numpy(vectors).to(step.device)


def projection(dim: int, teacher_dim: int) -> nn.Linear:
    """A matrix from the model's states to the teacher's; between equal sizes it starts as 1."""
    matrix = nn.Linear(dim, teacher_dim, bias=False)
    if dim == teacher_dim:
        nn.init.eye_(matrix.weight)
    return matrix


def speller(tokenizer: Any) -> Callable[[tuple[int, ...]], str]:
    """A function from pieces to the text that they spell; the unknown piece spells nothing."""

    def spell(pieces: tuple[int, ...]) -> str:
        text: str = tokenizer.decode(
            list(pieces), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text.strip()

    return spell


def spell_words(
    pieces: NDArray[np.int64], words: NDArray[np.int64], spell: Callable[[tuple[int, ...]], str]
) -> list[list[str]]:
    """The words of each row.

    :param pieces: padded, shape (rows, length).
    :param words: the word of each piece, -1 at padding, shape (rows, length).
    """
    spelled = []
    for row, of in zip(pieces.tolist(), words.tolist(), strict=True):
        groups: list[list[int]] = [[] for _ in range(max(of, default=-1) + 1)]
        for piece, word in zip(row, of, strict=True):
            if word >= 0:
                groups[word].append(piece)
        spelled.append([spell(tuple(group)) for group in groups])
    return spelled


def word_structure(
    teacher: Sequence[torch.Tensor],
    student: Sequence[torch.Tensor],
    masks: Sequence[torch.Tensor],
    temperatures: tuple[float, float],
) -> torch.Tensor:
    """The structure loss of words.

    :param teacher: vectors of source and target words, each of shape (pairs, words, any dim).
    :param student: likewise.
    :param masks: true at words, shapes (pairs, words).
    :param temperatures: the teacher's and the student's.
    """
    wanted, found = (
        both_directions(cosines(*vectors) / temperature, *masks)
        for vectors, temperature in zip((teacher, student), temperatures, strict=True)
    )
    there = masks[0][:, :, None] & masks[1][:, None, :]
    losses = []
    for taught, learnt, mask, dim in zip(wanted, found, masks, (2, 1), strict=True):
        # padding has probability 0, and its logarithms differ by nothing that counts
        apart = (taught - learnt).masked_fill(~there, 0)
        divergence = (taught.exp().masked_fill(~there, 0) * apart).sum(dim)
        losses.append((divergence * mask).sum() / mask.sum().clamp(min=1))
    return (losses[0] + losses[1]) / 2


def sentence_structure(
    teacher: torch.Tensor, student: torch.Tensor, loss: str, temperatures: tuple[float, float]
) -> torch.Tensor:
    """The structure loss of sentences.

    :param teacher: shape (sentences, any dim), and ``student`` likewise.
    :param loss: ``mse`` or ``kl``.
    :param temperatures: of ``kl``, the teacher's and the student's.
    """
    wanted, found = (unit(one) @ unit(one).transpose(0, 1) for one in (teacher, student))
    others = ~torch.eye(len(wanted), dtype=torch.bool, device=wanted.device)
    if loss == "mse":
        return ((wanted - found)[others] ** 2).sum() / others.sum().clamp(min=1)
    lowest = torch.finfo(wanted.dtype).min
    taught, learnt = (
        (one / temperature).masked_fill(~others, lowest).log_softmax(1)
        for one, temperature in zip((wanted, found), temperatures, strict=True)
    )
    apart = (taught - learnt).masked_fill(~others, 0)
    return (taught.exp() * apart).sum(1).mean()


def state_distance(found: torch.Tensor, wanted: torch.Tensor, loss: str) -> torch.Tensor:
    """Mean over the rows of ``1 - cos`` or of the squared distance, shapes (rows, dim)."""
    if loss == "cosine":
        apart = 1 - functional.cosine_similarity(found.float(), wanted, dim=-1)
    else:
        apart = ((found.float() - wanted) ** 2).sum(-1)
    return apart.sum() / max(1, len(apart))
