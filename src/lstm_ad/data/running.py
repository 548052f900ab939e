"""Gather the steps and the gaps of series from blocks, one after the other."""

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.chunks import Chunk, count_true


class Steps:
    """The steps of each series from row to row, and its longest constant stretch."""

    def __init__(self, n_series: int) -> None:
        self.n_steps, self.falls = 0, np.zeros(n_series)
        self.n_rises, self.n_falls = np.zeros((2, n_series), dtype=np.int64)
        self.bounds = np.array([np.inf, -np.inf])[:, np.newaxis] * np.ones(n_series)
        self.longest, self.longest_first = np.zeros((2, n_series), dtype=np.int64)
        self._run_first = np.zeros(n_series, dtype=np.int64)

    def add(self, chunk: Chunk) -> None:
        """Take in more rows."""
        if not chunk.has_previous:
            self.end(chunk.first)
        steps = chunk.steps
        if not steps.shape[1]:
            return
        self.n_steps += steps.shape[1]
        for side, extreme in enumerate((np.fmin, np.fmax)):
            found = extreme.reduce(steps, axis=1)
            self.bounds[side] = extreme(self.bounds[side], found)
        n_rises, n_falls = count_true(steps > 0), count_true(steps < 0)
        zeros = np.zeros(steps.shape[1])  # sooner than the number 0
        self.falls += np.fmin(steps, zeros).sum(axis=1)
        self.n_rises += n_rises
        self.n_falls += n_falls
        first = chunk.first + 1 - int(chunk.has_previous)  # after the first step
        rests = n_rises + n_falls < steps.shape[1]
        if rests.any():
            self._find_runs(first, steps, rests)
        else:
            self.end(first)
            self._run_first += steps.shape[1] - 1

    def end(self, stop: int) -> None:
        """End the constant stretches that go on, before row ``stop``."""
        self._close(np.ones(len(self.longest), dtype=np.bool_), np.array(stop))
        self._run_first[:] = stop

    def _close(self, chosen: npt.NDArray[np.bool_], stop: IndexArray) -> None:
        """End the constant stretches of the chosen series before some rows."""
        length = stop - self._run_first
        is_longer = chosen & (length > self.longest)
        self.longest[is_longer] = length[is_longer]
        self.longest_first[is_longer] = self._run_first[is_longer]

    def _find_runs(
        self, first: int, steps: FloatArray, rests: npt.NDArray[np.bool_]
    ) -> None:
        """Find the constant stretches in new rows.

        Args:
            first: The number of the row after the first step.
            steps: Of shape ``(D, steps)``.
            rests: Which series do not change in some step.
        """
        chosen, n_steps = np.flatnonzero(rests), steps.shape[1]
        # With a change before the first step and after the last one.
        is_same = np.zeros((len(chosen), n_steps + 2), dtype=np.bool_)
        is_same[:, 1:-1] = steps[chosen] == 0
        edges = np.flatnonzero(is_same.ravel()[1:] != is_same.ravel()[:-1])
        index, start = np.divmod(edges[::2], n_steps + 2)
        stop, series = edges[1::2] % (n_steps + 2), chosen[index]
        begins = np.where(start > 0, first + start - 1, self._run_first[series])

        goes_on = np.zeros((2, len(rests)), dtype=np.bool_)
        goes_on[:, chosen] = is_same[:, [1, -2]].T
        self._close(~goes_on[0], np.full(len(rests), first))
        self._run_first[~goes_on[1]] = first + n_steps - 1
        is_open = stop == n_steps
        self._run_first[series[is_open]] = begins[is_open]
        # The first longest of a series comes last, and the last one assigned stays.
        length = np.where(is_open, 0, first + stop - begins)
        longer = np.flatnonzero(length > self.longest[series])[::-1]
        longer = longer[np.argsort(length[longer], kind="stable")]
        self.longest[series[longer]] = length[longer]
        self.longest_first[series[longer]] = begins[longer]


class Missing:
    """The missing values of each series, and its longest run of them."""

    def __init__(self, n_series: int) -> None:
        self.n_missing, self.longest, self.longest_first = np.zeros(
            (3, n_series), dtype=np.int64
        )
        self._run = np.zeros(n_series, dtype=np.int64)

    def add(self, chunk: Chunk) -> None:
        """Take in more rows."""
        if not chunk.has_previous or not chunk.has_missing:
            self._run[:] = 0
        if not chunk.has_missing:
            return
        is_missing = np.isnan(chunk.new)
        for series in np.flatnonzero(is_missing.any(axis=1) | (self._run > 0)):
            there = is_missing[series]
            edges = np.flatnonzero(np.diff(there, prepend=False, append=False))
            starts, stops = edges.reshape(-1, 2).T
            if self._run[series] and len(starts) and starts[0] == 0:
                starts[0] = -self._run[series]  # it goes on from before
            lengths = stops - starts
            self.n_missing[series] += np.count_nonzero(there)
            self._run[series] = lengths[-1] if there[-1] else 0
            if len(lengths) and lengths.max() > self.longest[series]:
                self.longest[series] = lengths.max()
                self.longest_first[series] = chunk.first + starts[lengths.argmax()]
