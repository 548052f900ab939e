"""Find series whose level rises, or falls, through all training rows."""

from collections.abc import Iterator

import numpy as np

from lstm_ad.data.extremes import N_STRETCHES
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.outlying import MIN_ROWS
from lstm_ad.quality.reasons import Level
from lstm_ad.quality.stretches import N_BLOCKS

_MIN_RISE = 1.5
"""How many widths of its blocks, of the central 80 % of values, a level changes by. Of
the series of ``benchmarks/README.md`` none that is steady changes by more than 1.02."""


def find_trends(data: Data) -> Iterator[Finding]:
    """Yield series whose level goes on in one direction, block by block.

    Counters are told by themselves. A trend that begins anew in each file is none.
    """
    fitting, later = data.fitting.profile, data.calibration.profile
    if fitting.n_rows + later.n_rows < MIN_ROWS:
        return
    stretches = data.stretches
    blocks = stretches.medians.reshape(N_BLOCKS, N_STRETCHES // N_BLOCKS, -1)
    levels = blocks.mean(axis=1)
    steps = np.diff(levels, axis=0)
    is_steady = (steps > 0).all(axis=0) | (steps < 0).all(axis=0)
    width = np.median(stretches.widths, axis=0)
    is_trend = is_steady & (np.abs(levels[-1] - levels[0]) >= _MIN_RISE * width)
    is_trend &= (np.minimum(*data.n_changes) > 0) & (width > 0)
    for series in map(int, np.flatnonzero(is_trend)):
        where = data.fitting.files[0]
        start, end = levels[[0, -1], series]
        yield Finding(
            "trend",
            Level.CHECK,
            (series,),
            where,
            None,
            f"{where}: the level of {data.named(series)} "
            f"{'rises' if end > start else 'falls'} all the time, from about "
            f"{start:.6g} in the first twelfth of the training rows to {end:.6g} in "
            f"the last.",
            "The calibration part, and all later rows, lie beyond most of what the "
            "LSTM was trained on.",
            "If the sensor drifts, correct it; else replace the series by its "
            "differences from row to row, or leave it out.",
        )
