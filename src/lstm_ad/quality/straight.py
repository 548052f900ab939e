"""Find stretches of rows that were interpolated rather than measured."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.reasons import Level

_MIN_SAMPLED, _MIN_ROWS = 5, 20
_MAX_OTHERS = 0.01  # the fraction of all other rows that may lie on lines, too
_MAX_BEND, _MIN_BEND = 1e-3, 0.1  # of the slope: on a line, as numbers are rounded; of
# the others, whose median is to be larger: smooth curves are nearly straight in places
_SAME = 1e-2  # what slopes of one line may differ by, of their size


def find_straight_lines(data: Data) -> Iterator[Finding]:
    """Yield series that are a straight line in one stretch, and in no other row."""
    for part in data.parts:
        p = part.profile
        rows, once = np.unique(p.sample_rows[:: p.bends_every], return_index=True)
        is_straight = p.bends[once] <= _MAX_BEND
        n_straight = np.count_nonzero(is_straight, axis=0)
        for series in map(int, np.flatnonzero(n_straight >= _MIN_SAMPLED)):
            values = p.sample[:: p.bends_every, series][once]
            start, stop = _longest(rows, values, is_straight[:, series])
            others = np.delete(p.bends[once, series], slice(start, stop))
            n_others = n_straight[series] - (stop - start)
            if (
                stop - start < _MIN_SAMPLED
                or rows[stop - 1] - rows[start] < _MIN_ROWS
                or n_others > _MAX_OTHERS * len(others)
                or np.median(np.where(np.isfinite(others), others, 0)) < _MIN_BEND
            ):
                continue
            file, row = part.place(int(rows[start]))
            low, high, n_rows = (
                values[start],
                values[stop - 1],
                rows[stop - 1] - rows[start],
            )
            yield Finding(
                "straight line",
                Level.CHECK,
                (series,),
                file,
                row,
                f"{file}: {data.named(series)} goes from {low:.6g} to {high:.6g} in "
                f"about {n_rows:,} rows in a straight line, from row {row} on, but "
                f"on no other line: they look interpolated.",
                "What was not measured would count as normal.",
                "Leave these rows out, or their values empty with missing-values=hold.",
            )


def _longest(
    rows: IndexArray, values: FloatArray, is_straight: npt.NDArray[np.bool_]
) -> tuple[int, int]:
    """Return the longest run of sampled rows on one line: the first, and after it."""
    slopes = np.diff(values) / np.diff(rows)
    bends = np.abs(np.diff(slopes)) > _SAME * np.abs(slopes[1:])
    is_on = is_straight.copy()
    is_on[1:-1] &= ~bends
    edges = np.flatnonzero(np.diff(is_on, prepend=False, append=False))
    starts, stops = edges.reshape(-1, 2).T
    longest = int(np.argmax(stops - starts)) if len(starts) else 0
    return (int(starts[longest]), int(stops[longest])) if len(starts) else (0, 0)
