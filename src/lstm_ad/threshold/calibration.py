"""Learn from the errors on normal data which scores are to be alarms."""

import logging
import math

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.threshold.decision import Decision
from lstm_ad.threshold.tail import Tail, mean_cluster_size

logger = logging.getLogger(__name__)

CONFIDENCE = 0.95
"""How certain it is that the threshold lies within its interval."""

SCALE_IF_FEW = 1.0
"""The smallest scale of a tail of few scores, in nats: about that of errors that are
exactly Gaussian."""

_N_RESAMPLES = 200
"""What the interval is estimated from."""

_FEWEST = 10
"""Runs of rows that are drawn again, even where longer ones would be right: drawing the
only one there is would look like certainty."""


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
        block_length: How many rows after each other may be alike.
    """
    n_alike = mean_cluster_size(-scores)
    tail = Tail.fit(-scores, n_alike, SCALE_IF_FEW)
    threshold = -tail.quantile(max_alarm_rate)
    low, high = _interval(scores, n_alike, max_alarm_rate, block_length)
    decision = Decision(
        max_alarm_rate=max_alarm_rate,
        alarm_threshold=threshold,
        interval=(min(low, threshold), max(high, threshold)),
        tail=tail,
        n_rows=len(scores),
        n_independent=round(len(scores) / n_alike),
        n_exceedances=int((-scores > tail.body[-1]).sum()),
        error_range=np.array(
            [
                [-_extreme(-column, max_alarm_rate / 2) for column in errors.T],
                [_extreme(column, max_alarm_rate / 2) for column in errors.T],
            ]
        ),
    )
    logger.info(
        "Threshold: a score below %.6g is an anomaly, which %g of normal rows are to "
        "be; with a confidence of %.0f %% it lies from %.6g to %.6g; learnt from %d "
        "rows, %d of them in the tail.",
        threshold,
        max_alarm_rate,
        100 * CONFIDENCE,
        *decision.interval,
        decision.n_rows,
        decision.n_exceedances,
    )
    needed = math.ceil(n_alike / max_alarm_rate)
    if decision.n_rows < needed:
        logger.warning(
            "The calibration part has few rows for a max-alarm-rate of %g: %d, worth "
            "%d that do not depend on each other; about %d would be enough. Until then "
            "the threshold is a cautious guess; a larger max-alarm-rate needs fewer.",
            max_alarm_rate,
            decision.n_rows,
            decision.n_independent,
            needed,
        )
    return decision


def _extreme(errors: FloatArray, probability: float) -> float:
    """Return the error of one series that is exceeded with a probability."""
    return Tail.fit(errors, mean_cluster_size(errors)).quantile(probability)


def _interval(
    scores: FloatArray, n_alike: float, max_alarm_rate: float, block_length: int
) -> tuple[float, float]:
    """Return where the threshold lies, from what other data could have been drawn.

    Runs of rows are drawn again with replacement (a block bootstrap), so that rows that
    are alike stay together: what depends on its neighbours says less. What is believed
    of a tail beforehand is left out: it would make the interval look too certain.
    """
    n_blocks = max(math.ceil(len(scores) / block_length), min(_FEWEST, len(scores)))
    order = np.argsort(-scores, kind="stable")
    ordered, block = -scores[order], order * n_blocks // len(scores)
    random = np.random.default_rng(0)
    thresholds = []
    for _ in range(_N_RESAMPLES):
        counts = np.bincount(random.integers(0, n_blocks, n_blocks), minlength=n_blocks)
        values = np.repeat(ordered, counts[block])
        drawn = Tail.fit(values, n_alike, SCALE_IF_FEW, prior_weight=0)
        thresholds.append(-drawn.quantile(max_alarm_rate))
    outside = (1 - CONFIDENCE) / 2
    low, high = np.quantile(thresholds, [outside, 1 - outside])
    return float(low), float(high)
