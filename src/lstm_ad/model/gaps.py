"""Read series in which values are missing: NaN where nothing was measured.

The network reads the last value that was seen, for at most ``max-gap`` rows, and the
mean of the series before the first one and after that. So only the past fills a row,
and the scores of a growing series stay those of the whole. What is filled is no target:
it counts in no loss, no scaler and no Gaussian. Where *all* series are missing for
longer than ``max-gap``, the series ends; a new one begins at the next value. Where a
machine is off (:mod:`lstm_ad.model.off`) it ends, too, for however short.

A series that is missing for longer than ``max-gap`` while others are there is *away*.
The others are then reconstructed from a mean that was never measured, which is harder:
:mod:`lstm_ad.scoring.outages` says by how much.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.blocks import in_blocks


class Holder:
    """Fills rows that come some at a time.

    Args:
        initial: What is read where no value is held, of shape ``(D,)``.
        max_gap: The longest run of rows over which a value is held.
    """

    def __init__(self, initial: FloatArray, max_gap: int) -> None:
        self._initial, self._max_gap = initial, max_gap
        self._last = initial
        self._age = np.full(len(initial), max_gap + 1)

    def fill(self, values: FloatArray) -> FloatArray:
        """Return the next rows, of shape ``(T, D)``, filled; themselves if complete."""
        if not len(values):
            return values
        is_missing = np.isnan(values)
        if not is_missing.any():
            self._last, self._age = values[-1], np.zeros(values.shape[1], dtype=int)
            return values
        row = np.arange(1, len(values) + 1)[:, np.newaxis]
        seen = np.maximum.accumulate(np.where(is_missing, 0, row), axis=0)
        age = np.where(seen > 0, row - seen, row + self._age)
        known = np.concatenate([self._last[np.newaxis], values])
        held = np.take_along_axis(known, seen, axis=0)
        self._last, self._age = held[-1], age[-1]
        return np.where(age > self._max_gap, self._initial, held)

    def fill_all(self, values: FloatArray) -> FloatArray:
        """Return what :meth:`fill` does, in the memory of the result."""
        if not np.isnan(values).any():
            return values
        filled, start = np.empty_like(values), 0
        for block in in_blocks(values):
            filled[start : start + len(block)] = self.fill(block)
            start += len(block)
        return filled


def away(values: FloatArray, max_gap: int, n_rows: int) -> FloatArray | None:
    """Return how far away each series is: 1 if it is or was in the last rows.

    A series that may become so is from 0 to 1 away: by how much of ``max-gap`` it has
    been missing for.

    Args:
        values: A series from its start, of shape ``(T, D)``.
        max_gap: See :class:`Holder`.
        n_rows: How many rows count, each row itself included.

    Returns:
        Of shape ``(T, D)``; None if no value is missing.
    """
    if not (is_missing := np.isnan(values)).any():
        return None
    row = np.arange(len(values))[:, np.newaxis]
    seen = np.maximum.accumulate(np.where(is_missing, -max_gap - 1, row), axis=0)
    last = np.maximum.accumulate(np.where(row - seen > max_gap, row, -n_rows), axis=0)
    found: FloatArray = np.minimum((row - seen) / (max_gap + 1), 1.0)
    found[row - last < n_rows] = 1.0
    return found


def is_empty(values: FloatArray) -> npt.NDArray[np.bool_]:
    """Return in which rows all series are missing, of shape ``(T,)``."""
    return np.asarray(np.isnan(values).all(axis=1))


class Runs:
    """Finds runs of rows that have something in common: first row, and after it.

    The rows of a file come some at a time.
    """

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []
        self._n_rows = 0

    def add(self, chosen: npt.NDArray[np.bool_]) -> None:
        """Take in which of the next rows have it, of shape ``(T,)``."""
        edges = np.flatnonzero(np.diff(chosen, prepend=False, append=False))
        for start, stop in (edges + self._n_rows).reshape(-1, 2).tolist():
            if self.found and self.found[-1][1] == start:
                start, _ = self.found.pop()
            self.found.append((start, stop))
        self._n_rows += len(chosen)


def stretches(
    n_timesteps: int,
    empty: Iterable[tuple[int, int]],
    max_gap: int,
    off: Iterable[tuple[int, int]] = (),
) -> list[range]:
    """Return the runs of rows that are a series each.

    Args:
        n_timesteps: ``T``.
        empty: The runs of rows in which all series are missing and that are not off.
        max_gap: The longest gap within a series; a longer one belongs to it so far.
        off: The runs of rows that belong to none.
    """
    found, start = [], 0
    long = [(a, b, max_gap) for a, b in empty if b - a > max_gap]
    for first, after, n_held in sorted([*long, *((a, b, 0) for a, b in off)]):
        if first > start:
            found.append(range(start, first + n_held))
        start = after
    if start < n_timesteps:
        found.append(range(start, n_timesteps))
    return found
