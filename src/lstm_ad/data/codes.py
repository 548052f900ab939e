"""Take numbers that stand for a missing value as missing."""

from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray


def without_codes(values: FloatArray, codes: Sequence[float]) -> FloatArray:
    """Return values, of shape ``(T, D)``, with NaN where one is a code.

    Args:
        values: They are returned themselves if they hold none.
        codes: Numbers that stand for a missing value, in all series.
    """
    if not codes:
        return values
    is_code = np.logical_or.reduce([values == code for code in codes])
    return np.where(is_code, np.nan, values) if is_code.any() else values
