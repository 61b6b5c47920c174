"""Several tasks in one stage: which batch is whose, and what each weighs.

Turns are dealt out by the shares, as evenly as can be: a function of the number of the batch alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple

import torch

from nmt.training.batches import Batch, BatchSource
from nmt.training.config import Stage, share_at, tasks_of, value_at
from nmt.training.online import OnlineBackTranslation


class MixedPlan(NamedTuple):
    """A batch of one task."""

    stage: int
    task: str
    weight: float
    plan: Any


class Mixture(BatchSource):
    """Batches of the tasks of each stage.

    :param sources: of each stage, by the name of the task; those that follow the model look ahead
        as many steps as their task's ``every`` says.
    """

    def __init__(
        self, stages: Sequence[Stage], sources: Sequence[Mapping[str, BatchSource]]
    ) -> None:
        self._stages = list(stages)
        self._sources = list(sources)
        self._turns = [Turns(stage) for stage in stages]
        self._window = (-1, -1)  # stage and number of the window that is ready

    def plans(self, *, tokens: int, stage: int, start: int) -> Iterator[MixedPlan]:
        turns, tasks = self._turns[stage], tasks_of(self._stages[stage])
        streams = {
            name: source.plans(tokens=tokens, stage=stage, start=turns.had(name, start))
            for name, source in self._sources[stage].items()
        }
        for number in count(start):
            name = turns[number]
            weight = value_at(tasks[name].weight, number // self._stages[stage].accumulate)
            yield MixedPlan(stage, name, weight, next(streams[name]))

    def build(self, plan: MixedPlan) -> Batch:
        batch = self._sources[plan.stage][plan.task].build(plan.plan)
        return replace(batch, weight=plan.weight)

    def prepare(self, model: Any, *, stage: int, step: int) -> dict[str, float]:
        task = self._stages[stage].tasks.back_translate
        if task is None:
            return {}
        window = step // task.every
        if (stage, window) == self._window:
            return {}
        settings, turns = self._stages[stage], self._turns[stage]
        edges = [
            turns.had("back_translate", min(at * task.every, settings.steps) * settings.accumulate)
            for at in (window, window + 1)
        ]
        figures = self._online(stage).look_ahead(
            model, tokens=settings.batch_tokens, stage=stage, first=edges[0], last=edges[1]
        )
        self._window = (stage, window)
        return figures

    def state(self) -> dict[str, torch.Tensor]:
        stage, window = self._window
        if stage < 0:
            return {}
        return {"window": torch.tensor([stage, window]), **self._online(stage).state()}

    def restore(self, state: Mapping[str, torch.Tensor]) -> None:
        if "window" not in state:
            return
        stage, window = state["window"].tolist()
        self._window = (stage, window)
        self._online(stage).restore(state)

    def _online(self, stage: int) -> OnlineBackTranslation:
        source = self._sources[stage]["back_translate"]
        assert isinstance(source, OnlineBackTranslation)
        return source


class Turns:
    """Whose turn it is, by the number of the batch.

    Each task is owed its share of every batch, and the one that is owed most comes next.
    """

    def __init__(self, stage: Stage) -> None:
        self._tasks = tasks_of(stage)
        self._accumulate = stage.accumulate
        self._owed = dict.fromkeys(self._tasks, 0.0)
        self._dealt: list[str] = []

    def __getitem__(self, number: int) -> str:
        self._deal(number + 1)
        return self._dealt[number]

    def had(self, name: str, before: int) -> int:
        """How many turns a task had before a number."""
        self._deal(before)
        return self._dealt[:before].count(name)

    def _deal(self, until: int) -> None:
        for number in range(len(self._dealt), until):
            step = number // self._accumulate
            shares = {name: share_at(task, step) for name, task in self._tasks.items()}
            whole = sum(shares.values())
            for name, share in shares.items():
                self._owed[name] += share / whole
            name = max((n for n in shares if shares[n] > 0), key=self._owed.__getitem__)
            self._owed[name] -= 1
            self._dealt.append(name)
