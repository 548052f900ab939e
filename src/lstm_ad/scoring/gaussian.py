"""The multivariate Gaussian of the reconstruction errors."""

import dataclasses
import functools
import logging
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.model.scaling import name_series
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.correlation import Correlation
from lstm_ad.scoring.incomplete import expected, has_enough
from lstm_ad.scoring.moments import Moments

logger = logging.getLogger(__name__)

RESOLUTION = 1e-5
"""The smallest standard deviation of errors, in standard deviations of the series: the
network computes in single precision."""

UNBOUNDED = 1e100
"""A bound that only keeps the squares of errors finite numbers."""


@dataclasses.dataclass(frozen=True)
class Regularisation:
    """What is estimated otherwise than by maximum likelihood, and how far."""

    floor: float
    """The smallest standard deviation of an error, in those of its series."""
    prior_rows: float
    """Rows of uncorrelated errors that count beside the real ones, per squared entry of
    the error vector: a correlation needs the more rows, the more of them there are."""
    corner: float
    """See :attr:`Gaussian.corner`."""


MAXIMUM_LIKELIHOOD = Regularisation(floor=RESOLUTION, prior_rows=0.0, corner=UNBOUNDED)
"""Nothing but what keeps the density finite: the document's Gaussian."""

WIDE = Regularisation(floor=0.02, prior_rows=2.0, corner=5.0)
"""For error vectors of several reconstructions: wide, with correlations that some
hundred rows cannot tell, with errors of the nearest origin so small on normal data that
a harmless change would outweigh everything, and with errors, after a change of regime,
that a hard bound would make equal; measured in ``benchmarks/README.md``."""


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A multivariate normal distribution of error vectors, N(mean, covariance).

    The paper's model of the errors on normal data (Malhotra et al., section 2).
    """

    mean: FloatArray
    """Of shape ``(K * D,)``, in the units of the series."""
    covariance: FloatArray
    """Of shape ``(K * D, K * D)``, symmetric and positive definite."""
    corner: float = UNBOUNDED
    """From this many standard deviations on, the square of an error grows linearly
    (Huber, 1964), so that one series far outside anything seen before does not hide all
    that the others do, and what is further outside still counts more."""

    @classmethod
    def fit(
        cls,
        errors: Sequence[FloatArray],
        scale: FloatArray,
        regularisation: Regularisation = MAXIMUM_LIKELIHOOD,
        training: Moments | None = None,
        group: ProcessGroup = ALONE,
        names: Sequence[str] | None = (),
    ) -> "Gaussian":
        """Return the Gaussian of maximum likelihood, regularised where it must be.

        The standard deviation of an error is the larger of those on ``errors`` and on
        the rows that the LSTM was trained on: what happens there now and then, such as
        a switch that closes, may not happen in the few calibration rows.

        Two cases have no density of their own and are regularised, with a warning
        that names the series:

        - An error that does not vary (a constant series): its standard deviation is
          raised to ``RESOLUTION`` times that of the series.
        - Errors that depend on each other linearly (duplicated or collinear series,
          or fewer rows than series): the correlation matrix R is shrunk towards the
          identity, ``(1 - a) R + a I``, with the smallest ``a`` that brings its
          condition number down to :data:`~lstm_ad.scoring.correlation.MAX_CONDITION`.
          The variances stay as they are.

        Args:
            errors: Target minus reconstruction on the calibration rows of this process,
                each array of shape ``(T, K * D)``, in the units of the series; at
                least one array, which may have no rows. NaN where a value is missing.
            scale: The standard deviations of the series, of shape ``(D,)``.
            regularisation: What is estimated otherwise than by maximum likelihood.
            training: The moments of errors on the rows that the LSTM was trained on;
                None leaves them out.
            group: The processes that have errors.
            names: What warnings call the series; numbers if there are none. None does
                without warnings.
        """
        moments = Moments.of(errors, group)
        scales = np.tile(scale, len(moments.mean) // len(scale))
        deviation: FloatArray = np.sqrt(moments.variance)
        if training is not None:
            deviation = np.maximum(deviation, training.deviation_from(moments.mean))
        deviation = np.where(moments.n_rows > 0, deviation, scales)
        is_fixed = deviation < RESOLUTION * scales
        deviation = np.maximum(deviation, regularisation.floor * scales)
        standardise = functools.partial(
            _standardised,
            mean=moments.mean,
            deviation=deviation,
            corner=regularisation.corner,
        )
        found = Correlation.of(errors, standardise, regularisation.prior_rows, group)
        if names is not None:
            _warn(is_fixed, found, len(scale), names)
        covariance = found.matrix * np.outer(deviation, deviation)
        return cls(moments.mean, covariance, regularisation.corner)

    def log_likelihood(self, errors: FloatArray) -> FloatArray:
        """Return the log-density of each time step's errors.

        Finite for all finite errors.

        Args:
            errors: Target minus reconstruction, of shape ``(T, K * D)``, in the units
                of the series; NaN where a value is missing.

        Returns:
            Log-likelihood in nats, of shape ``(T,)``; higher is more normal. Where some
            errors are missing, its expected value given the others; NaN where more
            than half are.
        """
        return self.log_likelihood_at(self.distances(errors))

    def distances(self, errors: FloatArray) -> FloatArray:
        """Return the squared Mahalanobis distance of each row's errors from the mean.

        Args:
            errors: As for :meth:`log_likelihood`.

        Returns:
            Of shape ``(T,)``.
        """
        if len(errors) == 1:
            return self.distances(_twice(errors))[:1]
        _, whitening, _ = self._factors
        completed, is_missing = self._completed(errors)
        whitened = completed @ whitening.T
        distances: FloatArray = np.einsum("td,td->t", whitened, whitened)
        if is_missing is not None:
            distances += np.count_nonzero(is_missing, axis=1)
            distances[~has_enough(is_missing)] = np.nan
        return distances

    def log_likelihood_at(self, distances: FloatArray) -> FloatArray:
        """Return the log-density at squared Mahalanobis distances, of their shape."""
        _, _, log_normaliser = self._factors
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
            need not sum to the distance. Missing errors count as what is expected of
            them, so a series without any has a drop of 0; NaN where a row has no
            likelihood.
        """
        if len(errors) == 1:
            return self.distance_drops(_twice(errors), n_series)[:1]
        _, whitening, _ = self._factors
        precision = whitening.T @ whitening
        n_each = len(precision) // n_series
        blocks = precision.reshape(n_each, n_series, n_each, n_series)
        blocks = np.einsum("kdld->dkl", blocks)
        completed, is_missing = self._completed(errors)
        gradients = completed @ precision
        gradients = gradients.reshape(len(errors), n_each, n_series).transpose(2, 1, 0)
        # With P_BB = L L', the drop is the squared norm of L^-1 (P e)_B.
        whitened = np.linalg.solve(np.linalg.cholesky(blocks), gradients)  # (D, K, T)
        drops: FloatArray = np.einsum("dkt,dkt->td", whitened, whitened)
        if is_missing is not None:
            by_series = is_missing.reshape(len(errors), n_each, n_series)
            drops[by_series.all(axis=1)] = 0.0
            drops[~has_enough(is_missing)] = np.nan
        return drops

    def _completed(
        self, errors: FloatArray
    ) -> tuple[FloatArray, npt.NDArray[np.bool_] | None]:
        """Return errors in standard deviations from their mean, large ones less.

        Missing ones are what is expected given the others.

        Returns:
            Of shape ``(T, K * D)``, and which are missing; None if none is.
        """
        deviation, whitening, _ = self._factors
        standardised = _standardised(errors, self.mean, deviation, self.corner)
        is_missing = np.isnan(standardised)
        if not is_missing.any():
            return standardised, None
        return expected(standardised, whitening.T @ whitening), is_missing

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


def _twice(errors: FloatArray) -> FloatArray:
    """Return a single row two times: by itself, other routines compute with it.

    Their last bits differ, and a row's score must not depend on what comes with it.
    """
    return np.repeat(errors, 2, axis=0)


def _standardised(
    errors: FloatArray, mean: FloatArray, deviation: FloatArray, corner: float
) -> FloatArray:
    """Return errors in standard deviations from their mean, large ones less.

    Beyond the corner c, z becomes ``sign(z) sqrt(2 c |z| - c^2)``.
    """
    standardised: FloatArray = (errors - mean) / deviation
    np.maximum(standardised, -UNBOUNDED, out=standardised)  # clip() takes twice as long
    np.minimum(standardised, UNBOUNDED, out=standardised)
    size = np.abs(standardised)
    if (is_far := size > corner).any():
        reduced = np.sqrt(corner * (2 * size - corner), where=is_far, out=size)
        np.copysign(reduced, standardised, where=is_far, out=standardised)
    return standardised


def _warn(
    is_fixed: npt.NDArray[np.bool_],
    correlation: Correlation,
    n_series: int,
    names: Sequence[str],
) -> None:
    """Name the series whose errors have no density of their own."""
    if is_fixed.any():
        logger.warning(
            "The errors of %s do not vary in the calibration part: any other error "
            "will score very low.",
            name_series(np.any(is_fixed.reshape(-1, n_series), axis=0), names),
        )
    if correlation.amount:
        logger.warning(
            "The errors of %s depend on each other linearly in the %d rows of "
            "the calibration part: their correlations are shrunk by %.1e.",
            name_series(
                np.any(correlation.is_dependent.reshape(-1, n_series), axis=0), names
            ),
            correlation.n_rows,
            correlation.amount,
        )
