"""From a score to a decision: a threshold, a severity, and a normal range."""

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.threshold.tail import Tail

BoolArray = npt.NDArray[np.bool_]


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
    """The part of the alarms that are labelled; 0 if there is no alarm."""
    recall: float
    """The part of the labelled rows that are alarms."""
    n_rows: int
    """How many rows with a score were labelled, either way."""
    n_anomalies: int
    """How many of them as anomalies."""


@dataclasses.dataclass(frozen=True)
class Decision:
    """What a score means, learnt from the scores of normal data.

    The scores behind it are those of the calibration part, each under a Gaussian that
    was fitted to other rows.
    """

    max_alarm_rate: float
    """The part of the normal rows that may be alarms."""
    alarm_threshold: float
    """The score that this part of the normal rows falls below."""
    interval: tuple[float, float]
    """Where that score lies with a confidence of 95 %."""
    tail: Tail
    """The distribution of minus the scores."""
    n_rows: int
    """How many scores it was fitted to."""
    n_independent: int
    """How many scores that do not depend on each other would say as much."""
    n_exceedances: int
    """How many of them were its tail."""
    error_range: FloatArray
    """The least and the largest normal error of each series, of shape ``(2, D)``, in
    its units; see :meth:`normal_range`."""
    labelled: LabelledThreshold | None = None
    """What labels chose, if there were any."""

    @property
    def threshold(self) -> float:
        """The score below which a row is an anomaly: the labels' if there were any."""
        return self.labelled.threshold if self.labelled else self.alarm_threshold

    @property
    def source(self) -> str:
        """What chose the threshold: ``labels`` or ``max-alarm-rate``."""
        return "labels" if self.labelled else "max-alarm-rate"

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
        """Return between which values each series stays while it is normal.

        Each series by itself leaves it on about the part :attr:`max_alarm_rate` of the
        normal rows, half of them on either side: the tails of its errors say where.

        Args:
            reconstruction: Of shape ``(T, D)``, as in a detector's scores.

        Returns:
            The least and the largest values, each of shape ``(T, D)``.
        """
        lower, upper = self.error_range
        return reconstruction + lower, reconstruction + upper
