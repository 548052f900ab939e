"""Labelled validation rows: what is normal among them, and which threshold fits them.

A label is 0 (normal) or 1 (anomaly), one per row of a validation series. What is
labelled 1 takes no part in the validation loss: that is measured on the stretches
between, each as a series of its own. All rows that have a score choose the threshold.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence, Sized
from typing import TYPE_CHECKING

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import SeriesError
from lstm_ad.threshold.decision import BoolArray, LabelledThreshold

if TYPE_CHECKING:
    # A type alone: labels are checked before the runtime of the network is loaded.
    from lstm_ad.scoring.detector import LSTMAD

logger = logging.getLogger(__name__)

BETA = 0.1
"""How many times as much as precision recall counts: the paper's choice, because not
every row within a labelled anomaly is abnormal (Malhotra et al., section 3)."""


def check(
    labels: Mapping[str, FloatArray],
    validation: Mapping[str, Sized],
    n_unscored: int,
) -> None:
    """Refuse labels that do not say of every validation row what it is.

    Args:
        labels: By the name of the file, each of shape ``(T, 1)``.
        validation: The rows of each series, likewise, of length ``T``.
        n_unscored: How many rows at the start of a series have no score.

    Raises:
        SeriesError: If a file is missing, or has too many columns, other rows or other
            values; if no row with a score is an anomaly; or if no stretch of normal
            rows is long enough to be scored.
    """
    for name in validation:
        if name not in labels:
            raise SeriesError(
                f"labels/{name} is missing: every file of the validation channel needs "
                f"one of the same name, with a 0 or 1 per row."
            )
    for name, column in labels.items():
        if name not in validation:
            raise SeriesError(
                f"labels/{name} has no series: there is no file of that name in the "
                f"validation channel."
            )
        if column.shape[1] != 1:
            raise SeriesError(
                f"labels/{name} has {column.shape[1]} columns: accepted is one, with a "
                f"0 or 1 per row."
            )
        if len(column) != len(validation[name]):
            raise SeriesError(
                f"labels/{name} has {len(column)} rows, but validation/{name} has "
                f"{len(validation[name])}: one label per row is needed."
            )
        is_other = (column[:, 0] != 0) & (column[:, 0] != 1)
        if is_other.any():
            row = int(np.argmax(is_other))
            raise SeriesError(
                f"labels/{name}: row {row + 1}: {column[row, 0]:g} was found, but "
                f"accepted are 0 (normal) and 1 (anomaly)."
            )
    if not any((column[n_unscored:] == 1).any() for column in labels.values()):
        raise SeriesError(
            f"The labels name no anomaly that has a score: at least one 1 is needed "
            f"after the first {n_unscored} rows of a file."
        )
    if not normal_stretches(labels, n_unscored):
        raise SeriesError(
            f"The labels leave no stretch of normal rows to validate on: at least "
            f"{n_unscored + 1} rows in a row must be labelled 0."
        )


def normal_stretches(
    labels: Mapping[str, FloatArray], n_unscored: int
) -> list[tuple[str, range]]:
    """Return the runs of rows labelled 0 that are long enough to be scored.

    Args:
        labels: As for :func:`check`.
        n_unscored: As for :func:`check`.

    Returns:
        The file and the rows, counted from 0, of each.
    """
    stretches = []
    for name, column in labels.items():
        edges = np.flatnonzero(np.diff(column[:, 0] == 0, prepend=False, append=False))
        for start, end in edges.reshape(-1, 2).tolist():
            if end - start > n_unscored:
                stretches.append((name, range(start, end)))
    return stretches


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A validation series and what its rows are labelled."""

    name: str
    """The name of the file."""
    read: Callable[[], FloatArray]
    """Returns its values, of shape ``(T, D)``."""
    is_anomaly: BoolArray
    """Of shape ``(T,)``."""


def choose_threshold(
    detector: LSTMAD,
    labelled: Sequence[Labelled],
    gather: Callable[[FloatArray], Sequence[FloatArray]] = lambda table: [table],
) -> LabelledThreshold:
    """Return the threshold that finds the labelled anomalies best.

    Args:
        detector: What scores the series, each as a whole.
        labelled: The series of this process, possibly none.
        gather: Returns the tables of all processes; by default, there are no others.
    """
    columns = [np.empty((0, 2))]
    for one in labelled:
        parts = detector.score_in_parts(one.read())
        scores = np.concatenate([part.normality_score for part in parts])
        columns.append(np.column_stack([scores, one.is_anomaly]))
    table = np.concatenate(gather(np.concatenate(columns)))
    scores, is_anomaly = table[:, 0], table[:, 1] == 1
    is_scored = ~np.isnan(scores)
    near = detector.decision.alarm_threshold
    chosen = best_threshold(scores[is_scored], is_anomaly[is_scored], near)
    logger.info(
        "Threshold of the labels: a score below %.6g is an anomaly: precision %.3g, "
        "recall %.3g and F%g %.3g on %d labelled rows, %d of them anomalies.",
        chosen.threshold,
        chosen.precision,
        chosen.recall,
        chosen.beta,
        chosen.f_beta,
        chosen.n_rows,
        chosen.n_anomalies,
    )
    return chosen


def best_threshold(
    scores: FloatArray, is_anomaly: BoolArray, near: float
) -> LabelledThreshold:
    """Return the threshold of the largest F-beta.

    Args:
        scores: Of shape ``(n,)``.
        is_anomaly: What each row is labelled, of shape ``(n,)``, at least one True.
        near: Of several thresholds that are as good, the one nearest to this is chosen.
    """
    order = np.argsort(scores)
    ordered = scores[order]
    # Alarms are the lowest scores: k of them, wherever the next one is higher.
    n_alarms = np.flatnonzero(np.diff(ordered, append=np.inf)) + 1
    n_found = np.cumsum(is_anomaly[order])[n_alarms - 1]
    n_anomalies = int(is_anomaly.sum())
    precision, recall = n_found / n_alarms, n_found / n_anomalies
    # The same as of precision and recall, but never 0 by 0.
    f_beta = (1 + BETA**2) * n_found / (BETA**2 * n_anomalies + n_alarms)
    best = np.flatnonzero(f_beta == f_beta.max())
    lowest = np.nextafter(ordered[n_alarms - 1], np.inf)[best]
    highest = np.append(ordered, np.inf)[n_alarms][best]
    thresholds = np.clip(near, lowest, highest)
    nearest = int(np.argmin(np.abs(thresholds - near)))
    chosen = best[nearest]
    return LabelledThreshold(
        threshold=float(thresholds[nearest]),
        beta=BETA,
        f_beta=float(f_beta[chosen]),
        precision=float(precision[chosen]),
        recall=float(recall[chosen]),
        n_rows=len(scores),
        n_anomalies=n_anomalies,
    )
