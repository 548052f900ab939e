"""Choose the threshold that finds labelled anomalies best."""

import logging

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.threshold.decision import BoolArray, LabelledThreshold

logger = logging.getLogger(__name__)

BETA = 0.1
"""How many times as much as precision recall counts: the paper's choice, because not
every row within a labelled anomaly is abnormal (Malhotra et al., section 3)."""


def choose_threshold(
    scores: FloatArray, is_anomaly: BoolArray, near: float
) -> LabelledThreshold:
    """Return the threshold of the largest F-beta, and say so in the log.

    Args:
        scores: Of all labelled rows, of shape ``(n,)``; NaN where there is none.
        is_anomaly: What each row is labelled, of shape ``(n,)``.
        near: As for :func:`best_threshold`.
    """
    is_scored = ~np.isnan(scores)
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
