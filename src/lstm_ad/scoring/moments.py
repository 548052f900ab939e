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

    n_rows: float
    """Rows; 0 if there are none."""
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
                which may have no rows.
            group: The processes that have errors.
        """
        n_rows = group.sum(np.array([float(sum(map(len, errors)))]))[0]
        zero = np.zeros(errors[0].shape[1])
        total = sum((part.sum(axis=0) for part in in_blocks(*errors)), zero)
        mean = group.sum(total) / max(n_rows, 1)
        squares = sum(
            (np.square(part - mean).sum(axis=0) for part in in_blocks(*errors)),
            zero,
        )
        return cls(n_rows, mean, group.sum(squares) / max(n_rows, 1))

    def deviation_from(self, mean: FloatArray) -> FloatArray:
        """Return the root of the mean square about another mean; 0 without rows."""
        if not self.n_rows:
            return np.zeros_like(mean)
        deviation: FloatArray = np.sqrt(self.variance + np.square(self.mean - mean))
        return deviation
