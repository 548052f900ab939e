"""Gather anomalous rows into events that a person can look at one by one."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from lstm_ad.axes import IndexArray
from lstm_ad.scoring.detector import Scores
from lstm_ad.scoring.regime import NONE
from lstm_ad.threshold.decision import BoolArray, Decision


@dataclasses.dataclass(frozen=True)
class Event:
    """A run of anomalies. Rows and series are counted from 0."""

    start: int
    """The first row, an anomaly."""
    end: int
    """The row after the last anomaly: ``start:end`` are the rows of the event."""
    peak: int
    """The row of the lowest score, the first of them if there are several."""
    normality_score: float
    """The score of that row."""
    severity: float
    """The severity of that row, from 0 to 1."""
    lasting: int
    """The rows of the window that the score is of, that row the last."""
    series: int
    """The series that contributes most to all of the event's anomalies. The lowest
    score alone may lie in the aftermath, where every series is reconstructed from
    abnormal rows."""
    direction: float
    """-1 if that series is mostly below its reconstruction where it contributes, 1 if
    it is above."""
    regime: int | None = None
    """The series whose values nothing in training resembles; None if there is none."""


def find_events(
    scores: Scores, decision: Decision, max_gap: int, min_rows: int = 1
) -> list[Event]:
    """Return the events of a series, in order.

    Args:
        scores: Of the series, with contributions.
        decision: What an anomaly is.
        max_gap: How many rows that are no anomalies may lie between two that belong to
            one event: :attr:`~lstm_ad.scoring.detector.LSTMAD.event_gap`, for one.
        min_rows: How many rows an event has at least, from the first to the last.

    Raises:
        ValueError: If ``scores`` are without contributions.
    """
    assert scores.lasting is not None
    if scores.contribution is None or scores.direction is None:
        raise ValueError("Events need scores with contributions.")
    severity = decision.severity(scores.normality_score)
    events = []
    for rows in _runs(scores, decision, max_gap, min_rows):
        peak = int(rows[np.argmin(scores.normality_score[rows])])
        contribution = scores.contribution[rows]
        series = int(np.argmax(contribution.sum(axis=0)))
        side = contribution[:, series] @ scores.direction[rows, series]
        events.append(
            Event(
                start=int(rows[0]),
                end=int(rows[-1]) + 1,
                peak=peak,
                normality_score=float(scores.normality_score[peak]),
                severity=float(severity[peak]),
                lasting=int(scores.lasting[peak]),
                series=series,
                direction=-1.0 if side < 0 else 1.0,
                regime=_regime(scores, rows),
            )
        )
    return events


def event_rows(
    scores: Scores, decision: Decision, max_gap: int, min_rows: int = 1
) -> BoolArray:
    """Return whether each row is one of an event, of shape ``(T,)``.

    Args:
        scores: Of the series; contributions are not needed.
        decision: As for :func:`find_events`, as are the others.
        max_gap: See there.
        min_rows: See there.
    """
    is_event = np.zeros(len(scores.normality_score), np.bool_)
    for rows in _runs(scores, decision, max_gap, min_rows):
        is_event[rows[0] : rows[-1] + 1] = True
    return is_event


def _regime(scores: Scores, rows: IndexArray) -> int | None:
    """Return the series that an event tells of, if it is in an unseen regime."""
    if scores.regime is None:
        return None
    unseen = rows[scores.regime[rows] != NONE]
    return int(scores.regime[unseen[0]]) if len(unseen) else None


def _runs(
    scores: Scores, decision: Decision, max_gap: int, min_rows: int
) -> Iterator[IndexArray]:
    """Yield the anomalous rows of each event."""
    anomalies = np.flatnonzero(scores.anomalies(decision))
    ends = np.flatnonzero(np.diff(anomalies) > max_gap + 1) + 1
    for rows in np.split(anomalies, ends):
        if len(rows) and rows[-1] - rows[0] + 1 >= min_rows:
            yield rows
