"""Estimate from the errors on normal data which scores are alarms."""

import logging
import math
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.threshold.decision import Decision
from lstm_ad.threshold.dependence import estimate_dependence
from lstm_ad.threshold.posterior import TailPosterior

logger = logging.getLogger(__name__)

CONFIDENCE = 0.95
"""The probability that the threshold's interval contains the true quantile."""

SCALE_IF_FEW = 1.0
"""The smallest scale of a tail of few scores, in nats: about that of errors that are
exactly Gaussian."""


def decide(
    scores: FloatArray,
    errors: FloatArray,
    max_alarm_rate: float,
    lengths: Sequence[int] | None = None,
) -> Decision:
    """Return the decision whose alarms are a given fraction of the normal rows.

    The threshold is a quantile of the predictive distribution: the probability that
    the next normal score is lower is the target, the uncertainty of the estimate
    included.

    Args:
        scores: Of normal data, of shape ``(n,)``, in order.
        errors: Of each series, target minus reconstruction, of shape ``(n, D)``; NaN
            where a value is missing.
        max_alarm_rate: The fraction.
        lengths: The number of rows of each file, ``n`` in all; rows of different files
            are independent. None if all rows are of one file.
    """
    dependence = estimate_dependence(-scores, lengths)
    posterior = TailPosterior.of(-scores, dependence, SCALE_IF_FEW)
    tail = posterior.tail(max_alarm_rate)
    threshold = -tail.quantile(max_alarm_rate)
    high, low = posterior.interval(max_alarm_rate, CONFIDENCE)
    each_side = max_alarm_rate / 2
    decision = Decision(
        max_alarm_rate=max_alarm_rate,
        alarm_threshold=threshold,
        interval=(min(-low, threshold), max(-high, threshold)),
        tail=tail,
        n_rows=len(scores),
        n_independent=round(posterior.n_independent),
        n_exceedances=posterior.n_exceedances,
        error_range=np.array(
            [
                [-_extreme(-column, each_side, lengths) for column in errors.T],
                [_extreme(column, each_side, lengths) for column in errors.T],
            ]
        ),
    )
    logger.info(
        "Threshold %.6g: scores below it are anomalies (target: %g %% of normal rows; "
        "%g %% interval %.6g to %.6g; estimated from %d rows, %d of them in the tail).",
        threshold,
        100 * max_alarm_rate,
        100 * CONFIDENCE,
        *decision.interval,
        decision.n_rows,
        decision.n_exceedances,
    )
    _warn_of_few_rows(decision, dependence.rows)
    return decision


def _extreme(
    errors: FloatArray, probability: float, lengths: Sequence[int] | None
) -> float:
    """Return the error of one series that is exceeded with a probability."""
    is_there = ~np.isnan(errors)
    if not is_there.all():
        bounds = np.cumsum([len(errors)] if lengths is None else lengths)[:-1]
        lengths = [int(part.sum()) for part in np.split(is_there, bounds)]
        errors, lengths = errors[is_there], [length for length in lengths if length]
    posterior = TailPosterior.of(errors, estimate_dependence(errors, lengths))
    return posterior.tail(probability).quantile(probability)


def _warn_of_few_rows(decision: Decision, rows_per_independent_row: float) -> None:
    """Warn where the calibration rows are too few for a rate as low as the target.

    With a target r, rows worth 1 / r independent ones are enough in 99 of 100 cases.
    The warning asks for as many, but for twice the rows that there are at least.
    """
    if decision.is_uncertain:
        low, high = decision.rate_range
        needed = math.ceil(rows_per_independent_row / decision.max_alarm_rate)
        logger.warning(
            "The calibration rows are few for max-alarm-rate %g: the %d of them are "
            "worth only %d independent ones, and the interval's ends have alarm rates "
            "of %.2g and %.2g. The threshold is extrapolated far and probably too low, "
            "so it finds fewer anomalies; use about %d rows, or a larger "
            "max-alarm-rate.",
            decision.max_alarm_rate,
            decision.n_rows,
            decision.n_independent,
            low,
            high,
            max(needed, 2 * decision.n_rows),
        )
