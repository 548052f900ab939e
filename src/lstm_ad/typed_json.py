"""Read JSON values into dataclasses, and name the field that cannot be used."""

import dataclasses
import json
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

_MISSING = object()

_MAX_SHOWN = 40
"""Characters of a value that a message shows."""


class FieldError(ValueError):
    """Raised if a field is missing, of another type or out of range; names it."""


def read(
    kind: Any, value: Any, name: str, given: Mapping[str, object] | None = None
) -> Any:
    """Return a JSON value as a value of a type.

    Args:
        kind: ``int``, ``float``, ``str``, or, of those, a dataclass, a ``dict``, a
            tuple of a fixed length, or one of them or None.
        value: What JSON holds: integers are not negative, numbers are finite.
        name: The full name of the field, with dots.
        given: Values, by full names, that JSON does not hold.

    Raises:
        FieldError: If the value is of another type; the message is one sentence.
    """
    if given and name in given:
        return given[name]
    if isinstance(kind, types.UnionType):
        kind, _ = typing.get_args(kind)  # the other is None
        return None if value is None else read(kind, value, name, given)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = checked(isinstance(value, dict), value, name, "an object")
        values = {
            field.name: read(
                hints[field.name],
                fields.get(field.name, _MISSING),
                f"{name}.{field.name}" if name else field.name,
                given,
            )
            for field in dataclasses.fields(kind)
        }
        return typing.cast(type, kind)(**values)
    if typing.get_origin(kind) is tuple:
        kinds = typing.get_args(kind)
        is_list = isinstance(value, list) and len(value) == len(kinds)
        checked(is_list, value, name, f"a list of {len(kinds)} values")
        return tuple(
            read(one, item, f"{name}[{index}]", given)
            for index, (one, item) in enumerate(zip(kinds, value, strict=True))
        )
    if typing.get_origin(kind) is dict:
        _, kind = typing.get_args(kind)
        items = checked(isinstance(value, dict), value, name, "an object").items()
        return {key: read(kind, item, f"{name}.{key}", given) for key, item in items}
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        is_integer = is_number and isinstance(value, int)
        checked(is_integer and value >= 0, value, name, "an integer of at least 0")
    elif kind is float:  # a NaN is not less than anything
        is_finite = is_number and abs(value) <= sys.float_info.max
        checked(is_finite, value, name, "a finite number")
    else:
        checked(isinstance(value, kind), value, name, "a string")
    return kind(value)


def checked(is_accepted: bool, value: Any, name: str, accepted: str) -> Any:
    """Return a value.

    Args:
        is_accepted: Whether the value is.
        value: The value.
        name: The full name of its field.
        accepted: What is accepted, in words.

    Raises:
        FieldError: If it is not accepted, or missing; the message is one sentence.
    """
    if value is _MISSING:
        raise FieldError(f"{name} is missing")
    if not is_accepted:
        shown = json.dumps(value)
        if len(shown) > _MAX_SHOWN:
            shown = f"{shown[:_MAX_SHOWN]}..."
        raise FieldError(f"{name} must be {accepted}, but is {shown}")
    return value
