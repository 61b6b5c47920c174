"""The languages of a run, and how its model is told which one is wanted."""

from __future__ import annotations

from bitext.errors import InputError
from nmt.training.config import TrainConfig


def languages_of(config: TrainConfig) -> tuple[list[str], list[str]]:
    """Those of sources and of targets."""
    data = config.data
    every = [*data.corpora, *data.dev]
    sources = {one.source_lang or data.source_lang for one in every}
    targets = {one.target_lang or data.target_lang for one in every}
    spoken = {one.lang for one in [*data.monolingual, *data.dev_monolingual]}
    return sorted(sources | spoken), sorted(targets | spoken)


def tags_of(config: TrainConfig) -> str:
    """Where the sign of the wanted language stands: ``source``, ``decoder``, or ``none``."""
    chosen = config.vocabulary.tags
    if chosen != "auto":
        return chosen
    return "none" if len(languages_of(config)[1]) == 1 else "source"


def check_languages(config: TrainConfig) -> None:
    """See whether a model that knows no language yet can learn those that are wanted.

    :raises InputError: if a dev set has a language that nothing trains, or targets cannot be told
        apart.
    """
    data = config.data
    directions = {
        (one.source_lang or data.source_lang, one.target_lang or data.target_lang)
        for one in data.corpora
    }
    spoken = {one.lang for one in data.monolingual}
    for number, one in enumerate(data.dev):
        wanted = one.source_lang or data.source_lang, one.target_lang or data.target_lang
        for at, side in enumerate(("source", "target")):
            trained = {direction[at] for direction in directions} | spoken
            if wanted[at] not in trained:
                raise InputError(
                    f"data.dev.{number}: nothing trains '{wanted[at]}' as {side} language, only "
                    + ", ".join(sorted(trained))
                )
    if config.vocabulary.tags != "none":
        return
    for source in sorted({source for source, _ in directions}):
        targets = sorted(target for own, target in directions if own == source)
        if len(targets) > 1:
            raise InputError(
                f"vocabulary.tags 'none' cannot say into which of {', '.join(targets)} "
                f"'{source}' is translated; choose 'source' or 'decoder'"
            )
