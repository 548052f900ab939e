"""Error vectors of which some entries are missing.

With z an error vector in standard deviations, P the inverse of its correlations, and o
and m what is there and what is missing, the expected value of the missing part is
``-(P_mm)^-1 P_mo z_o`` and its covariance ``(P_mm)^-1``. So the expected squared
distance of the whole vector, given what is there, is the distance of what is there,
from its marginal distribution, plus the number of missing entries: the same threshold
holds for it, and a gap alone is no anomaly.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.blocks import BLOCK_NUMBERS


def has_enough(is_missing: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which rows have at least half of their errors, of shape ``(T,)``.

    Args:
        is_missing: Which errors are missing, of shape ``(T, n)``.
    """
    n_missing = np.count_nonzero(is_missing, axis=1)
    return np.asarray(2 * n_missing <= is_missing.shape[1])


def expected(standardised: FloatArray, precision: FloatArray) -> FloatArray:
    """Return error vectors with what is expected where entries are missing.

    Args:
        standardised: In standard deviations, NaN where missing, of shape ``(T, n)``.
        precision: The inverse of the correlations, of shape ``(n, n)``.
    """
    found = np.nan_to_num(standardised)
    for _ in _filled(found, np.isnan(standardised), precision):
        pass
    return found


def expected_products(standardised: FloatArray, precision: FloatArray) -> FloatArray:
    """Return what ``z z'`` is expected to be, summed over rows.

    Args:
        standardised: As for :func:`expected`.
        precision: Likewise.

    Returns:
        Of shape ``(n, n)``: the covariances of what is missing included.
    """
    n_errors = len(precision)
    found, total = np.nan_to_num(standardised), np.zeros(n_errors**2)
    for columns, inverse in _filled(found, np.isnan(standardised), precision):
        cells = columns[:, :, np.newaxis] * n_errors + columns[:, np.newaxis]
        total += np.bincount(cells.ravel(), inverse.ravel(), minlength=len(total))
    products: FloatArray = found.T @ found + total.reshape(n_errors, n_errors)
    return products


def _filled(
    found: FloatArray, is_missing: npt.NDArray[np.bool_], precision: FloatArray
) -> Iterator[tuple[IndexArray, FloatArray]]:
    """Fill rows with what is expected of them, a bounded number at a time.

    Args:
        found: Of shape ``(T, n)``, 0 where entries are missing: they are filled.
        is_missing: Which are.
        precision: As for :func:`expected`.

    Yields:
        The missing entries of some rows that have as many, of shape ``(N, m)``, and
        ``(P_mm)^-1``, their covariances, of shape ``(N, m, m)``.
    """
    gradients = found @ precision
    counts = is_missing.sum(axis=1, dtype=np.int64)
    for count in np.unique(counts[counts > 0]).tolist():
        everyone = np.flatnonzero(counts == count)
        size = max(1, BLOCK_NUMBERS // count**2)
        for first in range(0, len(everyone), size):
            rows = everyone[first : first + size]
            columns = np.nonzero(is_missing[rows])[1].reshape(len(rows), count)
            blocks = precision[columns[:, :, np.newaxis], columns[:, np.newaxis]]
            inverse = np.linalg.inv(blocks).astype(np.float64, copy=False)
            at = rows[:, np.newaxis], columns
            found[at] = -np.einsum("tij,tj->ti", inverse, gradients[at])
            yield columns, inverse
