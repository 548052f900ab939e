"""Learn from the errors on normal data which scores are to be alarms."""

import logging
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.decision import Decision
from lstm_ad.detector import moving_average
from lstm_ad.gaussian import Caution, Gaussian
from lstm_ad.tail import Tail

logger = logging.getLogger(__name__)

N_FOLDS = 10
"""Parts of the calibration part, each scored by a Gaussian fitted to the others."""

CONFIDENCE = 0.95
"""How certain it is that the threshold lies within its interval."""

_N_RESAMPLES = 200
"""What the interval is estimated from."""


def held_out_scores(
    errors: Sequence[FloatArray], scale: FloatArray, caution: Caution, smoothing: int
) -> FloatArray:
    """Return the scores of normal data as new normal data would have them.

    The Gaussian of the detector knows the errors that it was fitted to, and scores them
    higher than others: the more so, the wider they are and the fewer. So each of
    ``N_FOLDS`` runs of rows is scored by a Gaussian that was fitted to all other rows.
    Runs, because errors next to each other are alike.

    Args:
        errors: Of each calibration part, of shape ``(T, K * D)``.
        scale: The standard deviations of the series, of shape ``(D,)``.
        caution: As the detector's Gaussian was fitted with.
        smoothing: Over how many rows scores are averaged.

    Returns:
        The scores of all parts, of shape ``(n,)``.
    """
    rows = np.concatenate(errors)
    folds = np.array_split(np.arange(len(rows)), min(N_FOLDS, len(rows)))
    scores = np.empty(len(rows))
    for fold in folds:
        others = np.delete(rows, fold, axis=0) if len(folds) > 1 else rows
        gaussian = Gaussian.fit(others, scale, caution, is_quiet=True)
        scores[fold] = gaussian.log_likelihood(rows[fold])
    parts = np.split(scores, np.cumsum([len(part) for part in errors])[:-1])
    return np.concatenate([moving_average(part, smoothing) for part in parts])


def decide(
    scores: FloatArray,
    errors: FloatArray,
    max_alarm_rate: float,
    block_length: int,
) -> Decision:
    """Return the decision that makes a part of the normal rows alarms.

    Args:
        scores: Of normal data, of shape ``(n,)``, in order.
        errors: Of each series, target minus reconstruction, of shape ``(n, D)``.
        max_alarm_rate: The part.
        block_length: How many rows after each other are alike at most.
    """
    tail = Tail.fit(-scores)
    threshold = -tail.quantile(max_alarm_rate)
    low, high = _interval(scores, max_alarm_rate, block_length)
    decision = Decision(
        max_alarm_rate=max_alarm_rate,
        alarm_threshold=threshold,
        interval=(min(low, threshold), max(high, threshold)),
        tail=tail,
        n_rows=len(scores),
        n_exceedances=int((-scores > tail.body[-1]).sum()),
        error_range=np.array(
            [
                [
                    -Tail.fit(-column).quantile(max_alarm_rate / 2)
                    for column in errors.T
                ],
                [Tail.fit(column).quantile(max_alarm_rate / 2) for column in errors.T],
            ]
        ),
    )
    logger.info(
        "Threshold: a score below %.6g is an anomaly (%.6g to %.6g with a confidence "
        "of %.0f %%), for an alarm on %g of normal rows; from %d rows, %d of them in "
        "the tail.",
        threshold,
        *decision.interval,
        100 * CONFIDENCE,
        max_alarm_rate,
        decision.n_rows,
        decision.n_exceedances,
    )
    return decision


def _interval(
    scores: FloatArray, max_alarm_rate: float, block_length: int
) -> tuple[float, float]:
    """Return where the threshold lies, from what other data could have been drawn.

    Runs of rows are drawn again with replacement (a block bootstrap), so that rows that
    are alike stay together: what depends on its neighbours says less.
    """
    n_blocks = max(1, len(scores) // block_length)
    order = np.argsort(-scores, kind="stable")
    ordered = -scores[order]
    block = order * n_blocks // len(scores)
    random = np.random.default_rng(0)
    thresholds = []
    for _ in range(_N_RESAMPLES):
        counts = np.bincount(random.integers(0, n_blocks, n_blocks), minlength=n_blocks)
        resampled = np.repeat(ordered, counts[block])
        thresholds.append(-Tail.fit(resampled).quantile(max_alarm_rate))
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(thresholds, [outside, 1 - outside])
    return float(low), float(high)
