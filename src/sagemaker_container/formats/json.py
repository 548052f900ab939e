"""Read series from JSON strictly.

A request is one object with a list of rows, each a list of numbers, as many in each row
as there are series; their names, the times of the rows and ids are optional::

    {"series": [[1.5, 50.2], [1.7, 50.1]],
     "columns": ["pressure", "flow"],
     "timestamps": ["2024-05-01T13:45:00Z", "2024-05-01T13:46:00Z"],
     "ids": {"pump": ["P-7", "P-7"]}}

What is no JSON, or anything else, is refused with the row and the column, counted from
1. A document is read as a whole, so it has a limit of size that CSV has not.
"""

import codecs
import dataclasses
import itertools
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import BinaryIO, Generic, TypeVar

import msgspec
import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats.blocks import no_data, refuse_too_many
from sagemaker_container.formats.cells import (
    MAX_MAGNITUDE,
    number_problem,
    row_length_problem,
)
from sagemaker_container.formats.messages import counted, shown

MAX_MB = 20
"""The largest document, in MB of 2**20 bytes: while it is read, it takes up to 28 times
as much memory, which CSV does not."""

_FORM = 'use {"series": [[1.5, 2], ...]}, a list of numbers per row'
_OTHERS = (
    'beside "series", use {"columns": ["a", ...], "timestamps": ["2024-05-01T13:45Z", '
    '...], "ids": {"b": ["c", ...]}}, texts or integers, one per column or row'
)
_NUMBER = re.compile(rb"\s*-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?\s*")
_PLACE = re.compile(r"\$\.series\[(\d+)\](?:\[(\d+)\])?")
_OTHER_PLACE = re.compile(r"\$\.(columns|timestamps|ids)(?:\[\.\.\.\])?(?:\[(\d+)\])?")
_SERIES = re.compile(rb'"series"\s*:')
_KEY = re.compile(rb'"(series|columns|timestamps|ids)"\s*:')
_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_ROW_END = re.compile(rb"\]\s*,")
_VALUE = re.compile(rb'\s*"[^"]*"|[^\],]*')
_WORD = re.compile(rb"[tfn].{1,4}\Z", re.DOTALL)
"""Half of ``true``, ``false`` or ``null``; msgspec says where the other half ended."""
_BYTE = re.compile(r"\(byte (\d+)\)")


_Cell = TypeVar("_Cell")


class _Rows(msgspec.Struct, Generic[_Cell], forbid_unknown_fields=True, kw_only=True):
    """A document whose rows are lists of numbers, which may have names and times."""

    series: list[tuple[_Cell, ...]]
    """Tuples, as lists would keep the garbage collector busy: 3 times as long."""
    columns: list[str] | msgspec.UnsetType = msgspec.UNSET
    """The names of the series, as its rows have them."""
    timestamps: list[str | int] | msgspec.UnsetType = msgspec.UNSET
    """The time of each row."""
    ids: dict[str, list[str | int]] | msgspec.UnsetType = msgspec.UNSET
    """By the name of an id column, the text of each row."""


_READ = msgspec.json.Decoder(_Rows[float])
_READ_WITH_GAPS = msgspec.json.Decoder(_Rows[float | None])
_ONE_AT_A_TIME = threading.Lock()
"""Python's objects take most of the memory; two documents would not be read faster."""


class DocumentTooLargeError(SeriesError):
    """Raised if a document has more than :data:`MAX_MB`; the message is a sentence."""


@dataclasses.dataclass(frozen=True)
class Document:
    """What a request in JSON says."""

    values: FloatArray
    """Of shape ``(T, D)``, the series in the order sent; NaN where one is missing."""
    columns: tuple[str, ...] | None = None
    """Their names; None if they are not sent."""
    carried: Mapping[str | None, Sequence[str | int]] = dataclasses.field(
        default_factory=dict
    )
    """By the names of the id columns, a text per row; those of None are the times."""


def read_document(stream: BinaryIO, allows_missing: bool = False) -> Document:
    """Return what a stream of JSON holds.

    Args:
        stream: The text.
        allows_missing: Whether numbers may be missing, as ``null``.

    Raises:
        DocumentTooLargeError: If there is more of it than is read.
        SeriesError: If the stream is empty or cannot be read as it stands. The message
            names the row and the column where there is one.
    """
    text = stream.read(MAX_MB * 2**20 + 1)
    if len(text) > MAX_MB * 2**20:
        raise DocumentTooLargeError(
            f"The JSON is larger than {MAX_MB} MB; send a series of that size as "
            f"text/csv."
        )
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise SeriesError("The JSON is encoded as UTF-16; use UTF-8.")
    text = text.removeprefix(codecs.BOM_UTF8)
    with _ONE_AT_A_TIME:
        try:
            found = (_READ_WITH_GAPS if allows_missing else _READ).decode(text)
        except (msgspec.ValidationError, UnicodeDecodeError, RecursionError) as error:
            raise _wrong(text, str(error)) from error
        except msgspec.DecodeError as error:
            raise _malformed(text, str(error)) from error
        _refuse_double_keys(text, found)
        values = _table(text, found.series, allows_missing)
    columns = None if found.columns is msgspec.UNSET else tuple(found.columns)
    carried: dict[str | None, Sequence[str | int]] = {}
    if found.timestamps is not msgspec.UNSET:
        carried[None] = found.timestamps
    if found.ids is not msgspec.UNSET:
        carried.update(found.ids)
    return Document(values, columns, carried)


def _refuse_double_keys(text: bytes, found: _Rows[float] | _Rows[float | None]) -> None:
    """Refuse a document that says something twice: the quotes of its texts tell.

    Raises:
        SeriesError: If it does.
    """
    lists = [
        getattr(found, name)
        for name in ("columns", "timestamps")
        if getattr(found, name) is not msgspec.UNSET
    ]
    n_texts = 1 + len(lists)
    if found.ids is not msgspec.UNSET:
        n_texts += 1 + len(found.ids)
        lists += found.ids.values()
    n_texts += sum(isinstance(item, str) for items in lists for item in items)
    if b"\\" in text:
        text = _ESCAPED.sub(b"", text)
    if text.count(b'"') != 2 * n_texts:
        name = '"series"' if n_texts == 1 else "a name"
        raise SeriesError(f"The JSON holds {name} more than once; {_FORM}.")


def _table(
    text: bytes,
    rows: Sequence[tuple[float, ...]] | Sequence[tuple[float | None, ...]],
    allows_missing: bool,
) -> FloatArray:
    """Return rows of numbers as an array, of shape ``(T, D)``."""
    if not rows:
        raise no_data()
    n_columns = len(rows[0])
    refuse_too_many(n_columns)
    for row, cells in enumerate(rows, start=1):
        if not cells:
            needed = counted(n_columns or 1)
            raise SeriesError(f"Row {row} is empty; each row needs {needed}.")
        if problem := row_length_problem(f"Row {row}", len(cells), n_columns):
            raise SeriesError(problem)
    numbers: Iterable[float | None] = itertools.chain.from_iterable(rows)
    if allows_missing:
        numbers = (np.nan if number is None else number for number in numbers)
    values = np.fromiter(numbers, np.float64, len(rows) * n_columns)
    too_large = np.flatnonzero(np.abs(values) > MAX_MAGNITUDE)
    if len(too_large):
        row, column = divmod(int(too_large[0]), n_columns)
        raise _wrong(text, f"$.series[{row}][{column}]")
    return values.reshape(len(rows), n_columns)


def _wrong(text: bytes, problem: str) -> SeriesError:
    """Return the error about a document that holds something else than numbers.

    Args:
        text: The document, which is well-formed up to there.
        problem: What names the place.
    """
    place = _PLACE.search(problem)
    if place is None:
        if other := _OTHER_PLACE.search(problem):
            item = f", item {int(other[2]) + 1}," if other[2] else ""
            return SeriesError(f'"{other[1]}"{item} of the JSON is wrong; {_OTHERS}.')
        return SeriesError(f"The JSON is {shown(text)}; {_FORM}.")
    if key := _SERIES.search(text):
        text = text[key.end() :]
    row = int(place[1])
    start = text.index(b"[") + 1
    if row:
        start = next(itertools.islice(_ROW_END.finditer(text), row - 1, None)).end()
    if place[2] is None:
        found = shown(_value(text, start))
        return SeriesError(
            f"Row {row + 1} is not a list of numbers, but {found}; {_FORM}."
        )
    column = int(place[2])
    start = text.index(b"[", start) + 1
    for _ in range(column):
        start = text.index(b",", start) + 1
    reason = number_problem(_value(text, start), _NUMBER)
    return SeriesError(f"Row {row + 1}, column {column + 1}: {reason}")


def _value(text: bytes, start: int) -> bytes:
    """Return the value that starts at a position, or the start of it."""
    match = _VALUE.match(text, start)
    assert match is not None  # it may be empty
    return match[0]


def _malformed(text: bytes, problem: str) -> SeriesError:
    """Return the error about a document that is no JSON.

    Args:
        text: The document.
        problem: What names the position, unless the document is cut off.
    """
    if not text.strip():
        return no_data()
    place = _BYTE.search(problem)
    position = int(place[1]) if place else len(text)
    position -= "trailing characters" in problem  # it is after the first of them
    before = text[:position]
    if word := _WORD.search(before):
        before = text[: word.start()]
    keys = [*_KEY.finditer(before)]
    if keys and keys[-1][1] != b"series":
        found = f"at {shown(text[position:])}" if place else "before it is complete"
        return SeriesError(
            f'The JSON is malformed in "{keys[-1][1].decode()}", {found}; {_OTHERS}.'
        )
    if keys:
        start = keys[-1].end()
        text, before, position = text[start:], before[start:], position - start
    depth = before.count(b"[") - before.count(b"]")
    row = before.count(b"[") - 1
    if depth == 2 and place:
        start = max(before.rfind(b"["), before.rfind(b",")) + 1
        if reason := number_problem(_value(text, start), _NUMBER):
            column = before.count(b",", before.rfind(b"[")) + 1
            return SeriesError(f"Row {row}, column {column}: {reason}")
    where = f"{'in' if depth > 1 else 'after'} row {row}" if row > 0 else "before row 1"
    if place is None:
        return SeriesError(f"The JSON ends {where}, before it is complete; {_FORM}.")
    found = shown(text[position:])
    return SeriesError(f"The JSON is malformed {where}, at {found}; {_FORM}.")
