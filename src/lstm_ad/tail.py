"""How rare a value is: peaks over a threshold, in closed formulas.

The few largest of many values, as far as they exceed the rest, follow a generalised
Pareto distribution (Balkema and de Haan, 1974; Pickands, 1975), whatever the values
themselves follow. So it can say how rare a value is that lies beyond all that were
seen. Below, where there are values enough, their own quantiles say it.
"""

import dataclasses
import math

import numpy as np

from lstm_ad.axes import FloatArray

MAX_FRACTION = 0.2
"""The largest part of the values that is taken for the tail."""

PRIOR_SHAPE, PRIOR_WEIGHT = 0.5, 10
"""The shape that few exceedances are drawn to, and how many of them it counts as.

It is the heavy tail that squares of Student's t with four degrees of freedom have: a
tail of a few values is believed to be long, so that it raises few false alarms. The
numbers are those of Vehtari, Simpson, Gelman, Yao and Gabry (2024).
"""

N_LEVELS = 65
"""Quantiles that are kept of the values below the tail."""

_RESOLUTION = 1e-9
"""The smallest scale of a tail, relative to its values but for those below 1."""


@dataclasses.dataclass(frozen=True)
class Tail:
    """The distribution of values of which the large ones are rare."""

    body: FloatArray
    """Quantiles, in ascending order, of shape ``(G,)``: those that are exceeded with
    probabilities from 1 down to :attr:`fraction`, in equal steps of the logarithm."""
    fraction: float
    """The part of the values beyond the last quantile: the tail."""
    scale: float
    """The scale of the exceedances' generalised Pareto distribution, positive."""
    shape: float
    """Its shape: positive = heavy, 0 = exponential, negative = there is an end."""

    @classmethod
    def fit(cls, values: FloatArray) -> "Tail":
        """Return the distribution of some values.

        The tail is the largest ``3 sqrt(n)`` of them, and a fifth at most.

        Args:
            values: Of shape ``(n,)``, at least one, in any order. That they may depend
                on their neighbours does not change what they tend to.
        """
        ordered = np.sort(values, kind="stable")  # fast where they are nearly in order
        n_values = len(ordered)
        n_tail = int(min(MAX_FRACTION * n_values, 3 * math.sqrt(n_values)))
        fraction = max(n_tail, 0.5) / n_values
        # The k-th largest of n is exceeded by the part (k - 1/2) / n of all values.
        exceeded = 1 - (np.arange(n_values) + 0.5) / n_values
        body = np.interp(-np.exp(_log_levels(fraction, N_LEVELS)), -exceeded, ordered)
        exceedances = ordered[ordered > body[-1]] - body[-1]
        scale, shape = _fit_exceedances(exceedances)
        smallest = _RESOLUTION * max(1.0, abs(float(body[-1])))
        return cls(body, fraction, max(scale, smallest), shape)

    def log_probability(self, values: FloatArray) -> FloatArray:
        """Return the logarithm of the probability to exceed each value.

        Args:
            values: Of any shape; NaN gives NaN.

        Returns:
            Of the same shape, from 0 (for the smallest value that was seen, and below)
            down to minus infinity (beyond the end that a negative shape has).
        """
        levels = _log_levels(self.fraction, len(self.body))
        result: FloatArray = np.interp(values, self.body, levels)
        excess = np.maximum(values - self.body[-1], 0.0) / self.scale
        if self.shape == 0.0:
            result -= excess
        else:
            with np.errstate(divide="ignore"):  # beyond the end, the logarithm of 0
                steps = np.log1p(np.maximum(self.shape * excess, -1.0))
            result -= steps / self.shape
        return result

    def quantile(self, probability: float) -> float:
        """Return the value that is exceeded with a probability, above 0."""
        log_probability = math.log(probability)
        levels = _log_levels(self.fraction, len(self.body))
        if log_probability >= levels[-1]:
            return float(np.interp(-log_probability, -levels, self.body))
        steps = levels[-1] - log_probability
        if self.shape == 0.0:
            return float(self.body[-1] + self.scale * steps)
        excess = self.scale * math.expm1(self.shape * steps) / self.shape
        return float(self.body[-1] + excess)


def _log_levels(fraction: float, n_levels: int) -> FloatArray:
    """Return the logarithms of the probabilities that the quantiles are kept for."""
    return np.linspace(0.0, math.log(fraction), n_levels)


def _fit_exceedances(exceedances: FloatArray) -> tuple[float, float]:
    """Return scale and shape of the generalised Pareto distribution of exceedances.

    Zhang and Stephens (2009): the mean of the likelihood's parameter over a grid, which
    is as good as maximum likelihood, but cannot fail to converge.

    Args:
        exceedances: Of shape ``(n,)``, positive, in ascending order.
    """
    n = len(exceedances)
    if n == 0:
        return 0.0, PRIOR_SHAPE
    n_grid = 30 + math.isqrt(n)
    quartile, largest = exceedances[(n + 2) // 4 - 1 if n > 1 else 0], exceedances[-1]
    grid = 1 - np.sqrt(n_grid / (np.arange(n_grid) + 0.5))
    theta = 1 / largest + grid / (3 * quartile)
    theta = theta[theta != 0.0]
    shapes = np.log1p(-theta[:, np.newaxis] * exceedances).mean(axis=1)
    log_likelihood = n * (np.log(-theta / shapes) - shapes - 1)
    weights = np.exp(log_likelihood - log_likelihood.max())
    mean_theta = float(theta @ weights / weights.sum())
    if mean_theta == 0.0:
        return float(exceedances.mean()), 0.0
    shape = float(np.log1p(-mean_theta * exceedances).mean())
    scale = -shape / mean_theta
    drawn = (n * shape + PRIOR_WEIGHT * PRIOR_SHAPE) / (n + PRIOR_WEIGHT)
    return scale, drawn
