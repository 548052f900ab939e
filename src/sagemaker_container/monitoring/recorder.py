"""What a worker writes into its slot of the counts that all workers share.

Nothing of a payload is kept but sums: over rows, over blocks of rows, per status.
"""

import bisect
import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.quality.drift import BLOCK_ROWS, WINDOW_ROWS, Reference, count
from lstm_ad.scoring.detector import Scores
from lstm_ad.threshold.decision import BoolArray, Decision
from sagemaker_container.monitoring.counts import (
    MAX_SERIES,
    SECONDS,
    STATUSES,
    Slot,
)

_ONES = np.ones(BLOCK_ROWS)
_NUMBER_OF_STATUS = {status: number for number, status in enumerate(STATUSES)}


class RequestRecorder:
    """Counts the requests of a worker; its threads may call it at the same time.

    Args:
        slot: Of :meth:`Counts.slot`.
    """

    def __init__(self, slot: Slot) -> None:
        self._held, self._requests = slot["held"], slot["requests"][0]
        self._durations, self._seconds = slot["durations"][0], slot["seconds"]
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Count a request as held until the end of the block."""
        with self._lock:
            self._held[0] += 1
        try:
            yield
        finally:
            with self._lock:
                self._held[0] -= 1

    def answered(self, status: int) -> None:
        """Count an answer.

        Called before the answer is sent, so that a client that has one finds it
        counted, whatever becomes of the worker.
        """
        number = _NUMBER_OF_STATUS.get(str(status), len(STATUSES) - 1)
        with self._lock:
            self._requests[number] += 1

    def sent(self, seconds: float) -> None:
        """Count how long an answer took, sending it included."""
        with self._lock:
            self._durations[bisect.bisect_left(SECONDS, seconds)] += 1
            self._seconds[0] += seconds


class RowCounter(Protocol):
    """What counts the rows of answers."""

    def returned(self, values: FloatArray, parts: Sequence[Scores]) -> None:
        """Count the rows of an answer.

        Args:
            values: The series of these rows, of shape ``(T, D)``.
            parts: What the detector says of them, some at a time and in order.
        """


class RowRecorder:
    """Counts the rows that a worker returns; its threads may call it as well.

    Args:
        slot: Of :meth:`Counts.slot`.
        reference: What rows are compared with.
        decision: The model's own, whatever a request asks for: its rate of anomalies
            is the one that an operator expects.
    """

    def __init__(self, slot: Slot, reference: Reference, decision: Decision) -> None:
        self._reference, self._decision = reference, decision
        n_series = min(len(reference.mean), MAX_SERIES)
        self._bins = slot["bins"][0]
        self._anomalies, self._missing = slot["anomalies"], slot["missing"]
        self._newest, self._ended = slot["newest"], slot["ended"][0]
        self._n_rows, self._ranks = slot["n_rows"][0], slot["block_ranks"][0]
        self._n_values = slot["n_values"][0, :, :n_series]
        self._sums = slot["sums"][0, :, :n_series]
        # Held while numbers are added, never while something is computed.
        self._lock = threading.Lock()

    def returned(self, values: FloatArray, parts: Sequence[Scores]) -> None:
        """Count the rows of an answer: see :meth:`RowCounter.returned`."""
        bins = self._reference.bins(
            np.concatenate([part.normality_score for part in parts])
        )
        n_anomalies = sum(
            np.count_nonzero(part.anomalies(self._decision)) for part in parts
        )
        n_missing = int(np.count_nonzero(np.isnan(values)))
        counts = count(bins)
        is_off = _is_off(parts)
        blocks = list(self._blocks(values, bins, is_off, n_missing > 0))
        with self._lock:
            self._bins += counts
            self._anomalies[0] += n_anomalies
            self._missing[0] += n_missing
            for block in blocks:
                self._add(block)

    def _blocks(
        self,
        values: FloatArray,
        bins: IndexArray,
        is_off: BoolArray | None,
        has_gaps: bool,
    ) -> Iterator["_Sums"]:
        """Yield the sums over blocks of the last rows in which the machine is on.

        The others were not learnt from, so nothing says what they should be.
        """
        if is_off is not None:
            values, bins = values[~is_off], bins[~is_off]
        for start in range(0, len(values), BLOCK_ROWS):
            stop = start + BLOCK_ROWS
            if stop <= len(values) - WINDOW_ROWS:
                continue
            some = values[start:stop]
            standardised = self._reference.standardised(some)[:, :MAX_SERIES]
            n_values: IndexArray | int = len(some)
            if has_gaps:
                n_values = np.count_nonzero(~np.isnan(standardised), axis=0)
                standardised = np.nan_to_num(standardised)
            # A product: sum() takes longer for few columns.
            sums = _ONES[: len(some)] @ standardised
            yield _Sums(len(some), count(bins[start:stop])[:-1], n_values, sums)

    def _add(self, some: "_Sums") -> None:
        """Add rows to the newest block, or begin another one in place of the oldest."""
        number = int(self._newest[0])
        if self._n_rows[number] >= BLOCK_ROWS:
            number = (number + 1) % len(self._n_rows)
            self._n_rows[number] = 0  # first: readers skip a block without rows
            self._ranks[number] = 0
            self._n_values[number] = 0
            self._sums[number] = 0
            self._newest[0] = number
        self._ended[number] = time.monotonic()
        self._ranks[number] += some.ranks
        self._n_values[number] += some.n_values
        self._sums[number] += some.sums
        self._n_rows[number] += some.n_rows


class _Sums(NamedTuple):
    """Sums over some rows: see :class:`lstm_ad.quality.drift.Blocks`."""

    n_rows: int
    ranks: IndexArray
    n_values: IndexArray | int
    sums: FloatArray


def _is_off(parts: Sequence[Scores]) -> BoolArray | None:
    """Return in which rows the machine is off, if it is known."""
    found = [part.is_off for part in parts if part.is_off is not None]
    return np.concatenate(found) if found else None
