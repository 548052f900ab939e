"""Score anomalies of any length: a scan over windows, as in change detection.

Let d(t) be the squared Mahalanobis distance of a row's errors, and m_w(t) the mean of
the last w distances. On normal rows m_w stays, but for one row in a hundred, below its
*level* q_w. The evidence at a row is how far the mean of its worst window is beyond its
level, brought to the units of the shortest window, w_1::

    d*(t) = (1 + q_1) max_w (1 + m_w(t)) / (1 + q_w) - 1

and the score is the log-likelihood of a single row at that distance: the logarithm of
the Gaussian's normaliser minus d*(t) / 2. With the length 1 alone that is the
log-likelihood of the row itself. The length of the worst window tells for how long the
anomaly has lasted.

A length takes part once its window is full, and never with rows of another file. Longer
windows must clear their level by a margin: they give more chances to be wrong.

A row has no distance where most of its values are missing, and then no score. The mean
of a window is that of the rows in it that have one, if these are at least half.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.scoring.adaptation import Adaptation

LEVEL = 0.99
"""The fraction of normal rows whose mean is below the level of its length."""

MARGINS = {True: 0.35, False: 0.1}
"""For a single series, or several: how far a level is raised for each doubling of the
length, in nats; measured in ``benchmarks/README.md``."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """The lengths of the windows, and what is normal for each."""

    shortest: int
    """The length of the shortest windows, in rows; the others double it."""
    levels: FloatArray
    """The logarithm of ``1 + q_w`` of each length, margin included, in nats."""
    adaptation_rows: int = 0
    """See :class:`~lstm_ad.scoring.adaptation.Adaptation`."""

    @functools.cached_property
    def lengths(self) -> tuple[int, ...]:
        """The lengths of the windows, in rows."""
        return tuple(self.shortest * 2**number for number in range(len(self.levels)))

    @classmethod
    def fit(
        cls,
        distances: Sequence[FloatArray],
        lengths: Sequence[int],
        margin: float,
        adaptation_rows: int = 0,
    ) -> "Scan":
        """Return the scan for distances of normal rows.

        Lengths that no file is long enough for are left out; the shortest is halved
        until one is.

        Args:
            distances: Squared Mahalanobis distances of the rows of each file, each of
                shape ``(T,)``, under a Gaussian that was not fitted to them.
            lengths: In rows, each twice the one before.
            margin: How far a level is raised for each doubling, in nats.
            adaptation_rows: How many rows it takes to adapt; 0 = never.
        """
        longest = max(map(len, distances))
        fitting = [length for length in lengths if length <= longest]
        if not fitting:
            fitting = [max(1, 2 ** (longest.bit_length() - 1))]
        means = [WindowMeans(fitting).of(part) for part in distances]
        levels = []
        for doubling, of_length in enumerate(np.concatenate(means, axis=1)):
            known = np.log1p(of_length[~np.isnan(of_length)])
            levels.append(float(np.quantile(known, LEVEL)) + margin * doubling)
        return cls(fitting[0], np.array(levels), adaptation_rows)

    def worst(self, means: FloatArray) -> tuple[FloatArray, IndexArray]:
        """Return the evidence at each row, and which window it comes from.

        Args:
            means: As :meth:`WindowMeans.of` returns them, of shape ``(W, T)``.

        Returns:
            ``d*``, of shape ``(T,)``, NaN until the shortest window is full; and the
            number of the worst window's length, from 0, of shape ``(T,)``.
        """
        if len(self.levels) == 1:  # to the last bit
            return means[0], np.zeros(means.shape[1], dtype=np.int64)
        excess = np.log1p(means) - self.levels[:, np.newaxis]
        excess[1:][np.isnan(excess[1:])] = -np.inf
        number = np.argmax(excess, axis=0)  # NaN is the first row's, if there is one
        worst: FloatArray = np.expm1(self.levels[0] + excess.max(axis=0))
        return worst, number


SINGLE_ROWS = Scan(1, np.zeros(1))
"""The document's score: each row by itself."""


class WindowMeans:
    """Means over the last rows of values that come some rows at a time.

    Each window is summed by itself, twice as long ones from two halves: with running
    sums, one huge value would spoil all that come after it, and the results would
    depend on how the rows are divided. Time grows with the logarithm of the longest
    length.

    Args:
        lengths: In rows, each twice the one before.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths
        self._before: FloatArray | None = None  # what the next rows' windows reach

    def of(self, values: FloatArray) -> FloatArray:
        """Return the means of the next rows.

        Args:
            values: Of shape ``(T,)`` or ``(T, D)``; NaN where there is none.

        Returns:
            Of shape ``(W, T)`` or ``(W, T, D)``, a window each; NaN until it is full,
            and where fewer than half of its rows have a value.
        """
        joined = values
        if self._before is not None:
            joined = np.concatenate([self._before, values])
        n_before = len(joined) - len(values)
        self._before = joined[max(len(joined) - self._lengths[-1] + 1, 0) :].copy()
        is_missing = np.isnan(joined)
        if not is_missing.any():
            return self._means(joined)[:, n_before:]
        means = self._means(np.nan_to_num(joined))
        present = self._means(1.0 - is_missing)
        present[present < 0.5] = np.nan
        whole: FloatArray = means / present
        return whole[:, n_before:]

    def _means(self, values: FloatArray) -> FloatArray:
        """Return the means of all windows, as :meth:`of` those of rows without NaN."""
        means = np.full((len(self._lengths), *values.shape), np.nan)
        sums = window_sums(values, self._lengths[0])
        for mean, length in zip(means, self._lengths, strict=True):
            if length > len(values):
                break
            if length > self._lengths[0]:
                sums = sums[length // 2 :] + sums[: -(length // 2)]
            mean[length - 1 :] = sums / length
        return means


class Scanner:
    """Scans one series, whose rows come some at a time.

    Args:
        scan: The windows.
    """

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._means = WindowMeans(scan.lengths)
        self._adaptation = Adaptation(scan.adaptation_rows, float(scan.levels[0]))

    def of(self, distances: FloatArray) -> tuple[FloatArray, IndexArray]:
        """Return the evidence at the next rows, and the window it comes from.

        Args:
            distances: Squared Mahalanobis distances, of shape ``(T,)``; NaN where a
                row has none.

        Returns:
            As :meth:`Scan.worst`, relative to what lasts if the detector adapts.
        """
        worst, number = self._scan.worst(self._means.of(distances))
        worst[np.isnan(distances)] = np.nan
        return self._adaptation.of(worst), number


def window_sums(values: FloatArray, length: int) -> FloatArray:
    """Return the sum of each full window, the first one's first."""
    n_windows = max(len(values) - length + 1, 0)
    sums = values[:n_windows].copy()
    for offset in range(1, length):
        sums += values[offset : offset + n_windows]
    return sums
