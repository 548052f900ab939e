"""Quantiles of many series at once: each is put in order as far as it must be."""

import dataclasses

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray

_RUN = 256  # processors put so few values in order several times as fast as more


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
        last = np.maximum(self.n_values - 1, 0)
        return np.stack([self.at(share * last) for share in probabilities])

    def at(self, places: FloatArray) -> FloatArray:
        """Return what lies at places in the order, counted from 0, of ``(...,)``."""
        below = places.astype(np.int64)
        above = np.minimum(below + 1, np.maximum(self.n_values - 1, 0))
        low, high = (
            np.take_along_axis(self.values, index[..., np.newaxis], axis=-1)[..., 0]
            for index in (below, above)
        )
        weight, step = places - below, high - low
        return np.where(weight < 0.5, low + step * weight, high - step * (1 - weight))

    def tails(self, share: float) -> tuple[FloatArray, FloatArray]:
        """Return two outer quantiles of the values of several runs together.

        Args:
            share: The fraction of values beyond either quantile, below one half.

        Returns:
            The lower and the upper one, of shape ``(...,)``, for runs of shape
            ``(..., n_runs, n)``.
        """
        *shape, n_runs, length = self.values.shape
        n_values = self.n_values.sum(axis=-1)
        n_ends = int(share * (n_runs * length - 1)) + 2  # of each run, so of all
        n_last = min(n_ends + length - int(self.n_values.min()), length)
        first, last = (
            Ordered.of(ends.reshape(*shape, -1))
            for ends in (self.values[..., :n_ends], self.values[..., length - n_last :])
        )
        at_last = np.maximum(n_values - 1, 0)
        upper = (1 - share) * at_last - (n_values - last.n_values)
        return first.at(share * at_last), last.at(upper)


def tails(values: FloatArray, share: float) -> tuple[FloatArray, FloatArray]:
    """Return two outer quantiles, as :meth:`Ordered.quantiles` does, but sooner.

    Short runs of the values are put in order, and then the ends of all of them.

    Args:
        values: Of shape ``(..., n)``, in any order; NaN where one is missing.
        share: The fraction of values beyond either quantile, below one half.

    Returns:
        The lower and the upper one, of shape ``(...,)``.
    """
    *shape, n = values.shape
    n_runs = -(-n // _RUN)
    if n % n_runs:
        more = np.full((*shape, n_runs - n % n_runs), np.nan)
        values = np.concatenate([values, more], axis=-1)
    return Ordered.of(values.reshape(*shape, n_runs, -1)).tails(share)
