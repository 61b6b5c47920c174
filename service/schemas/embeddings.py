"""``POST /v1/embeddings``, in the shape that OpenAI's clients speak."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    FailFast,
    Field,
    Tag,
)
from typing_extensions import TypeAliasType

from bitext.bounds import LARGEST_SIZE
from service.schemas.fields import (
    Body,
    Language,
    Layer,
    ModelName,
    PoolingField,
    Short,
    Text,
    Texts,
    TooLongField,
)

_NOUNS = ("house", "tree", "book", "field", "car"), ("Haus", "Boot", "Buch", "Feld", "Auto")
_CENTRED: dict[str, Any] = {
    "input": [
        *(f"a {size} {noun}" for size in ("big", "small") for noun in _NOUNS[0]),
        *(f"ein {size} {noun}" for size in ("großes", "kleines") for noun in _NOUNS[1]),
    ],
    "languages": ["en"] * 10 + ["de"] * 10,
    "centring": "mean",
}
"""Centring needs ten texts of each language."""


def _no_tokens(value: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], int | list):
        raise ValueError(
            "numbers of tokens are not taken, as each model has others; send the text itself"
        )
    return value


def _kind(value: object) -> str | None:
    if isinstance(value, str):
        return "(text)"
    return "(texts)" if isinstance(value, list) else None


Input = Annotated[
    Annotated[Text, Tag("(text)")] | Annotated[Texts, Tag("(texts)")],
    Discriminator(
        _kind,
        custom_error_type="input",
        custom_error_message="expected a text or a list of texts",
    ),
    BeforeValidator(_no_tokens),
]


# FailFast: of a list of a million wrong items, one is reported. It has no hash, which the types in
# a union need; a named type has.
Languages = TypeAliasType("Languages", Annotated[list[Language], FailFast()])
LanguagesField = Languages | None


class EmbeddingsRequest(Body):
    """Texts to turn into vectors. What comes after `user` is not in OpenAI's interface."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": "Good morning!"},
                {"input": ["Good morning!", "Guten Morgen!"], "encoding_format": "base64"},
                {"input": ["Good morning!"], "pooling": "max", "too_long": "windows"},
                _CENTRED,
            ]
        }
    )

    input: Input
    model: ModelName = None
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: of the numbers in float32, little-endian."
    )
    dimensions: int | None = Field(
        None, ge=1, le=LARGEST_SIZE, description="Only what the model has: vectors are not cut."
    )
    user: Short | None = Field(None, description="Taken and not looked at.")
    layer: Layer = None
    pooling: PoolingField = None
    prefix: Annotated[Text, Field(max_length=200)] | None = Field(
        None, description="Written before every text, as E5 models want; none: the model's own."
    )
    too_long: TooLongField = "error"
    centring: Short | None = Field(
        None,
        description="mean, components:1, …: learnt from the texts of this request; none: as they "
        "are.",
    )
    languages: LanguagesField = Field(
        None, description="With centring: of each text; without them, all are of one language."
    )

    def each(self) -> list[str]:
        """The texts, whichever form they came in."""
        return [self.input] if isinstance(self.input, str) else self.input


class Embedding(BaseModel):
    """The vector of one text; its length is 1."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Pieces of the texts and their prefixes, without the special ones that frame them."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsResponse(BaseModel):
    """One vector a text, in order."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage
