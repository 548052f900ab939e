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
"""The largest part of the values that is taken for the tail, where there are many."""

FEW = 10
"""Exceedances that a tail has at least, as long as they are not more than half."""

PRIOR_SHAPE, PRIOR_WEIGHT = 0.5, 5
"""The shape that few exceedances are drawn to, and how many of them it counts as.

It is the heavy tail that squares of Student's t with four degrees of freedom have: a
tail of a few values is believed to be long, so that it raises few false alarms. This is
the prior of Vehtari, Simpson, Gelman, Yao and Gabry (2024) with half of its weight:
with all of it, few rows of Gaussian errors raise a quarter of the alarms asked for, and
heavy-tailed ones hardly fewer.
"""

MAX_SHAPE = 1.0
"""The heaviest tail that is believed: that of squares of Student's t with two degrees
of freedom. What looks heavier is a few rows that are not normal: they must not move the
threshold out of reach of all others."""

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
    def fit(
        cls,
        values: FloatArray,
        n_alike: float = 1.0,
        scale_if_few: float = 0.0,
        prior_weight: float = PRIOR_WEIGHT,
    ) -> "Tail":
        """Return the distribution of some values.

        The tail is ``3 sqrt(n n_alike)`` of the ``n`` values: a fifth at most and ten
        at least, or half of them if there are fewer than twenty.

        Args:
            values: Of shape ``(n,)``, at least one, in any order.
            n_alike: How many large values come together, on average; as many count as
                one. See :func:`mean_cluster_size`.
            scale_if_few: The smallest scale of a tail of fewer than ten different
                exceedances, which cannot tell their scale themselves.
            prior_weight: How many exceedances :data:`PRIOR_SHAPE` counts as.
        """
        ordered = np.sort(values, kind="stable")  # fast where they are nearly in order
        n_values = len(ordered)
        n_tail = min(MAX_FRACTION * n_values, 3 * math.sqrt(n_values * n_alike))
        n_tail = max(n_tail, min(FEW, n_values / 2))
        fraction = n_tail / n_values
        # The k-th largest of n is exceeded by the part (k - 1/2) / n of all values.
        exceeded = 1 - (np.arange(n_values) + 0.5) / n_values
        body = np.interp(-np.exp(_log_levels(fraction, N_LEVELS)), -exceeded, ordered)
        # Differences below what double precision resolves are none.
        smallest = _RESOLUTION * max(1.0, abs(float(body[-1])))
        exceedances = ordered[ordered > body[-1] + smallest] - body[-1]
        scale, shape = _fit_exceedances(exceedances)
        if len(exceedances):
            n_independent = len(exceedances) / n_alike
            shape = n_independent * shape + prior_weight * PRIOR_SHAPE
            shape /= n_independent + prior_weight
        if len(np.unique(exceedances)) < FEW:
            smallest = max(smallest, scale_if_few)
        return cls(body, fraction, max(scale, smallest), min(shape, MAX_SHAPE))

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


def mean_cluster_size(values: FloatArray) -> float:
    """Return how many large values come together, on average: 1 if they come apart.

    One over the extremal index of the largest fifth, by the gaps between them (Ferro
    and Segers, 2003): where values depend on those before, large ones come in clusters,
    and a cluster says hardly more than one value.

    Args:
        values: Of shape ``(n,)``, in order.
    """
    is_large = values > np.quantile(values, 1 - MAX_FRACTION)
    gaps = np.diff(np.flatnonzero(is_large)).astype(np.float64)
    if len(gaps) == 0:
        return 1.0
    first, second = (gaps, gaps) if gaps.max() <= 2 else (gaps - 1, gaps - 2)
    index = 2 * first.sum() ** 2 / (len(gaps) * (first @ second))
    return float(1 / min(index, 1.0))


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
    n_values = len(exceedances)
    if n_values == 0:
        return 0.0, PRIOR_SHAPE
    n_grid = 30 + math.isqrt(n_values)
    quartile = exceedances[max(round(n_values / 4) - 1, 0)]
    grid = 1 - np.sqrt(n_grid / (np.arange(n_grid) + 0.5))
    theta = 1 / exceedances[-1] + grid / (3 * quartile)
    theta = theta[theta != 0.0]  # 0 is the exponential distribution: its own formula
    shapes = np.log1p(-theta[:, np.newaxis] * exceedances).mean(axis=1)
    log_likelihood = n_values * (np.log(-theta / shapes) - shapes - 1)
    weights = np.exp(log_likelihood - log_likelihood.max())
    mean = float(theta @ weights / weights.sum())
    shape = float(np.log1p(-mean * exceedances).mean())
    return (-shape / mean if mean else float(exceedances.mean())), shape
