"""Count values that come again and again, unlike all others of their series.

An extreme hides what lies behind it: of two codes for a missing reading, -9999 and
-999, the smallest value shows the first alone. And a code may lie amid the others,
which come once each. Which values to count is known from the sample, before the rows
are read.
"""

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.data.chunks import Chunk, count_true

MIN_VALUES = 16
"""Series with fewer other values have states, one of which is far from the others."""

_MIN_SAMPLED, _MAX_SHARE, _MOST = 3, 1 / 3, 3
"""Each is sampled so often, all together are at most this fraction of the values, and
there are so many on either side."""

_N_LOOKED_AT, _MIN_AMID, _MIN_DISTINCT = 512, 0.01, 0.95
"""A value amid the others is this fraction of them at least, and so much of these are
distinct; as many rows are looked at for one that comes twice."""

_MIN_GAP = 0.05
"""The extreme is so much of the range from the next value, or nothing is far."""


@dataclasses.dataclass(frozen=True)
class Repeat:
    """One value of a series, and how often it comes."""

    value: float
    """The value."""
    n_rows: int
    """How many rows have it."""
    n_visits: int
    """In how many runs of neighbouring rows."""
    first_row: int
    """The first of these rows."""
    nearest: tuple[float, ...] = ()
    """The nearest other value, where it is known."""
    is_amid: bool = False
    """Whether others, which come once each, lie on both sides of it."""


class Repeats:
    """The far values of each series that come again and again.

    Args:
        sampled: Sampled rows, ``(n, D)``; NaN where a value is missing.
    """

    def __init__(self, sampled: FloatArray) -> None:
        self._found = [
            (series, value, False)
            for series in sorted({*_may_have(sampled)})
            for value in _far(sampled[:, series])
        ]
        self._found += [
            (series, value, True)
            for series in _may_repeat(sampled)
            for value in _amid(sampled[:, series])
        ]
        self._series = np.array([one[0] for one in self._found], dtype=np.int64)
        self._values = np.array([one[1] for one in self._found])
        self._counts = np.zeros((3, len(self._found)), dtype=np.int64)

    def add(self, chunk: Chunk) -> None:
        """Count more rows."""
        if not self._found:
            return
        is_there = chunk.values[self._series] == self._values[:, np.newaxis]
        new = is_there[:, int(chunk.has_previous) :]
        n_rows, n_visits, first_rows = self._counts
        is_first = (n_rows == 0) & new.any(axis=1)
        first_rows[is_first] = chunk.first + new[is_first].argmax(axis=1)
        n_rows += count_true(new)
        n_visits += chunk.visits(is_there)

    def result(self) -> dict[int, tuple[Repeat, ...]]:
        """Return those of the series that have some."""
        found: dict[int, tuple[Repeat, ...]] = {}
        counts = self._counts.tolist()
        for (series, value, is_amid), *numbers in zip(
            self._found, *counts, strict=True
        ):
            n_rows, n_visits, row = numbers
            repeat = Repeat(value, n_rows, n_visits, row, is_amid=is_amid)
            found[series] = (*found.get(series, ()), repeat)
        return found


def _may_have(sampled: FloatArray) -> Iterator[int]:
    """Yield the series whose extreme is far from the next value, and comes again."""
    for extreme in (np.fmin, np.fmax):
        edge = extreme.reduce(sampled, axis=0)
        is_edge = sampled == edge
        comes_again = count_true(is_edge.T) >= _MIN_SAMPLED
        for series in np.flatnonzero(comes_again).tolist():
            rest = sampled[~is_edge[:, series], series]
            rest = rest[~np.isnan(rest)]
            if len(rest):
                low, high = rest.min(), rest.max()
                gap = max(low - edge[series], edge[series] - high)
                if gap >= _MIN_GAP * max(high - low, gap):
                    yield series


def _may_repeat(sampled: FloatArray) -> list[int]:
    """Return the series of which just one value comes again in a few of the rows."""
    some = np.sort(sampled[:: 1 + len(sampled) // _N_LOOKED_AT].T, axis=1)
    is_again = some[:, 1:] == some[:, :-1]
    n_values = np.count_nonzero(is_again[:, 1:] > is_again[:, :-1], axis=1)
    n_values += is_again[:, 0]
    return [int(series) for series in np.flatnonzero(n_values == 1)]


def _amid(values: FloatArray) -> list[float]:
    """Return the one value of a series that is repeated amid others that are not.

    Args:
        values: Sampled ones, of shape ``(n,)``; NaN where one is missing.
    """
    distinct, n_rows = np.unique(values[~np.isnan(values)], return_counts=True)
    at = int(n_rows.argmax())
    n_others = n_rows.sum() - n_rows[at]
    is_amid = 0 < at < len(distinct) - 1
    is_often = n_rows[at] >= max(_MIN_SAMPLED, _MIN_AMID * n_rows.sum())
    is_single = len(distinct) - 1 >= _MIN_DISTINCT * n_others
    return [float(distinct[at])] if is_amid and is_often and is_single else []


def _far(values: FloatArray) -> list[float]:
    """Return as many values of a series as are repeated and far from all others.

    Args:
        values: Sampled ones, of shape ``(n,)``; NaN where one is missing.
    """
    distinct, n_rows = np.unique(values[~np.isnan(values)], return_counts=True)
    splits = itertools.product(range(_MOST + 1), repeat=2)
    for n_low, n_high in sorted(splits, key=lambda split: -sum(split)):
        core = distinct[n_low : len(distinct) - n_high]
        if len(core) < MIN_VALUES:
            continue
        is_core = np.zeros(len(distinct), dtype=np.bool_)
        is_core[n_low : len(distinct) - n_high] = True
        rest, width = distinct[~is_core], core[-1] - core[0]
        is_far = np.maximum(core[0] - rest, rest - core[-1]) >= width
        counts = n_rows[~is_core]
        is_seldom = counts.sum() <= _MAX_SHARE * n_rows.sum()
        if is_far.all() and is_seldom and (counts >= _MIN_SAMPLED).all():
            return [float(value) for value in rest]
    return []
