"""``POST /align``: pairs of sentences, and links between their words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    Tag,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import TypeAliasType

from aligners.aligner import UNITS
from aligners.methods import MATCHERS, settings_of
from aligners.similarity import SIMILARITIES
from service.schemas.fields import Body, Layer, ModelName, Short, Text, Texts, TooLongField

_WITH_SETTINGS = "|".join(name for name in sorted(MATCHERS) if settings_of(name).model_fields)
# Names of the code's own tables: what is not among them is refused there, naming all.
Method = Annotated[
    Short,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "enum": sorted(MATCHERS)},
                {
                    "type": "string",
                    "pattern": rf"^({_WITH_SETTINGS}):\w+=[^,=]+(,\w+=[^,=]+)*$",
                    "description": "With settings, which GET /v1/methods lists.",
                    "examples": ["itermax:alpha=0.8"],
                },
            ]
        }
    ),
]
# FailFast: of a list of a million wrong items, one is reported. It has no hash, which the types in
# a union need; a named type has.
Methods = TypeAliasType("Methods", Annotated[list[Method], FailFast()])
Similarity = Annotated[Short, WithJsonSchema({"type": "string", "enum": list(SIMILARITIES)})]
Unit = Annotated[Short, WithJsonSchema({"type": "string", "enum": list(UNITS)})]


def _kind_of_side(value: object) -> str | None:
    if isinstance(value, str):
        return "(text)"
    return "(words)" if isinstance(value, list) else None


Side = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[Texts, Tag("(words)")],
    Discriminator(
        _kind_of_side,
        custom_error_type="side",
        custom_error_message="expected a text or a list of words",
    ),
    Field(description="Raw text, which is segmented, or a list of words, taken as they are."),
]


class Pair(Body):
    """Two sentences that are or may be translations of each other."""

    source: Side
    target: Side


Pairs = TypeAliasType("Pairs", Annotated[list[Pair], FailFast()])


def check_form(values: Mapping[str, Any]) -> None:
    """:raises ValueError: if a request has neither one pair nor several, or both."""
    single = [name for name in ("source", "target") if values.get(name) is not None]
    many = values.get("pairs") is not None
    if many and single:
        raise ValueError(f"expected either 'pairs' or '{single[0]}', not both")
    if not many and len(single) < 2:
        raise ValueError("expected 'source' and 'target', or 'pairs'")


class AlignSettings(Body):
    """How words are aligned; what is left out is what suits the model."""

    method: Method | None = Field(None, description="How links are chosen.")
    layer: Layer = None
    model: ModelName = None
    unit: Unit | None = Field(None, description="What is matched.")
    similarity: Similarity | None = Field(
        None, description="What methods look at. Links always score cosines."
    )
    distortion: float | None = Field(
        None, ge=0, le=1, description="How much distant positions count less."
    )
    threshold: float | None = Field(
        None, ge=0, le=1, description="Links that score less are dropped; none: the model's own."
    )
    too_long: TooLongField = "error"


class AlignRequest(AlignSettings):
    """One pair (`source` and `target`) or many (`pairs`).

    What is left out is what suits the model: its own method, layer, unit, distortion and threshold.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"source": "The house is small.", "target": "Das Haus ist klein."},
                {
                    "pairs": [
                        {"source": "Good morning!", "target": "Bonjour !"},
                        {"source": ["Thank", "you"], "target": ["Danke"]},
                    ],
                    "method": "mwmf",
                },
                {
                    "source": "Good morning!",
                    "target": "Bonjour !",
                    "methods": ["argmax", "itermax:alpha=0.8"],
                    "detail": True,
                },
            ]
        }
    )

    source: Side | None = None
    target: Side | None = None
    pairs: Pairs | None = Field(
        None, description="Instead of one pair, several: objects with what one has."
    )
    methods: Methods | None = Field(
        None,
        min_length=1,
        max_length=32,
        description="Instead of one method, several: the sentences are encoded once.",
    )
    detail: bool = Field(
        False, description="Also tell similarities, probabilities, words without links and a score."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        """Tell a request of neither form, or of both, before its fields are looked at."""
        if isinstance(values, dict):
            check_form(values)
            if values.get("method") is not None and values.get("methods") is not None:
                raise ValueError("expected either 'method' or 'methods', not both")
        return values

    def each(self) -> list[Pair]:
        """The pairs, whichever form they came in."""
        if self.pairs is not None:
            return self.pairs
        assert self.source is not None
        assert self.target is not None
        return [Pair(source=self.source, target=self.target)]


class Link(BaseModel):
    """A link between two words, counted from 0."""

    source: int
    target: int
    score: float = Field(description="From 0 to 1, larger is surer.")
    forward: float | None = Field(
        None, description="The target word's share among those that may translate the source word."
    )
    backward: float | None = Field(None, description="The same from the target word.")


Offset = Annotated[
    tuple[int, int], Field(description="Start and end in the raw text, in code points.")
]


Matrix = Annotated[
    list[list[float]] | None,
    Field(description="With detail: a row a source word, a column a target word."),
]


class MethodAnswer(BaseModel):
    """What one method finds in one pair. All but the links only with `detail`."""

    links: list[Link]
    score: float | None = Field(None, description="How far the pair is a translation, 0 to 1.")
    null_source: list[int] | None = Field(None, description="Source words without a link.")
    null_target: list[int] | None = Field(None, description="Target words without a link.")


class PairWords(BaseModel):
    """The words of both sides, as links count them."""

    source_words: list[str]
    target_words: list[str]


class AlignedPair(MethodAnswer, PairWords):
    """The words of a pair and the links between them: those of the first method."""

    source_offsets: list[Offset] | None = Field(None, description="Only of raw text.")
    target_offsets: list[Offset] | None = Field(None, description="Only of raw text.")
    similarity: Matrix = None
    forward: Matrix = None
    backward: Matrix = None
    by_method: dict[str, MethodAnswer] | None = Field(
        None, description="With methods: what each of them finds, by its name as it was sent."
    )


class AlignResponse(BaseModel):
    """One alignment a pair, in the order of the pairs."""

    alignments: list[AlignedPair]
    model: str
    method: str = Field(description="With methods, the first.")
    layer: int
    temperature: float | None = Field(None, description="With detail: that of the probabilities.")
