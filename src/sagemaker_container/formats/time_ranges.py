"""Read ranges of time: the anomalies of a validation file, or what is not learnt from.

A file has a line for each range, without a header: its start and its end, both
included, as Amazon Lookout for Equipment and AWS IoT SiteWise have their labels::

    2024-05-01T13:45:00,2024-05-01T15:00:00
    2024-05-07T06:00:00,2024-05-07T06:30:00
"""

import codecs
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.off import without
from lstm_ad.data.rows import Block
from lstm_ad.data.schema import Clock, TimeForm
from lstm_ad.exceptions import SeriesError
from lstm_ad.model.off import Mask
from sagemaker_container.formats import carried, time_text
from sagemaker_container.formats.csv_file import opened
from sagemaker_container.formats.header import Columns
from sagemaker_container.formats.messages import counted
from sagemaker_container.formats.table import Cells

logger = logging.getLogger(__name__)

_COLUMNS = Columns(2, (), {"start": 0, "end": 1})


class TimeRanges:
    """Ranges of time.

    Args:
        name: What messages call their file.
        start: The first time of each, of shape ``(n,)``.
        end: The last time of each, likewise.
        form: How times are written.
    """

    def __init__(
        self, name: str, start: IndexArray, end: IndexArray, form: TimeForm
    ) -> None:
        self.name = name
        order = np.argsort(start, kind="stable")
        self._start, self._end = start[order], end[order]
        self._last_end = np.maximum.accumulate(self._end)
        self._form = form
        self._is_used = np.zeros(len(start), dtype=np.bool_)

    @classmethod
    def read(cls, path: Path, name: str) -> "TimeRanges":
        """Return the ranges in a file.

        Args:
            path: Where the file is; it may be compressed with gzip.
            name: What messages call it.

        Raises:
            SeriesError: If it holds anything else. The message names the file, the row
                and the column where there is one.
        """
        bounds: list[list[bytes]] = []
        form: time_text.Form | None = None
        with opened(path, name) as stream:
            for row, line in enumerate(stream, start=1):
                cells = _cells(line)
                if problem := _problem(cells, row, form):
                    raise SeriesError(problem)
                form = time_text.form_of(cells[0])
                bounds.append(cells)
            start, end = (
                _moments(some) for some in (zip(*bounds, strict=True) if bounds else ())
            )
            if (end < start).any():
                row = int(np.argmax(end < start))
                first, last = (cell.decode() for cell in bounds[row])
                raise SeriesError(
                    f'Row {row + 1}: the end "{last}" is before the start "{first}"; '
                    f"use start,end."
                )
        assert form is not None
        return cls(name, start, end, form[0])

    def mask(self, moments: IndexArray, clock: Clock | None) -> Mask:
        """Return which times are in a range, of shape ``(T,)``.

        Args:
            moments: Rising, of shape ``(T,)``. If they begin intervals over which rows
                are averaged, each is in a range if a part of its interval is.
            clock: What is known of them.

        Raises:
            SeriesError: If it is in another form than the ranges.
        """
        if clock is not None and clock.form != self._form:
            raise SeriesError(
                f"{self.name}: the ranges are times in another form than those of the "
                f"data; use ISO 8601 in both, or integers in both."
            )
        last_moments = moments
        if clock is not None and clock.is_sampled:
            last_moments = moments + clock.step - 1
        self._is_used |= np.searchsorted(last_moments, self._start) < np.searchsorted(
            moments, self._end, side="right"
        )
        last = np.searchsorted(self._start, last_moments, side="right") - 1
        return (last >= 0) & (moments <= self._last_end[last])

    def log_unused(self) -> None:
        """Say how many ranges held no row of what was looked at."""
        if n_unused := int(np.count_nonzero(~self._is_used)):
            logger.info(
                "%s: %d of %d ranges hold no row of the data.",
                *(self.name, n_unused, len(self._is_used)),
            )


def holds_ranges(path: Path, name: str, has_times: bool) -> bool:
    """Return whether a file begins as one with ranges does.

    Args:
        path: Where the file is; it may be compressed with gzip.
        name: What messages call it.
        has_times: Whether the data have times: two integers are a range only then.

    Raises:
        SeriesError: If the file cannot be read, or if there are no times.
    """
    with opened(path, name) as stream:
        forms = [time_text.form_of(cell) for cell in _cells(stream.readline(10_000))]
        if len(forms) != 2 or None in forms:
            return False
        is_iso = forms[0] is not None and forms[0][0] == TimeForm.ISO
        if is_iso and not has_times:
            raise SeriesError(
                "The labels are ranges of time, which need the times of rows; name "
                "their column in timestamp-column, or use a 0 or 1 per row."
            )
    return has_times


def excluded(blocks: Iterator[Block], ranges: TimeRanges) -> Iterator[Block]:
    """Yield blocks of a series without the values of rows in some ranges."""
    for block in blocks:
        yield without(block, _mask(block, ranges))


def recorded(
    blocks: Iterator[Block], ranges: TimeRanges | None, labels: list[FloatArray]
) -> Iterator[Block]:
    """Yield blocks of a series, and find out which of its rows are in some ranges.

    Args:
        blocks: The rows, in order.
        ranges: Where a label is 1; None for nowhere.
        labels: The labels of each block's rows are added here, of shape ``(T, 1)``,
            without those of rows that the file lacks.
    """
    for block in blocks:
        is_sent = np.ones(len(block.values), dtype=np.bool_)
        for start, stop in block.inserted:
            is_sent[start:stop] = False
        found = _mask(block, ranges) if ranges else np.zeros(len(block.values))
        labels.append(np.asarray(found[is_sent, np.newaxis], dtype=np.float64))
        yield block


def _mask(block: Block, ranges: TimeRanges) -> Mask:
    """Return which rows of a block are in some ranges."""
    if not len(block.values):
        return np.zeros(0, dtype=np.bool_)
    assert block.times is not None
    return ranges.mask(block.times, block.schema.clock if block.schema else None)


def _cells(line: bytes) -> list[bytes]:
    """Return the cells of a line."""
    return carried.split(line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n"))


def _problem(cells: list[bytes], row: int, form: time_text.Form | None) -> str | None:
    """Return what is wrong with a row in one sentence, or None."""
    if len(cells) != 2:
        found = counted(len(cells), "cell")
        return f"{_COLUMNS.place(row)} has {found}; use two times, start,end."
    for column, cell in enumerate(cells):
        try:
            cell.decode()
        except UnicodeDecodeError:
            return f"{_COLUMNS.place(row, column)} is not encoded as UTF-8; use UTF-8."
        if problem := time_text.problem(cell, form):
            return f"{_COLUMNS.place(row, column)}: {problem}"
        form = form or time_text.form_of(cell)
    return None


def _moments(cells: tuple[bytes, ...]) -> IndexArray:
    """Return times that are known to be right."""
    found = time_text.parse(Cells.of(cells))
    assert found is not None
    return found[0]
