"""How many independent rows a series of dependent rows is worth.

Errors of an LSTM depend on the errors before them, and averages of scores even more:
low scores come in clusters. The variance of a mean over dependent rows is that of
independent rows times the integrated autocorrelation time, so ``n`` rows are worth
``n`` divided by it.
"""

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray

LARGE = 0.2
"""Fraction of the values whose dependence is estimated: the largest."""

MARGIN = 2.0
"""Standard errors, about, that are added to an estimated autocorrelation time: with few
effective rows it is uncertain, and estimates that are too small raise false alarms."""

MAX_INDEPENDENT = 0.5
"""The largest effective number of exceedances, relative to that of all rows. Where low
scores vary smoothly it is 0.45, and short series underestimate their dependence."""

_MAX_LAG = 2**16
"""Longer series are cut into pieces, which bounds the memory of the transform."""

_ITERATIONS, _TOLERANCE = 30, 0.01
"""Of the correction of the autocorrelations for the estimated mean."""


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
    is_large = values > np.quantile(values, 1 - LARGE)
    n_large = int(is_large.sum())
    if n_large == 0:
        return NONE
    large = values[is_large]
    ordered = np.sort(large)
    rank = np.searchsorted(ordered, large) + np.searchsorted(ordered, large, "right")
    size = -np.log1p(-rank / (2 * n_large + 1))  # about exponential, whatever the tail
    sizes = np.zeros(n_rows)
    sizes[is_large] = size - size.mean()
    lengths = [n_rows] if lengths is None else lengths
    share = n_large / n_rows
    counted = autocorrelation_time(is_large.astype(np.float64) - share, lengths)
    sized = autocorrelation_time(sizes, lengths)
    counted = max(counted, sized)
    margin = 1 + MARGIN * math.sqrt(counted / n_rows)
    most = MAX_INDEPENDENT * n_rows / (counted * margin)
    return Dependence(counted * margin, max(sized * margin, n_large / most))


def autocorrelation_time(terms: FloatArray, lengths: Sequence[int]) -> float:
    """Return the integrated autocorrelation time: 1 for independent terms.

    The sum of all autocorrelations, until pairs of them are no longer positive (Geyer,
    1992), corrected for the mean that was estimated from the same terms.

    Args:
        terms: With a mean of 0, of shape ``(n,)``, in order.
        lengths: The number of terms of each file; terms of different files are
            independent.
    """
    n_terms = len(terms)
    ends = np.cumsum(lengths)
    cuts = np.concatenate([np.arange(0, n_terms, _MAX_LAG), ends[:-1]])
    cuts = np.unique(np.append(cuts, n_terms))
    pieces = np.diff(cuts)
    covariance = np.zeros(pieces.max())
    for start, end in itertools.pairwise(cuts.tolist()):
        spectrum = np.fft.rfft(terms[start:end], 2 * (end - start))
        covariance[: end - start] += np.fft.irfft(np.abs(spectrum) ** 2)[: end - start]
    if not covariance[0] > 0:
        return 1.0
    # Pairs of terms at each lag, as a part of all terms.
    longer = len(pieces) - np.searchsorted(np.sort(pieces), np.arange(len(covariance)))
    n_pairs = np.cumsum(longer[::-1])[::-1]
    weight = n_pairs / n_terms
    correlation = covariance / covariance[0] / weight
    time = 1.0
    for _ in range(_ITERATIONS):
        corrected = correlation + (1 - correlation) * min(time / n_terms, 0.5)
        before, time = time, _sum_of_positive_pairs(corrected * weight)
        time = min(max(time, 1.0), max(n_terms / 3, 1.0))
        if abs(time - before) < _TOLERANCE * time:
            break
    return time


def _sum_of_positive_pairs(correlation: FloatArray) -> float:
    """Return one plus twice the sum of the autocorrelations from lag 1 on."""
    n_pairs = len(correlation) // 2
    pairs = correlation[: 2 * n_pairs].reshape(n_pairs, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    pairs = np.minimum.accumulate(pairs[: ends[0] if len(ends) else n_pairs])
    return float(2 * pairs.sum() - 1)
