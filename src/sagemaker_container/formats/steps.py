"""Follow the times of a file block by block, and insert the rows that are absent."""

import dataclasses

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.rows import Block
from lstm_ad.data.schema import Clock, Schema
from sagemaker_container.formats import times
from sagemaker_container.formats.blocks import Parsed
from sagemaker_container.formats.header import Columns
from sagemaker_container.formats.table import Cells


class Steps:
    """The times of a file: its first block says what a step is.

    Args:
        columns: The columns of the file.
        longest_gap: Over how many rows a missing value is held; 0 if no row may be
            absent.
    """

    def __init__(self, columns: Columns, longest_gap: int) -> None:
        self._columns = columns
        self._longest_gap = longest_gap
        self._clock: Clock | None = None
        self._last: tuple[IndexArray, Cells] | None = None
        self._n_rows = 0

    def rows(self, values: FloatArray, parsed: Parsed, schema: Schema) -> Block:
        """Return the rows of a block, with those that are absent as missing ones.

        Args:
            values: The numbers, of shape ``(T, D)``.
            parsed: The block.
            schema: The columns of the file.

        Raises:
            SeriesError: If times do not rise by steps, or if rows may not be absent.
        """
        name = self._columns.timestamp
        if parsed.times is None or parsed.form is None or name is None:
            return Block(values, schema)
        cells = parsed.carried[[*self._columns.carried].index(name)]
        moments, first_row = parsed.times, self._n_rows
        if self._last is not None:
            moments = np.concatenate([self._last[0], moments])
            cells = Cells.joined([self._last[1], cells])
            first_row -= 1
        self._last = moments[-1:], cells[-1:]
        self._n_rows += len(values)
        times.refuse_unsteady(moments, cells, self._columns, None, first_row=first_row)
        if self._clock is None and len(moments) > 1:
            distances = times.apart(moments[:-1], moments[1:])
            steps, counts = np.unique(distances, return_counts=True)
            self._clock = Clock(parsed.form[0], int(steps[np.argmax(counts)]))
        times.refuse_unsteady(
            moments,
            cells,
            self._columns,
            self._clock,
            allows_absent=self._longest_gap > 0,
            first_row=first_row,
        )
        n_absent = self._absent(moments, len(values))
        filled, inserted = _with_absent(values, n_absent)
        return Block(
            filled,
            dataclasses.replace(schema, clock=self._clock),
            inserted,
            (int(parsed.times[0]), int(parsed.times[-1])),
        )

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
