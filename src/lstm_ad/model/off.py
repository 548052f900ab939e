"""Tell from the values of a row whether the machine is off: ``current < 0.5``.

Such rows are neither learnt from nor scored, and the series begins anew after them. A
row in which a value of the condition is missing is not off.
"""

import dataclasses
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import SeriesError
from lstm_ad.model.scaling import spelled
from lstm_ad.ranges import Count

Mask = npt.NDArray[np.bool_]
Sign = Literal["<", "<=", ">", ">=", "==", "!="]

ACCEPTED = (
    'comparisons such as "current < 0.5", joined by " and ", each of a series (its '
    "name, or its number from 1), one of <, <=, >, >=, ==, != and a number"
)

_SIGNS: Mapping[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_COMPARISON = re.compile(
    r"([^<>=!]*[^<>=!\s])\s*(<=|>=|==|!=|<|>)\s*"
    r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?)"
)


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison of the values of a series with a number."""

    series: Count
    """The series, counted from 0."""
    sign: Sign
    """How they are compared."""
    value: float
    """The number."""


def parse(text: str) -> list[tuple[str, str, float]] | None:
    """Return the series, the sign and the number of each comparison, or None.

    Args:
        text: The condition; an empty one has no comparisons.
    """
    found = []
    for part in text.split(" and ") if text.strip() else ():
        match = _COMPARISON.fullmatch(part.strip())
        if match is None:
            return None
        found.append((match[1], match[2], float(match[3])))
    return found


def comparisons(text: str, names: Sequence[str]) -> tuple[Comparison, ...]:
    """Return the comparisons of a condition.

    Args:
        text: What :func:`parse` accepts.
        names: The names of the series.

    Raises:
        SeriesError: If it names no series.
    """
    found = []
    for name, sign, value in parse(text) or ():
        is_number = name.isascii() and name.isdigit()
        if name in names:
            series = names.index(name)
        elif is_number and 1 <= int(name) <= len(names):
            series = int(name) - 1
        else:
            raise SeriesError(
                f"off-when names {spelled(name)}, but the series are "
                f"{', '.join(map(spelled, names))}; use one of these names, or a "
                f"number from 1 to {len(names)}."
            )
        found.append(Comparison(series, sign, value))  # type: ignore[arg-type]  # parsed
    return tuple(found)


def is_off(values: FloatArray, conditions: Sequence[Comparison]) -> Mask:
    """Return in which rows all of some comparisons hold, of shape ``(T,)``.

    Args:
        values: Of shape ``(T, D)``; NaN where a value is missing.
        conditions: At least one.
    """
    found = np.ones(len(values), dtype=np.bool_)
    for one in conditions:
        column = values[:, one.series]
        found &= _SIGNS[one.sign](column, one.value) & ~np.isnan(column)
    return found
