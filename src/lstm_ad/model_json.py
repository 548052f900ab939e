"""``model.json``: what a person wants to know of a model, and how it decides.

It holds a SHA-256 of its own fields, so that an answer is that of the model that was
trained: a threshold that was changed by hand is refused.
"""

import dataclasses
import hashlib
import json
import math
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lstm_ad import typed_json
from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import ArtifactError
from lstm_ad.model.layout import Layout
from lstm_ad.threshold.decision import Decision
from lstm_ad.typed_json import FieldError

FORMAT_VERSION = 3

_RANGES = {
    "score_smoothing": (0, math.inf),
    "error_bound": (0, math.inf),
    "decision.max_alarm_rate": (0, 1),
    "decision.tail.fraction": (0, 1),
    "decision.tail.scale": (0, math.inf),
}
"""Where the fields must lie that are divided by, or whose logarithm is taken."""


@dataclasses.dataclass(frozen=True)
class Description:
    """The fields that a server needs: how a model scores and decides."""

    n_series: int
    """``D``."""
    layout: Layout
    """How it divides a series."""
    score_smoothing: int
    """Over how many time steps scores are averaged."""
    error_bound: float
    """See :attr:`lstm_ad.scoring.gaussian.Gaussian.bound`."""
    decision: Decision
    """What a score means."""


@dataclasses.dataclass(frozen=True)
class _Digests:
    """The fields about the other files of a model."""

    sha256: dict[str, str]


def text(document: Mapping[str, Any]) -> bytes:
    """Return the text of ``model.json`` with the fields of ``document``."""
    versioned = {"format_version": FORMAT_VERSION, **document}
    sealed = {**versioned, "digest": _digest(versioned)}
    return (json.dumps(sealed, indent=2) + "\n").encode()


def without_arrays(decision: Decision) -> dict[str, Any]:
    """Return the fields of a decision that ``model.json`` holds."""
    fields = dataclasses.asdict(decision)
    del fields["error_range"], fields["tail"]["body"]
    return fields


def parse(path: Path, data: bytes) -> dict[str, Any]:
    """Return the fields of ``model.json``, its format version checked.

    Raises:
        ArtifactError: If it is no JSON object, or of another version.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is no JSON document: {error}.") from error
    version = document.get("format_version") if isinstance(document, dict) else None
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format version {version}, but this product reads version "
            f"{FORMAT_VERSION}: train the model again, or serve it with the image "
            f"that trained it."
        )
    return dict(document)


def digests(path: Path, document: Mapping[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of each other file of a model.

    Raises:
        ArtifactError: If they cannot be read; the message names the field.
    """
    try:
        found: _Digests = typed_json.read(_Digests, document, "")
    except FieldError as error:
        raise ArtifactError(f"{path} is damaged: {error}.") from error
    return found.sha256


def describe(
    path: Path, document: Mapping[str, Any], arrays: Mapping[str, FloatArray]
) -> Description:
    """Return how a model scores and decides.

    Args:
        path: The file.
        document: Its fields.
        arrays: Those of the decision, by their full names.

    Raises:
        ArtifactError: If a field cannot be used, or if one was changed. The message
            names it.
    """
    try:
        description: Description = typed_json.read(Description, document, "", arrays)
        for name, (low, high) in _RANGES.items():
            value = operator.attrgetter(name)(description)
            accepted = f"above {low}" + (
                f" and below {high}" if high < math.inf else ""
            )
            typed_json.checked(low < value < high, value, name, accepted)
    except FieldError as error:
        raise ArtifactError(f"{path} is damaged: {error}.") from error
    if document.get("digest") != _digest(document):
        raise ArtifactError(
            f"{path} does not match its own digest, so it was changed after training: "
            f"use it as it was saved, or train the model again."
        )
    return description


def _digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all fields but the digest itself."""
    others = {name: value for name, value in document.items() if name != "digest"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()
