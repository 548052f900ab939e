"""Estimate the correlations of errors, also where some are missing."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.blocks import in_blocks
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.incomplete import expected_products, has_enough

MAX_CONDITION = 1e6
"""The largest ratio between the eigenvalues of the errors' correlation matrix."""

MAX_ITERATIONS = 20
"""Of the expectation-maximisation where errors are missing."""

TOLERANCE = 1e-3
"""It ends when no correlation changes by more."""


@dataclasses.dataclass(frozen=True)
class Correlation:
    """A well-conditioned correlation matrix, and how it came about."""

    matrix: FloatArray
    """Of shape ``(n, n)``."""
    n_rows: int
    """The rows that it is estimated from."""
    amount: float
    """How far it was shrunk to be well-conditioned, from 0 to 1."""
    is_dependent: npt.NDArray[np.bool_]
    """Which errors depend on each other linearly, of shape ``(n,)``."""

    @classmethod
    def of(
        cls,
        errors: Sequence[FloatArray],
        standardise: Callable[[FloatArray], FloatArray],
        prior_rows: float,
        group: ProcessGroup = ALONE,
    ) -> "Correlation":
        """Return the correlations of errors, by maximum likelihood and shrunk.

        Where errors are missing, by expectation-maximisation (Dempster et al., 1977).
        Rows with fewer than half of their errors count nowhere.

        Args:
            errors: Of this process, each of shape ``(T, n)``; NaN where missing.
            standardise: Returns errors in standard deviations from their mean.
            prior_rows: Rows of uncorrelated errors beside them, per squared entry.
            group: The processes that have errors.
        """
        n_errors = errors[0].shape[1]
        found, is_incomplete = None, True
        for _ in range(MAX_ITERATIONS):
            precision = np.linalg.inv(found.matrix) if found else np.eye(n_errors)
            products = np.zeros((n_errors, n_errors))
            counts = np.zeros(2)
            for block in in_blocks(*errors):
                z = standardise(block)
                if np.isnan(z).any():
                    z = z[has_enough(np.isnan(z))]
                    products += expected_products(z, precision)
                    counts[1] += 1
                else:
                    products += z.T @ z
                counts[0] += len(z)
            n_rows, is_incomplete = group.sum(counts)
            before, products = found, group.sum(products)
            if is_incomplete:
                # Expected squares may exceed those of the deviations: without this
                # the matrix of ones on the diagonal would not be positive definite.
                excess = np.sqrt(np.maximum(np.diag(products) / n_rows, 1.0))
                products /= np.outer(excess, excess)
            found = cls._shrunk(products, n_rows, prior_rows)
            if not is_incomplete or (
                before and np.abs(found.matrix - before.matrix).max() < TOLERANCE
            ):
                break
        assert found is not None
        return found

    @classmethod
    def _shrunk(
        cls, products: FloatArray, n_rows: float, prior_rows: float
    ) -> "Correlation":
        """Return what sums of products make, shrunk as far as it must be."""
        matrix = products / n_rows
        np.fill_diagonal(matrix, 1.0)
        n_prior = prior_rows * len(matrix) ** 2
        matrix = _towards_identity(matrix, n_prior / (n_prior + n_rows))
        amount, is_dependent = needed_shrinkage(matrix)
        return cls(_towards_identity(matrix, amount), int(n_rows), amount, is_dependent)


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


def _towards_identity(correlation: FloatArray, amount: float) -> FloatArray:
    """Return ``correlation`` moved towards the identity."""
    shrunk: FloatArray = (1 - amount) * correlation + amount * np.eye(len(correlation))
    return shrunk
