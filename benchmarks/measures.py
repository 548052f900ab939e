"""Measures of detection: of the order of the rows, and of the alarms.

:func:`vus_pr` is the measure of Paparrizos et al. (2022), equal to their package's
``RangeAUC_volume_opt`` but for rounding, in a hundredth of the time: for every width of
a margin around the labelled runs there is a curve of precision and recall, and the
volume is the mean of the areas under them. Rows are sorted once into the thresholds
that they pass; a width changes only what rows near a label count.
"""

import dataclasses

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

UCR_MARGIN = 100
"""Rows beside the labelled interval that still count as a hit."""

NORMAL_MARGIN = 100
"""Rows from the next label from which on a row counts as normal."""

N_THRESHOLDS = 250
"""Thresholds of VUS, as in the published figures."""


@dataclasses.dataclass(frozen=True)
class Alarms:
    """What the alarms on a series are worth."""

    false_rate: float
    """The fraction of normal rows that are alarms."""
    false_events: float
    """Alarm events on normal rows, per 1000 normal rows."""
    n_found: int
    """Labelled runs with an alarm."""
    n_labelled: int
    """Labelled runs."""
    delay: float
    """Rows from the start of a found run to its first alarm: the median, or NaN."""


def alarms(
    is_alarm: BoolArray,
    is_scored: BoolArray,
    labels: BoolArray,
    first_row: int,
    event_gap: int,
) -> Alarms:
    """Return what alarms are worth.

    Args:
        is_alarm: Whether each row is below the threshold, of shape ``(T,)``.
        is_scored: Whether each row has a score.
        labels: Whether each row is labelled an anomaly.
        first_row: The first row that counts as new; those before were trained on.
        event_gap: Rows without an alarm within one event, at most.
    """
    starts, ends = runs(labels)
    edges = np.zeros(len(labels) + 1, dtype=np.int64)
    margin = NORMAL_MARGIN - 1
    np.add.at(edges, np.maximum(starts - margin, 0), 1)
    np.add.at(edges, np.minimum(ends + margin + 1, len(labels)), -1)
    is_normal = (np.cumsum(edges[:-1]) == 0) & is_scored
    is_normal[:first_row] = False
    n_normal = max(int(is_normal.sum()), 1)
    false = np.flatnonzero(is_alarm & is_normal)
    n_events = len(false) and 1 + int((np.diff(false) > event_gap + 1).sum())
    delays = [
        int(np.argmax(is_alarm[start : end + 1]))
        for start, end in zip(starts, ends, strict=True)
        if is_alarm[start : end + 1].any()
    ]
    return Alarms(
        false_rate=len(false) / n_normal,
        false_events=1000 * n_events / n_normal,
        n_found=len(delays),
        n_labelled=len(starts),
        delay=float(np.median(delays)) if delays else float("nan"),
    )


def ucr_hit(anomaly: FloatArray, labels: BoolArray) -> float:
    """Return 1 if the most anomalous row is in the labelled interval or near it."""
    rows = np.flatnonzero(labels)
    found = int(np.argmax(anomaly))
    return float(rows[0] - UCR_MARGIN <= found <= rows[-1] + UCR_MARGIN)


def roc_auc(anomaly: FloatArray, labels: BoolArray) -> float:
    """Return the area under the receiver operating characteristic; ties count half."""
    n_anomalous, n_normal = labels.sum(), (~labels).sum()
    above = rankdata(anomaly)[labels].sum() - n_anomalous * (n_anomalous + 1) / 2
    return float(above / (n_anomalous * n_normal))


def vus_pr(anomaly: FloatArray, labels: BoolArray, window: int) -> float:
    """Return the volume under the surface of precision and recall.

    Args:
        anomaly: How unusual each row is, of shape ``(T,)``, without a NaN; only the
            order matters.
        labels: Whether each row is an anomaly; at least one is.
        window: The largest width of the margin around a labelled run, in rows; half of
            it lies on either side.
    """
    taken = np.linspace(0, len(anomaly) - 1, N_THRESHOLDS).astype(np.int64)
    thresholds = np.sort(anomaly)[::-1][taken]  # falling
    # The first threshold that each row passes: it passes all that follow, too.
    passed = np.searchsorted(-thresholds, -anomaly, side="left")
    n_alarms = _counted(passed)
    n_found = _counted(passed[labels])
    starts, ends = runs(labels)
    rows, distances = _neighbours(labels, starts, ends, window // 2)
    near, position = np.unique(rows, return_inverse=True)
    areas = [
        _area(
            n_alarms,
            n_found,
            _counted(passed[near], _weights(position, distances, len(near), width)),
            _fraction_met(anomaly, thresholds, starts, ends, width // 2),
            int(labels.sum()),
        )
        for width in range(window + 1)
    ]
    return float(np.mean(areas))


def runs(labels: BoolArray) -> tuple[IntArray, IntArray]:
    """Return the first and the last row of each run of labelled rows."""
    steps = np.diff(np.concatenate([[0], labels.astype(np.int64), [0]]))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1) - 1


def _area(
    n_alarms: FloatArray,
    n_found: FloatArray,
    n_near: FloatArray,
    fraction_met: FloatArray,
    n_labelled: int,
) -> float:
    """Return the area under the curve of one width.

    Args:
        n_alarms: How many rows pass each threshold.
        n_found: How many of them are labelled.
        n_near: What those count that are near a label.
        fraction_met: The fraction of the labelled runs, with margins, with an alarm.
        n_labelled: How many rows are labelled.
    """
    n_true = n_found + n_near
    # The margins count half: as what should have been found, only where it was.
    n_wanted = (n_labelled + n_labelled + n_near) / 2
    recall = np.minimum(n_true / n_wanted, 1.0) * fraction_met
    precision = n_true / n_alarms
    return float(np.diff(recall, prepend=0.0) @ precision)


def _counted(passed: IntArray, weights: FloatArray | None = None) -> FloatArray:
    """Return how many rows pass each threshold, or the sum of their weights."""
    counts = np.bincount(passed, weights, minlength=N_THRESHOLDS)
    return np.cumsum(counts[:N_THRESHOLDS]).astype(np.float64)


def _neighbours(
    labels: BoolArray, starts: IntArray, ends: IntArray, reach: int
) -> tuple[IntArray, IntArray]:
    """Return rows near a labelled run, and how far: one pair for each run in reach."""
    steps = np.arange(1, reach + 1)
    rows = np.concatenate(
        [(ends[:, np.newaxis] + steps).ravel(), (starts[:, np.newaxis] - steps).ravel()]
    )
    distances = np.tile(steps, 2 * len(starts))
    inside = (rows >= 0) & (rows < len(labels))
    rows, distances = rows[inside], distances[inside]
    normal = ~labels[rows]
    return rows[normal], distances[normal]


def _weights(
    position: IntArray, distances: IntArray, n_rows: int, width: int
) -> FloatArray:
    """Return how much of an anomaly each row near a label is, from 0 to 1."""
    if width == 0:
        return np.zeros(n_rows)
    each = np.where(
        distances <= width // 2, np.sqrt(np.maximum(1 - distances / width, 0.0)), 0.0
    )
    return np.minimum(np.bincount(position, each, minlength=n_rows), 1.0)


def _fraction_met(
    anomaly: FloatArray,
    thresholds: FloatArray,
    starts: IntArray,
    ends: IntArray,
    reach: int,
) -> FloatArray:
    """Return the fraction of the labelled runs with a row that passes each threshold.

    Runs are taken with their margins; those whose margins meet are one.
    """
    apart = ends[:-1] + reach < starts[1:] - reach
    first = np.maximum(starts[np.concatenate([[True], apart])] - reach, 0)
    last = np.minimum(ends[np.concatenate([apart, [True]])] + reach, len(anomaly) - 1)
    padded = np.append(anomaly, -np.inf)  # the end of the last run is a row of it, too
    bounds = np.column_stack([first, last + 1]).ravel()
    highest = np.sort(np.maximum.reduceat(padded, bounds)[::2])
    n_below = np.searchsorted(highest, thresholds, side="left")
    met: FloatArray = 1 - n_below / len(highest)
    return met
