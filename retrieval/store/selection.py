"""Which sentences of an index are meant: conditions on language and metadata, as SQL.

Values never become part of a statement's text: each is a bound parameter, and so is the path of a
key inside the metadata.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, false, func, not_, or_, true

from bitext.errors import InputError
from retrieval.store.metadata import Value, check_key, check_value
from retrieval.vectors.language_names import check_language

MAX_CHOICES = 500
"""Values or languages that one condition may name; SQLite bounds the parameters of a statement."""

MAX_CONDITIONS = 50
"""Of a filter."""

_NUMBERS = ("integer", "real")
_SPOKEN = re.compile(r"([^=<>!]+)(!=|>=|<=|=)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Condition:
    """What the value of one metadata key must be; a sentence without the key does not meet it.

    A number equals a number and a string a string; ``True`` is not 1. ``gte`` and ``lte`` bound
    numbers, or strings in the order of their code points.
    """

    key: str
    any_of: tuple[Value, ...] | None = None
    gte: str | int | float | None = None
    lte: str | int | float | None = None

    def __post_init__(self) -> None:
        """:raises InputError: if it says nothing, or what no metadata can be."""
        check_key(self.key)
        bounds = [bound for bound in (self.gte, self.lte) if bound is not None]
        if self.any_of is None and not bounds:
            raise InputError(f"the condition on '{self.key}' says neither values nor bounds")
        _check_choices(f"the condition on '{self.key}'", self.any_of or ())
        for value in (*(self.any_of or ()), *bounds):
            check_value(self.key, value)
        if any(isinstance(bound, bool) for bound in bounds):
            raise InputError(f"'{self.key}' is bounded by numbers or strings, not true or false")

    def clause(self, metadata: ColumnElement[str | None]) -> ColumnElement[bool]:
        """True or false, never NULL, of the JSON in the column ``metadata``."""
        path = f'$."{self.key}"'
        kind, value = func.json_type(metadata, path), func.json_extract(metadata, path)
        parts: list[ColumnElement[bool]] = []
        if self.any_of is not None:
            parts.append(or_(false(), *(_equals(kind, value, one) for one in self.any_of)))
        if self.gte is not None:
            parts.append(and_(_like(kind, self.gte), value >= self.gte))
        if self.lte is not None:
            parts.append(and_(_like(kind, self.lte), value <= self.lte))
        return func.coalesce(and_(*parts), false())


@dataclass(frozen=True, slots=True)
class Filter:
    """Sentences of some languages that meet all conditions of ``must`` and none of ``must_not``."""

    languages: tuple[str, ...] | None = None
    must: tuple[Condition, ...] = ()
    must_not: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        """:raises InputError: if a language cannot be one, or there is too much of anything."""
        for language in self.languages or ():
            check_language(language)
        _check_choices("a filter", self.languages or ())
        check_conditions(len(self.must) + len(self.must_not))

    def clause(
        self, language: ColumnElement[str], metadata: ColumnElement[str | None]
    ) -> ColumnElement[bool]:
        """The condition on the columns of a sentence."""
        parts: list[ColumnElement[bool]] = [true()]
        if self.languages is not None:
            parts.append(language.in_(self.languages))
        parts += [condition.clause(metadata) for condition in self.must]
        parts += [not_(condition.clause(metadata)) for condition in self.must_not]
        return and_(*parts)


def check_conditions(count: int) -> None:
    """:raises InputError: if a filter may not have so many conditions."""
    if count > MAX_CONDITIONS:
        raise InputError(f"a filter may have {MAX_CONDITIONS} conditions, got {count}")


def parse_filter(conditions: Sequence[str], languages: Sequence[str] = ()) -> Filter | None:
    """The filter that a command line spells; ``None`` where it says nothing.

    :param conditions: each ``KEY=VALUE``, ``KEY!=VALUE``, ``KEY>=VALUE`` or ``KEY<=VALUE``. A
        value is a number, true, false, null, a string in double quotes, or else itself a string.
    :raises InputError: if one is none of these.
    """
    if not conditions and not languages:
        return None
    must: list[Condition] = []
    must_not: list[Condition] = []
    for given in conditions:
        match = _SPOKEN.fullmatch(given)
        if match is None:
            raise InputError(
                "expected KEY=VALUE, KEY!=VALUE, KEY>=VALUE or KEY<=VALUE, such as year>=1990, "
                f"got '{given}'"
            )
        key, operator, value = match[1].strip(), match[2], _spoken(match[3])
        if operator in ("=", "!="):
            (must if operator == "=" else must_not).append(Condition(key, any_of=(value,)))
        elif value is None or isinstance(value, bool):
            raise InputError(f"'{given}': only numbers and strings have an order")
        else:
            bound = {"gte" if operator == ">=" else "lte": value}
            must.append(Condition(key, **bound))  # type: ignore[arg-type]
    return Filter(tuple(languages) or None, tuple(must), tuple(must_not))


def _spoken(text: str) -> Value:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if value is None or isinstance(value, str | int | float | bool) else text


def _equals(
    kind: ColumnElement[str], value: ColumnElement[object], wanted: Value
) -> ColumnElement[bool]:
    if wanted is None or isinstance(wanted, bool):
        return kind == json.dumps(wanted)
    return and_(_like(kind, wanted), value == wanted)


def _like(kind: ColumnElement[str], wanted: str | int | float) -> ColumnElement[bool]:
    """Whether JSON has a value of the same kind: SQLite would compare a number with a string."""
    return kind == "text" if isinstance(wanted, str) else kind.in_(_NUMBERS)


def _check_choices(what: str, choices: Sequence[object]) -> None:
    if len(choices) > MAX_CHOICES:
        raise InputError(f"{what} may name {MAX_CHOICES} values, got {len(choices)}")
