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

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from aligners.matching import Links, argmax, backward, forward, itermax, mwmf
from aligners.probability import entmax, intersection, softmax
from aligners.similarity import Similarity
from aligners.transport import partial, transport, unbalanced
from bitext.errors import InputError, UnknownNameError, choose_from

Matcher = Callable[..., list[Links]]
"""From the similarity matrices of many pairs, and settings by keyword, to the links of each: some
methods are fast only so."""


def each(one: Callable[..., Links]) -> Matcher:
    """A matcher from a function of one matrix and settings."""

    @wraps(one)
    def many(similarities: Sequence[Similarity], **settings: object) -> list[Links]:
        return [one(similarity, **settings) for similarity in similarities]

    return many


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
}


@dataclass(frozen=True, slots=True)
class Method:
    """A matcher with its settings, those of its defaults that were changed."""

    name: str
    changed: tuple[tuple[str, object], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Method:
        """Read ``name`` or ``name:setting=value,setting=value``.

        :raises UnknownNameError: if there is no such method or setting.
        :raises InputError: if a value is not what the setting takes.
        """
        name, colon, given = text.partition(":")
        if name not in MATCHERS:
            raise UnknownNameError(choose_from("method", name, MATCHERS))
        if not colon:
            return cls(name)
        values = dict(_parse_setting(item, text) for item in given.split(","))
        model = settings_of(name)
        for key in values:
            if key not in model.model_fields:
                if not model.model_fields:
                    raise UnknownNameError(f"method {name} has no settings, and no '{key}'")
                raise UnknownNameError(choose_from(f"setting of {name}", key, model.model_fields))
        try:
            checked = model.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            wrong = str(first["loc"][0])
            problem = first["msg"][0].lower() + first["msg"][1:]
            raise InputError(f"{name}: {wrong}={values[wrong]}: {problem}") from None
        changed = checked.model_dump(exclude_defaults=True)
        return cls(name, tuple(sorted(changed.items())))

    def __str__(self) -> str:
        settings = ",".join(f"{key}={_spell(value)}" for key, value in self.changed)
        return f"{self.name}:{settings}" if settings else self.name

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


def _parse_setting(item: str, text: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals or not key or not value:
        raise InputError(f"expected 'method:setting=value,...', got '{text}'")
    return key.strip(), value.strip()


def _spell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
