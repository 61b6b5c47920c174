"""Queries against an index: ``POST /retrieve`` and ``POST /v1/indexes/{name}/search``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, FailFast, Field, model_validator
from typing_extensions import TypeAliasType

from bitext.bounds import LARGEST_COUNT
from service.schemas.fields import Body, Language, Short, Text, Texts, TooLongField
from service.schemas.filters import SentenceFilter
from service.schemas.metadata import MetadataAnswer

_QUERY = "Where there is smoke there is fire."


class SearchSettings(Body):
    """How to search, whatever the queries."""

    k: int = Field(
        5, ge=1, le=LARGEST_COUNT, description="How many sentences to find for each query."
    )
    language: Language | None = Field(
        None, description="Of the queries; needed where the index is centred."
    )
    filter: SentenceFilter | None = Field(
        None, description="Which sentences may be found; none: all."
    )
    threshold: float | None = Field(
        None, ge=-1, le=1, description="The least cosine of a hit; none: the model's own, if any."
    )
    too_long: TooLongField = "error"


class RetrieveRequest(SearchSettings):
    """Queries against one index."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"index": "sample", "queries": [_QUERY], "k": 5},
                {"index": "sample", "queries": [_QUERY], "filter": {"language": ["de", "fr"]}},
            ]
        }
    )

    index: Short
    queries: Texts


class SearchRequest(SearchSettings):
    """One `query` or several `queries` with the same settings."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "Good morning!", "k": 3},
                {
                    "queries": ["Good morning!", "How are you?"],
                    "k": 1,
                    "filter": {"language": ["de"], "metadata": {"year": {"gte": 1990}}},
                },
            ]
        }
    )

    query: Text | None = None
    queries: Texts | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        if isinstance(values, dict):
            given = [name for name in ("query", "queries") if values.get(name) is not None]
            if len(given) != 1:
                raise ValueError("expected either 'query' or 'queries'")
        return values

    def each(self) -> list[str]:
        """The queries, whichever form they came in."""
        if self.queries is not None:
            return self.queries
        assert self.query is not None
        return [self.query]


Searches = TypeAliasType("Searches", Annotated[list[SearchRequest], FailFast()])


class BatchRequest(Body):
    """Several searches, each with settings of its own."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "searches": [
                        {"query": "Good morning!", "k": 1},
                        {"query": "How are you?", "k": 3, "filter": {"language": ["de"]}},
                    ]
                }
            ]
        }
    )

    searches: Searches


class Hit(BaseModel):
    """A sentence that was found, and its cosine to the query."""

    id: int
    text: str
    score: float
    language: str
    metadata: MetadataAnswer


class SearchResponse(BaseModel):
    """For each query, in order, the sentences nearest to it, best first."""

    results: list[list[Hit]]


class BatchResponse(BaseModel):
    """The answer to each search, in order."""

    searches: list[SearchResponse]
