"""Write scores as JSON and as JSON Lines.

An answer in JSON Lines is one object per row, with the names that Amazon Lookout for
Equipment gave them; one in JSON is one object with all the rows and the events. The
schema of both is ``docs/answer.schema.json``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from sagemaker_container.formats.frame import Frame
from sagemaker_container.formats.table import plain

if TYPE_CHECKING:
    from lstm_ad.scoring.detector import Scores
    from lstm_ad.scoring.events import Event
    from lstm_ad.threshold.decision import BoolArray, Decision

MACHINE_OFF = "MACHINE_OFF"
UNSEEN_REGIME = "UNSEEN_REGIME"

_NO_SCORE: dict[str, Any] = dict.fromkeys(
    [
        "prediction",
        "prediction_reason",
        "anomaly_score",
        "diagnostics",
        "normality_score",
        "lasting",
        "reconstruction",
    ]
)
"""What is said of a row without a score, but for the reason."""


def write_rows(
    scores: Scores, decision: Decision, frame: Frame, n_top: int | None = None
) -> list[bytes]:
    """Return each row of scores, with contributions, as one JSON object.

    Args:
        scores: What a detector says of some rows.
        decision: What it means.
        frame: What the request holds beside the series of these rows.
        n_top: Of how many series diagnostics are told; None means all, in their order.
    """
    assert scores.contribution is not None
    assert scores.direction is not None
    assert scores.lasting is not None
    is_anomaly = scores.anomalies(decision)
    rows = zip(
        _beside(frame),
        scores.normality_score.tolist(),
        is_anomaly.tolist(),
        decision.severity(scores.normality_score).tolist(),
        scores.reconstruction.tolist(),
        _diagnostics(scores, frame, n_top),
        scores.lasting.tolist(),
        _reasons(scores, is_anomaly),
        strict=False,  # where nothing is repeated, that has no end
    )
    return [orjson.dumps(_row(*row)) for row in rows]


def write_lines(
    scores: Scores, decision: Decision, frame: Frame, n_top: int | None = None
) -> bytes:
    """Return scores with contributions as JSON Lines, as :func:`write_rows`."""
    return b"\n".join(write_rows(scores, decision, frame, n_top)) + b"\n"


def write_document(
    parts: Iterable[tuple[Scores, Frame]],
    first: int,
    events: Iterable[dict[str, Any]],
    decision: Decision,
    n_top: int | None = None,
) -> Iterator[bytes]:
    """Yield one JSON object: the threshold, rows as :func:`write_rows`, and events.

    Args:
        parts: What a detector says of the rows to return, with contributions, and what
            the request holds beside them.
        first: The first of these rows, counted from 0.
        events: What to say of them: see :func:`event_fields`.
        decision: What scores mean.
        n_top: As for :func:`write_rows`.
    """
    head = orjson.dumps({"threshold": decision.threshold, "first_row": first + 1})
    yield head[:-1] + b',"rows":['
    for number, (part, frame) in enumerate(parts):
        rows = b",".join(write_rows(part, decision, frame, n_top))
        yield (b"," if number else b"") + rows
    yield b'],"events":' + orjson.dumps(list(events)) + b"}\n"


def event_fields(event: Event, frame: Frame) -> dict[str, Any]:
    """Return an event as JSON has it.

    Rows are counted from 1, the last row included.

    Args:
        event: An event; of a machine, if there are several.
        frame: What the whole request holds beside its series.
    """
    rows = {"start": event.start, "end": event.end - 1, "peak": event.peak}
    fields: dict[str, Any] = {f"{name}_row": row + 1 for name, row in rows.items()}
    if frame.timestamp is not None:
        times = frame.carried[frame.timestamp]
        fields |= {f"{name}_time": plain(times[row]) for name, row in rows.items()}
    if frame.group is not None:
        fields["machine"] = plain(frame.carried[frame.group][event.start])
    return fields | {
        "anomaly_score": event.severity,
        "normality_score": event.normality_score,
        "lasting": event.lasting,
        "name": frame.series[event.series],
        "direction": _side(event.direction),
        **({} if event.regime is None else {"regime": frame.series[event.regime]}),
    }


def _beside(frame: Frame) -> Iterator[dict[str, Any]]:
    """Yield what is repeated of each row of the request; without end if nothing is."""
    if not frame.carried:
        yield from itertools.repeat({})
    for cells in zip(*frame.carried.values(), strict=True):
        ids = dict(zip(frame.carried, map(plain, cells), strict=True))
        fields: dict[str, Any] = {}
        if frame.timestamp is not None:
            fields["timestamp"] = ids.pop(frame.timestamp)
        yield fields | {"ids": ids} if ids else fields


def _row(
    beside: dict[str, Any],
    score: float,
    is_anomaly: bool,
    severity: float,
    reconstruction: list[float],
    diagnostics: list[dict[str, Any]],
    lasting: int,
    reason: str,
) -> dict[str, Any]:
    """Return what is said of a row."""
    if score != score:  # NaN: it has none
        # Lookout for Equipment predicts no anomaly of a machine that is off.
        prediction = 0 if reason == MACHINE_OFF else None
        said = {"prediction": prediction, "prediction_reason": reason}
        return {**beside, **_NO_SCORE, **said}
    return {
        **beside,
        "prediction": int(is_anomaly),
        "prediction_reason": reason,
        "anomaly_score": severity,
        "diagnostics": diagnostics,
        "normality_score": score,
        "lasting": lasting,
        "reconstruction": reconstruction,
    }


def _diagnostics(
    scores: Scores, frame: Frame, n_top: int | None
) -> Iterator[list[dict[str, Any]]]:
    """Yield how much each series has to do with the score of each row."""
    contribution, direction = scores.contribution, scores.direction
    assert contribution is not None
    assert direction is not None
    names: Iterable[Sequence[str]] = itertools.repeat(frame.series)
    if n_top is not None:
        most = np.argsort(-contribution, axis=1, kind="stable")[:, :n_top]
        contribution = np.take_along_axis(contribution, most, axis=1)
        direction = np.take_along_axis(direction, most, axis=1)
        names = np.array(frame.series)[most].tolist()
    for series, values, sides in zip(
        names, contribution.tolist(), direction.tolist(), strict=False
    ):
        yield [
            {"name": name, "value": value, "direction": _side(side)}
            for name, value, side in zip(series, values, sides, strict=True)
        ]


def _reasons(scores: Scores, is_anomaly: BoolArray) -> list[str]:
    """Return why each row is an anomaly or not, or why it has no score.

    Of an event in an unseen regime, one row says so. A row has no score because the
    machine is off, fewer than half of its values are there, or too few rows are before
    it: since the beginning, since a gap, or since the machine was off.
    """
    assert scores.n_missing is not None
    n_series = scores.reconstruction.shape[1]
    reasons = np.where(2 * scores.n_missing > n_series, "MISSING_DATA", "WARM_UP")
    if scores.is_off is not None:
        reasons = np.where(scores.is_off, MACHINE_OFF, reasons)
    found = np.where(is_anomaly, "ANOMALY_DETECTED", "NO_ANOMALY_DETECTED")
    if scores.tells_regime is not None:
        found = np.where(scores.tells_regime, UNSEEN_REGIME, found)
    has_none = np.isnan(scores.normality_score)
    return list(np.where(has_none, reasons, found).tolist())


def _side(direction: float) -> str:
    """Return on which side of its reconstruction a series is."""
    return "above" if direction > 0 else "below"
