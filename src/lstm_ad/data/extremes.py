"""Gather the extremes of series, and who takes them, from blocks of rows."""

import dataclasses

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray

N_STRETCHES = 60
"""Equal stretches of the rows whose level, spread and extremes are kept."""

MAX_FAR = 1000
"""Values beyond the fences that are kept of a series."""


@dataclasses.dataclass(frozen=True)
class Far:
    """The values of a series beyond its fences, in the order of their rows.

    Of more than ``MAX_FAR`` of them, the first ones.
    """

    values: FloatArray
    """Of shape ``(k,)``."""
    rows: IndexArray
    """Their row numbers, of shape ``(k,)``."""
    is_complete: bool
    """Whether there were no more than are kept."""
    inner: tuple[float, float]
    """The smallest and the largest value within the fences."""


@dataclasses.dataclass(frozen=True)
class Extreme:
    """The smallest, or the largest, value of each series: arrays of shape ``(D,)``."""

    value: FloatArray
    """The value itself."""
    rows: IndexArray
    """The first and the last row that has it, of shape ``(2, D)``."""
    n_rows: IndexArray
    """How many rows have exactly this value."""
    n_visits: IndexArray
    """In how many runs of neighbouring rows."""
    nearest: FloatArray
    """The nearest other value; infinite where there is none."""


class Extremes:
    """The extremes of each series, and its values beyond some fences."""

    def __init__(self, bounds: FloatArray) -> None:
        n_series = bounds.shape[1]
        self.sums, self.n_values = np.zeros((2, N_STRETCHES, n_series))
        self.ranges = np.full((2, N_STRETCHES, n_series), np.nan)
        self._rows = np.zeros((2, 2, n_series), dtype=np.int64)
        self._best = np.array([np.inf, -np.inf])[:, np.newaxis] * np.ones(n_series)
        self._nearest = self._best.copy()
        self._n_rows, self._n_visits = np.zeros((2, 2, n_series), dtype=np.int64)
        self._fences = bounds
        self._inner = self._best.copy()
        self._far: dict[int, list[tuple[FloatArray, IndexArray]]] = {}
        self._n_far = np.zeros(n_series, dtype=np.int64)

    def add(
        self, first: int, has_previous: bool, stretch: int, block: FloatArray
    ) -> None:
        """Take in more rows.

        Args:
            first: The number of the first new row.
            has_previous: Whether the first column is the row before it.
            stretch: The stretch that they are in.
            block: Values of shape ``(D, rows)``.
        """
        new = block[:, int(has_previous) :]
        low, high = (extreme.reduce(new, axis=1) for extreme in (np.fmin, np.fmax))
        self.sums[stretch] += np.nansum(new, axis=1)
        self.n_values[stretch] += np.count_nonzero(~np.isnan(new), axis=1)
        self.ranges[0, stretch] = np.fmin(self.ranges[0, stretch], low)
        self.ranges[1, stretch] = np.fmax(self.ranges[1, stretch], high)
        previous = block[:, 0] if has_previous else np.full(len(block), np.nan)
        for side, value in enumerate((low, high)):
            self._meet(side, value, first, previous, new)
        is_outside = (low < self._fences[0]) | (high > self._fences[1])
        self._inner[0] = np.fmin(self._inner[0], np.where(is_outside, np.nan, low))
        self._inner[1] = np.fmax(self._inner[1], np.where(is_outside, np.nan, high))
        for column in np.flatnonzero(is_outside):
            self._keep_far(first, int(column), new[column])

    def extremes(self) -> tuple[Extreme, Extreme]:
        """Return who takes the smallest and the largest values."""
        low, high = (
            Extreme(
                extreme.reduce(self.ranges[side]),
                self._rows[side],
                self._n_rows[side],
                self._n_visits[side],
                self._nearest[side],
            )
            for side, extreme in enumerate((np.fmin, np.fmax))
        )
        return low, high

    def _meet(
        self,
        side: int,
        value: FloatArray,
        first: int,
        previous: FloatArray,
        new: FloatArray,
    ) -> None:
        """Take in the extremes of new rows on one side, of shape ``(D,)``."""
        sign, extreme = ((1, np.fmin), (-1, np.fmax))[side]
        best, nearest = self._best[side], self._nearest[side]
        is_met = sign * value <= sign * best
        is_new = is_met & (value != best)
        series = np.flatnonzero(is_met)
        x = new[series]
        is_there = x == value[series, np.newaxis]
        n_rows = np.count_nonzero(is_there, axis=1)
        goes_on = is_there[:, 0] & (previous[series] == value[series])
        n_visits = n_rows - goes_on
        several = np.flatnonzero(n_rows > 1)
        again = is_there[several, 1:] & is_there[several, :-1]
        n_visits[several] -= np.count_nonzero(again, axis=1)
        for counts, found in ((self._n_rows, n_rows), (self._n_visits, n_visits)):
            counts[side, is_new] = 0
            counts[side, series] += found
        others = np.where(is_met, np.where(is_new, best, nearest), value)
        nearest[:] = extreme(nearest, others)
        x[is_there] = np.nan
        rest = extreme.reduce(x, axis=1)
        nearest[series] = extreme(nearest[series], rest)
        rows = self._rows[side]
        at = first + is_there.argmax(axis=1)
        rows[0, is_new] = at[is_new[series]]
        rows[1, series] = first + new.shape[1] - 1
        rows[1, series] -= is_there[:, ::-1].argmax(axis=1)
        best[series] = value[series]

    def far(self) -> tuple[Far, ...]:
        """Return the values of each series beyond its fences."""
        nothing = [(np.empty(0), np.empty(0, dtype=np.int64))]
        found = []
        for series, n_far in enumerate(self._n_far):
            values, rows = zip(*self._far.get(series, nothing), strict=True)
            found.append(
                Far(
                    np.concatenate(values),
                    np.concatenate(rows),
                    bool(n_far <= MAX_FAR),
                    (float(self._inner[0, series]), float(self._inner[1, series])),
                )
            )
        return tuple(found)

    def _keep_far(self, first: int, series: int, values: FloatArray) -> None:
        """Take in values of a series, some of which are beyond its fences."""
        low, high = self._fences[:, series]
        is_far = (values < low) | (values > high)
        inside = values[~is_far & ~np.isnan(values)]
        if len(inside):
            self._inner[0, series] = min(self._inner[0, series], inside.min())
            self._inner[1, series] = max(self._inner[1, series], inside.max())
        at = np.flatnonzero(is_far)[: MAX_FAR + 1]
        if self._n_far[series] <= MAX_FAR:
            self._far.setdefault(series, []).append((values[at], first + at))
        self._n_far[series] += len(at)
