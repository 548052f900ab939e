"""Gather the extremes of series, and who takes them, from blocks of rows."""

import dataclasses

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.chunks import Chunk, count_true
from lstm_ad.data.repeats import Repeat

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

    def repeat(self, series: int) -> Repeat:
        """Return what is known of the value of one series."""
        return Repeat(
            float(self.value[series]),
            int(self.n_rows[series]),
            int(self.n_visits[series]),
            int(self.rows[0, series]),
            (float(self.nearest[series]),),
        )


class Extremes:
    """The extremes of each series, and its values beyond some fences."""

    def __init__(self, bounds: FloatArray, n_rows: int) -> None:
        n_series = bounds.shape[1]
        self.sums, self.n_values = np.zeros((2, N_STRETCHES, n_series))
        self.ranges = np.full((2, N_STRETCHES, n_series), np.nan)
        self._rows = np.zeros((2, 2, n_series), dtype=np.int64)
        self._best = np.array([np.inf, -np.inf])[:, np.newaxis] * np.ones(n_series)
        self._nearest = self._best.copy()
        self._n_rows, self._n_visits = np.zeros((2, 2, n_series), dtype=np.int64)
        self._fences = bounds
        edges = np.arange(N_STRETCHES + 1) * n_rows // N_STRETCHES
        # Of few rows, some stretches have none.
        self._stretches = np.flatnonzero(np.diff(edges))
        self._edges = edges[self._stretches]
        self._inner = self._best.copy()
        self._far: dict[int, list[tuple[FloatArray, IndexArray]]] = {}
        self._n_far = np.zeros(n_series, dtype=np.int64)

    def add(self, chunk: Chunk) -> None:
        """Take in more rows."""
        new, first = chunk.new, chunk.first
        at, stop = np.searchsorted(self._edges, [first + 1, first + new.shape[1]])
        stretches = self._stretches[at - 1 : stop]
        starts = np.maximum(self._edges[at - 1 : stop] - first, 0)
        lows, highs = (f.reduceat(new, starts, axis=1) for f in (np.fmin, np.fmax))
        ranges = self.ranges
        ranges[0, stretches] = np.fmin(ranges[0, stretches], lows.T)
        ranges[1, stretches] = np.fmax(ranges[1, stretches], highs.T)
        lengths = np.diff(starts, append=new.shape[1])[:, np.newaxis]
        if chunk.has_missing:
            is_missing = np.isnan(new)
            lengths = lengths - np.add.reduceat(is_missing, starts, 1, np.int64).T
            new = np.where(is_missing, 0.0, new)
        self.n_values[stretches] += lengths
        self.sums[stretches] += np.add.reduceat(new, starts, axis=1).T
        low, high = np.fmin.reduce(lows, axis=1), np.fmax.reduce(highs, axis=1)
        for side, value in enumerate((low, high)):
            self._meet(side, value, chunk)
        is_outside = (low < self._fences[0]) | (high > self._fences[1])
        self._inner[0] = np.fmin(self._inner[0], np.where(is_outside, np.nan, low))
        self._inner[1] = np.fmax(self._inner[1], np.where(is_outside, np.nan, high))
        for column in np.flatnonzero(is_outside):
            self._keep_far(first, int(column), chunk.new[column])

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

    def _meet(self, side: int, value: FloatArray, chunk: Chunk) -> None:
        """Take in the extremes of new rows on one side, of shape ``(D,)``."""
        extreme = (np.fmin, np.fmax)[side]
        best, nearest = self._best[side], self._nearest[side]
        is_met = extreme(best, value) == value
        is_new = is_met & (value != best)
        others = np.where(is_met, np.where(is_new, best, nearest), value)
        nearest[:] = extreme(nearest, others)
        if not is_met.any():
            return
        best[is_met] = value[is_met]
        self._n_rows[side, is_new] = self._n_visits[side, is_new] = 0
        series = np.flatnonzero(is_met)
        x = chunk.values[series]
        is_there = x == value[series, np.newaxis]
        n_before = int(chunk.has_previous)
        new = is_there[:, n_before:]
        n_rows = count_true(new)
        first = new.argmax(axis=1)
        last, n_visits = first.copy(), 1 - (is_there[:, 0] & chunk.has_previous)
        several = np.flatnonzero(n_rows > 1)
        last[several] = new.shape[1] - 1 - new[several, ::-1].argmax(axis=1)
        n_visits[several] = chunk.visits(is_there[several])
        self._n_rows[side, series] += n_rows
        self._n_visits[side, series] += n_visits
        self._rows[side, 0, is_new] = chunk.first + first[is_new[series]]
        self._rows[side, 1, series] = chunk.first + last
        x[is_there] = np.nan
        nearest[series] = extreme(nearest[series], extreme.reduce(x, axis=1))

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
