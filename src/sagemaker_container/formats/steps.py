"""Follow the times of a series block by block, and insert the rows that are absent."""

import dataclasses
from collections.abc import Callable

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.rows import Block
from lstm_ad.data.schema import Clock, Schema
from sagemaker_container.formats import times
from sagemaker_container.formats.header import Columns
from sagemaker_container.formats.time_text import Form


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
    numbers: IndexArray
    """The number of each row in its file, from 1, of shape ``(T,)``."""


class Order:
    """The order of the rows of a series: each is after the one before.

    Args:
        columns: The columns of the file.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._last: tuple[int, bytes, int] | None = None

    def after(self, block: Timed) -> Timed:
        """Return a block without values after the row before it, if there is one.

        Args:
            block: The next rows of the series.

        Raises:
            SeriesError: If times do not rise.
        """
        before = [] if self._last is None else [self._last]
        earlier = np.array([time for time, _, _ in before], dtype=np.int64)
        moments = np.concatenate([earlier, block.times])
        first = np.array([number for _, _, number in before], dtype=np.int64)
        numbers = np.concatenate([first, block.numbers])

        def cell(row: int) -> bytes:
            """Return the text of a time, that of the row before being the first."""
            return (
                before[row][1] if row < len(before) else block.cell(row - len(before))
            )

        times.refuse_unsteady(moments, cell, self._columns, None, numbers=numbers)
        last = len(block.times) - 1
        self._last = int(block.times[-1]), block.cell(last), int(block.numbers[last])
        return Timed(block.values[:0], moments, block.form, cell, numbers)


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
        self._order = Order(columns)

    def rows(self, block: Timed, schema: Schema) -> Block:
        """Return the rows of a block, with those that are absent as missing ones.

        Args:
            block: The next rows of the series.
            schema: The columns of the file.

        Raises:
            SeriesError: If times do not rise by steps, or if rows may not be absent.
        """
        known = self._order.after(block)
        moments = known.times
        if self._clock is None and len(moments) > 1:
            distances = times.apart(moments[:-1], moments[1:])
            steps, counts = np.unique(distances, return_counts=True)
            self._clock = Clock(block.form[0], int(steps[np.argmax(counts)]))
        times.refuse_unsteady(
            moments,
            known.cell,
            self._columns,
            self._clock,
            allows_absent=self._longest_gap > 0,
            numbers=known.numbers,
        )
        n_absent = self._absent(moments, len(block.values))
        before = np.concatenate([moments[:1], moments[:-1]])[-len(n_absent) :]
        schema = dataclasses.replace(schema, clock=self._clock)
        return with_absent(block.values, block.times, before, n_absent, schema)

    def end(self) -> list[Block]:
        """Return the rows that are left at the end: none."""
        return []

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


def with_absent(
    values: FloatArray,
    moments: IndexArray,
    before: IndexArray,
    n_absent: IndexArray,
    schema: Schema,
) -> Block:
    """Return rows with others inserted before them.

    Args:
        values: Of shape ``(T, D)``.
        moments: The time of each row, of shape ``(T,)``.
        before: The time of the row before each: those that are absent count as measured
            then.
        n_absent: How many rows to insert before each.
        schema: The columns of the file.
    """
    span = int(moments[0]), int(moments[-1])
    if not n_absent.any():
        return Block(values, schema, (), span, moments)
    positions = np.arange(len(values)) + np.cumsum(n_absent)
    filled = np.full((positions[-1] + 1, values.shape[1]), np.nan)
    filled[positions] = values
    ends = positions[n_absent > 0]
    starts = ends - n_absent[n_absent > 0]
    pairs = np.column_stack([before, moments]).ravel()
    repeats = np.column_stack([n_absent, np.ones_like(n_absent)]).ravel()
    return Block(
        filled,
        schema,
        tuple(zip(starts.tolist(), ends.tolist(), strict=True)),
        span,
        np.repeat(pairs, repeats),
    )
