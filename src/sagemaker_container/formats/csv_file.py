"""Read the CSV files of a training job, a bounded number of rows at a time."""

import contextlib
import functools
import gzip
import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.data.codes import without_codes
from lstm_ad.data.rows import Block as RowsBlock
from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats import decimal_comma
from sagemaker_container.formats.blocks import Parsed
from sagemaker_container.formats.csv_table import BlockReader, cut_into_blocks, width
from sagemaker_container.formats.header import Columns, Declared, by_place, matched
from sagemaker_container.formats.messages import shown
from sagemaker_container.formats.sampler import Sampler, steps_of
from sagemaker_container.formats.steps import Steps, Timed
from sagemaker_container.formats.table import Cells

logger = logging.getLogger(__name__)


class FileColumns:
    """What the columns of the files of a job are: the same in all of them.

    Args:
        declared: The columns that the job carries through.
        schema: Those of the model that the job starts from, if it does.
        codes: The numbers in them that stand for a missing value.
    """

    def __init__(
        self,
        declared: Declared,
        schema: Schema | None = None,
        codes: Sequence[float] = (),
    ) -> None:
        self._declared, self.codes = declared, codes
        self._first: tuple[str, Schema] | None = None
        if schema is not None:
            self._first = "the model", schema

    def named(self, file: str, names: tuple[str, ...]) -> tuple[Columns, Schema]:
        """Return the columns of a file with a header.

        Raises:
            SeriesError: If they are others than those of the first file.
        """
        schema = self._schema(file, names, len(names))
        expected = [column.name for column in schema.columns]
        other, _ = self._first or (file, schema)
        for found, wanted, words in (
            (names, expected, "lacks"),
            (expected, names, "has"),
        ):
            if odd := [name for name in wanted if name not in found]:
                verb = "which {} has" if words == "lacks" else "which {} lacks"
                raise SeriesError(
                    f"The header {words} the column {shown(odd[0])}, "
                    f"{verb.format(other)}; all files need the same columns."
                )
        if list(names) != expected:
            logger.info(
                "%s: the columns are in another order than in %s, and are put in that "
                "order by their names.",
                file,
                other,
            )
        return matched(names, schema, ()), schema

    def numbered(self, file: str, line: bytes) -> tuple[Columns, Schema]:
        """Return the columns of a file without a header, given its first row.

        Raises:
            SeriesError: If the first file has one, or if a column is missing.
        """
        has_text = bool(self._declared.timestamp or self._declared.ids)
        n_columns = width(line, has_text)
        schema = self._schema(file, (), n_columns)
        return by_place(n_columns, schema, ()), schema

    def _schema(self, file: str, names: Sequence[str], n_columns: int) -> Schema:
        """Return the columns of the first file, or of this one if that has no names."""
        if self._first is not None:
            other, schema = self._first
            if schema.is_named != bool(names):
                has, lacks = (other, file) if schema.is_named else (file, other)
                raise SeriesError(
                    f"{has} has a header, but {lacks} has none; give all files the "
                    f"same header, or none."
                )
            if schema.is_named:
                return schema
        schema = self._declared.schema(names, n_columns)
        self._first = self._first or (file, schema)
        return schema


class Read(NamedTuple):
    """Some rows of a file, as they were read."""

    columns: Columns
    """The columns of the file."""
    schema: Schema
    """What they are, in the order of the first file."""
    values: FloatArray
    """The numbers, of shape ``(T, D)``."""
    parsed: Parsed
    """What is beside them."""
    n_rows_before: int
    """The rows of the file before these."""

    def carried(self, name: str) -> Cells:
        """Return the cells of a column that is carried."""
        return self.parsed.carried[[*self.columns.carried].index(name)]


def read_file(
    path: Path, name: str, columns: FileColumns, longest_gap: int, interval: int = 0
) -> Iterator[RowsBlock]:
    """Yield the rows of a file that are one series, a bounded number at a time.

    Args:
        path: Where the file is; it may be compressed with gzip.
        name: What messages call it.
        columns: What the columns of files are.
        longest_gap: Over how many rows a missing value is held; 0 if none may be
            missing. Rows that are absent in time are inserted, but no more of them in
            a run than say that it is longer.
        interval: Over how many nanoseconds rows are averaged; 0 for not at all.

    Raises:
        SeriesError: If the file cannot be read as it stands. The message names the
            file, and the row and the column where there is one.
    """
    steps: Steps | Sampler | None = None
    for some in read_rows(path, name, columns, longest_gap):
        moments, form = some.parsed.times, some.parsed.form
        if moments is None or form is None or some.columns.timestamp is None:
            yield RowsBlock(some.values, some.schema)
            continue
        steps = steps or steps_of(some.columns, longest_gap, interval)
        first = some.n_rows_before + 1
        cells = some.carried(some.columns.timestamp)
        numbers = np.arange(first, first + len(moments))
        with named(name):
            block = steps.rows(
                Timed(some.values, moments, form, cells.__getitem__, numbers),
                some.schema,
            )
        yield block
    with named(name):
        left = steps.end() if steps else []
    yield from left


def read_rows(
    path: Path, name: str, columns: FileColumns, longest_gap: int
) -> Iterator[Read]:
    """Yield the rows of a file as they come; what their times say is not looked at.

    Args:
        path: As for :func:`read_file`, and so are the others.
        name: Likewise.
        columns: Likewise.
        longest_gap: Likewise.

    Raises:
        SeriesError: As :func:`read_file`.
    """
    rows = _rows(
        path,
        name,
        functools.partial(columns.numbered, name),
        functools.partial(columns.named, name),
        allows_missing=longest_gap > 0,
    )
    return (
        some._replace(values=without_codes(some.values, columns.codes)) for some in rows
    )


def read_blocks(path: Path, name: str) -> Iterator[FloatArray]:
    """Yield the series in a CSV file of numbers alone, some rows at a time.

    Args:
        path: Where the file is; it may be compressed with gzip.
        name: What messages call it.

    Yields:
        Values of shape ``(rows, D)``.

    Raises:
        SeriesError: If the file cannot be read as it stands. The message names the
            file, and the row and the column where there is one.
    """

    def numbers_alone(line: bytes) -> tuple[Columns, Schema]:
        """Return the columns of the file, given its first row."""
        schema = Schema.unnamed(width(line, has_text=False))
        return by_place(len(schema.columns), schema, ()), schema

    return (some.values for some in _rows(path, name, numbers_alone, None))


def _rows(
    path: Path,
    name: str,
    of_row: Callable[[bytes], tuple[Columns, Schema]],
    of_names: Callable[[tuple[str, ...]], tuple[Columns, Schema]] | None,
    allows_missing: bool = False,
) -> Iterator[Read]:
    """Yield the rows of a file as they come; see :func:`cut_into_blocks`."""
    with opened(path, name) as stream:
        (found, schema), parts = cut_into_blocks(stream, of_row, of_names)
        reader = BlockReader(found, allows_missing)
        n_rows = 0
        for block in parts:
            parsed = reader.parse(block)
            if parsed.numbers is None:
                raise reader.explain(block, n_rows)
            if n_rows == 0 and not found.carried:
                _warn_of_decimal_commas(block.text, name)
            values = parsed.numbers.reshape(-1, parsed.n_series)
            if found.carried:
                reader.check_form(parsed, n_rows)
            yield Read(found, schema, values, parsed, n_rows)
            n_rows += len(values)


def _warn_of_decimal_commas(text: bytes, name: str) -> None:
    """Log a warning if the start of a file looks like numbers with a decimal comma."""
    if found := decimal_comma.find(text):
        row, number = found
        logger.warning(
            '%s: row %d holds "%s", which looks like one number with a decimal comma '
            "but is read as two series; use a decimal point if it is one.",
            *(name, row, number),
        )


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Put the name of a file before what is wrong with it."""
    try:
        yield
    except SeriesError as error:
        raise SeriesError(f"{name}: {error}") from error


@contextlib.contextmanager
def opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """Open a CSV file, decompress it if need be, and put its name before messages."""
    try:
        with named(name), path.open("rb") as stream:
            is_gzip = stream.read(2) == b"\x1f\x8b"
            stream.seek(0)
            if not is_gzip:
                yield stream
                return
            with gzip.open(stream) as plain:
                yield cast(BinaryIO, plain)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SeriesError(
            f"{name}: The gzip data is damaged ({error}); send the whole file."
        ) from error
    except OSError as error:
        raise SeriesError(
            f"{name}: The file cannot be read: {error.strerror or error}."
        ) from error
