"""What a worker writes into its slot of the counts that all workers share.

Nothing of a payload is kept but sums: over rows, over blocks of rows, per status.
"""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

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

_NUMBER_OF_STATUS = {status: number for number, status in enumerate(STATUSES)}


class RequestRecorder:
    """Counts the requests of a worker; its threads may call it at the same time.

    Args:
        slot: One of :attr:`Counts.slots`.
    """

    def __init__(self, slot: Slot) -> None:
        self._slot, self._lock = slot, threading.Lock()

    @contextlib.contextmanager
    def holding(self) -> Iterator[None]:
        """Count a request as held until the end of the block."""
        with self._lock:
            self._slot["held"] += 1
        try:
            yield
        finally:
            with self._lock:
                self._slot["held"] -= 1

    def answered(self, status: int) -> None:
        """Count an answer.

        Called before the answer is sent, so that a client that has one finds it
        counted, whatever becomes of the worker.
        """
        number = _NUMBER_OF_STATUS.get(str(status), len(STATUSES) - 1)
        with self._lock:
            self._slot["requests"][number] += 1

    def sent(self, seconds: float) -> None:
        """Count how long an answer took, sending it included."""
        with self._lock:
            self._slot["durations"][np.searchsorted(SECONDS, seconds)] += 1
            self._slot["seconds"] += seconds


class RowCounter(Protocol):
    """What counts the rows of answers."""

    def returned(self, values: FloatArray, parts: Sequence[Scores], first: int) -> None:
        """Count the rows of an answer."""


class RowRecorder:
    """Counts the rows that a worker returns; its threads may call it as well.

    Args:
        slot: One of :attr:`Counts.slots`.
        reference: What rows are compared with.
        decision: The model's own, whatever a request asks for: its rate of anomalies
            is the one that an operator expects.
    """

    def __init__(self, slot: Slot, reference: Reference, decision: Decision) -> None:
        self._slot, self._reference, self._decision = slot, reference, decision
        # Held while numbers are added, never while something is computed.
        self._lock = threading.Lock()

    def returned(self, values: FloatArray, parts: Sequence[Scores], first: int) -> None:
        """Count the rows of an answer.

        Args:
            values: The series of the request, of shape ``(T, D)``.
            parts: What the detector says of its rows, some at a time.
            first: The first row that is returned: those before it were sent for the
                sake of the others, and were returned by an earlier request.
        """
        values = values[first:]
        scores = np.concatenate([part.normality_score for part in parts])[first:]
        bins = self._reference.bins(scores)
        n_anomalies = np.count_nonzero(self._decision.is_anomaly(scores))
        n_missing = np.count_nonzero(np.isnan(values))
        blocks = self._blocks(values, bins, _is_off(parts, first))
        ranks = blocks[0].ranks if len(blocks) == 1 else count(bins)
        with self._lock:
            slot = self._slot
            slot["rows"] += len(values)
            slot["scored"] += ranks.sum()
            slot["anomalies"] += n_anomalies
            slot["missing"] += n_missing
            slot["ranks"] += ranks
            for block in blocks:
                self._add(block)

    def _blocks(
        self, values: FloatArray, bins: IndexArray, is_off: BoolArray | None
    ) -> list["_Sums"]:
        """Return the sums over blocks of the last rows in which the machine is on.

        The others were not learnt from, so nothing says what they should be.
        """
        if is_off is not None:
            values, bins = values[~is_off], bins[~is_off]
        may_be_missing = bool(np.isnan(values).any())
        return [
            self._sums(values[start:stop], bins[start:stop], may_be_missing)
            for start in range(0, len(values), BLOCK_ROWS)
            if (stop := start + BLOCK_ROWS) > len(values) - WINDOW_ROWS
        ]

    def _sums(
        self, values: FloatArray, bins: IndexArray, may_be_missing: bool
    ) -> "_Sums":
        """Return the sums over some rows."""
        standardised = self._reference.standardised(values)[:, :MAX_SERIES]
        n_values: IndexArray | int = len(values)
        if may_be_missing:
            n_values = np.count_nonzero(~np.isnan(standardised), axis=0)
            standardised = np.nan_to_num(standardised)
        # A product: sum() takes longer for few columns.
        sums = np.ones(len(values)) @ standardised
        return _Sums(len(values), count(bins), n_values, sums)

    def _add(self, some: "_Sums") -> None:
        """Add rows to the newest block, or begin another one in place of the oldest."""
        slot, number, n_series = self._slot, int(self._slot["newest"]), len(some.sums)
        if slot["n_rows"][number] >= BLOCK_ROWS:
            number = (number + 1) % len(slot["n_rows"])
            slot["n_rows"][number] = 0  # first: readers skip a block without rows
            slot["block_ranks"][number] = 0
            slot["n_values"][number, :n_series] = 0
            slot["sums"][number, :n_series] = 0
            slot["newest"] = number
        slot["ended"][number] = time.monotonic()
        slot["block_ranks"][number] += some.ranks
        slot["n_values"][number, :n_series] += some.n_values
        slot["sums"][number, :n_series] += some.sums
        slot["n_rows"][number] += some.n_rows


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Sums over some rows: see :class:`lstm_ad.quality.drift.Blocks`."""

    n_rows: int
    ranks: IndexArray
    n_values: IndexArray | int
    sums: FloatArray


def _is_off(parts: Sequence[Scores], first: int) -> BoolArray | None:
    """Return in which of the rows that are returned the machine is off, if known."""
    found = [part.is_off for part in parts if part.is_off is not None]
    return np.concatenate(found)[first:] if found else None
