"""What requests must hold and what answers do. Size limits are the operator's: see limits.py."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    StringConstraints,
    Tag,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from aligners.aligner import UNITS
from aligners.methods import MATCHERS, settings_of
from aligners.similarity import SIMILARITIES
from bitext.errors import choose_from
from service.errors import SHOWN, UNKNOWN_FIELD

Short = Annotated[str, StringConstraints(max_length=200)]
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
                    "description": "With settings, which GET /methods lists.",
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
TooLong = Literal["error", "windows"]
Pooling = Literal["mean", "cls", "max"]


_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def _text(value: str) -> str:
    if found := _NO_TEXT.search(value):
        what = "a NUL" if found[0] == "\0" else "half of a surrogate pair"
        raise ValueError(f"character {found.start() + 1} is {what}, not text")
    return value


def _kind_of_side(value: object) -> str | None:
    if isinstance(value, str):
        return "text"
    return "words" if isinstance(value, list) else None


Text = Annotated[str, AfterValidator(_text)]
Texts = TypeAliasType("Texts", Annotated[list[Text], FailFast()])
Side = Annotated[
    Annotated[Text, Tag("text")] | Annotated[Texts, Tag("words")],
    Discriminator(
        _kind_of_side,
        custom_error_type="side",
        custom_error_message="expected a text or a list of words",
    ),
    Field(description="Raw text, which is segmented, or a list of words, taken as they are."),
]
IndexName = Annotated[
    str,
    Field(
        description="Small letters, digits, hyphens and underscores.",
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
    ),
]
Layer = Annotated[
    int | None,
    Field(ge=0, description="Whose hidden states are compared, 0 to n; none: the model's own."),
]
ModelName = Annotated[
    Short | None, Field(description="One of the names at /models; none: the default.")
]
TooLongField = Annotated[
    TooLong,
    Field(description="A sentence longer than the model: an error, or overlapping windows."),
]
Language = Annotated[
    Short, Field(description="A language tag such as de or zh-Hant.", min_length=1)
]


class Body(BaseModel):
    """A request: no other fields, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, values: Any) -> Any:
        """Tell the first unknown field; pydantic would collect all, however many somebody sends."""
        if isinstance(values, dict):
            for name in values:
                if name not in cls.model_fields:
                    sentence = choose_from("field", name[:SHOWN], cls.model_fields)
                    raise PydanticCustomError(UNKNOWN_FIELD, "{sentence}", {"sentence": sentence})
        return values


# --- align


class Pair(Body):
    """Two sentences that are or may be translations of each other."""

    source: Side
    target: Side


Pairs = TypeAliasType("Pairs", Annotated[list[Pair], FailFast()])


class AlignRequest(Body):
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
    pairs: Pairs | None = None
    method: Method | None = Field(None, description="How links are chosen.")
    methods: Methods | None = Field(
        None,
        min_length=1,
        max_length=32,
        description="Instead of one method, several: the sentences are encoded once.",
    )
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
    detail: bool = Field(
        False, description="Also tell similarities, probabilities, words without links and a score."
    )

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, values: Any) -> Any:
        """Tell a request of neither form, or of both, before its fields are looked at."""
        if isinstance(values, dict):
            single = [name for name in ("source", "target") if values.get(name) is not None]
            many = values.get("pairs") is not None
            if many and single:
                raise ValueError(f"expected either 'pairs' or '{single[0]}', not both")
            if not many and len(single) < 2:
                raise ValueError("expected 'source' and 'target', or 'pairs'")
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


class MethodInfo(BaseModel):
    """A way to choose links."""

    name: str
    group: str = Field(description="A heading to show it under.")
    explanation: str
    settings: dict[str, Any] = Field(description="What may be set, with the defaults.")


class MethodList(BaseModel):
    """All methods, in an order to show them in."""

    default: str = Field(description="The one that suits the default model.")
    methods: list[MethodInfo]


# --- retrieve


class RetrieveRequest(Body):
    """Queries against one index."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"index": "sample", "queries": ["Where there is smoke there is fire."], "k": 5}
            ]
        }
    )

    index: Short
    queries: Texts
    k: int = Field(5, ge=1, description="How many sentences to find for each query.")
    language: Language | None = Field(
        None, description="Of the queries; needed where the index is centred."
    )
    threshold: float | None = Field(
        None, ge=-1, le=1, description="The least cosine of a hit; none: the model's own, if any."
    )
    too_long: TooLongField = "error"


class Hit(BaseModel):
    """A sentence that was found, and its cosine to the query."""

    id: int
    text: str
    score: float
    language: str


class RetrieveResponse(BaseModel):
    """For each query, in order, the sentences nearest to it, best first."""

    results: list[list[Hit]]


# --- indexes


class IndexSettings(Body):
    """What an index is built with. It cannot be changed later."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"centring": False}]})

    model: ModelName = None
    layer: Layer = None
    pooling: Pooling | None = Field(None, description="Of pieces; none: the model's own.")
    centring: bool | None = Field(
        None,
        description="Take each language's mean away; queries must then name theirs. None: as "
        "suits the model.",
    )


class IndexInfo(BaseModel):
    """An index, what it was built with, and what it holds."""

    name: str
    model: str
    fingerprint: str = Field(description="Of the weights and the tokenizer.")
    layer: int
    pooling: str
    centring: bool
    dim: int
    count: int = Field(description="Sentences it holds.")
    languages: dict[str, int] = Field(description="How many of them are of each language.")


class IndexList(BaseModel):
    """All indexes, by name."""

    indexes: list[IndexInfo]


class AddRequest(Body):
    """Sentences of one language."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"sentences": ["Guten Morgen!", "Wie geht es dir?"], "language": "de"}]
        }
    )

    sentences: Texts
    language: Language
    too_long: TooLongField = "error"


class AddResponse(BaseModel):
    """The ids of the new sentences, in order."""

    ids: list[int]
    count: int = Field(description="Sentences the index now holds.")


# --- models, health


class ModelInfo(BaseModel):
    """A model in memory."""

    name: str
    revision: str | None
    fingerprint: str
    dtype: str
    device: str
    layers: int
    dim: int
    bytes: int = Field(description="Memory its weights take.")


class ModelList(BaseModel):
    """The models that requests may name, and those that are loaded."""

    default: str
    available: list[str]
    loaded: list[ModelInfo]


class Status(BaseModel):
    """How the service is."""

    status: str
