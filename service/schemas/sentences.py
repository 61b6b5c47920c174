"""``/v1/indexes/{name}/sentences``: what is put into an index, looked at and taken away."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, FailFast, Field, Tag, model_validator
from typing_extensions import TypeAliasType

from bitext.bounds import LARGEST_COUNT
from retrieval.store.selection import MAX_CHOICES
from service.schemas.fields import (
    LARGEST_ID,
    Body,
    Language,
    SentenceId,
    SentenceIds,
    Text,
    TooLongField,
)
from service.schemas.filters import SentenceFilter
from service.schemas.metadata import MetadataAnswer, MetadataField

DefaultLanguage = Annotated[
    Language | None, Field(description="Of the sentences that do not say theirs.")
]


class NewSentence(Body):
    """A sentence that the index gives the next id."""

    text: Text
    language: Language | None = None
    metadata: MetadataField | None = None


class KnownSentence(NewSentence):
    """A sentence with an id of the caller's choice."""

    id: SentenceId


def _kind(value: object) -> str | None:
    if isinstance(value, str):
        return "(text)"
    return "(sentence)" if isinstance(value, dict) else None


Addable = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[NewSentence, Tag("(sentence)")],
    Discriminator(
        _kind,
        custom_error_type="sentence",
        custom_error_message="expected a text or an object with one",
    ),
]
Additions = TypeAliasType("Additions", Annotated[list[Addable], FailFast()])
Knowns = TypeAliasType("Knowns", Annotated[list[KnownSentence], FailFast()])


class AddRequest(Body):
    """Sentences to add, as texts or as objects, each of its own language or of the common one."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"sentences": ["Guten Morgen!", "Wie geht es dir?"], "language": "de"},
                {
                    "sentences": [
                        {"text": "Bonjour !", "metadata": {"year": 1995, "genre": "speech"}}
                    ],
                    "language": "fr",
                },
            ]
        }
    )

    sentences: Additions
    language: DefaultLanguage = None
    too_long: TooLongField = "error"

    def each(self) -> list[NewSentence]:
        """All of them as objects."""
        return [
            NewSentence(text=given) if isinstance(given, str) else given for given in self.sentences
        ]


class UpsertRequest(Body):
    """Sentences that take the place of those with their ids, or are new."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sentences": [
                        {"id": 7, "text": "Guten Morgen!", "metadata": {"year": 1995}},
                        {"id": 8, "text": "Good morning!", "language": "en"},
                    ],
                    "language": "de",
                }
            ]
        }
    )

    sentences: Knowns
    language: DefaultLanguage = None
    too_long: TooLongField = "error"


class AddResponse(BaseModel):
    """The ids of the sentences, in order."""

    ids: list[int]
    count: int = Field(description="Sentences the index now holds.")


class Sentence(BaseModel):
    """A sentence of an index."""

    id: int
    text: str
    language: str
    metadata: MetadataAnswer


class GetRequest(Body):
    """Ids to look up."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [0, 1]}]})

    ids: SentenceIds


class GetResponse(BaseModel):
    """The sentences in the order of the ids, each once, and the ids that are not there."""

    sentences: list[Sentence]
    missing: list[int]


class DeleteRequest(Body):
    """Which sentences to take away: `ids` or a `filter`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"ids": [7, 8]},
                {"filter": {"language": ["fr"], "metadata": {"year": {"lte": 1989}}}},
            ]
        }
    )

    ids: SentenceIds | None = None
    filter: SentenceFilter | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        if isinstance(values, dict):
            given = [name for name in ("ids", "filter") if values.get(name) is not None]
            if len(given) != 1:
                raise ValueError("expected either 'ids' or 'filter'")
        return values

    @model_validator(mode="after")
    def _says_something(self) -> DeleteRequest:
        if self.filter is not None and self.filter.is_empty:
            raise ValueError(
                "'filter' says nothing and would mean every sentence; DELETE the index, or filter "
                "by all of its languages"
            )
        return self


class DeleteResponse(BaseModel):
    """How many sentences went, and how many there are still."""

    deleted: int
    count: int


class Page(Body):
    """Sentences in order of id, some at a time."""

    after: int = Field(
        -1, ge=-1, le=LARGEST_ID, description="Only larger ids: `next` of the page before."
    )
    limit: int | None = Field(None, ge=1, le=LARGEST_COUNT, description="How many; none: 100.")


class PageQuery(Page):
    """The same in an address."""

    model_config = ConfigDict(strict=False)

    language: list[Language] = Field(
        [], max_length=MAX_CHOICES, description="Only of these; may be repeated."
    )

    def filter(self) -> SentenceFilter | None:
        return SentenceFilter(language=self.language) if self.language else None


class ScrollRequest(Page):
    """Those that a filter means."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"limit": 2},
                {"after": 1, "limit": 2, "filter": {"metadata": {"year": {"gte": 1990}}}},
            ]
        }
    )

    filter: SentenceFilter | None = None


class ScrollResponse(BaseModel):
    """A page, and where the next one begins."""

    sentences: list[Sentence]
    next: int | None = Field(description="What to ask for `after`; null: there are no more.")


class CountRequest(Body):
    """Which sentences to count; all without a filter."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{}, {"filter": {"language": ["de"]}}]}
    )

    filter: SentenceFilter | None = None


class CountResponse(BaseModel):
    """How many sentences there are."""

    count: int
