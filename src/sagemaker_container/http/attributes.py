"""Custom attributes of a request: from their text to names, and to values.

Each message says what the attribute is, and what it may be.
"""

import csv
import re

from lstm_ad.hyperparameters import declarations
from sagemaker_container.formats.columns import OutputError
from sagemaker_container.formats.messages import listed, shown

ATTRIBUTES = (
    *("output", "header", "keep", "return", "max-alarm-rate", "min-rows", "top"),
)
_COUNT = re.compile("0*([1-9][0-9]{0,17})")
_LAST = re.compile(r"last:0*([1-9][0-9]{0,17})")
_RATE = re.compile(r"\d*\.?\d+(e-?\d+)?", re.ASCII | re.IGNORECASE)
_RATE_LIMITS = next(
    (d.minimum, d.maximum) for d in declarations() if d.name == "max-alarm-rate"
)
"""Those of the hyperparameter."""


def given_attributes(attributes: str) -> dict[str, str]:
    """Return the custom attributes by their names; none if none of ours is there."""
    parts = [part.partition("=") for part in attributes.split(";")]
    pairs = [(name.strip(), equals + value.strip()) for name, equals, value in parts]
    if not any(name.lower() in ATTRIBUTES and value for name, value in pairs):
        return {}
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in ATTRIBUTES:
            raise OutputError(
                f"The custom attribute {shown(name)} is unknown; use only "
                f"{listed(ATTRIBUTES)}, each as name=value, separated by semicolons."
            )
        if name in given:
            raise OutputError(
                f"The custom attribute {name} is given twice; give it once."
            )
        given[name] = value.removeprefix("=")
    return given


def has_header(text: str) -> bool:
    """Return whether a header row is asked for."""
    if text not in ("true", "false"):
        raise OutputError(
            f"The custom attribute header is {shown(text)}; use true or false."
        )
    return text == "true"


def kept(text: str) -> tuple[str, ...]:
    """Return the names of the columns that are carried through."""
    try:
        (cells,) = csv.reader([text], strict=True, skipinitialspace=True)
    except csv.Error:
        cells = []
    names = [name.strip() for name in cells]
    if not names or not all(names) or len(set(names)) < len(names):
        raise OutputError(
            f"The custom attribute keep is {shown(text)}; use names of columns of the "
            f"request, separated by commas, each once."
        )
    return tuple(names)


def n_last(text: str) -> int:
    """Return how many rows are asked for."""
    match = _LAST.fullmatch(text)
    if match is None:
        raise OutputError(
            f"The custom attribute return is {shown(text)}; use last:N with a positive "
            f"integer N, such as last:100."
        )
    return int(match[1])


def max_alarm_rate(text: str) -> float:
    """Return the fraction of normal rows that may be anomalies."""
    low, high = _RATE_LIMITS
    rate = float(text) if _RATE.fullmatch(text) else 0.0
    if not low <= rate <= high:
        raise OutputError(
            f"The custom attribute max-alarm-rate is {shown(text)}; use a number from "
            f"{low:g} to {high:g}, such as 0.01."
        )
    return rate


def count(name: str, text: str) -> int:
    """Return the positive integer that an attribute is."""
    match = _COUNT.fullmatch(text)
    if match is None:
        raise OutputError(
            f"The custom attribute {name} is {shown(text)}; use a positive integer, "
            f"such as 5."
        )
    return int(match[1])
