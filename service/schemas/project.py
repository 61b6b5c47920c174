"""``POST /v1/project``: pairs, and what of their sources is to be carried over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, FailFast, Field, WithJsonSchema, model_validator
from typing_extensions import TypeAliasType

from aligners.labels import SCHEMES
from aligners.strategies import STRATEGIES
from service.schemas.align import AlignSettings, Pair, Side, check_form
from service.schemas.fields import LARGEST_ID, Body, Short, Text, Texts, refusal

# Names of the code's own tables: what is not among them is refused there, naming all.
StrategyName = Annotated[Short, WithJsonSchema({"type": "string", "enum": list(STRATEGIES)})]
GAP, SCHEME = 2, "iob2"

SchemeName = Annotated[Short, WithJsonSchema({"type": "string", "enum": list(SCHEMES)})]
Place = Annotated[int, Field(ge=0, le=LARGEST_ID)]
Label = Annotated[Text, Field(max_length=200)]


class SpanIn(Body):
    """A stretch of the source, its `end` excluded: characters of a text, words of a list."""

    start: Place
    end: Place
    label: Label = ""


class AnswerIn(Body):
    """An answer to a question, after SQuAD: its text, and where that begins in the source."""

    text: Text
    answer_start: Place
    id: Label = ""


# FailFast: of a list of a million wrong items, one is reported. It has no hash, which the types in
# a union need; a named type has.
SpansIn = TypeAliasType("SpansIn", Annotated[list[SpanIn], FailFast()])
AnswersIn = TypeAliasType("AnswersIn", Annotated[list[AnswerIn], FailFast()])

SpansField = Annotated[
    SpansIn | None, Field(description="Stretches of the source. They may nest and overlap.")
]
TagsField = Annotated[Texts | None, Field(description="One a word of the source, a list of words.")]
AnswersField = Annotated[AnswersIn | None, Field(description="Of a source that is a text.")]


class ProjectPair(Pair):
    """Two sentences and one of `spans`, `tags` and `answers`; with `markup`, none of them."""

    spans: SpansField = None
    tags: TagsField = None
    answers: AnswersField = None


ProjectPairs = TypeAliasType("ProjectPairs", Annotated[list[ProjectPair], FailFast()])


class ProjectRequest(AlignSettings):
    """One pair or many (`pairs`); how they are aligned, and how spans are chosen."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "The European Parliament met in Strasbourg.",
                    "target": "Das Europäische Parlament tagte in Straßburg.",
                    "spans": [
                        {"start": 4, "end": 23, "label": "ORG"},
                        {"start": 31, "end": 41, "label": "LOC"},
                    ],
                },
                {
                    "source": ["Angela", "Merkel", "spoke", "."],
                    "target": ["Angela", "Merkel", "sprach", "."],
                    "tags": ["B-PER", "I-PER", "O", "O"],
                },
                {
                    "source": "The bridge was built in 1932.",
                    "target": "Die Brücke wurde 1932 gebaut.",
                    "answers": [{"id": "q1", "text": "1932", "answer_start": 24}],
                },
                {
                    "pairs": [{"source": "A <b>red</b> house.<x/>", "target": "Ein rotes Haus."}],
                    "markup": "xml",
                    "strategy": "longest-run",
                    "gap": 1,
                },
            ]
        }
    )

    source: Side | None = None
    target: Side | None = None
    spans: SpansField = None
    tags: TagsField = None
    answers: AnswersField = None
    pairs: ProjectPairs | None = Field(
        None, description="Instead of one pair, several: objects with what one has."
    )
    markup: Literal["xml", "html"] | None = Field(
        None, description="The sources are texts with such tags, which are what is carried over."
    )
    scheme: SchemeName = Field(SCHEME, description="Of tags.")
    strategy: StrategyName = Field("mass", description="How target words are chosen.")
    gap: int = Field(
        GAP, ge=0, le=LARGEST_ID, description="Words without a link that longest-run bridges."
    )
    punctuation: bool = Field(False, description="Let links of words to punctuation count.")
    overlap: bool = Field(
        False, description="Spans: let those that lie apart overlap in the target."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        """Tell a request of neither form, or of both, before its fields are looked at."""
        if isinstance(values, dict):
            check_form(values)
            if values.get("pairs") is not None:
                for name in ("spans", "tags", "answers"):
                    if values.get(name) is not None:
                        raise ValueError(f"expected '{name}' in each of 'pairs', not beside them")
        return values

    @model_validator(mode="after")
    def _has_effect(self) -> ProjectRequest:
        if self.gap != GAP and self.strategy != "longest-run":
            raise refusal(f"'gap' is for the strategy 'longest-run', got '{self.strategy}'")
        if self.scheme != SCHEME and all(pair.tags is None for pair in self.each()):
            raise refusal("'scheme' is for 'tags', of which there are none")
        return self

    def each(self) -> list[ProjectPair]:
        """The pairs, whichever form they came in."""
        if self.pairs is not None:
            return self.pairs
        assert self.source is not None
        assert self.target is not None
        pair = ProjectPair(
            source=self.source,
            target=self.target,
            spans=self.spans,
            tags=self.tags,
            answers=self.answers,
        )
        return [pair]


class Stretch(BaseModel):
    """A stretch of one side, its `end` excluded, and what stands there."""

    start: int
    end: int
    text: str = Field(description="Of a list of words, with spaces between them.")


class ProjectedSpan(BaseModel):
    """What became of one span, answer or tag of the source."""

    label: str = Field(description="The label of a span, the id of an answer, the tag itself.")
    source: Stretch
    target: Stretch | None = Field(description="Null: it is lost, and `reason` says why.")
    score: float = Field(description="The confidence, 0 to 1; 0 where it is lost.")
    notes: list[str] = Field(description="What was done to it: clipped, merged, cut, …")
    reason: str | None = Field(None, description="Why it is lost: no-links, leaks, overlap, …")


class ProjectedPair(BaseModel):
    """What became of the spans of a pair, in the order of the request."""

    spans: list[ProjectedSpan]
    tags: list[str] | None = Field(None, description="Of tags: one a word of the target.")
    target_words: list[str] | None = Field(None, description="Of tags: the words they are for.")
    text: str | None = Field(None, description="Of markup: the target with the tags.")


class ProjectResponse(BaseModel):
    """One projection a pair, in the order of the pairs."""

    projections: list[ProjectedPair]
    model: str
    method: str
    layer: int
    strategy: str
