"""The multivariate Gaussian of the reconstruction errors."""

import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.model.scaling import name_series
from lstm_ad.processes import ALONE, ProcessGroup

logger = logging.getLogger(__name__)

MAX_CONDITION = 1e6
"""The largest ratio between the eigenvalues of the errors' correlation matrix."""

RESOLUTION = 1e-5
"""The smallest standard deviation of errors that is believed, in standard deviations
of the series: the network computes in single precision."""

BLOCK_ROWS = 65536
"""Rows that are worked on at a time: what bounds the memory."""

UNBOUNDED = 1e100
"""A bound that only keeps the squares of errors finite numbers."""


@dataclasses.dataclass(frozen=True)
class Caution:
    """How far a Gaussian is kept from believing all that it was fitted to."""

    floor: float
    """The smallest standard deviation of an error, in those of its series."""
    prior_rows: float
    """How many rows of uncorrelated errors are imagined beside the real ones, per entry
    of the error vector: the fewer rows there are, the less their correlations tell."""
    bound: float
    """See :attr:`Gaussian.bound`."""


MAXIMUM_LIKELIHOOD = Caution(floor=RESOLUTION, prior_rows=0.0, bound=UNBOUNDED)
"""Nothing but what keeps the density finite."""

WIDE = Caution(floor=0.02, prior_rows=10.0, bound=20.0)
"""For error vectors of several reconstructions: wide, with correlations that few rows
cannot tell, and with errors of the nearest origin so small on normal data that a
harmless change would outweigh everything; measured in ``benchmarks/README.md``.
"""


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A multivariate normal distribution of error vectors, N(mean, covariance).

    The paper's model of the errors on normal data (Malhotra et al., section 2).
    """

    mean: FloatArray
    """Of shape ``(K * D,)``, in the units of the series."""
    covariance: FloatArray
    """Of shape ``(K * D, K * D)``, symmetric and positive definite."""
    bound: float = UNBOUNDED
    """Errors beyond this many standard deviations are taken as this many, so that one
    series far outside anything seen before does not hide all that the others do."""

    @classmethod
    def fit(
        cls,
        errors: FloatArray,
        scale: FloatArray,
        caution: Caution = MAXIMUM_LIKELIHOOD,
        group: ProcessGroup = ALONE,
        left_out: slice | None = None,
    ) -> "Gaussian":
        """Return the Gaussian of maximum likelihood, regularised where it must be.

        Two cases have no density of their own and are regularised, with a warning
        that names the series:

        - An error that does not vary (a constant series): its standard deviation is
          raised to ``RESOLUTION`` times that of the series.
        - Errors that depend on each other linearly (duplicated or collinear series,
          or fewer rows than series): the correlation matrix R is shrunk towards the
          identity, ``(1 - a) R + a I``, with the smallest ``a`` that brings its
          condition number down to ``MAX_CONDITION``. The variances stay as they are.

        Args:
            errors: Target minus reconstruction, of shape ``(T, K * D)``, in the units
                of the series.
            scale: The standard deviations of the series, of shape ``(D,)``.
            caution: What else keeps it from believing all of the errors.
            group: The processes that have errors. Each pass is finished everywhere
                before the next: squares are of distances from the mean of all errors.
            left_out: Some consecutive rows that it is not fitted to; there are no
                warnings then.
        """
        is_quiet = left_out is not None
        gap = left_out or slice(0, 0)
        zero = np.zeros(errors.shape[1])

        def total(
            of: Callable[[FloatArray], FloatArray], start: FloatArray = zero
        ) -> FloatArray:
            """Return a sum over the rows of all processes, block by block."""
            return group.sum(sum(map(of, _blocks(errors, gap)), start))

        n_own = len(errors) - (gap.stop - gap.start)
        n_rows = int(group.sum(np.array([float(n_own)]))[0])
        mean = total(lambda block: block.sum(axis=0)) / n_rows
        variance = total(lambda block: np.square(block - mean).sum(axis=0)) / n_rows
        deviation: FloatArray = np.sqrt(variance)
        scales = np.tile(scale, errors.shape[1] // len(scale))
        is_fixed = deviation < RESOLUTION * scales
        if is_fixed.any() and not is_quiet:
            logger.warning(
                "The errors of %s do not vary in the calibration part: any other error "
                "will score very low.",
                name_series(np.any(is_fixed.reshape(-1, len(scale)), axis=0)),
            )
        deviation = np.maximum(deviation, caution.floor * scales)

        def products(block: FloatArray) -> FloatArray:
            """Return the sums of the products of errors within the bound."""
            standardised = (block - mean) / deviation
            np.clip(standardised, -caution.bound, caution.bound, out=standardised)
            summed: FloatArray = standardised.T @ standardised
            return summed

        correlation = total(products, np.zeros((len(mean), len(mean)))) / n_rows
        np.fill_diagonal(correlation, 1.0)
        n_imagined = caution.prior_rows * len(correlation)
        correlation = _shrunk(correlation, n_imagined / (n_imagined + n_rows))
        amount, is_dependent = needed_shrinkage(correlation)
        if amount:
            correlation = _shrunk(correlation, amount)
            if not is_quiet:
                logger.warning(
                    "The errors of %s depend on each other linearly in the %d rows of "
                    "the calibration part: their correlations are shrunk by %.1e.",
                    name_series(np.any(is_dependent.reshape(-1, len(scale)), axis=0)),
                    n_rows,
                    amount,
                )
        covariance = correlation * np.outer(deviation, deviation)
        return cls(mean=mean, covariance=covariance, bound=caution.bound)

    def log_likelihood(self, errors: FloatArray) -> FloatArray:
        """Return the log-density of each time step's errors.

        Finite for all finite errors.

        Args:
            errors: Target minus reconstruction, of shape ``(T, K * D)``, in the units
                of the series.

        Returns:
            Log-likelihood in nats, of shape ``(T,)``; higher is more normal.
        """
        _, whitening, log_normaliser = self._factors
        # Squared norm: Mahalanobis distance.
        whitened = self._standardised(errors) @ whitening.T
        distances = np.einsum("td,td->t", whitened, whitened)
        log_likelihood: FloatArray = log_normaliser - 0.5 * distances
        return log_likelihood

    def distance_drops(self, errors: FloatArray, n_series: int) -> FloatArray:
        """Return how much the distance drops if a series is left out, for each.

        The distance is the squared Mahalanobis distance of an error vector e: what
        :meth:`log_likelihood` is linear in. Leaving a series out means all of its
        errors B, and the marginal distribution of the others. With P the inverse of the
        covariance, the drop is then exactly ``(P e)_B' (P_BB)^-1 (P e)_B``, which
        follows from the inverse of a partitioned matrix.

        Args:
            errors: As for :meth:`log_likelihood`, of shape ``(T, K * D)``.
            n_series: ``D``.

        Returns:
            Of shape ``(T, D)``, at least 0. The drops of series that are correlated
            need not sum to the distance.
        """
        _, whitening, _ = self._factors
        precision = whitening.T @ whitening
        n_each = len(precision) // n_series
        blocks = precision.reshape(n_each, n_series, n_each, n_series)
        blocks = np.einsum("kdld->dkl", blocks)
        gradients = self._standardised(errors) @ precision
        gradients = gradients.reshape(len(errors), n_each, n_series).transpose(2, 1, 0)
        # With P_BB = L L', the drop is the squared norm of L^-1 (P e)_B.
        whitened = np.linalg.solve(np.linalg.cholesky(blocks), gradients)  # (D, K, T)
        drops: FloatArray = np.einsum("dkt,dkt->td", whitened, whitened)
        return drops

    def _standardised(self, errors: FloatArray) -> FloatArray:
        """Return errors in standard deviations from their mean, within the bound."""
        deviation, _, _ = self._factors
        standardised: FloatArray = (errors - self.mean) / deviation
        np.clip(standardised, -self.bound, self.bound, out=standardised)
        return standardised

    @functools.cached_property
    def _factors(self) -> tuple[FloatArray, FloatArray, float]:
        """The standard deviations, the whitening matrix and the log-normaliser.

        With covariance = S R S, S the diagonal of standard deviations and R = L L^T,
        the whitening matrix is the inverse of L. Factoring R instead of the
        covariance makes series of 1e30 and of 1e-30 equally well conditioned.
        """
        deviation: FloatArray = np.sqrt(np.diag(self.covariance))
        correlation = self.covariance / np.outer(deviation, deviation)
        lower = np.linalg.cholesky(correlation).astype(np.float64, copy=False)
        whitening = np.linalg.inv(lower).astype(np.float64, copy=False)
        log_normaliser = -(
            np.log(deviation).sum()
            + np.log(np.diag(lower)).sum()
            + 0.5 * len(deviation) * math.log(2 * math.pi)
        )
        return deviation, whitening, float(log_normaliser)


def _blocks(errors: FloatArray, gap: slice) -> Iterator[FloatArray]:
    """Yield all rows but those of a gap, a bounded number at a time."""
    width = gap.stop - gap.start
    for first in range(0, len(errors) - width, BLOCK_ROWS):
        last = min(first + BLOCK_ROWS, len(errors) - width)
        before = errors[first : min(last, gap.start)]
        after = errors[max(first, gap.start) + width : last + width]
        yield np.concatenate([before, after]) if len(before) else after


def needed_shrinkage(
    correlation: FloatArray,
) -> tuple[float, npt.NDArray[np.bool_]]:
    """Return how far a correlation matrix must be shrunk to be well-conditioned.

    Returns:
        How far, from 0 to 1, and whether each error is among those that depend on each
        other linearly.
    """
    eigenvalues, eigenvectors = np.linalg.eigh(correlation)
    smallest, largest = max(eigenvalues[0], 0.0), eigenvalues[-1]
    is_small = eigenvalues < largest / MAX_CONDITION
    is_dependent = (np.abs(eigenvectors[:, is_small]) > 0.1).any(axis=1)
    excess = max(largest - MAX_CONDITION * smallest, 0.0)
    return float(excess / (excess + MAX_CONDITION - 1)), is_dependent


def _shrunk(correlation: FloatArray, amount: float) -> FloatArray:
    """Return ``correlation`` moved towards the identity."""
    shrunk: FloatArray = (1 - amount) * correlation + amount * np.eye(len(correlation))
    return shrunk
