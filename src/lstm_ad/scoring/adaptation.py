"""Take slowly what stays unusual for the new normal.

After a change of regime, every row is an anomaly for ever: the load is another, a
sensor was replaced. The detector of a stream may adapt. It remembers by how much the
evidence has been beyond its level, in logarithms, as an exponential mean over the past
rows, and takes that off::

    l(t) = l(t - 1) + (max(0, x(t) - q) - l(t - 1)) / h,      x'(t) = x(t) - l(t - 1)

with x = log(1 + d*), q the level of the shortest windows, and h the number of rows it
takes. The price: a score depends on some thousand past rows, and what lasts for longer
than h rows fades.
"""

import numpy as np

from lstm_ad.axes import FloatArray


class Adaptation:
    """What has stayed unusual in the rows of one series so far.

    Args:
        n_rows: How many rows it takes to adapt; 0 = never.
        level: The level of the shortest windows, as in
            :attr:`lstm_ad.scoring.scan.Scan.levels`.
    """

    def __init__(self, n_rows: int, level: float) -> None:
        self._n_rows, self._level = n_rows, level
        self._lasting = 0.0

    def of(self, evidence: FloatArray) -> FloatArray:
        """Return the evidence of the next rows relative to what lasts.

        Args:
            evidence: As :meth:`lstm_ad.scoring.scan.Scan.worst` returns it, of shape
                ``(T,)``; NaN where a row has none.
        """
        if not self._n_rows:
            return evidence
        logarithm = np.log1p(evidence)
        before = np.empty(len(evidence))
        excess = np.maximum(np.nan_to_num(logarithm - self._level), 0.0).tolist()
        for row, size in enumerate(excess):
            before[row] = self._lasting
            self._lasting += (size - self._lasting) / self._n_rows
        # Never below what no evidence at all would be.
        relative: FloatArray = np.expm1(np.maximum(logarithm - before, 0.0))
        return relative
