"""Keep a few absurd errors from deciding what is normal.

One broken reading of -9999 among two thousand would make the standard deviation of its
errors so large that nothing of its series is an anomaly any more. So errors beyond many
robust standard deviations from their median are left out: while the Gaussian is fitted,
they count as the median. On clean data there are none, and nothing changes.

A switch that closes twice in a thousand rows looks alike: most of its errors are nearly
0, and a few are as large as the switch. But there the few are normal. What tells them
apart is the series: a measurement varies by itself, so between its outer tenths lies
more than one value; a switch does not. Of a series that does not vary nothing is left
out.
"""

import dataclasses

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray

MAX_DEVIATIONS = 50.0
"""From how many robust standard deviations on errors are absurd."""

_QUANTILE, _DEVIATIONS = 0.9, 1.645
"""The quantile of absolute errors that a robust standard deviation is estimated from,
and how many standard deviations of a normal distribution it lies at."""

_OUTER = 0.1


@dataclasses.dataclass(frozen=True)
class Limits:
    """How far errors may be from their median and still count."""

    center: FloatArray
    """The median of each entry of an error vector, of shape ``(K * D,)``."""
    far: FloatArray
    """How far from it is absurd, likewise; infinite where nothing is."""

    @classmethod
    def none(cls, n_errors: int) -> "Limits":
        """Return limits that no error exceeds."""
        return cls(np.zeros(n_errors), np.full(n_errors, np.inf))

    @classmethod
    def of(
        cls,
        calibration: FloatArray,
        training: FloatArray,
        varies: npt.NDArray[np.bool_],
        smallest: FloatArray,
    ) -> "Limits":
        """Return the limits for errors of which these are a sample.

        Args:
            calibration: Errors on the calibration rows, of shape ``(m, K * D)``.
            training: Errors on the rows that the LSTM was trained on, of shape
                ``(n, K * D)``; there may be none.
            varies: Which series vary, of shape ``(D,)``: see :func:`varying`.
            smallest: The smallest robust standard deviation of each error, of shape
                ``(K * D,)``.
        """
        center = np.median(calibration, axis=0)
        sizes = np.abs(np.concatenate([calibration, training]) - center)
        deviation = np.quantile(sizes, _QUANTILE, axis=0) / _DEVIATIONS
        far = MAX_DEVIATIONS * np.maximum(deviation, smallest)
        far[~np.tile(varies, len(center) // len(varies))] = np.inf
        return cls(center, far)

    def is_absurd(self, errors: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which errors are beyond the limits, of shape ``(T, K * D)``."""
        absurd: npt.NDArray[np.bool_] = np.abs(errors - self.center) > self.far
        return absurd

    def apply(self, errors: FloatArray) -> FloatArray:
        """Return errors, of shape ``(T, K * D)``, the absurd ones as their median."""
        return np.where(self.is_absurd(errors), self.center, errors)


def varying(values: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which series vary between their outer tenths.

    Args:
        values: Of the rows that the LSTM was trained on, of shape ``(T, D)``.

    Returns:
        Of shape ``(D,)``.
    """
    low, high = np.quantile(values, [_OUTER, 1 - _OUTER], axis=0)
    varies: npt.NDArray[np.bool_] = low < high
    return varies
