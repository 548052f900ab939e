"""Count the values of series that have only a few: switches, modes, valves."""

import dataclasses

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray

MAX_STATES = 8
"""A series with more distinct values is not described by its states."""

_LOOK = 4096


@dataclasses.dataclass(frozen=True)
class States:
    """The distinct values of one series, in the order in which they came."""

    values: FloatArray
    """The values, of shape ``(k,)``."""
    n_rows: IndexArray
    """How many rows have each."""
    n_visits: IndexArray
    """How many times each was entered."""
    first_rows: IndexArray
    """The first row of each."""


class StateCounter:
    """Counts the rows and visits of each state of several series.

    Args:
        n_series: How many series there are.
    """

    def __init__(self, n_series: int) -> None:
        self._n_series = n_series
        self._kept = np.arange(n_series)
        shape = (n_series, MAX_STATES)
        self._values = np.full(shape, np.nan)
        self._n_rows = np.zeros(shape, dtype=np.int64)
        self._n_visits = np.zeros(shape, dtype=np.int64)
        self._first_rows = np.zeros(shape, dtype=np.int64)

    def add(self, first: int, has_previous: bool, block: FloatArray) -> None:
        """Count more rows.

        Args:
            first: The number of the first new row.
            has_previous: Whether the first column is the row before it.
            block: Values of shape ``(D, rows)``.
        """
        if not len(self._kept):
            return
        x = block if len(self._kept) == len(block) else block[self._kept]
        is_known = self._meet(first, has_previous, x)
        x = x[is_known]
        n_before = int(has_previous)
        for state in range(MAX_STATES):
            if np.isnan(self._values[:, state]).all():
                return
            is_there = x == self._values[:, state, np.newaxis]
            enters = is_there[:, 1:] > is_there[:, :-1]
            self._n_rows[:, state] += is_there[:, n_before:].sum(axis=1)
            self._n_visits[:, state] += enters.sum(axis=1)
            if not has_previous:
                self._n_visits[:, state] += is_there[:, 0]

    def result(self) -> tuple[States | None, ...]:
        """Return the states of each series, or None where there are too many."""
        found: list[States | None] = [None] * self._n_series
        for index, series in enumerate(self._kept):
            n = int((~np.isnan(self._values[index])).sum())
            found[series] = States(
                self._values[index, :n],
                self._n_rows[index, :n],
                self._n_visits[index, :n],
                self._first_rows[index, :n],
            )
        return tuple(found)

    def _meet(
        self, first: int, has_previous: bool, x: FloatArray
    ) -> npt.NDArray[np.bool_]:
        """Take in values not seen before; return which series still have few."""
        n_before = int(has_previous)
        new = x[:, n_before:]
        unknown = ~np.isnan(new)
        for state in range(MAX_STATES):
            if np.isnan(self._values[:, state]).all():
                break
            unknown &= new != self._values[:, state, np.newaxis]
        is_few = np.ones(len(x), dtype=np.bool_)
        for index in np.flatnonzero(unknown.any(axis=1)):
            rest = np.flatnonzero(unknown[index])
            while len(rest):
                n_known = int((~np.isnan(self._values[index])).sum())
                values, at = np.unique(new[index, rest[:_LOOK]], return_index=True)
                if n_known + len(values) > MAX_STATES:
                    is_few[index] = False
                    break
                stop = n_known + len(values)
                order = np.argsort(at)
                self._values[index, n_known:stop] = values[order]
                self._first_rows[index, n_known:stop] = first + rest[at[order]]
                rest = rest[~np.isin(new[index, rest], values)]
        if not is_few.all():
            self._kept = self._kept[is_few]
            for name in ("_values", "_n_rows", "_n_visits", "_first_rows"):
                setattr(self, name, getattr(self, name)[is_few])
        return is_few
