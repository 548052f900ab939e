"""Quantiles of many series at once, each of which is put in order only once."""

import dataclasses

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray


@dataclasses.dataclass(frozen=True)
class Ordered:
    """Values in order, the missing ones last."""

    values: FloatArray
    """Of shape ``(..., n)``, ``n`` at least 1, rising along the last axis."""
    n_values: IndexArray
    """How many are not missing, of shape ``(...,)``."""

    @classmethod
    def of(cls, values: FloatArray) -> "Ordered":
        """Return values of shape ``(..., n)`` in order."""
        in_order = np.sort(values, axis=-1)
        n_values = np.full(values.shape[:-1], values.shape[-1])
        has_missing = np.isnan(in_order[..., -1])
        n_values[has_missing] -= np.isnan(in_order[has_missing]).sum(axis=-1)
        return cls(in_order, n_values)

    def quantiles(self, *probabilities: float) -> FloatArray:
        """Return ``k`` quantiles, interpolated linearly, as numpy does.

        Returns:
            Of shape ``(k, ...)``; NaN where all values are missing.
        """
        shares = np.reshape(probabilities, (-1, *[1] * self.n_values.ndim))
        last = np.maximum(self.n_values - 1, 0)
        at = shares * last
        below = at.astype(np.int64)
        low, high = (
            np.moveaxis(
                np.take_along_axis(self.values, np.moveaxis(rows, 0, -1), axis=-1),
                -1,
                0,
            )
            for rows in (below, np.minimum(below + 1, last))
        )
        weight, step = at - below, high - low
        found: FloatArray = np.where(
            weight < 0.5, low + step * weight, high - step * (1 - weight)
        )
        return found
