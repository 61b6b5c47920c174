"""What the fields of several requests may hold, and what every request has in common."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    FailFast,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypeAliasType

from bitext.bounds import LARGEST_SIZE
from bitext.errors import InputError, choose_from
from retrieval.vectors.language_names import check_language
from service.errors import SAYS_ALL, SHOWN

LARGEST_ID = 2**63 - 1

_NO_TEXT = re.compile("[\0\ud800-\udfff]")


def refusal(sentence: object) -> PydanticCustomError:
    """What a validator raises whose ``sentence`` says what came, too."""
    return PydanticCustomError(SAYS_ALL, "{sentence}", {"sentence": str(sentence)})


class Body(BaseModel):
    """A request: no other fields, no guessing of types."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, values: Any) -> Any:
        """Tell the first unknown field; pydantic would collect all, however many somebody sends."""
        if isinstance(values, dict):
            for name in values:
                if name not in cls.model_fields:
                    raise refusal(choose_from("field", name[:SHOWN], cls.model_fields))
        return values


def _text(value: str) -> str:
    if found := _NO_TEXT.search(value):
        what = "a NUL" if found[0] == "\0" else "half of a surrogate pair"
        raise ValueError(f"character {found.start() + 1} is {what}, not text")
    return value


def _language(value: str) -> str:
    try:
        check_language(value)
    except InputError as error:
        raise refusal(error) from None
    return value


Short = Annotated[str, StringConstraints(max_length=200)]
Text = Annotated[str, AfterValidator(_text)]
# FailFast: of a list of a million wrong items, one is reported. It has no hash, which the types in
# a union need; a named type has.
Texts = TypeAliasType("Texts", Annotated[list[Text], FailFast()])

TooLong = Literal["error", "windows"]
Pooling = Literal["mean", "cls", "max"]

ModelName = Annotated[
    Short | None, Field(description="One of the names at /v1/models; none: the default.")
]
Layer = Annotated[
    int | None,
    Field(
        ge=0,
        le=LARGEST_SIZE,
        description="Whose hidden states are compared, 0 to n; none: the model's own.",
    ),
]
PoolingField = Annotated[Pooling | None, Field(description="Of pieces; none: the model's own.")]
TooLongField = Annotated[
    TooLong,
    Field(description="A sentence longer than the model: an error, or overlapping windows."),
]
Language = Annotated[
    Short, AfterValidator(_language), Field(description="A language tag such as de or zh-Hant.")
]
INDEX_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


def _index_name(value: str) -> str:
    if not INDEX_NAME.fullmatch(value):
        raise ValueError(
            "expected 1 to 64 small letters, digits, hyphens and underscores, of which the first "
            "is a letter or a digit"
        )
    return value


IndexName = Annotated[
    str,
    AfterValidator(_index_name),
    Field(
        description="Small letters, digits, hyphens and underscores.",
        json_schema_extra={"pattern": f"^{INDEX_NAME.pattern}$"},
    ),
]
SentenceId = Annotated[int, Field(ge=0, le=LARGEST_ID, description="A number of your choice.")]
SentenceIds = TypeAliasType("SentenceIds", Annotated[list[SentenceId], FailFast()])
