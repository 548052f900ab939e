"""Whether new rows are still those of the load that a model was trained on.

Over the last :data:`WINDOW_ROWS` rows, two things are compared: how rare the scores
are with how rare they were on the calibration rows, and the mean of each series with
that of the training rows. Either side is a sample of rows that depend on each other, so
what chance alone gives is subtracted: new normal data give about 0.

==============  =====================================================================
scores          population stability index of the bins of :data:`RANKS`, the rarest
                two together: the sum of (p - q) ln(p / q). By chance it is that of a
                chi-squared variable over the effective number of rows, on either side
series          difference of the means in training deviations, d. By chance it is
                that of the means of dependent rows, whose long-run variance is that
                of the means of blocks
index           the larger of the first and of d squared, which is the population
                stability index of a normal distribution whose mean moves by d
==============  =====================================================================

A fault is no drift: each number is the smallest that is left without any two blocks of
rows that follow each other, so that no fault of :data:`BLOCK_ROWS` rows is in it.
"""

from __future__ import annotations

import dataclasses
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray

if TYPE_CHECKING:
    # A type alone: a server that counts must not load ONNX Runtime before its forks.
    from lstm_ad.scoring.detector import LSTMAD

RANKS = (0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Probabilities, on calibration data, of scores as low: the upper ends of the bins."""

WINDOW_ROWS = 10_000
"""The last rows, which are compared."""

BLOCK_ROWS = 250
"""Rows that are summed up together: more than a fault of 100 rows disturbs."""

MIN_BLOCKS = 10
"""With fewer blocks there is no index: two are left out, and the rest have to tell how
much means vary."""

FAR = 10.0
"""Values count as at most this many training deviations from the mean, so that a few
broken readings do not move it."""

CHANCE = 0.05
"""The probability that chance alone gives more than is subtracted."""

_EXPECTED = np.array([0.01, 0.09, 0.15, 0.25, 0.25, 0.15, 0.1])
"""The fractions of the bins of the index."""

_CHI_SQUARED = 12.592
"""What a chi-squared variable of a degree of freedom less than bins exceeds with the
probability :data:`CHANCE`."""


@dataclasses.dataclass(frozen=True)
class Reference:
    """What new rows are compared with."""

    edges: FloatArray
    """The scores at all ``RANKS``, rising, of shape ``(R,)``; infinite at the last."""
    mean: FloatArray
    """Of each series on the training rows, of shape ``(D,)``."""
    scale: FloatArray
    """The deviation of each, of shape ``(D,)``."""
    n_trained: int
    """The training rows."""
    n_independent: int
    """The independent rows that the calibration rows are worth, at least 1."""
    dependence: float
    """Rows per independent row, at least 1."""

    @classmethod
    def of(cls, detector: LSTMAD, n_trained: int) -> Reference:
        """Return what a detector knows of normal rows.

        Args:
            detector: It was trained on them.
            n_trained: The rows that its LSTM was trained on.
        """
        decision, level = detector.decision, detector.level
        n_independent = max(decision.n_independent, 1)
        return cls(
            np.array([-decision.tail.quantile(rank) for rank in RANKS[:-1]] + [np.inf]),
            level.mean,
            level.scale,
            max(n_trained, 1),
            n_independent,
            max(decision.n_rows / n_independent, 1.0),
        )

    def bins(self, normality_score: FloatArray) -> IndexArray:
        """Return the bin of ``RANKS`` that each score is in, ``R`` for NaN.

        Args:
            normality_score: Of shape ``(n,)``.
        """
        return np.searchsorted(self.edges, normality_score)  # NaN is beyond infinity

    def standardised(self, values: FloatArray) -> FloatArray:
        """Return values, of shape ``(n, D)``, in deviations, at most ``FAR``."""
        deviations = (values - self.mean) / self.scale
        return np.minimum(np.maximum(deviations, -FAR), FAR)


def count(bins: IndexArray) -> IndexArray:
    """Return how many scores are in each bin of ``RANKS``, and how many are NaN.

    Args:
        bins: What :meth:`Reference.bins` returns.

    Returns:
        Of shape ``(R + 1,)``.
    """
    return np.bincount(bins, minlength=len(RANKS) + 1)


@dataclasses.dataclass(frozen=True)
class Blocks:
    """What is kept of the last rows: sums over blocks of them, in order of time."""

    ranks: FloatArray
    """Scores in each bin of ``RANKS``, of shape ``(B, R)``."""
    n_values: FloatArray
    """Values of each series that are not missing, of shape ``(B, D)``."""
    sums: FloatArray
    """Sums of the standardised values, of shape ``(B, D)``."""


def series_shift(blocks: Blocks, n_trained: int) -> FloatArray | None:
    """Return how far the mean of each series is from that of the training rows.

    Args:
        blocks: The last rows.
        n_trained: The training rows.

    Returns:
        In training deviations, less what chance gives, of shape ``(D,)``; None if there
        are too few rows.
    """
    if len(blocks.sums) < MIN_BLOCKS:
        return None
    there = np.maximum(blocks.n_values, 1)  # of a block without values, the sum is 0
    n_rows = np.maximum(_without_neighbours(blocks.n_values), 1)
    mean = _without_neighbours(blocks.sums) / n_rows
    squares = _without_neighbours(blocks.sums**2 / there) - n_rows * mean**2
    freedom = len(blocks.sums) - 3
    variance = np.maximum(squares, 0.0) / freedom * (1 / n_rows + 1 / n_trained)
    chance = _two_sided(CHANCE / blocks.sums.shape[1], freedom) * np.sqrt(variance)
    shift: FloatArray = np.maximum(np.abs(mean) - chance, 0.0).min(axis=0)
    return shift


def score_shift(blocks: Blocks, reference: Reference) -> float | None:
    """Return the population stability index of the scores, less what chance gives.

    Args:
        blocks: The last rows.
        reference: The calibration rows.

    Returns:
        At least 0; None if there are too few rows.
    """
    if len(blocks.ranks) < MIN_BLOCKS:
        return None
    counts = np.column_stack([blocks.ranks[:, :2].sum(axis=1), blocks.ranks[:, 2:]])
    counts = _without_neighbours(counts) / reference.dependence
    n_rows = counts.sum(axis=1, keepdims=True)
    # An independent row per bin as expected: an empty bin says only so much.
    n_bins = len(_EXPECTED)
    found = (counts + n_bins * _EXPECTED) / (n_rows + n_bins)
    index = ((found - _EXPECTED) * np.log(found / _EXPECTED)).sum(axis=1)
    uncertain = 1 / np.maximum(n_rows[:, 0], 1.0) + 1 / reference.n_independent
    return max(0.0, float(np.min(index - _CHI_SQUARED * uncertain)))


def drift_index(scores: float | None, series: FloatArray | None) -> float | None:
    """Return one number for the drift: 0.1 is worth a look, 0.25 a new training.

    Args:
        scores: From :func:`score_shift`.
        series: From :func:`series_shift`.

    Returns:
        At least 0; None if there are too few rows for either.
    """
    found = [] if scores is None else [scores]
    if series is not None:
        found.append(float(np.max(series)) ** 2)
    return max(found, default=None)


def _without_neighbours(blocks: FloatArray) -> FloatArray:
    """Return the sums over all blocks but two neighbours, of shape ``(B - 1, ...)``."""
    rest: FloatArray = blocks.sum(axis=0) - blocks[:-1] - blocks[1:]
    return rest


def _two_sided(probability: float, freedom: int) -> float:
    """Return about what a t variable's magnitude exceeds with a probability.

    The first two terms of its expansion around the normal distribution (Cornish and
    Fisher): within 10 % for 1 000 series and 7 degrees of freedom.
    """
    z = NormalDist().inv_cdf(1 - probability / 2)
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return z + first + second
