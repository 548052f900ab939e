"""Score rows while a series is away: what normal errors then are is measured.

Some series follow from the others, and some lead them: how much worse reconstructions
are without one cannot be known but by trying. So, after calibration, each series in
turn is taken out of some calibration rows. The *ratio* of a series says how many times
as large the normal errors are then. While it is away, and one context after, errors are
divided by it. So a gap alone is no anomaly, and a fault that is larger than what the
gap costs is still found.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.gaussian import Gaussian
from lstm_ad.scoring.reconstruction import Reconstructor

PROBABILITY = 0.998
"""Of the quantile of squared distances that is compared: rare errors make alarms."""

MAX_ROWS = 2000
"""Calibration rows that series are taken out of."""


def outage_ratios(
    parts: Sequence[FloatArray],
    reconstructor: Reconstructor,
    gaussian: Gaussian,
    group: ProcessGroup = ALONE,
) -> FloatArray:
    """Return how many times as large errors are while each series is away.

    Args:
        parts: Normal rows of this process, each of shape ``(T, D)`` and longer than
            the rows that have no score; may be none.
        reconstructor: The scaled LSTM.
        gaussian: What scores its errors.
        group: The processes that have parts: their rows count as those of one.

    Returns:
        At least 1, of shape ``(D,)``; all 1 for a single series, which has no score
        while it is away.
    """
    n_series = reconstructor.network.n_series
    ratios = np.ones(n_series)
    if n_series == 1:
        return ratios
    measured = dataclasses.replace(reconstructor, outage_ratios=ratios)

    def level(left_out: list[int]) -> float:
        """Return the level of the distances without some series."""
        distances = [np.empty(0)]
        for part in parts:
            values = part.copy()
            values[:, left_out] = np.nan
            distances += [
                gaussian.distances(errors) for errors in measured.errors(values)
            ]
        found = np.concatenate(group.gather(np.concatenate(distances)))
        found = found[~np.isnan(found)]
        return float(np.quantile(found, PROBABILITY)) if len(found) else 0.0

    usual = level([])
    without = np.array([level([number]) for number in range(n_series)])
    return np.sqrt(np.maximum(without / usual, 1.0)) if usual else ratios
