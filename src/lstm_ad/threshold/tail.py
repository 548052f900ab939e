"""How rare a value is: the distribution of values of which the large ones are rare.

The few largest of many values, as far as they exceed the rest, follow a generalised
Pareto distribution (Balkema and de Haan, 1974; Pickands, 1975), whatever the values
themselves follow. So it says how rare a value is that lies beyond all that were
observed. Below, where there are enough values, it is their own quantiles.
"""

import dataclasses
import math

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.ranges import Fraction, Positive

N_LEVELS = 65
"""Quantiles that are kept of the values below the tail."""


@dataclasses.dataclass(frozen=True)
class Tail:
    """The distribution of values of which the large ones are rare."""

    body: FloatArray
    """Quantiles, in ascending order, of shape ``(G,)``: those that are exceeded with
    probabilities from 1 down to :attr:`fraction`, in equal steps of the logarithm."""
    fraction: Fraction
    """The fraction of the values beyond the last quantile: the tail."""
    scale: Positive
    """The scale of the exceedances' generalised Pareto distribution, positive."""
    shape: float
    """Its shape: positive = heavy, 0 = exponential, negative = bounded."""

    def log_probability(self, values: FloatArray) -> FloatArray:
        """Return the logarithm of the probability to exceed each value.

        Args:
            values: Of any shape; NaN gives NaN.

        Returns:
            Of the same shape, from 0 (for the smallest value of the sample, and below)
            down to minus infinity (beyond the bound that a negative shape has).
        """
        levels = log_levels(self.fraction, len(self.body))
        result: FloatArray = np.interp(values, self.body, levels)
        excess = np.maximum(values - self.body[-1], 0.0) / self.scale
        if self.shape == 0.0:
            result -= excess
        else:
            with np.errstate(divide="ignore"):  # beyond the bound, the logarithm of 0
                steps = np.log1p(np.maximum(self.shape * excess, -1.0))
            result -= steps / self.shape
        return result

    def quantile(self, probability: float) -> float:
        """Return the value that is exceeded with a probability, above 0."""
        log_probability = math.log(probability)
        levels = log_levels(self.fraction, len(self.body))
        if log_probability >= levels[-1]:
            return float(np.interp(-log_probability, -levels, self.body))
        steps = levels[-1] - log_probability
        if self.shape == 0.0:
            return float(self.body[-1] + self.scale * steps)
        excess = self.scale * math.expm1(self.shape * steps) / self.shape
        return float(self.body[-1] + excess)


def log_levels(fraction: float, n_levels: int) -> FloatArray:
    """Return the logarithms of the probabilities that the quantiles are kept for."""
    return np.linspace(0.0, math.log(fraction), n_levels)
