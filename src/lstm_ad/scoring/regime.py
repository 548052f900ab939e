"""Recognise a regime that nothing in training resembles, and say so once.

After a change of regime, as of a load or of a sensor, no threshold that was learnt
before can hold: every row would be an alarm, for ever. A row is in an *unseen regime*
if, in at least half of the rows of the longest window that ends with it, the values of
one series lie on one side beyond all that it had in training, by more than the whole
range that it had there. It is told once per event.

While it lasts, only what rises above it is an alarm: a row whose evidence, as
``log(1 + d*)``, is no more than ``RISE`` above its mean over the longest window that
ends before the row is *known*, and a known row is no alarm. So the alarms end with the
first window that the regime fills, and a new fault in it is one again. Scores stay.

All this depends on two windows of past rows, so a growing series has the bits of the
whole. What is compared with the values seen are the values themselves, and what varies
or seldom happened in training was seen: data like those of training are in no such
regime, however much their rows depend on each other.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.model.scaling import value_range
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.gaussian import WIDE
from lstm_ad.scoring.scan import WindowMeans
from lstm_ad.threshold.decision import BoolArray

NONE = -1
"""The number of the series where there is no such regime."""

MARGIN = 1.0
"""How far beyond the values seen a value must lie, in the range that they have."""

RISE = 0.05
"""By how much evidence must rise to be an alarm again, in nats; measured in
``benchmarks/README.md``."""


@dataclasses.dataclass(frozen=True)
class Seen:
    """The values of each series in all rows that a model was fitted to."""

    low: FloatArray
    """The smallest, of shape ``(D,)``, in the units of the series."""
    high: FloatArray
    """The largest, likewise."""

    @classmethod
    def of(
        cls,
        parts: Iterable[FloatArray],
        n_series: int,
        group: ProcessGroup = ALONE,
        before: "Seen | None" = None,
    ) -> "Seen":
        """Return what the rows of all processes have, and what was seen before.

        Args:
            parts: Rows of this process, each of shape ``(T, D)``; NaN where a value is
                missing.
            n_series: ``D``.
            group: The processes that have parts.
            before: What the model saw that the job started from.
        """
        low, high = value_range([np.empty((0, n_series)), *parts], group)
        if before is not None:
            low, high = np.minimum(low, before.low), np.maximum(high, before.high)
        return cls(low, high)

    def bounds(self, scale: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return between which values a series is as it was seen.

        Args:
            scale: The standard deviations of the series, of shape ``(D,)``: what of a
                series that did not vary is too little to be a change.

        Returns:
            The lowest and the highest values, each of shape ``(D,)``.
        """
        margin = MARGIN * (self.high - self.low) + WIDE.floor * scale
        return self.low - margin, self.high + margin


@dataclasses.dataclass(frozen=True)
class Regimes:
    """What there is to say of the regimes of some rows."""

    series: IndexArray
    """The series whose values were never seen, or ``NONE``, of shape ``(T,)``."""
    is_known: BoolArray
    """Whether such a regime explains the row's score, of shape ``(T,)``."""


class RegimeWatch:
    """Watches one series, whose rows come some at a time.

    Args:
        bounds: As :meth:`Seen.bounds` returns them.
        lengths: Those of the windows, in rows, each twice the one before.
    """

    def __init__(
        self, bounds: tuple[FloatArray, FloatArray], lengths: Sequence[int]
    ) -> None:
        self._low, self._high = bounds
        self._longest = lengths[-1]
        self._beyond = np.zeros((self._longest - 1, 2 * len(self._low)), np.bool_)
        self._means = WindowMeans(lengths)
        self._mean = np.full(1, np.nan)  # of the window that ends before the next row

    def of(self, values: FloatArray, evidence: FloatArray) -> Regimes:
        """Return what there is to say of the next rows.

        Args:
            values: Of shape ``(T, D)``, in the units of the series; NaN where one is
                missing.
            evidence: As :meth:`lstm_ad.scoring.scan.Scanner.of` returns it, of shape
                ``(T,)``.
        """
        series = self._series(values)
        logarithm = np.log1p(evidence)
        means = np.concatenate([self._mean, self._means.of(logarithm)[-1]])
        self._mean = means[-1:]
        is_known = (series != NONE) & (logarithm <= means[:-1] + RISE)
        return Regimes(series, is_known)

    def _series(self, values: FloatArray) -> IndexArray:
        """Return :attr:`Regimes.series` of the next rows."""
        n_rows = len(values)
        found = np.full(n_rows, NONE, dtype=np.int64)
        beyond = np.hstack([values < self._low, values > self._high])
        beyond = np.concatenate([self._beyond, beyond])
        self._beyond = beyond[n_rows:].copy()
        columns = np.flatnonzero(beyond.any(axis=0))
        if not len(columns):
            return found
        counts = np.zeros((len(beyond) + 1, len(columns)), dtype=np.int64)
        np.cumsum(beyond[:, columns], axis=0, out=counts[1:])
        in_window = counts[self._longest :] - counts[: -self._longest]
        most = np.argmax(in_window, axis=1)
        is_unseen = 2 * in_window[np.arange(n_rows), most] >= self._longest
        found[is_unseen] = columns[most[is_unseen]] % values.shape[1]
        return found


class Teller:
    """Tells of the regimes of a series, whose rows come some at a time, once per event.

    Args:
        max_gap: As for :func:`lstm_ad.scoring.events.find_events`.
    """

    def __init__(self, max_gap: int) -> None:
        self._max_gap = max_gap
        self._last, self._has_told = -max_gap - 2, False  # the last anomaly so far

    def of(self, is_anomaly: BoolArray, series: IndexArray) -> BoolArray:
        """Return which of the next rows are the first of their event to tell.

        Args:
            is_anomaly: Of shape ``(T,)``.
            series: As in :attr:`Regimes.series`.
        """
        tells = np.zeros(len(is_anomaly), dtype=np.bool_)
        anomalies = np.flatnonzero(is_anomaly).tolist()
        for before, row in itertools.pairwise([self._last, *anomalies]):
            if row - before > self._max_gap + 1:
                self._has_told = False
            if not self._has_told and series[row] != NONE:
                tells[row] = self._has_told = True
        last = anomalies[-1] if anomalies else self._last
        self._last = max(last - len(is_anomaly), -self._max_gap - 2)
        return tells
