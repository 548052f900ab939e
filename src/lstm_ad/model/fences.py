"""Bound what a series may plausibly be, and replace the few values that are not.

One cell of -9999 in ten thousand rows would decide the scale of its series, the loss,
the best epoch, the Gaussian and the threshold. So whatever is learnt from, and whatever
a loss is measured on, has a few absurd cells replaced by what lies between the values
before and after. Scores are of the values as they are. Where no cell is absurd, not one
bit changes.

A cell is absurd if it lies beyond the fences of its series: the range of the training
rows but for half a per cent on each side, widened by itself on each side (7.7 standard
deviations of a Gaussian). There are no fences where a series does not vary by itself
(its outer tenths are equal): rare states and switches that seldom close are no dirt.
Nor is what happens in more than one row in a thousand, or, from ten times as far away
on, in more than one in two hundred. But a value that was found to be a code for a
missing reading (:mod:`lstm_ad.quality.codes`) is absurd however often it comes.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.blocks import in_blocks
from lstm_ad.model.quantiles import tails
from lstm_ad.processes import ALONE, ProcessGroup

SAMPLE_ROWS = 4096
"""Rows from which medians and quantiles are estimated; all rows if there are fewer."""

TAIL = 0.005
"""The fraction of sampled rows on either side that fences ignore."""

OUTER = 0.1
"""The fraction of rows on either side between which a series varies, if it does."""

MAX_SHARES = {1.0: 0.001, 10.0: 0.005}
"""The fraction of rows up to which they are dirt, by the distance beyond the range of
the others, in such ranges; one row always is."""

MAX_CODE_SHARE = 1 / 3
"""What more training rows have is no code, whatever some files look like."""

Codes = Mapping[int, Sequence[float]]
"""Of each series, counted from 0, the values that stand for a missing reading."""


@dataclasses.dataclass(frozen=True)
class Fences:
    """The bounds of the plausible values of each series."""

    low: FloatArray
    """Of shape ``(D,)``; minus infinity where there is none."""
    high: FloatArray
    """Likewise; infinity where there is none."""
    codes: tuple[FloatArray, ...] = ()
    """Values that stand for a missing reading, each of shape ``(D,)``; NaN where a
    series has no such one."""

    @classmethod
    def of(
        cls,
        parts: Sequence[FloatArray],
        group: ProcessGroup = ALONE,
        codes: Codes | None = None,
    ) -> "Fences":
        """Return the fences of the training rows of all processes.

        Args:
            parts: Those of this process, each of shape ``(T, D)``; maybe no rows.
            group: The processes.
            codes: What was found to stand for missing readings, the same in all of
                them.
        """
        _, own = sample(parts, max(1, SAMPLE_ROWS // group.size))
        rows = np.concatenate(group.gather(own))
        found = []
        for row in _in_rows(codes or {}, rows.shape[1]):
            is_code = rows == row
            is_dirt = is_code.mean(axis=0) <= MAX_CODE_SHARE
            rows = np.where(is_code & is_dirt, np.nan, rows)
            found.append(np.where(is_dirt, row, np.nan))
        low, high = fences(*tails(rows.T, TAIL))
        varies = varying(rows.T)
        return cls(
            np.where(varies, low, -np.inf), np.where(varies, high, np.inf), tuple(found)
        )

    def repair(self, values: FloatArray) -> FloatArray:
        """Return ``values``, of shape ``(T, D)``, with a few absurd ones replaced.

        By linear interpolation, or by the only plausible neighbour. Without any,
        ``values`` itself is returned.
        """
        values = self._without_codes(values)
        if not any(self._is_beyond(block).any() for block in in_blocks(values)):
            return values
        has_fences = np.isfinite(self.low)
        width = np.where(has_fences, (self.high - self.low) / 3, 0.0)
        for distance in MAX_SHARES:
            more = (distance - 1) * width
            is_absurd = (values < self.low - more) | (values > self.high + more)
            n_absurd = np.count_nonzero(is_absurd, axis=0)
            few = (n_absurd > 0) & (n_absurd <= most_absurd(distance, len(values)))
            few &= n_absurd < np.count_nonzero(~np.isnan(values), axis=0)
            if few.any():
                values = _interpolated(values, is_absurd, np.flatnonzero(few))
        return values

    def _without_codes(self, values: FloatArray) -> FloatArray:
        """Return ``values`` with plausible ones in place of codes."""
        if not self.codes:
            return values
        is_code = np.logical_or.reduce([values == row for row in self.codes])
        n_codes = np.count_nonzero(is_code, axis=0)
        some = n_codes > 0
        some &= n_codes < np.count_nonzero(~np.isnan(values), axis=0)
        if not some.any():
            return values
        return _interpolated(values, is_code, np.flatnonzero(some))

    def _is_beyond(self, values: FloatArray) -> npt.NDArray[np.bool_]:
        """Return which cells are beyond the fences."""
        return np.asarray((values < self.low) | (values > self.high))


def most_absurd(distance: float, n_rows: IndexArray | int) -> FloatArray:
    """Return in how many rows a value is dirt, by how many ranges away it is.

    Args:
        distance: One of ``MAX_SHARES``.
        n_rows: Those of the file.
    """
    return np.maximum(1, MAX_SHARES[distance] * np.asarray(n_rows, dtype=np.float64))


def _in_rows(codes: Codes, n_series: int) -> list[FloatArray]:
    """Return codes as arrays of shape ``(D,)`` that have one of each series, or NaN."""
    found = [
        np.full(n_series, np.nan)
        for _ in range(max(map(len, codes.values()), default=0))
    ]
    for series, values in codes.items():
        for row, value in zip(found, values, strict=False):
            row[series] = value
    return found


def _interpolated(
    values: FloatArray, is_absurd: npt.NDArray[np.bool_], chosen: IndexArray
) -> FloatArray:
    """Return a copy with plausible values in the absurd cells of the chosen series."""
    smooth = values.copy()
    for series in chosen:
        is_plausible = ~is_absurd[:, series] & ~np.isnan(values[:, series])
        plausible = np.flatnonzero(is_plausible)
        at = np.flatnonzero(is_absurd[:, series])
        smooth[at, series] = np.interp(at, plausible, values[plausible, series])
    return smooth


def varying(values: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which series vary by themselves: ``(D,)``, of values of ``(D, n)``.

    What rests for more than half of the time and then runs does vary; a switch that
    seldom closes does not.
    """
    low, high = tails(values, OUTER)
    return np.asarray(high > low)


def fences(low: FloatArray, high: FloatArray) -> FloatArray:
    """Return the bounds, ``(2, D)``, that go with tails of ``TAIL``."""
    width = np.where(high > low, high - low, np.inf)
    return np.stack([low - width, high + width])


def sample(
    files: Sequence[FloatArray], n_sampled: int = SAMPLE_ROWS
) -> tuple[IndexArray, FloatArray]:
    """Return the numbers and values of a random row of each of many equal stretches.

    Rows at equal distances would see one phase of a series with that period.

    Args:
        files: Rows, each of shape ``(T, D)``, counted through.
        n_sampled: How many there are to be; all rows if there are fewer.
    """
    n_rows = sum(map(len, files))
    rows = np.arange(n_rows)[:n_sampled]
    if n_rows > n_sampled:
        # The same for the same rows: the seed is fixed.
        offset = np.random.default_rng(0).random(n_sampled)
        rows = ((rows + offset) * n_rows / n_sampled).astype(np.int64)
    values = np.empty((len(rows), files[0].shape[1]))
    start = 0
    for file in files:
        first, stop = np.searchsorted(rows, [start, start + len(file)])
        values[first:stop] = file[rows[first:stop] - start]
        start += len(file)
    return rows, values
