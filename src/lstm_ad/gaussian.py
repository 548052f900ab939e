"""The multivariate Gaussian of the reconstruction errors."""

import dataclasses
import functools
import logging
import math

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.scaling import name_series

logger = logging.getLogger(__name__)

MAX_CONDITION = 1e6
"""The largest ratio between the eigenvalues of the errors' correlation matrix."""

_FURTHEST = 1e100
"""Errors beyond this many standard deviations are taken as this many: their squares
would be no finite number, and their order has no meaning."""


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A multivariate normal distribution of error vectors, N(mean, covariance).

    The paper's model of the errors on normal data (Malhotra et al., section 2).
    """

    mean: FloatArray
    """Of shape ``(D,)``, in the units of the series."""
    covariance: FloatArray
    """Of shape ``(D, D)``, symmetric and positive definite."""

    @classmethod
    def fit(cls, errors: FloatArray, resolution: FloatArray) -> "Gaussian":
        """Return the Gaussian of maximum likelihood, regularised where it must be.

        Two cases have no density of their own and are regularised, with a warning
        that names the series:

        - An error that does not vary (a constant series): its standard deviation is
          raised to ``resolution``.
        - Errors that depend on each other linearly (duplicated or collinear series,
          or fewer rows than series): the correlation matrix R is shrunk towards the
          identity, ``(1 - a) R + a I``, with the smallest ``a`` that brings its
          condition number down to ``MAX_CONDITION``. The variances stay as they are.

        Args:
            errors: Target minus reconstruction, of shape ``(T, D)``, in the units of
                the series.
            resolution: The smallest standard deviation that is believed, of shape
                ``(D,)``, positive, in the units of the series.
        """
        mean = errors.mean(axis=0)
        deviation = errors.std(axis=0)
        is_fixed = deviation < resolution
        if is_fixed.any():
            logger.warning(
                "The errors of %s do not vary in the calibration part: any other error "
                "will score very low.",
                name_series(is_fixed),
            )
        deviation = np.maximum(deviation, resolution)
        standardised = (errors - mean) / deviation
        correlation = standardised.T @ standardised / len(errors)
        np.fill_diagonal(correlation, 1.0)
        return cls(
            mean=mean,
            covariance=_well_conditioned(correlation, len(errors))
            * np.outer(deviation, deviation),
        )

    def log_likelihood(self, errors: FloatArray) -> FloatArray:
        """Return the log-density of each time step's errors.

        Finite for all finite errors.

        Args:
            errors: Target minus reconstruction, of shape ``(T, D)``, in the units of
                the series.

        Returns:
            Log-likelihood in nats, of shape ``(T,)``; higher is more normal.
        """
        deviation, whitening, log_normaliser = self._factors
        standardised = (errors - self.mean) / deviation
        np.clip(standardised, -_FURTHEST, _FURTHEST, out=standardised)
        whitened = standardised @ whitening.T  # squared norm: Mahalanobis distance
        distances = np.einsum("td,td->t", whitened, whitened)
        log_likelihood: FloatArray = log_normaliser - 0.5 * distances
        return log_likelihood

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


def _well_conditioned(correlation: FloatArray, n_rows: int) -> FloatArray:
    """Return ``correlation`` shrunk to the identity by no more than it needs."""
    eigenvalues, eigenvectors = np.linalg.eigh(correlation)
    smallest, largest = max(eigenvalues[0], 0.0), eigenvalues[-1]
    excess = largest - MAX_CONDITION * smallest
    if excess <= 0:
        return correlation
    amount = excess / (excess + MAX_CONDITION - 1)
    is_dependent = eigenvalues < largest / MAX_CONDITION
    involved = (np.abs(eigenvectors[:, is_dependent]) > 0.1).any(axis=1)
    logger.warning(
        "The errors of %s depend on each other linearly in the %d rows of the "
        "calibration part: their correlations are shrunk by %.1e.",
        name_series(involved),
        n_rows,
        amount,
    )
    shrunk: FloatArray = (1 - amount) * correlation + amount * np.eye(len(correlation))
    return shrunk
