"""How links are chosen, by a name and settings: ``itermax``, ``softmax:temperature=0.1``.

One spelling for the command line, requests, presets and signatures. The settings of a method are
the keyword-only arguments of its matcher, checked by their annotations.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import Any, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, create_model

from aligners.matching import Links, argmax, backward, forward, itermax, mwmf
from aligners.probability import entmax, intersection, softmax
from aligners.similarity import Similarity
from aligners.symmetrize import SYMMETRIZERS
from aligners.transport import partial, transport, unbalanced
from bitext.settings import Changed, parse, spell

Matcher = Callable[..., list[Links]]
"""From the similarity matrices of many pairs, and settings by keyword, to the links of each: some
methods are fast only so."""


def each(one: Callable[..., Links]) -> Matcher:
    """A matcher from a function of one matrix and settings."""

    @wraps(one)
    def many(similarities: Sequence[Similarity], **settings: object) -> list[Links]:
        return [one(similarity, **settings) for similarity in similarities]

    return many


def symmetrized(name: str) -> Callable[[Similarity], Links]:
    """A function that makes one of :func:`forward` and :func:`backward` links, as ``name`` says."""

    def match(similarity: Similarity) -> Links:
        directions = (
            frozenset((int(i), int(j)) for i, j in np.argwhere(links))
            for links in (forward(similarity), backward(similarity))
        )
        found = SYMMETRIZERS[name](*directions)
        links = np.zeros(similarity.shape, dtype=np.bool_)
        links[tuple(np.array(list(found), dtype=np.int64).reshape(-1, 2).T)] = True
        return links

    return match


MATCHERS: dict[str, Matcher] = {
    "argmax": each(argmax),
    "forward": each(forward),
    "backward": each(backward),
    "itermax": each(itermax),
    "mwmf": each(mwmf),
    "softmax": each(softmax),
    "intersection": each(intersection),
    "entmax": each(entmax),
    "transport": transport,
    "partial": partial,
    "unbalanced": unbalanced,
    # the intersection of both directions is argmax
    **{name: each(symmetrized(name)) for name in SYMMETRIZERS if name != "intersection"},
}


@dataclass(frozen=True, slots=True)
class Method:
    """A matcher with its settings, those of its defaults that were changed."""

    name: str
    changed: Changed = ()

    @classmethod
    def parse(cls, text: str) -> Method:
        """Read ``name`` or ``name:setting=value,setting=value``.

        :raises UnknownNameError: if there is no such method or setting.
        :raises InputError: if a value is not what the setting takes.
        """
        return cls(*parse(text, what="method", names=MATCHERS, settings_of=settings_of))

    def __str__(self) -> str:
        return spell(self.name, self.changed)

    def match(self, similarities: Sequence[Similarity]) -> list[Links]:
        """The links of each similarity matrix; every matrix has at least one row and one column."""
        return MATCHERS[self.name](similarities, **dict(self.changed))

    def setting(self, name: str) -> Any:
        """The value of a setting, its default if it was not changed; ``None`` if there is none."""
        field = settings_of(self.name).model_fields.get(name)
        return dict(self.changed).get(name, None if field is None else field.default)


@cache
def settings_of(name: str) -> type[BaseModel]:
    """The settings of a method, with their defaults and limits."""
    matcher = MATCHERS[name]
    hints = get_type_hints(matcher, include_extras=True)
    fields: dict[str, Any] = {
        parameter.name: (hints[parameter.name], parameter.default)
        for parameter in inspect.signature(matcher).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    return create_model(name, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)
