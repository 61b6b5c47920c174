"""Translations of the texts of a request, and the links between both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bitext.errors import InputError, TooLongError
from bitext.types import Hypothesis, SentencePair
from service.aligning import aligned, split
from service.limits import check_cells
from service.schemas.translate import (
    HypothesisOut,
    TranslateRequest,
    TranslateResponse,
    Translation,
)

if TYPE_CHECKING:
    from nmt.translation.translator import TranslationModel
    from service.state import State

SEARCH = (
    "beam_size",
    "length_penalty",
    "no_repeat_ngram",
    "n_best",
    "max_length",
    "max_length_ratio",
    "sample",
    "temperature",
    "top_k",
    "top_p",
    "seed",
)
"""The fields of a request that are the search's own."""


def translate(request: TranslateRequest, state: State) -> TranslateResponse:
    """The hypotheses of each text of ``request``, in order; for use in a thread.

    :raises NoTranslationModelError: if there is none at all.
    :raises UnknownNameError: if there is no such model or language.
    :raises InputError: if settings contradict one another.
    :raises TooLongError: if a text has more pieces than the model takes, and may not.
    """
    from nmt.translation.translator import search_settings

    how = {name: getattr(request, name) for name in SEARCH}
    search_settings(**how)  # refused before a model is loaded
    translators = state.models.translators
    name = translators.choose(request.model, request.source_lang, request.target_lang)
    model = translators.get(name)
    direction = model.direction(request.source_lang, request.target_lang)
    found = _search(model, request, direction, how)
    answers = [_answer(text, own) for text, own in zip(request.each(), found, strict=True)]
    encoder = _align(request, answers, state) if request.align else None
    return TranslateResponse(
        translations=answers,
        model=name,
        engine=model.engine.name,
        source_lang=direction[0],
        target_lang=direction[1],
        alignment_model=encoder,
    )


def _search(
    model: TranslationModel,
    request: TranslateRequest,
    direction: tuple[str, str],
    how: dict[str, Any],
) -> list[list[Hypothesis]]:
    texts, prefixes = request.each(), request.each_prefix()
    if prefixes is not None and len(prefixes) != len(texts):
        raise InputError(
            f"field 'prefixes': expected one for each of the {len(texts)} texts, got "
            f"{len(prefixes)}; an empty one where none is wanted"
        )
    try:
        return model.translate(
            texts, *direction, prefixes=prefixes, too_long=request.too_long, **how
        )
    except TooLongError as error:
        raise error.called(f"text {error.sentence + 1}") from None


def _answer(text: str, found: Sequence[Hypothesis]) -> Translation:
    from nmt.evaluation.guard import guard_flags

    return Translation(
        hypotheses=[
            HypothesisOut(text=one.text, score=round(one.score, 6), truncated=one.truncated)
            for one in found
        ],
        flags=list(guard_flags(text, found[0].text)),
    )


def _align(request: TranslateRequest, answers: Sequence[Translation], state: State) -> str:
    """Add the links of each text and its best hypothesis; the name of the model they are from."""
    from aligners.aligner import Aligner

    sides = [
        (split(text, f"text {n}", state), split(_best(one), f"the translation of text {n}", state))
        for n, (text, one) in enumerate(zip(request.each(), answers, strict=True), 1)
    ]
    cells = sum(len(source.words) * len(target.words) for source, target in sides)
    check_cells(cells, 1, state.settings, detail=False)
    # What the translator takes or writes may be longer than what the encoder takes.
    aligner = Aligner(state.models.encoder(request.alignment_model), too_long="windows")
    pairs = [SentencePair(source.words, target.words) for source, target in sides]
    for answer, pair, alignment in zip(answers, sides, aligner.align(pairs), strict=True):
        answer.alignment = aligned(*pair, alignment)
    return aligner.encoder.name


def _best(answer: Translation) -> str:
    return answer.hypotheses[0].text
