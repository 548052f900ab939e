"""Gather rows of numbers from blocks of text, in whichever format they are written.

A format cuts its text into blocks of whole rows, parses a block quickly or not at all,
and only then looks for the first thing in it that is wrong.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from sagemaker_container.formats.table import Cells
from sagemaker_container.formats.time_text import Form

_MAX_COLUMNS = 100_000
"""Cells of a row: far more than the covariance of a model can have, and few enough to
say within moments which one is wrong."""


class Block(NamedTuple):
    """Some whole rows of a text."""

    text: bytes
    """The rows, as the format that cut them knows."""
    n_columns: int
    """The number of cells in the first row of the text."""


class Parsed(NamedTuple):
    """A block, and what it holds."""

    block: Block
    """The text."""
    numbers: FloatArray | None
    """The numbers, of shape ``(T * D,)``; None if something is wrong."""
    n_series: int = 0
    """``D``: the columns of numbers."""
    carried: tuple[Cells, ...] = ()
    """The columns that are carried through, in order."""
    times: IndexArray | None = None
    """The time of each row, if there is a column of times."""
    form: Form | None = None
    """How they are written."""


def gather(
    blocks: Iterable[Block],
    parse: Callable[[Block], Parsed],
    explain: Callable[[Block, int], SeriesError],
    cores: Cores | None,
    take: Callable[[Parsed, int], None],
) -> FloatArray:
    """Return the series that blocks of text hold together.

    Args:
        blocks: The text, in order.
        parse: Reads a block.
        explain: Returns the error about the first thing in a block that cannot be
            read, given the number of rows before the block.
        cores: What parses blocks while others come; None parses them here.
        take: Takes what a block holds beside numbers, given the number of rows before
            the block.

    Returns:
        Values of shape ``(T, D)``.

    Raises:
        SeriesError: If there is no row, or what ``explain`` says.
    """
    values = np.empty(0)
    n_rows = n_columns = 0
    for parsed in (cores.map if cores else map)(parse, blocks):
        cells = parsed.numbers
        if cells is None:
            raise explain(parsed.block, n_rows)
        take(parsed, n_rows)
        n_columns = parsed.n_series
        start = n_rows * n_columns
        n_rows += len(cells) // n_columns
        if n_rows * n_columns > len(values):
            # Grown in place: joining blocks at the end would need twice the memory.
            values.resize(max(n_rows * n_columns, len(values) * 5 // 4), refcheck=False)
        values[start : n_rows * n_columns] = cells
    if n_rows == 0:
        raise no_data()
    values.resize(n_rows * n_columns, refcheck=False)
    return values.reshape(n_rows, n_columns)


def no_data() -> SeriesError:
    """Return the error about a text without a row."""
    return SeriesError("There is no data; send at least one row of numbers.")


def refuse_too_many(n_columns: int) -> None:
    """Refuse a row that no model can have been trained on.

    Raises:
        SeriesError: If the first row of a text has that many cells.
    """
    if n_columns > _MAX_COLUMNS:
        raise SeriesError(
            f"Row 1 has {n_columns} cells; use at most {_MAX_COLUMNS}, one per series."
        )
