"""``model.json``: what a person wants to know of a model, and how it decides.

It holds a SHA-256 of its own fields, so that an answer is that of the model that was
trained: a threshold that was changed by hand is refused.
"""

import copy
import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from lstm_ad.axes import FloatArray
from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import ArtifactError
from lstm_ad.model.layout import Layout
from lstm_ad.model.off import Comparison
from lstm_ad.ranges import Count, Positive, PositiveCount
from lstm_ad.threshold.decision import Decision

NETWORK = "network.onnx"
WEIGHTS = "weights.safetensors"
STATISTICS = "statistics.safetensors"
DESCRIPTION = "model.json"
FILES = (NETWORK, WEIGHTS, STATISTICS, DESCRIPTION)
"""The files of a model: what each holds is said in :mod:`lstm_ad.artifacts`."""

FORMAT_VERSION = 3

_MISSING = re.compile("Object missing required field `(.+)`")
_Fields = TypeVar("_Fields")


@dataclasses.dataclass(frozen=True)
class Description:
    """The fields that a server needs: how a model scores and decides."""

    n_series: Count
    """``D``."""
    layout: Layout
    """How it divides a series."""
    shortest_window: PositiveCount
    """See :attr:`lstm_ad.scoring.scan.Scan.shortest`."""
    n_level_entries: Count
    """Entries of an error vector beside the errors: see
    :attr:`lstm_ad.scoring.reconstruction.Reconstructor.has_level`."""
    max_gap: Count
    """See :attr:`lstm_ad.scoring.reconstruction.Reconstructor.max_gap`."""
    adaptation_rows: Count
    """See :attr:`lstm_ad.scoring.scan.Scan.adaptation_rows`."""
    huber_corner: Positive
    """See :attr:`lstm_ad.scoring.gaussian.Gaussian.corner`."""
    decision: Decision
    """What a score means."""
    schema: Schema
    """The columns of the tables it was trained on."""
    off_when: tuple[Comparison, ...] = ()
    """See :attr:`lstm_ad.scoring.detector.LSTMAD.off_when`."""
    missing_codes: tuple[float, ...] = ()
    """See :attr:`lstm_ad.scoring.detector.LSTMAD.missing_codes`."""


@dataclasses.dataclass(frozen=True)
class Identity:
    """Which model it is."""

    digest: str
    """The SHA-256 of all fields but itself, those of the other files included."""
    rows: dict[str, Count]
    """How many rows were used for what."""

    @property
    def n_trained(self) -> int:
        """How many rows the scaler is of: those that the LSTM was trained on.

        A model that was only calibrated anew has none.
        """
        return self.rows.get("train") or self.rows.get("calibration", 0)


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
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
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
    return _read(path, document, _Digests).sha256


def identity(path: Path, document: Mapping[str, Any]) -> Identity:
    """Return which model it is.

    Raises:
        ArtifactError: If it cannot be read; the message names the field.
    """
    return _read(path, document, Identity)


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
    fields = copy.deepcopy(dict(document))
    for name, array in arrays.items():
        *groups, last = name.split(".")
        group: Any = fields
        for key in groups:
            group = group.get(key) if isinstance(group, dict) else None
        if isinstance(group, dict):  # else it is refused below
            group[last] = array
    description = _read(path, fields, Description)
    if document.get("digest") != _digest(document):
        raise ArtifactError(
            f"{path} does not match its own digest, so it was changed after training: "
            f"use it as it was saved, or train the model again."
        )
    return description


def _read(path: Path, fields: Mapping[str, Any], kind: type[_Fields]) -> _Fields:
    """Return some of the fields of ``model.json``.

    Raises:
        ArtifactError: If one is missing, of another type or out of range. The message
            names it.
    """
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        names = [place[:-1]] if place else []
        if missing := _MISSING.fullmatch(reason):
            names.append(missing[1])
            reason = "it is missing"
        problem = f"{'.'.join(names)}: {reason[0].lower()}{reason[1:]}"
        raise ArtifactError(f"{path} is damaged: {problem}.") from error


def _digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all fields but the digest itself."""
    others = {name: value for name, value in document.items() if name != "digest"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()
