"""What the workers count, in memory that they share.

The memory is made before the workers are, so that all of them, and each one's
replacement, see it: no folder is needed (a container's disk may be read-only), and
nothing is lost with a worker that is killed. Every worker writes to a slot of its own,
without a lock between processes, and any of them adds all slots up. A replacement goes
on counting where its predecessor ended, so counts never decrease.
"""

import dataclasses
import mmap
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import IndexArray
from lstm_ad.quality.drift import BLOCK_ROWS, RANKS, WINDOW_ROWS, Blocks

STATUSES = (
    *("200", "400", "404", "405", "406", "408", "409", "413", "415", "500", "503"),
    *("507", "other"),
)
"""The statuses of answers."""

SECONDS = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, float("inf"))
"""The upper bounds of the histogram of durations."""

MAX_SERIES = 1000
"""Of wider series, the drift of the first ones is watched."""

_N_BLOCKS = WINDOW_ROWS // BLOCK_ROWS + 1
"""The newest is not full."""

_TOTALS = [
    ("requests", "i8", (len(STATUSES),)),
    ("durations", "i8", (len(SECONDS),)),
    ("seconds", "f8"),
    ("bins", "i8", (len(RANKS) + 1,)),
    ("anomalies", "i8"),
    ("missing", "i8"),
]
"""See :class:`Totals`."""

_SLOT = np.dtype(
    [
        *_TOTALS,
        ("starts", "i8"),
        ("held", "i8"),
        ("newest", "i8"),
        ("ended", "f8", (_N_BLOCKS,)),
        ("n_rows", "i8", (_N_BLOCKS,)),
        ("block_ranks", "i8", (_N_BLOCKS, len(RANKS))),
        ("n_values", "i8", (_N_BLOCKS, MAX_SERIES)),
        ("sums", "f8", (_N_BLOCKS, MAX_SERIES)),
    ]
)
"""The last of them are of blocks of rows: see :class:`lstm_ad.quality.drift.Blocks`.
``ended`` is when the last row of a block came, by a clock that all processes share."""

Slot = Mapping[str, npt.NDArray[Any]]
"""What one worker has counted: the fields above, in the shared memory, each with an
axis in front, of length 1."""


@dataclasses.dataclass(frozen=True)
class Totals:
    """What all workers together have counted since the server began."""

    requests: IndexArray
    """Answers of each of ``STATUSES``."""
    durations: IndexArray
    """Answers within each of ``SECONDS`` and not within the one before."""
    seconds: float
    """What these answers took, in all."""
    bins: IndexArray
    """Rows that were returned, by their score: in each bin of
    :data:`lstm_ad.quality.drift.RANKS`, and last those without one."""
    anomalies: int
    """Rows that are anomalies to the model's own threshold."""
    missing: int
    """Missing values of rows that were returned."""

    @property
    def rows(self) -> int:
        """Rows that were returned."""
        return int(self.bins.sum())

    @property
    def ranks(self) -> IndexArray:
        """Scores in each bin."""
        return self.bins[:-1]

    @property
    def scored(self) -> int:
        """Rows that have a score."""
        return int(self.ranks.sum())


_NAMES = [field.name for field in dataclasses.fields(Totals)]


class Counts:
    """The counts of all workers.

    Args:
        n_workers: How many there are at a time. While gunicorn replaces all of them,
            there are twice as many.
    """

    def __init__(self, n_workers: int) -> None:
        kind = np.dtype(
            [
                ("slots", _SLOT, (2 * n_workers,)),
                ("told", [*_TOTALS, ("due", "f8")]),
            ]
        )
        # Pages that are never written take no memory.
        shared = np.frombuffer(mmap.mmap(-1, kind.itemsize), kind)[0]
        self.slots: npt.NDArray[np.void] = shared["slots"]
        """One for each worker."""
        self.told: np.void = shared["told"]
        """The totals at the last report, and when the next one is due."""
        self.lock = os.memfd_create("lstm-ad")
        """A file without a disk: whoever makes a report has it locked."""

    def claim(self, used: Sequence[int]) -> int:
        """Return the slot of a new worker; called before each fork.

        Args:
            used: The slots of the other workers.
        """
        number = min(range(len(self.slots)), key=used.count)
        self.slots["starts"][number] += 1
        self.slots["held"][number] = 0  # its predecessor holds nothing any more
        return number

    def slot(self, number: int) -> Slot:
        """Return what a worker writes to.

        It is looked up once: a field takes longer to find than to add to.
        """
        one = self.slots[number : number + 1]
        return {name: one[name] for name in _SLOT.names or ()}

    def totals(self) -> Totals:
        """Return the sums over all slots."""
        return Totals(**{name: self.slots[name].sum(axis=0) for name in _NAMES})

    def news(self) -> Totals:
        """Return what was counted since the last call, by whichever process."""
        totals = self.totals()
        news = {name: getattr(totals, name) - self.told[name] for name in _NAMES}
        for name in _NAMES:
            self.told[name] = getattr(totals, name)
        return Totals(**news)

    @property
    def n_held(self) -> int:
        """How many requests are being answered."""
        return int(self.slots["held"].sum())

    @property
    def n_restarts(self) -> int:
        """How many workers were replaced."""
        return int(np.maximum(self.slots["starts"] - 1, 0).sum())

    def last_rows(self, n_series: int) -> Blocks:
        """Return what is kept of the last rows of all workers, about ``WINDOW_ROWS``.

        Args:
            n_series: ``D``.
        """
        # What was never written is not read either: that would take memory for it.
        slots = self.slots
        # A copy: workers write meanwhile, and np.nonzero raises if numbers change.
        n_rows_kept = slots["n_rows"].copy()
        at = np.nonzero(n_rows_kept)
        newest = np.argsort(-slots["ended"][at], kind="stable")
        n_rows = n_rows_kept[at][newest]
        newest = newest[np.cumsum(n_rows) - n_rows < WINDOW_ROWS]
        slot, block = (index[newest[::-1]] for index in at)
        return Blocks(
            slots["block_ranks"][slot, block].astype(np.float64),
            slots["n_values"][slot, block, :n_series].astype(np.float64),
            slots["sums"][slot, block, :n_series],
        )
