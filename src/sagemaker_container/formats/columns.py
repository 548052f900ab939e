"""The formats of an answer, and the columns that its CSV can have."""

from collections.abc import Sequence

from sagemaker_container.formats.messages import listed, shown

CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"

FORMATS = (CSV, JSON, JSON_LINES)
"""What an answer can be; the first where the client has no preference."""

OUTPUTS = {
    "score": False,
    "reconstruction": True,
    "is_anomaly": False,
    "severity": False,
    "threshold": False,
    "lasting": False,
    "contribution": True,
    "lower": True,
    "upper": True,
}
"""The columns that there are, and whether there is one per series."""

DEFAULT_COLUMNS = ("score", "reconstruction")


class OutputError(Exception):
    """Raised if an answer is asked for that there is not; the message says why."""


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
        if name not in OUTPUTS:
            raise OutputError(
                f"{place} names {shown(name)}, which is unknown; use "
                f"{listed([*OUTPUTS], 'or')}, separated by commas."
            )
        if name in columns[:number]:
            raise OutputError(f"{place} names {name} twice; use each name once.")
    return columns


def column_names(columns: Sequence[str], n_series: int) -> list[str]:
    """Return a name per column of the CSV: ``score``, ``reconstruction_1`` ..."""
    return [
        name
        for column in columns
        for name in (
            [f"{column}_{number}" for number in range(1, n_series + 1)]
            if OUTPUTS[column]
            else [column]
        )
    ]
