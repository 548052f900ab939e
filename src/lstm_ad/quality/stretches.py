"""Compare equal stretches of the training rows, as sampled."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.extremes import N_STRETCHES
from lstm_ad.data.profile import Profile
from lstm_ad.model.quantiles import Ordered

N_BLOCKS = 12
"""Equal stretches whose widths are compared."""


@dataclasses.dataclass(frozen=True)
class Stretches:
    """Sampled rows of both training parts, equally dense, in equal stretches."""

    sample: FloatArray
    """The rows, of shape ``(n, D)``."""
    rows: IndexArray
    """Their numbers, of shape ``(n,)``."""
    bounds: IndexArray
    """Where each of ``N_STRETCHES`` starts, and where the last one ends."""

    @classmethod
    def of(cls, fitting: Profile, later: Profile) -> "Stretches":
        """Return them for the rows of two parts, one after the other."""
        n_kept = len(fitting.sample) * later.n_rows // fitting.n_rows
        n_kept = min(len(later.sample), n_kept)
        keep = np.linspace(0, len(later.sample) - 1, n_kept).astype(np.int64)
        rows = np.concatenate(
            [fitting.sample_rows, fitting.n_rows + later.sample_rows[keep]]
        )
        n_rows = fitting.n_rows + later.n_rows
        edges = np.arange(N_STRETCHES + 1) * n_rows / N_STRETCHES
        sample = np.concatenate([fitting.sample.T, later.sample.T[:, keep]], axis=1).T
        return cls(sample, rows, np.searchsorted(rows, edges))

    def within(self, runs: Sequence[range]) -> "Stretches":
        """Return some runs of the rows, one after the other, in stretches of theirs."""
        found, numbers, n_rows = [], [], 0
        for run in runs:
            first, after = np.searchsorted(self.rows, [run.start, run.stop])
            found.append(np.arange(first, after))
            numbers.append(self.rows[first:after] - run.start + n_rows)
            n_rows += len(run)
        at = np.concatenate(found)
        edges = np.arange(N_STRETCHES + 1) * n_rows / N_STRETCHES
        bounds = np.searchsorted(np.concatenate(numbers), edges)
        return Stretches(self.sample[at], self.rows[at], bounds)

    @functools.cached_property
    def medians(self) -> FloatArray:
        """The median of each stretch, of shape ``(N_STRETCHES, D)``."""
        (found,) = self._ordered.quantiles(0.5)
        return np.asarray(found.T)

    @property
    def blocks(self) -> IndexArray:
        """Where each of ``N_BLOCKS`` starts, and where the last one ends."""
        return self.bounds[:: N_STRETCHES // N_BLOCKS]

    @functools.cached_property
    def widths(self) -> FloatArray:
        """The central 80 % of the values of each block, of shape ``(N_BLOCKS, D)``."""
        shape = (self.sample.shape[1], N_BLOCKS, N_STRETCHES // N_BLOCKS)
        values, n_values = self._ordered.values, self._ordered.n_values
        runs = Ordered(values.reshape(*shape, -1), n_values.reshape(shape))
        low, high = runs.tails(0.1)
        return np.asarray((high - low).T)

    @functools.cached_property
    def _ordered(self) -> Ordered:
        """The values of each stretch in order, of shape ``(D, N_STRETCHES, n)``."""
        lengths = np.diff(self.bounds)[:, np.newaxis]
        numbers = np.arange(lengths.max())
        at = np.minimum(self.bounds[:-1, np.newaxis] + numbers, len(self.sample) - 1)
        values = np.ascontiguousarray(self.sample.T)[:, at]
        values[:, numbers >= lengths] = np.nan
        n_values = np.broadcast_to(lengths[:, 0], values.shape[:2])
        return Ordered(np.sort(values, axis=-1), n_values)
