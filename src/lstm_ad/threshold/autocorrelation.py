"""The autocorrelations of dependent terms, and their sum: how long they depend."""

import itertools
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray

_MAX_LAG = 2**16
"""Longer series are cut into pieces, which bounds the memory of the transform."""

_ITERATIONS, _TOLERANCE = 30, 0.01
"""Of the correction of the autocorrelations for the estimated mean."""


def autocorrelation_time(terms: FloatArray, lengths: Sequence[int]) -> float:
    """Return the integrated autocorrelation time: 1 for independent terms.

    The sum of all autocorrelations, until pairs of them are no longer positive (Geyer,
    1992), corrected for the mean that was estimated from the same terms.

    Args:
        terms: With a mean of 0, of shape ``(n,)``, in order.
        lengths: The number of terms of each file; terms of different files are
            independent.
    """
    return correlogram(terms, lengths)[2]


def correlogram(
    terms: FloatArray, lengths: Sequence[int]
) -> tuple[FloatArray, FloatArray, float]:
    """Return autocorrelations, their weights, and the integrated time.

    Args:
        terms: As for :func:`autocorrelation_time`.
        lengths: As for :func:`autocorrelation_time`.

    Returns:
        For each lag from 0 on, the autocorrelation, corrected for the estimated mean,
        and the number of pairs of terms over that of all terms; and what
        :func:`autocorrelation_time` returns.
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
        return np.ones(1), np.ones(1), 1.0
    # Pairs of terms at each lag, over all terms.
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
    return corrected, weight, time


def _sum_of_positive_pairs(correlation: FloatArray) -> float:
    """Return one plus twice the sum of the autocorrelations from lag 1 on."""
    n_positive, pairs = positive_pairs(correlation)
    return float(2 * np.minimum.accumulate(pairs[:n_positive]).sum() - 1)


def positive_pairs(correlation: FloatArray) -> tuple[int, FloatArray]:
    """Return how many sums of two are positive before one is not, and all sums."""
    n_pairs = len(correlation) // 2
    pairs = correlation[: 2 * n_pairs].reshape(n_pairs, 2).sum(axis=1)
    ends = np.flatnonzero(pairs <= 0)
    return int(ends[0]) if len(ends) else n_pairs, pairs
