"""What the settings of several kinds of jobs may hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from service.schemas.fields import Text

File = Annotated[
    Text,
    StringConstraints(min_length=1, max_length=1000),
    Field(description="`upload:ID`, or `input:relative/path` below the operator's folder."),
]
Model = Annotated[
    Text | None,
    Field(max_length=1000, description="A name at /v1/models, or `job:ID`; none: the default."),
]
Device = Annotated[
    str, StringConstraints(pattern=r"^(cpu|cuda(:[0-9]{1,2})?)$"), Field(description="Or cuda.")
]
Dtype = Literal["auto", "bfloat16", "float32", "int8"]
Word = Annotated[Text, StringConstraints(min_length=1, max_length=500)]


def options(**values: object) -> list[str]:
    """Options of a command, each as one word, so that no value is taken for another option.

    >>> options(k=4, surely=True, top=None)
    ["--k=4", "--surely"]
    """
    written = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        if value is True:
            written.append(option)
        elif value is not None and value is not False:
            written.append(f"{option}={value}")
    return written
