"""What errors of many rows, in many processes, add up to."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.blocks import in_blocks
from lstm_ad.processes import ALONE, ProcessGroup


@dataclasses.dataclass(frozen=True)
class Moments:
    """The number, the mean and the variance of errors: what their rows add up to."""

    n_rows: FloatArray
    """How many of each entry there are, of shape ``(K * D,)``."""
    mean: FloatArray
    """Of shape ``(K * D,)``."""
    variance: FloatArray
    """About that mean, of shape ``(K * D,)``."""

    @classmethod
    def of(
        cls,
        errors: Sequence[FloatArray],
        group: ProcessGroup = ALONE,
    ) -> "Moments":
        """Return the moments of errors, in two passes: squares are around the mean.

        Args:
            errors: Of this process, each of shape ``(T, K * D)``; at least one array,
                which may have no rows. NaN where a value is missing.
            group: The processes that have errors.
        """
        n_rows, total, squares = np.zeros((3, errors[0].shape[1]))
        for block in in_blocks(*errors):
            n_rows += np.count_nonzero(~np.isnan(block), axis=0)
            total += np.nansum(block, axis=0)
        n_rows = group.sum(n_rows)
        mean = group.sum(total) / np.maximum(n_rows, 1)
        for block in in_blocks(*errors):
            squares += np.nansum(np.square(block - mean), axis=0)
        return cls(n_rows, mean, group.sum(squares) / np.maximum(n_rows, 1))

    def deviation_from(self, mean: FloatArray) -> FloatArray:
        """Return the root of the mean square about another mean; 0 without rows."""
        squares = self.variance + np.square(self.mean - mean)
        return np.where(self.n_rows > 0, np.sqrt(squares), 0.0)
