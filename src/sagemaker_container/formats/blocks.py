"""Gather rows of numbers from blocks of text, in whichever format they are written.

A format cuts its text into blocks of whole rows, parses a block quickly or not at all,
and only then looks for the first thing in it that is wrong.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from sagemaker_container.formats.cells import number_problem, row_length_problem

_MAX_COLUMNS = 100_000
"""Cells of a row: far more than the covariance of a model can have, and few enough to
say within moments which one is wrong."""


class Block(NamedTuple):
    """Some whole rows of a text."""

    text: bytes
    """The rows, as the format that cut them knows."""
    n_columns: int
    """The number of cells in the first row of the text."""


Parsed = tuple[Block, FloatArray | None]
"""A block and its cells, of shape ``(T * D,)``, or None if something is wrong."""


def gather(
    blocks: Iterable[Block],
    parse: Callable[[Block], Parsed],
    explain: Callable[[Block, int], SeriesError],
    cores: Cores | None,
) -> FloatArray:
    """Return the series that blocks of text hold together.

    Args:
        blocks: The text, in order.
        parse: Reads a block.
        explain: Returns the error about the first thing in a block that cannot be
            read, given the number of rows before the block.
        cores: What parses blocks while others come; None parses them here.

    Returns:
        Values of shape ``(T, D)``.

    Raises:
        SeriesError: If there is no row, or what ``explain`` says.
    """
    values = np.empty(0)
    n_rows = n_columns = 0
    for block, cells in (cores.map if cores else map)(parse, blocks):
        if cells is None:
            raise explain(block, n_rows)
        n_columns = block.n_columns
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


def cells_problem(
    cells: list[bytes], row: int, n_columns: int, number: re.Pattern[bytes]
) -> str | None:
    """Return what is wrong with the cells of a row in one sentence, or None.

    Args:
        cells: The text between the separators.
        row: The number of the row, from 1.
        n_columns: The number of cells in the rows before.
        number: How the format spells a number.
    """
    ends_with_comma = not cells[-1].strip()
    if problem := row_length_problem(row, len(cells), n_columns, ends_with_comma):
        return problem
    for column, cell in enumerate(cells, start=1):
        if problem := number_problem(cell, number):
            return f"Row {row}, column {column}: {problem}"
    return None
