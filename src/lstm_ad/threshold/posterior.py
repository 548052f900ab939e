"""What a sample says of a distribution's tail, and how certain that is.

The scale and the shape of the generalised Pareto distribution, and the probability that
its lower end is exceeded, each have a posterior distribution on a grid. With the
profile parameter ``t = shape / scale`` of Grimshaw (1993) and ``h(t)`` the mean of
``log(1 + t x)`` over the exceedances ``x``, the likelihood of ``k`` of them separates::

    shape = g h(t)    scale = g h(t) / t
    log likelihood = -k (log(h(t) / t) + h(t)) - k (log g + 1 / g)

so ``g`` has an inverse gamma distribution, whatever ``t`` is. ``k`` is the effective
number of exceedances: dependent ones count less.
"""

import dataclasses
import functools
import math

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.threshold.dependence import NONE, Dependence
from lstm_ad.threshold.tail import N_LEVELS, Tail, log_levels

MAX_FRACTION = 0.5
"""The largest fraction of the values that is taken for the tail: the upper half is what
few effective values tell most of the tail by."""

FEW = 10
"""Of fewer different exceedances, the caller says how small their scale may be."""

LIGHTER, HEAVIER = 0.4, 0.8
"""The standard deviations of the prior distribution of the shape below and above 0, the
exponential tail of Gaussian errors. A shape of 0.5 is that of squares of Student's t
with four degrees of freedom: few values leave it possible."""

MIN_SHAPE, MAX_SHAPE = -0.5, 1.0
"""The range of the shape. 1 is that of squares of Student's t with two degrees of
freedom: heavier tails are a few rows that are not normal, which must not move the
threshold out of reach of all others. Exceedances that no such shape has are cut."""

_RESOLUTION = 1e-9
"""The smallest scale of a tail, relative to its values but for those below 1."""

_MAX_EXCEEDANCES = 10_000
"""Of more, as many in equal steps of rank give the likelihood."""

_N_COARSE, _N_PROFILE, _N_SCALE, _N_FRACTION = 50, 40, 25, 15
"""Points of the grids."""

_BISECTIONS = 60


@dataclasses.dataclass(frozen=True)
class TailPosterior:
    """The posterior distribution of the tail of some values."""

    body: FloatArray
    """See :attr:`Tail.body`."""
    fraction: float
    """See :attr:`Tail.fraction`."""
    scale: FloatArray
    """Scales of the generalised Pareto distribution, of shape ``(P, G)``."""
    shape: FloatArray
    """Shapes, none of them 0, likewise."""
    weight: FloatArray
    """The probability of each pair of them, likewise, 1 in all."""
    n_independent: float
    """How many independent values the sample is worth."""
    n_exceedances: int
    """How many values are in the tail."""

    @classmethod
    def of(
        cls,
        values: FloatArray,
        dependence: Dependence = NONE,
        scale_if_few: float = 0.0,
    ) -> "TailPosterior":
        """Return what some values say of their tail.

        The tail is ``3 sqrt(n d)`` of the ``n`` values, with ``d`` of them worth one
        independent one, but half of them at most.

        Args:
            values: Of shape ``(n,)``, at least one, in any order.
            dependence: How much the large ones depend on each other.
            scale_if_few: The smallest scale of a tail of fewer than ten different
                exceedances, which cannot tell their scale themselves.
        """
        ordered = np.sort(values, kind="stable")  # fast where they are nearly in order
        n_values = len(ordered)
        n_tail = 3 * math.sqrt(n_values * dependence.rows)
        n_tail = min(MAX_FRACTION * n_values, n_tail)
        fraction = n_tail / n_values
        # The k-th largest of n is exceeded by the fraction (k - 1/2) / n of all values.
        exceeded = 1 - (np.arange(n_values) + 0.5) / n_values
        levels = log_levels(fraction, N_LEVELS)
        body = np.interp(-np.exp(levels), -exceeded, ordered)
        # Differences below what double precision resolves are none.
        smallest = _RESOLUTION * max(1.0, abs(float(body[-1])))
        exceedances = ordered[ordered > body[-1] + smallest] - body[-1]
        if len(np.unique(exceedances)) < FEW:
            smallest = max(smallest, scale_if_few)
        n_independent = n_values / dependence.rows
        n_effective = max(len(exceedances) / dependence.exceedances, 1.0)
        return cls(
            body,
            fraction,
            *_grid(exceedances, n_effective, smallest),
            n_independent,
            len(exceedances),
        )

    def tail(self, probability: float) -> Tail:
        """Return the predictive distribution: that of another value, all considered.

        It is a mixture of generalised Pareto distributions; the one that is returned
        agrees with it at a probability (if that is small enough to be in the tail) and
        half way there.
        """
        probability = min(probability, self.fraction / 10)
        steps = math.log(self.fraction / probability)
        half = self._predictive_excess(math.sqrt(probability * self.fraction))
        whole = self._predictive_excess(probability)
        shape = math.log(max(whole / half - 1, math.exp(MIN_SHAPE * steps / 2)))
        shape /= steps / 2
        if abs(shape) * steps < _RESOLUTION:
            return Tail(self.body, self.fraction, whole / steps, 0.0)
        scale = whole * shape / math.expm1(shape * steps)
        return Tail(self.body, self.fraction, scale, shape)

    def interval(self, probability: float, confidence: float) -> tuple[float, float]:
        """Return where the value lies that is exceeded with a probability."""
        fractions, weights = _fraction_grid(
            self.n_independent, max(self.fraction, probability)
        )
        fractions = fractions * min(1.0, self.fraction / probability)
        steps = np.log(fractions / probability)
        levels = log_levels(self.fraction, N_LEVELS)
        within = np.interp(steps - levels[-1], -levels, self.body)
        growth = np.maximum(steps, 0.0)[:, np.newaxis, np.newaxis]
        excess = self.scale * np.expm1(self.shape * growth) / self.shape
        value = np.where(growth > 0, self.body[-1] + excess, within[:, None, None])
        order = np.argsort(value, axis=None)
        weight = (weights[:, np.newaxis, np.newaxis] * self.weight).ravel()[order]
        ends = (0.5 - confidence / 2, 0.5 + confidence / 2)
        middle = np.cumsum(weight) - weight / 2
        low, high = np.interp(ends, middle, value.ravel()[order])
        return float(low), float(high)

    @functools.cached_property
    def _mean_fraction(self) -> float:
        """The mean of the probability that the lower end of the tail is exceeded."""
        fractions, weights = _fraction_grid(self.n_independent, self.fraction)
        return float(fractions @ weights)

    def _predictive_excess(self, probability: float) -> float:
        """Return by how much another value exceeds the tail's lower end."""
        low, high = 0.0, float((self.weight * self.scale).sum())
        while self._survival(high) > probability:
            low, high = high, 2 * high
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            if self._survival(middle) > probability:
                low = middle
            else:
                high = middle
        return high

    def _survival(self, excess: float) -> float:
        """Return the probability that another value has a larger excess."""
        growth = np.maximum(self.shape * (excess / self.scale), -1.0)
        with np.errstate(divide="ignore"):  # beyond a bound, the logarithm of 0
            survival = np.exp(-np.log1p(growth) / self.shape)
        return self._mean_fraction * float((self.weight * survival).sum())


def _grid(
    exceedances: FloatArray, n_effective: float, smallest: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return scales, shapes, and the probability of each pair of them.

    Args:
        exceedances: Of shape ``(k,)``, positive, in ascending order.
        n_effective: How many independent ones they are worth, at least 1.
        smallest: The smallest scale.
    """
    if len(exceedances) == 0:
        exceedances = np.array([smallest])
    if len(exceedances) > _MAX_EXCEEDANCES:
        taken = np.linspace(0, len(exceedances) - 1, _MAX_EXCEEDANCES)
        exceedances = exceedances[taken.astype(np.int64)]
    # With a shape of 1, the largest of k is about k / 3 times their upper quartile.
    largest = 3 * len(exceedances) * np.quantile(exceedances, 0.75)
    unit = float(np.median(exceedances))
    relative = np.minimum(exceedances, largest) / unit
    unit = max(unit, smallest)
    width = 1 / math.sqrt(n_effective)
    log_g = np.linspace(-3.5 * width, 3.5 * width + 3 * width**2, _N_SCALE)
    log_weight = -n_effective * (log_g + np.exp(-log_g))
    # The profile parameter has a lower bound, near which the grid is dense.
    bound = (1 - 1e-6) / relative[-1]
    distance = np.geomspace(min(1e-4, bound / 100), 60.0, _N_COARSE)
    for n_points in (_N_PROFILE, 0):
        parameter = distance - bound
        parameter[np.abs(parameter) < 1e-12 * bound] = 1e-12 * bound  # 0 has no shape
        profile = np.log1p(parameter[:, np.newaxis] * relative).mean(axis=1)
        log_scale = np.log(profile / parameter)
        log_likelihood = -n_effective * (log_scale + profile) + np.log(distance)
        shape = np.exp(log_g) * profile[:, np.newaxis]
        scale = np.exp(log_g + log_scale[:, np.newaxis])
        log_posterior = log_likelihood[:, np.newaxis] + log_weight + np.log(scale)
        log_posterior -= (shape / np.where(shape < 0, LIGHTER, HEAVIER)) ** 2 / 2
        is_possible = (shape >= MIN_SHAPE) & (shape <= MAX_SHAPE)
        log_posterior[~is_possible] = -np.inf
        weight = np.exp(log_posterior - log_posterior.max())
        if n_points:  # once more, where the probability is
            likely = np.flatnonzero(weight.sum(axis=1) > 1e-5)
            ends = max(likely[0] - 1, 0), min(likely[-1] + 1, _N_COARSE - 1)
            first, last = distance[list(ends)]
            distance = np.geomspace(first, last, n_points)
    # What is impossible has no weight, but would overflow.
    shape = np.clip(shape, MIN_SHAPE, MAX_SHAPE)
    return scale * unit, shape, weight / weight.sum()


def _fraction_grid(n_independent: float, fraction: float) -> tuple[FloatArray, ...]:
    """Return probabilities of an event that was observed in a fraction of the rows.

    Their weights are those of the posterior, a beta distribution (Jeffreys' prior).
    """
    successes = n_independent * fraction + 0.5
    failures = n_independent * (1 - fraction) + 0.5
    width = math.sqrt(1 / successes + 1 / failures)
    logit = math.log(successes / failures) + width * np.linspace(-4.5, 4.5, _N_FRACTION)
    log_weight = successes * logit
    log_weight -= (successes + failures) * np.logaddexp(0.0, logit)
    weight = np.exp(log_weight - log_weight.max())
    return 1 / (1 + np.exp(-logit)), weight / weight.sum()
