"""Count the values of series that have only a few: switches, modes, valves."""

import dataclasses

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.chunks import Chunk, count_true

MAX_STATES = 8
"""A series with more distinct values is not described by its states."""

_LOOK, _N_LOOKED_AT = 4096, 256


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
        sampled: Sampled rows, ``(n, D)``, which show most series to have too many.
    """

    def __init__(self, sampled: FloatArray) -> None:
        self._n_series = sampled.shape[1]
        some = np.sort(sampled[:: 1 + len(sampled) // _N_LOOKED_AT].T, axis=1)
        n_distinct = 1 + np.sum(some[:, 1:] > some[:, :-1], axis=1)
        self._kept = np.flatnonzero(n_distinct <= MAX_STATES)
        shape = (len(self._kept), MAX_STATES)
        self._values = np.full(shape, np.nan)
        self._n_rows = np.zeros(shape, dtype=np.int64)
        self._n_visits = np.zeros(shape, dtype=np.int64)
        self._first_rows = np.zeros(shape, dtype=np.int64)

    def add(self, chunk: Chunk) -> None:
        """Count more rows."""
        if not len(self._kept):
            return
        x = chunk.values
        x = x if len(self._kept) == len(x) else x[self._kept]
        n_before = int(chunk.has_previous)
        x = x[self._meet(chunk.first, x[:, n_before:])]
        for state in range(MAX_STATES):
            if np.isnan(self._values[:, state]).all():
                return
            is_there = x == self._values[:, state, np.newaxis]
            self._n_rows[:, state] += count_true(is_there[:, n_before:])
            self._n_visits[:, state] += chunk.visits(is_there)

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

    def _meet(self, first: int, new: FloatArray) -> npt.NDArray[np.bool_]:
        """Take in values not seen before; return which series still have few."""
        unknown = ~np.isnan(new)
        for state in range(MAX_STATES):
            if np.isnan(self._values[:, state]).all():
                break
            unknown &= new != self._values[:, state, np.newaxis]
        is_few = np.ones(len(new), dtype=np.bool_)
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
