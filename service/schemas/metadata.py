"""What a sentence carries beside its text, in requests and answers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from bitext.errors import InputError
from retrieval.store.metadata import MAX_BYTES, MAX_KEYS, Value, dump_metadata
from service.schemas.fields import refusal

PLAIN_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    try:
        dump_metadata(value)
    except InputError as error:
        raise refusal(error) from None
    return value


def _plain(value: Any) -> Value:
    """No list and no object; whether metadata can have it, the filter knows."""
    if isinstance(value, dict | list):
        raise ValueError("expected a string, a number, true, false or null")
    plain: Value = value
    return plain


Plain = Annotated[Any, AfterValidator(_plain), WithJsonSchema(PLAIN_SCHEMA)]
MetadataField = Annotated[
    dict[str, Any],
    AfterValidator(_metadata),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": PLAIN_SCHEMA,
            "maxProperties": MAX_KEYS,
            "description": f"Flat: strings, numbers, true, false, null; {MAX_BYTES} bytes of JSON.",
        }
    ),
]
MetadataAnswer = Annotated[
    dict[str, str | int | float | bool | None], Field(description="Empty where it has none.")
]
