"""Average the rows of a series over intervals of time, block by block."""

import dataclasses
import functools

import numpy as np

from lstm_ad.data.rows import Block
from lstm_ad.data.sampling import means
from lstm_ad.data.schema import Clock, Schema
from sagemaker_container.formats import times
from sagemaker_container.formats.header import Columns
from sagemaker_container.formats.steps import Order, Steps, Timed, with_absent


class Sampler:
    """The means of a series over intervals of time.

    Args:
        columns: The columns of the file.
        longest_gap: Over how many rows a missing value is held; 0 if no interval may be
            without a row.
        interval: The length of an interval, in nanoseconds.
    """

    def __init__(self, columns: Columns, longest_gap: int, interval: int) -> None:
        self._columns, self._longest_gap = columns, longest_gap
        self._interval = interval
        self._order = Order(columns)
        self._left: list[tuple[Timed, Schema]] = []
        self._last_begin: int | None = None

    def rows(self, block: Timed, schema: Schema) -> Block:
        """Return the means of the intervals that a block completes, maybe none.

        Args:
            block: The next rows of the series.
            schema: The columns of the file.

        Raises:
            SeriesError: If times do not rise or are no ISO 8601 times, or if an
                interval has no row and may not.
        """
        times.refuse_unsampled(block.form)
        self._order.after(block)
        if self._left:
            block = _joined(self._left.pop()[0], block)
        begins = block.times // self._interval
        n_complete = int(np.searchsorted(begins, begins[-1]))
        self._left.append((_some(block, slice(n_complete, None)), schema))
        return self._means(_some(block, slice(n_complete)), schema)

    def end(self) -> list[Block]:
        """Return the mean of the last interval."""
        return [self._means(*self._left.pop())] if self._left else []

    def _means(self, block: Timed, schema: Schema) -> Block:
        """Return the means of whole intervals."""
        schema = dataclasses.replace(
            schema, clock=Clock(block.form[0], self._interval, is_sampled=True)
        )
        if not len(block.times):
            return Block(block.values, schema)
        found, begins, first = means(block.values, block.times, self._interval)
        last = self._last_begin
        if last is None:
            last = int(begins[0]) - self._interval
        before = np.concatenate([np.array([last]), begins[:-1]])
        n_absent = (begins - before) // self._interval - 1
        if self._longest_gap == 0:
            times.refuse_empty(
                n_absent,
                lambda at: block.cell(int(first[at])),
                block.numbers[first],
                self._columns,
                self._interval,
            )
        self._last_begin = int(begins[-1])
        n_absent = np.minimum(n_absent, self._longest_gap + 1)
        return with_absent(found, begins, before, n_absent, schema)


def steps_of(columns: Columns, longest_gap: int, interval: int) -> Steps | Sampler:
    """Return what follows the times of a series.

    Args:
        columns: As for :class:`Steps`.
        longest_gap: Likewise.
        interval: As for :class:`Sampler`; 0 if rows are taken as they are.
    """
    if interval:
        return Sampler(columns, longest_gap, interval)
    return Steps(columns, longest_gap)


def _some(block: Timed, rows: slice) -> Timed:
    """Return some of the rows of a block; the text of their times is made anew."""
    moments = block.times[rows]
    cell = functools.partial(times.spelled, moments, block.form)
    return Timed(block.values[rows], moments, block.form, cell, block.numbers[rows])


def _joined(one: Timed, other: Timed) -> Timed:
    """Return the rows of two blocks that follow each other."""
    moments = np.concatenate([one.times, other.times])
    return Timed(
        np.concatenate([one.values, other.values]),
        moments,
        other.form,
        functools.partial(times.spelled, moments, other.form),
        np.concatenate([one.numbers, other.numbers]),
    )
