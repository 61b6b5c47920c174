"""A name with settings in one word: ``itermax``, ``softmax:temperature=0.1``.

One spelling for the command line, requests, manifests and signatures, whatever it is that the name
stands for: a method of alignment, a kind of index.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from pydantic import BaseModel, ValidationError

from bitext.errors import InputError, UnknownNameError, choose_from

Changed = tuple[tuple[str, object], ...]
"""Settings that differ from their defaults, sorted by name."""


def parse(
    text: str, *, what: str, names: Collection[str], settings_of: Callable[[str], type[BaseModel]]
) -> tuple[str, Changed]:
    """Read ``name`` or ``name:setting=value,setting=value``.

    :param what: what messages call it, such as ``method``.
    :param settings_of: the settings of a name, with their defaults and limits.
    :raises UnknownNameError: if there is no such name or setting.
    :raises InputError: if a value is not what the setting takes, or one is missing.
    """
    name, colon, given = text.partition(":")
    if name not in names:
        raise UnknownNameError(choose_from(what, name, names))
    pairs = [_parse_setting(item, text, what) for item in given.split(",")] if colon else []
    values = dict(pairs)
    if len(values) < len(pairs):
        raise InputError(f"'{text}' says a setting twice")
    model = settings_of(name)
    for key in values:
        if key not in model.model_fields:
            if not model.model_fields:
                raise UnknownNameError(f"{what} {name} has no settings, and no '{key}'")
            raise UnknownNameError(choose_from(f"setting of {name}", key, model.model_fields))
    try:
        checked = model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        wrong = str(first["loc"][0])
        if first["type"] == "missing":
            raise InputError(f"{what} {name} needs {wrong}, as in {name}:{wrong}=...") from None
        problem = first["msg"][0].lower() + first["msg"][1:]
        raise InputError(f"{name}: {wrong}={values[wrong]}: {problem}") from None
    changed = checked.model_dump(exclude_defaults=True)
    return name, tuple(sorted(changed.items()))


def spell(name: str, changed: Changed) -> str:
    """The text that :func:`parse` reads."""
    settings = ",".join(f"{key}={_spell(value)}" for key, value in changed)
    return f"{name}:{settings}" if settings else name


def _parse_setting(item: str, text: str, what: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals or not key or not value:
        raise InputError(f"expected '{what}:setting=value,...', got '{text}'")
    return key.strip(), value.strip()


def _spell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
