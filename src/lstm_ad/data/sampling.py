"""Average rows over intervals of time, so that there is one for each."""

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray


def means(
    values: FloatArray, times: IndexArray, interval: int
) -> tuple[FloatArray, IndexArray, IndexArray]:
    """Return the mean of each interval that has a row.

    Intervals begin at whole multiples of their length since 1970, UTC.

    Args:
        values: Of shape ``(T, D)``, ``T`` at least 1; NaN where a value is missing: it
            counts in no mean.
        times: Of each row, of shape ``(T,)``, rising, in nanoseconds since 1970.
        interval: Their length in nanoseconds.

    Returns:
        The means, of shape ``(n, D)``, NaN where all values are missing; where the
        intervals begin; and the first row of each, both of shape ``(n,)``.
    """
    begins = times // interval * interval
    first = np.flatnonzero(np.concatenate([[True], begins[1:] != begins[:-1]]))
    is_there = ~np.isnan(values)
    sums = np.add.reduceat(np.where(is_there, values, 0), first, axis=0)
    counts = np.add.reduceat(is_there.astype(np.int64), first, axis=0)
    found = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=found, where=counts > 0)
    return found, begins[first], first
