"""Read a table from CSV: numbers, and the times and ids beside them, in one pass.

One row is one time step, one column is one series, and nothing is repaired: what cannot
be read as it stands is refused with the row and the column, counted from 1.

=================  =================================================================
accepted           meaning
=================  =================================================================
cells              decimal numbers (``1``, ``-1.5``, ``.5``, ``2e-3``), finite, at most
                   1e100 in magnitude, spaces around them ignored
between cells      a comma
line ends          LF or CRLF; the last one may be missing
before the first   a UTF-8 byte-order mark is ignored
=================  =================================================================

A block that cannot be parsed is looked through line by line, for the first thing in it
that is wrong.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, TypeVar

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.codes import without_codes
from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from sagemaker_container.formats import carried, csv_text, time_text
from sagemaker_container.formats.blocks import Block, Parsed, gather, no_data
from sagemaker_container.formats.cells import number_problem, row_length_problem
from sagemaker_container.formats.first_row import refuse_column_numbers
from sagemaker_container.formats.header import Columns, by_place, matched, names_of
from sagemaker_container.formats.leading import leading
from sagemaker_container.formats.table import Cells, Table
from sagemaker_container.formats.timed import timed

Found = TypeVar("Found")


def read_table(
    stream: BinaryIO,
    schema: Schema,
    keep: Sequence[str] = (),
    cores: Cores | None = None,
    allows_missing: bool = False,
    codes: Sequence[float] = (),
) -> Table:
    """Return the table that a stream of CSV holds, read in bounded blocks.

    Args:
        stream: The text.
        schema: The columns that a model was trained on.
        keep: Names of further columns, which are carried through.
        cores: What parses blocks while others come; None parses them here.
        allows_missing: Whether cells and rows may be missing.
        codes: Numbers that stand for a missing cell.

    Raises:
        SeriesError: If the stream is empty, cannot be read as it stands or has other
            columns than the model. The message names the row and the column where
            there is one.
    """
    columns, blocks = cut_into_blocks(
        stream,
        lambda line: by_place(
            width(line, len(schema.columns) > len(schema.series)), schema, keep
        ),
        (lambda names: matched(names, schema, keep)) if schema.is_named else None,
    )
    reader = BlockReader(columns, allows_missing)
    parts: list[Parsed] = []
    times = bytearray()  # grown in place: joining blocks would need twice the memory

    def take(parsed: Parsed, n_rows_before: int) -> None:
        """Keep what is beside the numbers; these go where they stay."""
        if columns.carried:
            reader.check_form(parsed, n_rows_before)
            parts.append(parsed._replace(block=Block(b"", 0), numbers=None, times=None))
        if parsed.times is not None:
            times.extend(parsed.times.data.cast("B"))

    values = gather(blocks, reader.parse, reader.explain, cores, take)
    cells = {
        name: Cells.joined([part.carried[number] for part in parts])
        for number, name in enumerate(columns.carried)
    }
    moments, form = None, None
    if columns.timestamp is not None:
        form = parts[0].form
        moments = np.frombuffer(times, dtype=np.int64)
    values = without_codes(values, codes)
    table = Table(values, columns.has_header, cells, moments)
    return timed(table, form, columns, schema, allows_missing)


def cut_into_blocks(
    stream: BinaryIO,
    by_place: Callable[[bytes], Found],
    by_name: Callable[[tuple[str, ...]], Found] | None,
) -> tuple[Found, Iterator[Block]]:
    """Return what the columns of a stream are, and its rows in blocks.

    Args:
        stream: The text.
        by_place: Says what columns without names are, given the first row.
        by_name: Says what the columns of a header are; None if there can be none.

    Raises:
        SeriesError: If there is no row, or if the columns cannot be used.
    """
    texts = csv_text.lines(stream)
    first = next(texts, b"")
    if not first:
        raise no_data()
    n_columns = csv_text.n_cells(first)
    line, _, rest = first.partition(b"\n")
    if by_name is not None and _is_header(line):
        names = names_of(line)
        found, n_columns = by_name(names), len(names)
        first = rest or next(texts, b"")
        if not first:
            raise SeriesError(
                "There is no row after the header; send at least one row of numbers."
            )
    else:
        if line.startswith(b",") and csv_text.is_header(line.split(b",")):
            raise SeriesError(csv_text.header_problem(line))
        found = by_place(line)
        refuse_column_numbers(first, n_columns)
    return found, (Block(text, n_columns) for text in itertools.chain([first], texts))


def width(line: bytes, has_text: bool) -> int:
    """Return the number of cells in a row.

    Args:
        line: The row.
        has_text: Whether there are cells of text, which may be in quotes.
    """
    if has_text and b'"' in line:
        return len(carried.split(line))
    return line.count(b",") + 1


class BlockReader:
    """Parses blocks of one table.

    Args:
        columns: What its columns are.
        allows_missing: Whether cells may be missing.
    """

    def __init__(self, columns: Columns, allows_missing: bool) -> None:
        self._columns = columns
        self._form: time_text.Form | None = None
        self._allows_missing = allows_missing
        self._numbers = (
            csv_text.numbers_or_nothing if allows_missing else csv_text.numbers
        )
        self._order: IndexArray | None = None
        if list(columns.series) != columns.numbers:
            self._order = np.argsort(np.argsort(columns.series))

    def parse(self, block: Block) -> Parsed:
        """Return a block and what it holds; no numbers if something is wrong."""
        if self._columns.carried and not _is_plain(block.text):
            return Parsed(block, None)
        return self._parse_leading(block) or self._parse_any(block)

    def _parse_leading(self, block: Block) -> Parsed | None:
        """Return what a block holds if its lines begin with what is carried, or None.

        Or if there is anything else that takes longer to read.
        """
        columns, n_series = self._columns, len(self._columns.series)
        names, positions = [*columns.carried], [*columns.carried.values()]
        if not names or positions != [*range(len(names))]:
            return None
        if (found := leading(block.text, len(names))) is None:
            return None
        moments: tuple[IndexArray | None, time_text.Form | None] | None = None, None
        if columns.timestamp is not None:
            moments = time_text.parse(found.cells[names.index(columns.timestamp)])
        numbers = None
        if not self._allows_missing:
            numbers = csv_text.plain_numbers(found.rest, n_series)
        if numbers is None:
            numbers = self._numbers(found.rest, n_series)
        if moments is None or numbers is None:
            return None
        return Parsed(block, self._ordered(numbers), n_series, found.cells, *moments)

    def _parse_any(self, block: Block) -> Parsed:
        """Return a block and what it holds; no numbers if something is wrong."""
        columns, text = self._columns, block.text
        cells: tuple[Cells, ...] = ()
        if columns.carried:
            found = carried.cut(text, columns.n_columns, [*columns.carried.values()])
            if found is None:
                return Parsed(block, None)
            text, cells = found
        n_series = len(columns.series)
        numbers = self._numbers(text, n_series)
        if numbers is not None:
            numbers = self._ordered(numbers)
        if columns.timestamp is None:
            return Parsed(block, numbers, n_series, cells)
        moments = time_text.parse(cells[[*columns.carried].index(columns.timestamp)])
        if moments is None:
            return Parsed(block, None)
        return Parsed(block, numbers, n_series, cells, *moments)

    def _ordered(self, numbers: FloatArray) -> FloatArray:
        """Return numbers of rows in the order of the series of the model."""
        if self._order is None:
            return numbers
        return numbers.reshape(-1, len(self._order))[:, self._order].ravel()

    def check_form(self, parsed: Parsed, n_rows_before: int) -> None:
        """Refuse a block whose times are written unlike those before it.

        Raises:
            SeriesError: If they are.
        """
        if self._form not in (None, parsed.form):
            raise self.explain(parsed.block, n_rows_before)
        self._form = parsed.form

    def explain(self, block: Block, n_rows_before: int) -> SeriesError:
        """Return the error about the first thing in a block that cannot be read."""
        lines = block.text[:-1].split(b"\n")
        for row, line in enumerate(lines, start=n_rows_before + 1):
            if problem := self._line_problem(line, row):
                return SeriesError(problem)
        raise AssertionError("a block that cannot be parsed has a line that cannot")

    def _line_problem(self, line: bytes, row: int) -> str | None:
        """Return what is wrong with a line in one sentence, or None."""
        columns, place = self._columns, self._columns.place(row)
        is_single = self._allows_missing and columns.n_columns == 1
        if is_single and csv_text.NO_NUMBER.fullmatch(line):
            return None
        if problem := csv_text.form_problem(line, place, columns.n_columns):
            return problem
        cells = line.split(b",")
        if columns.carried:
            if problem := _text_problem(line, place):
                return problem
            cells = carried.split(line)
        numbers = cells
        if len(cells) == columns.n_columns:
            numbers = [cells[at] for at in columns.numbers]
        if problem := csv_text.delimiter_problem(b",".join(numbers), place):
            return problem
        if row == 1 and not columns.has_header and csv_text.is_header(cells):
            return csv_text.header_problem(line)
        ends_with_comma = not cells[-1].strip()
        return row_length_problem(
            place, len(cells), columns.n_columns, ends_with_comma
        ) or self._cells_problem(cells, row)

    def _cells_problem(self, cells: Sequence[bytes], row: int) -> str | None:
        """Return what is wrong with the cells of a row, or None."""
        columns, time = self._columns, -1
        if columns.timestamp is not None:
            time = columns.carried[columns.timestamp]
        for column, cell in enumerate(cells):
            problem = None
            if column == time:
                problem = time_text.problem(cell, self._form)
                if not problem:
                    self._form = time_text.form_of(cell)
            elif column in columns.series:
                if self._allows_missing and csv_text.NO_NUMBER.fullmatch(cell):
                    continue
                problem = number_problem(cell, csv_text.NUMBER)
            if problem:
                return f"{columns.place(row, column)}: {problem}"
        return None


def _is_header(line: bytes) -> bool:
    """Return whether a first row, with or without quotes, holds names."""
    return csv_text.is_named([cell.strip().strip(b'"') for cell in carried.split(line)])


def _is_plain(text: bytes) -> bool:
    """Return whether a text may hold columns that are carried through."""
    return b"\x00" not in text and b"\r" not in text and _is_utf8(text)


def _is_utf8(text: bytes) -> bool:
    """Return whether a text is encoded as UTF-8."""
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text_problem(line: bytes, place: str) -> str | None:
    """Return what is wrong with the text in a line, or None."""
    if not _is_utf8(line):
        return f"{place} is not encoded as UTF-8; use UTF-8."
    if not carried.has_matching_quotes(line):
        return (
            f"{place} has quotes that do not match; a cell in quotes is written whole "
            f"within them, on one line, and quotes within it are doubled."
        )
    return None
