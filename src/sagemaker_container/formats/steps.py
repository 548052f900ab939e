"""Follow the times of a series block by block, and insert the rows that are absent."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.rows import Block
from lstm_ad.data.schema import Clock, Schema
from sagemaker_container.formats import times
from sagemaker_container.formats.header import Columns
from sagemaker_container.formats.times import Form


@dataclasses.dataclass(frozen=True)
class Timed:
    """Consecutive rows of a series, and when they were measured."""

    values: FloatArray
    """Of shape ``(T, D)``."""
    times: IndexArray
    """Of shape ``(T,)``."""
    form: Form
    """How the times are written."""
    cell: Callable[[int], bytes]
    """Gives the text of a time, by the row from 0."""
    numbers: Sequence[int]
    """The number of each row in its file, from 1."""


class Steps:
    """The times of a series: its first block says what a step is.

    Args:
        columns: The columns of the file.
        longest_gap: Over how many rows a missing value is held; 0 if no row may be
            absent.
    """

    def __init__(self, columns: Columns, longest_gap: int) -> None:
        self._columns = columns
        self._longest_gap = longest_gap
        self._clock: Clock | None = None
        self._last: tuple[int, bytes, int] | None = None

    def rows(self, block: Timed, schema: Schema) -> Block:
        """Return the rows of a block, with those that are absent as missing ones.

        Args:
            block: The next rows of the series.
            schema: The columns of the file.

        Raises:
            SeriesError: If times do not rise by steps, or if rows may not be absent.
        """
        moments = self._refuse_unsteady(block)
        last = len(block.times) - 1
        self._last = int(block.times[-1]), block.cell(last), block.numbers[last]
        n_absent = self._absent(moments, len(block.values))
        filled, inserted = _with_absent(block.values, n_absent)
        before = np.concatenate([moments[:1], moments[:-1]])[-len(n_absent) :]
        # Those that are absent count as measured with the row before them.
        pairs = np.column_stack([before, block.times]).ravel()
        repeats = np.column_stack([n_absent, np.ones_like(n_absent)]).ravel()
        return Block(
            filled,
            dataclasses.replace(schema, clock=self._clock),
            inserted,
            (int(block.times[0]), int(block.times[-1])),
            np.repeat(pairs, repeats),
        )

    def _refuse_unsteady(self, block: Timed) -> IndexArray:
        """Return the times of a block, after that of the row before if there is one.

        Raises:
            SeriesError: If they do not rise by steps, or if rows may not be absent.
        """
        before = [] if self._last is None else [self._last]
        earlier = np.array([time for time, _, _ in before], dtype=np.int64)
        moments = np.concatenate([earlier, block.times])
        numbers = [*(number for _, _, number in before), *block.numbers]

        def cell(row: int) -> bytes:
            """Return the text of a time, that of the row before being the first."""
            return (
                before[row][1] if row < len(before) else block.cell(row - len(before))
            )

        times.refuse_unsteady(moments, cell, self._columns, None, numbers=numbers)
        if self._clock is None and len(moments) > 1:
            distances = times.apart(moments[:-1], moments[1:])
            steps, counts = np.unique(distances, return_counts=True)
            self._clock = Clock(block.form[0], int(steps[np.argmax(counts)]))
        times.refuse_unsteady(
            moments,
            cell,
            self._columns,
            self._clock,
            allows_absent=self._longest_gap > 0,
            numbers=numbers,
        )
        return moments

    def _absent(self, moments: IndexArray, n_rows: int) -> IndexArray:
        """Return how many rows to insert before each of the last rows."""
        n_absent = np.zeros(n_rows, np.int64)
        if self._clock is not None:
            n_steps, _ = times.steps_between(
                moments[:-1], moments[1:], self._clock.step
            )
            n_absent[n_rows - len(n_steps) :] = n_steps - 1
        # One more than is held says as much as a whole year.
        return np.minimum(n_absent, self._longest_gap + 1)


def _with_absent(
    values: FloatArray, n_absent: IndexArray
) -> tuple[FloatArray, tuple[tuple[int, int], ...]]:
    """Return rows with others inserted before them, and where those are."""
    if not n_absent.any():
        return values, ()
    positions = np.arange(len(values)) + np.cumsum(n_absent)
    filled = np.full((positions[-1] + 1, values.shape[1]), np.nan)
    filled[positions] = values
    ends = positions[n_absent > 0]
    starts = ends - n_absent[n_absent > 0]
    return filled, tuple(zip(starts.tolist(), ends.tolist(), strict=True))
