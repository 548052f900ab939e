"""From a score to a decision: a threshold, a severity, and a normal range."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.ranges import Count, Fraction
from lstm_ad.threshold.tail import Tail

BoolArray = npt.NDArray[np.bool_]

MAX_UNCERTAINTY = 50.0
"""The largest factor between the alarm rates of the two ends of the interval that needs
no warning. Every rare target is extrapolated; this says when too far. At the limit, one
calibration in ten gives less than a tenth of the target, and one in ten more than 2.5
times as much (docs/scores.md has the figures for each rate)."""


@dataclasses.dataclass(frozen=True)
class LabelledThreshold:
    """The threshold that finds labelled anomalies best, and how well it does.

    Of all thresholds with the largest F-beta, the one that is nearest to that of the
    alarm rate. Every row that has a score counts by itself, as in the paper (Malhotra
    et al., section 3).
    """

    threshold: float
    """A score below it is an anomaly."""
    beta: float
    """How many times as much as precision recall counts."""
    f_beta: float
    """The weighted harmonic mean of precision and recall, from 0 to 1."""
    precision: float
    """The fraction of the alarms that are labelled; 0 if there is no alarm."""
    recall: float
    """The fraction of the labelled rows that are alarms."""
    n_rows: Count
    """How many rows with a score were labelled, either way."""
    n_anomalies: Count
    """How many of them as anomalies."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a score means, estimated from the scores of normal data.

    The scores behind it are those of the calibration part, each under a Gaussian that
    was fitted to other rows.
    """

    max_alarm_rate: Fraction
    """The target false-alarm rate: the fraction of the normal rows."""
    alarm_threshold: float
    """The score that the next normal row falls below with this probability, all that is
    uncertain included: with few rows it is lower than the quantile."""
    interval: tuple[float, float]
    """The 95 % interval of the score that this fraction of normal rows falls below."""
    tail: Tail
    """The predictive distribution of minus the scores."""
    n_rows: Count
    """How many scores it was estimated from."""
    n_independent: Count
    """How many independent scores they are worth: the effective sample size."""
    n_exceedances: Count
    """How many of them are in the tail."""
    error_range: FloatArray
    """The lowest and the highest normal error of each series, of shape ``(2, D)``, in
    its units; see :meth:`normal_range`."""
    labelled: LabelledThreshold | None = None
    """The threshold chosen by labels, if there were any."""

    @property
    def threshold(self) -> float:
        """The score below which a row is an anomaly: from labels if there were any."""
        return self.labelled.threshold if self.labelled else self.alarm_threshold

    @property
    def rate_range(self) -> tuple[float, float]:
        """The fractions of normal rows below the two ends of the interval."""
        low, high = np.exp(self.tail.log_probability(-np.array(self.interval)))
        return float(low), float(high)

    @property
    def is_uncertain(self) -> bool:
        """Whether the calibration rows are too few for a rate as low as the target.

        The interval says it, rather than the number of effective rows: how many are
        enough depends on the tail. With a rate r it takes about 0.1 / r of them where
        the tail is heavy, 0.4 / r where it is exponential, and 0.5 / r where it is
        light.
        """
        low, high = self.rate_range
        return high > MAX_UNCERTAINTY * low

    @property
    def source(self) -> str:
        """What chose the threshold: ``labels`` or ``max-alarm-rate``."""
        return "labels" if self.labelled else "max-alarm-rate"

    def at(self, max_alarm_rate: float) -> "Decision":
        """Return the decision with another rate of false alarms.

        Its threshold is that of the rate, even if labels chose this one's. The
        intervals stay: they are what was estimated for this rate.

        Args:
            max_alarm_rate: The fraction of normal rows, above 0.
        """
        return dataclasses.replace(
            self,
            max_alarm_rate=max_alarm_rate,
            alarm_threshold=-self.tail.quantile(max_alarm_rate),
            labelled=None,
        )

    def is_anomaly(self, normality_score: FloatArray) -> BoolArray:
        """Return whether each score is below the threshold.

        Args:
            normality_score: Of shape ``(T,)``; a NaN is no anomaly.
        """
        result: BoolArray = normality_score < self.threshold
        return result

    def severity(self, normality_score: FloatArray) -> FloatArray:
        """Return how rare each score is on normal data, from 0 to 1.

        With p the probability of a score as low on normal data, and r the alarm rate,
        it is ``log p / (2 log r)``, and 1 at most: 0 for the most normal scores, a half
        at the threshold of the alarm rate, 1 where p is the square of the rate (with
        0.001: one normal row in a million) and beyond. Where labels chose another
        threshold, it still says this of the alarm rate's.

        Args:
            normality_score: Of shape ``(T,)``.

        Returns:
            Of shape ``(T,)``; the lower the score, the higher; NaN for NaN.
        """
        log_probability = self.tail.log_probability(-normality_score)
        severity = log_probability / (2 * math.log(self.max_alarm_rate))
        result: FloatArray = np.minimum(severity, 1.0)
        return result

    def normal_range(self, reconstruction: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the range of values of each series while it is normal.

        Each series by itself leaves it on about the fraction :attr:`max_alarm_rate` of
        the normal rows, half of them on either side: it is estimated from the tails of
        its errors.

        Args:
            reconstruction: Of shape ``(T, D)``, as in a detector's scores.

        Returns:
            The lowest and the highest values, each of shape ``(T, D)``.
        """
        lower, upper = self.error_range
        return reconstruction + lower, reconstruction + upper
