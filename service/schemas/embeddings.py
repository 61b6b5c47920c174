"""``POST /v1/embeddings``, in the shape that OpenAI's clients speak."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
)

from service.schemas.fields import (
    Body,
    Layer,
    ModelName,
    PoolingField,
    Short,
    Text,
    Texts,
    TooLongField,
)


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


class EmbeddingsRequest(Body):
    """Texts to turn into vectors. What comes after `user` is not in OpenAI's interface."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": "Good morning!"},
                {"input": ["Good morning!", "Guten Morgen!"], "encoding_format": "base64"},
                {"input": ["Good morning!"], "pooling": "max", "too_long": "windows"},
            ]
        }
    )

    input: Input
    model: ModelName = None
    encoding_format: Literal["float", "base64"] = Field(
        "float", description="base64: of the numbers in float32, little-endian."
    )
    dimensions: int | None = Field(
        None, ge=1, description="Only what the model has: vectors are not cut."
    )
    user: Short | None = Field(None, description="Taken and not looked at.")
    layer: Layer = None
    pooling: PoolingField = None
    prefix: Annotated[Text, Field(max_length=200)] | None = Field(
        None, description="Written before every text, as E5 models want; none: the model's own."
    )
    too_long: TooLongField = "error"

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
