"""How many independent rows a series of dependent rows is worth.

Errors of an LSTM depend on the errors before them, and averages of scores even more:
low scores come in clusters. The variance of a mean over dependent rows is that of
independent rows times the integrated autocorrelation time, so ``n`` rows are worth
``n`` divided by it.

It is estimated in two ways, of which the larger counts. Directly, from the large values
alone: right whatever depends on what, but a few clusters hardly tell it, and too small
an estimate raises false alarms. And from the autocorrelations of all values' normal
scores, as if their joint distribution were Gaussian (a Gaussian copula): of a few
clusters it is known far better. A function of a normal score with Hermite coefficients
``c`` has the autocorrelation ``sum c_j^2 r^j / sum c_j^2`` where normal scores have
``r`` (Mehler, 1866).
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from numpy.polynomial.polynomial import polyval

from lstm_ad.axes import FloatArray
from lstm_ad.threshold.autocorrelation import (
    autocorrelation_time,
    correlogram,
    positive_pairs,
)

LARGE = 0.2
"""Fraction of the values whose dependence is estimated: the largest."""

_STEPS = math.log(LARGE / 0.001)
"""From the lower end of the tail to the usual target, in nats."""

_NORMAL = np.linspace(-8.0, 8.0, 8001)
"""Normal scores, in steps for interpolation and integration."""

_ABOVE = np.array([math.erfc(z / math.sqrt(2)) / 2 for z in _NORMAL])
"""The probability that each of them is exceeded."""

_DEGREES = 100
"""Of the Hermite polynomials that stand for a function of a normal score."""


@dataclasses.dataclass(frozen=True)
class Dependence:
    """By which factor the dependence between rows reduces what they are worth."""

    rows: float
    """Rows per independent row, at least 1, where large values are counted."""
    exceedances: float
    """Exceedances per independent exceedance, at least 1, where their sizes matter."""


NONE = Dependence(1.0, 1.0)
"""The dependence of independent rows."""


def estimate_dependence(
    values: FloatArray, lengths: Sequence[int] | None = None
) -> Dependence:
    """Return how much the large ones of some values depend on each other.

    The counts and the sizes of the exceedances depend on each other to different
    degrees. The sizes enter by their ranks, so that heavy tails do not matter.

    Args:
        values: Of shape ``(n,)``, in order.
        lengths: The number of rows of each file, ``n`` in all; rows of different files
            are independent. None if all rows are of one file.
    """
    n_rows = len(values)
    lengths = [n_rows] if lengths is None else lengths
    is_large = values > np.quantile(values, 1 - LARGE)
    n_large = int(is_large.sum())
    if n_large == 0:
        return NONE
    influence = np.zeros(n_rows)
    influence[is_large] = _influence(-np.log1p(-_ranks(values[is_large])))
    influence[is_large] -= influence[is_large].mean()
    counted = autocorrelation_time(
        is_large.astype(np.float64) - n_large / n_rows, lengths
    )
    sized = autocorrelation_time(influence, lengths)
    scores = np.interp(_ranks(values), _ABOVE[::-1], -_NORMAL[::-1])
    if_gaussian = _times_if_gaussian(scores - scores.mean(), lengths)
    sized = max(sized, if_gaussian.exceedances)
    return Dependence(max(counted, sized, if_gaussian.rows), sized)


def _ranks(values: FloatArray) -> FloatArray:
    """Return the fraction of the values below each, ties in the middle, in (0, 1)."""
    ordered = np.sort(values)
    twice = np.searchsorted(ordered, values)
    twice = twice + np.searchsorted(ordered, values, "right")
    result: FloatArray = twice / (2 * len(values) + 1)
    return result


def _influence(size: FloatArray) -> FloatArray:
    """Return how much exceedances move a rare quantile of a nearly exponential tail.

    The influence functions of maximum likelihood are ``3 x - 2 - x^2 / 2`` for the
    logarithm of the scale, and ``x^2 / 2 - 2 x + 1`` for the shape.

    Args:
        size: Of exponential distribution, of any shape.
    """
    of_scale = 3 * size - 2 - size**2 / 2
    of_shape = size**2 / 2 - 2 * size + 1
    return _STEPS * of_scale + _STEPS**2 / 2 * of_shape


@functools.cache
def _hermite_weights() -> tuple[FloatArray, FloatArray]:
    """Return the squared Hermite coefficients of counts and of sizes, 1 in all."""
    density = np.exp(-(_NORMAL**2) / 2)
    density /= density.sum()
    is_large = _ABOVE < LARGE
    size = np.where(is_large, -np.log(_ABOVE / LARGE), 0.0)
    functions = (is_large - LARGE, is_large * _influence(size))
    lower, higher = np.ones_like(_NORMAL), _NORMAL
    weights = np.zeros((2, _DEGREES))  # none of degree 0: their means are 0
    for degree in range(1, _DEGREES):
        for row, function in enumerate(functions):
            weights[row, degree] = (density * function * higher).sum() ** 2
            weights[row, degree] /= (density * function**2).sum()
        lower, higher = (
            higher,
            (_NORMAL * higher - math.sqrt(degree) * lower) / math.sqrt(degree + 1),
        )
    return weights[0], weights[1]


def _times_if_gaussian(scores: FloatArray, lengths: Sequence[int]) -> Dependence:
    """Return the times of the large ones of values whose normal scores these are."""
    correlation, weight, _ = correlogram(scores, lengths)
    positive, _ = positive_pairs(correlation * weight)
    correlation = np.clip(correlation[1 : 2 * positive], 0.0, 1.0)
    correlation = np.minimum.accumulate(correlation)
    weight = weight[1 : len(correlation) + 1]
    counts, sizes = (polyval(correlation, each) for each in _hermite_weights())
    return Dependence(1 + 2 * float(counts @ weight), 1 + 2 * float(sizes @ weight))
