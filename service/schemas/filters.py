"""Which sentences of an index a request means."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    Tag,
    model_validator,
)
from typing_extensions import TypeAliasType

from bitext.errors import InputError
from retrieval.store.selection import Condition, Filter, check_conditions
from service.schemas.fields import Body, Language, refusal
from service.schemas.metadata import Plain

Plains = TypeAliasType("Plains", Annotated[list[Plain], FailFast()])
Languages = TypeAliasType("Languages", Annotated[list[Language], FailFast()])
Bound = Annotated[Plain, Field(description="A number, or a string in the order of code points.")]


class FilterCondition(Body):
    """What the value of one key must be; all that is given must hold."""

    any_of: Plains | None = Field(None, description="It is one of these.")
    none_of: Plains | None = Field(
        None, description="It is none of these; holds without the key too."
    )
    gte: Bound = None
    lte: Bound = None


def _kind(value: object) -> str:
    if isinstance(value, dict):
        return "(condition)"
    return "(values)" if isinstance(value, list) else "(value)"


Clause = Annotated[
    Annotated[Plain, Tag("(value)")]
    | Annotated[Plains, Tag("(values)")]
    | Annotated[FilterCondition, Tag("(condition)")],
    Discriminator(_kind),
]


def _few(value: object) -> object:
    """One condition a key at least: too many are known before each of them is looked at."""
    if isinstance(value, dict):
        try:
            check_conditions(len(value))
        except InputError as error:
            raise refusal(error) from None
    return value


class SentenceFilter(Body):
    """Sentences of one of these languages whose metadata meet all conditions.

    A number equals a number and a string a string. Sentences without a key do not meet a condition
    on it, but for `none_of`.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "language": ["de", "en"],
                    "metadata": {
                        "year": {"gte": 1990},
                        "genre": ["news", "web"],
                        "draft": False,
                        "source": {"none_of": ["test"]},
                    },
                }
            ]
        }
    )

    language: Languages | None = Field(None, description="None: all; an empty list: none.")
    metadata: Annotated[dict[str, Clause] | None, BeforeValidator(_few)] = Field(
        None,
        description="By key: the value, a list of values of which it is one, or a condition.",
    )

    @model_validator(mode="after")
    def _can_be_one(self) -> SentenceFilter:
        try:
            self.where()
        except InputError as error:
            raise refusal(error) from None
        return self

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing, and so means all sentences."""
        return self.language is None and not self.metadata

    def where(self) -> Filter:
        """The same for an index.

        :raises InputError: if a condition cannot be met by any metadata.
        """
        must, must_not = [], []
        for key, clause in (self.metadata or {}).items():
            kinds = _conditions(key, clause)
            must += kinds[0]
            must_not += kinds[1]
        languages = None if self.language is None else tuple(self.language)
        return Filter(languages, tuple(must), tuple(must_not))


def where(given: SentenceFilter | None) -> Filter | None:
    """The filter of a request that may have none."""
    return None if given is None else given.where()


def _conditions(key: str, clause: Any) -> tuple[list[Any], list[Any]]:
    """What must hold of the key, and what must not."""
    if not isinstance(clause, FilterCondition):
        values = tuple(clause) if isinstance(clause, list) else (clause,)
        return [Condition(key, any_of=values)], []
    must, must_not = [], []
    any_of = None if clause.any_of is None else tuple(clause.any_of)
    if (any_of, clause.gte, clause.lte) != (None, None, None) or clause.none_of is None:
        must.append(Condition(key, any_of=any_of, gte=clause.gte, lte=clause.lte))
    if clause.none_of is not None:
        must_not.append(Condition(key, any_of=tuple(clause.none_of)))
    return must, must_not
