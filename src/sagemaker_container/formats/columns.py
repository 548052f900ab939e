"""The formats of an answer, and the columns that its CSV can have."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from sagemaker_container.formats.messages import listed, shown

if TYPE_CHECKING:
    # A type alone: who reads the settings of a server loads no NumPy before the fork.
    from sagemaker_container.formats.frame import Frame

CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"

FORMATS = (CSV, JSON, JSON_LINES)
"""What an answer can be; the first where the client has no preference."""

TIMESTAMP, ID = "timestamp", "id"

CARRIED = (TIMESTAMP, ID)
"""What an answer repeats of the request: its times, and all else that is carried."""

IS_EVENT = "is_event"

OUTPUTS = {
    "score": False,
    "reconstruction": True,
    "is_anomaly": False,
    IS_EVENT: False,
    "severity": False,
    "threshold": False,
    "lasting": False,
    "missing": False,
    "regime": False,
    "contribution": True,
    "lower": True,
    "upper": True,
}
"""The columns that say something of a row, and whether there is one per series."""

DEFAULT_COLUMNS = ("score", "reconstruction")


class OutputError(Exception):
    """Raised if an answer is asked for that there is not; the message says why."""


class Carried(NamedTuple):
    """A column of the request that the answer repeats."""

    name: str
    """Its name."""


def columns_of(text: str, place: str) -> tuple[str, ...]:
    """Return the columns that a text names, separated by commas.

    Args:
        text: The names.
        place: Where they come from: what messages begin with.

    Raises:
        OutputError: If a name is unknown, or comes twice.
    """
    columns = tuple(name.strip() for name in text.split(","))
    for number, name in enumerate(columns):
        if name not in (*CARRIED, *OUTPUTS):
            raise OutputError(
                f"{place} names {shown(name)}, which is unknown; use "
                f"{listed([*CARRIED, *OUTPUTS], 'or')}, separated by commas."
            )
        if name in columns[:number]:
            raise OutputError(f"{place} names {name} twice; use each name once.")
    return columns


def placed(columns: Sequence[str], frame: Frame) -> list[str | Carried]:
    """Return the columns of an answer to a request.

    What is carried comes first, in the order it was sent, unless the columns that are
    asked for say which of it comes where.

    Args:
        columns: Some of ``CARRIED`` and ``OUTPUTS``.
        frame: What the request holds beside its series.

    Raises:
        OutputError: If something is to be repeated that the request does not have.
    """
    every = [Carried(name) for name in frame.carried]
    if not set(CARRIED) & set(columns):
        return [*every, *columns]
    found = {
        TIMESTAMP: [column for column in every if column.name == frame.timestamp],
        ID: [column for column in every if column.name != frame.timestamp],
    }
    for name in CARRIED:
        if name in columns and not found[name]:
            raise OutputError(
                f"The columns of the answer include {name}, but the request has no "
                f"such column; send it, or ask for other columns."
            )
    return [part for column in columns for part in found.get(column, [column])]


def column_names(columns: Sequence[str | Carried], frame: Frame) -> list[str]:
    """Return a name per column of the CSV: ``score``, ``reconstruction_pressure`` ...

    Raises:
        OutputError: If a column that is carried is called as one of the others.
    """
    names = [
        name
        for column in columns
        for name in (
            [column.name]
            if isinstance(column, Carried)
            else [f"{column}_{series}" for series in frame.series]
            if OUTPUTS[column]
            else [column]
        )
    ]
    (name, count), *_ = collections.Counter(names).most_common(1)
    if count > 1:
        raise OutputError(
            f"The answer would have two columns called {shown(name)}: one of the "
            f"request's, and one of its own; rename that of the request, or send the "
            f"custom attribute header=false."
        )
    return names
