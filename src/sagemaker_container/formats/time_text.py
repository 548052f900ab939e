"""Read the text of times strictly: ISO 8601 or integers, all of a table in one form.

Times that are equally long, as those of most tables are, are read by their places in
the text, all rows at a time. pandas reads all others.
"""

import re

import numpy as np
import numpy.typing as npt
import pandas as pd

from lstm_ad.axes import IndexArray
from lstm_ad.data.schema import TimeForm
from sagemaker_container.formats.messages import shown
from sagemaker_container.formats.table import Cells, plain

ACCEPTED = (
    'ISO 8601 ("2024-05-01 13:45:00", with "T" or a space, a fraction, "Z" or an '
    "offset), or integers"
)

_YEARS = 1678, 2261
"""What nanoseconds since 1970 can say, whole years alone."""
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_ZONE = rb"(Z|[-+]00(:?00)?)"
_ISO = re.compile(rb"0000-00-00([T ]00:00(:00(\.0{1,9})?)?" + _ZONE + rb"?)?")
_TIME = len("2024-05-01T")
_ZONE_BEGINS = re.compile(rb"[-+Z]")
_ZONED = re.compile(rb".{11}.*" + _ZONE)
_INTEGER = re.compile(rb"-?0{1,18}")

Form = tuple[TimeForm, bool]
"""How times are written, and whether they name their zone."""


def parse(cells: Cells) -> tuple[IndexArray, Form] | None:
    """Return times of consecutive rows, or None if one is bad or of another form.

    Args:
        cells: At least one, valid UTF-8 and without line ends.

    Returns:
        Of shape ``(T,)``: nanoseconds since 1970, or integers; and how all are written.
    """
    if found := _parse_by_length(cells):
        return found
    text = b"\n".join(cells)
    if b'"' in text or text.startswith(b" ") or b"\n " in text or b" \n" in text:
        text = "\n".join(map(plain, cells)).encode()
    return _parse_any(text.removesuffix(b" "))


def _parse_by_length(cells: Cells) -> tuple[IndexArray, Form] | None:
    """Return times of some lengths, or None: many leave out a fraction of 0."""
    moments = np.empty(len(cells), dtype=np.int64)
    n_read, forms = 0, set()
    for rows, some in cells.by_length():
        if (found := _parse_fixed(some)) is None:
            return None
        moments[rows], form = found
        n_read += len(some)
        forms.add(form)
    return (moments, forms.pop()) if n_read == len(cells) and len(forms) == 1 else None


def _parse_any(text: bytes) -> tuple[IndexArray, Form] | None:
    """Return times that are divided by LF, read by pandas, or None."""
    forms = {_form(shape) for shape in set(text.translate(_DIGITS).split(b"\n"))}
    form = forms.pop()
    if forms or form is None:
        return None
    words = text.decode().split("\n")
    if form[0] == TimeForm.INTEGER:
        return np.array(words, dtype=np.int64), form
    try:
        moments = pd.to_datetime(words, format="ISO8601", utc=True).as_unit("ns")
    except ValueError:  # no such day or hour, or out of the range of nanoseconds
        return None
    return moments.asi8, form


def _parse_fixed(cells: npt.NDArray[np.bytes_]) -> tuple[IndexArray, Form] | None:
    """Return equally long times, or None.

    Args:
        cells: Of shape ``(T,)``, all in quotes or none. What is not all in one shape,
            or is no time, is left to pandas.
    """
    columns = np.frombuffer(cells.tobytes(), np.uint8).reshape(len(cells), -1)
    if _are_quoted(columns):
        columns = np.ascontiguousarray(columns[:, 1:-1])
        cells = columns.view(f"S{columns.shape[1]}")[:, 0]
    if len(cells) == 1:
        return _parse_one(cells)
    columns = np.ascontiguousarray(columns.T)  # a character of each time per row
    form = _form(shape := columns[:, 0].tobytes().translate(_DIGITS))
    is_digit = np.frombuffer(shape, np.uint8) == ord("0")
    if form is None or (columns[~is_digit] != columns[~is_digit, :1]).any():
        return None
    digits = columns - np.uint8(ord("0"))
    if (digits[is_digit] > 9).any():
        return None
    if form[0] == TimeForm.ISO:
        return _parse_iso(cells, form, columns, digits)
    if not is_digit.all():  # below 0
        return cells.astype(np.int64), form
    return _number(digits[:-9]) * np.int64(10**9) + _number(digits[-9:]), form


def _are_quoted(columns: npt.NDArray[np.uint8]) -> bool:
    """Return whether all of some cells, of shape ``(T, width)``, are in quotes."""
    ends = columns[:, 0], columns[:, -1]
    return columns.shape[1] > 2 and all((end == ord('"')).all() for end in ends)


def _parse_one(cells: npt.NDArray[np.bytes_]) -> tuple[IndexArray, Form] | None:
    """Return a single time, or None; messages look at one after the other."""
    cell = cells.tobytes()  # with a NUL at its end, if there is one
    form = _form(cell.translate(_DIGITS))
    if form is not None and form[0] == TimeForm.INTEGER:
        return cells.astype(np.int64), form
    if form is None or not _YEARS[0] // 100 < int(cell[:2]) < _YEARS[1] // 100:
        return None  # no time, beyond nanoseconds, or near their end
    return _parse_whole(cells, form)


def _parse_iso(
    cells: npt.NDArray[np.bytes_],
    form: Form,
    columns: npt.NDArray[np.uint8],
    digits: npt.NDArray[np.uint8],
) -> tuple[IndexArray, Form] | None:
    """Return ISO times in one shape, in a third of NumPy's time, or None.

    The first time of each day, or of another offset, is read as a whole; of the others
    only the time of day.

    Args:
        cells: The times, of shape ``(T,)``.
        form: How all are written.
        columns: Their characters, of shape ``(width, T)``.
        digits: The same, with digits as numbers.
    """
    centuries = 10 * digits[0] + digits[1]
    if centuries.min() <= _YEARS[0] // 100 or centuries.max() >= _YEARS[1] // 100:
        return None  # beyond nanoseconds, or near their end
    zone = _TIME + len(_ZONE_BEGINS.split(cells[0][_TIME:], maxsplit=1)[0])
    others = np.concatenate([columns[:_TIME], columns[zone:]])
    is_first = np.append(True, (others[:, 1:] != others[:, :-1]).any(axis=0))
    first = np.flatnonzero(is_first)
    if zone == _TIME or 4 * len(first) > len(cells):
        return _parse_whole(cells, form)
    of_day = _since_midnight(digits[_TIME:zone])
    found = _parse_whole(cells[first], form)
    if of_day is None or found is None:
        return None
    lengths = np.diff(first, append=len(cells))
    return of_day + np.repeat(found[0] - of_day[first], lengths), form


def _since_midnight(digits: npt.NDArray[np.uint8]) -> IndexArray | None:
    """Return times of day in nanoseconds, or None if one is none.

    Args:
        digits: Of shape ``(width, T)``: ``00:00``, seconds and a fraction may follow.
    """
    hours, minutes = 10 * digits[0] + digits[1], 10 * digits[3] + digits[4]
    if (hours > 23).any() or (minutes > 59).any():
        return None
    of_day = (hours * np.int32(60) + minutes) * np.int32(60)
    if len(digits) > len("00:00"):
        seconds = 10 * digits[6] + digits[7]
        if (seconds > 59).any():
            return None
        of_day += seconds
    fraction = digits[len("00:00:00.") :]
    nanoseconds: IndexArray = of_day * np.int64(10**9)
    if len(fraction):
        nanoseconds += _number(fraction) * np.int64(10 ** (9 - len(fraction)))
    return nanoseconds


def _number(digits: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Return the numbers that some digits are, at most nine each.

    Args:
        digits: Of shape ``(n, T)``.
    """
    number = np.zeros(digits.shape[1], np.int32)
    for digit in digits:
        number *= 10
        number += digit
    return number


def _parse_whole(
    cells: npt.NDArray[np.bytes_], form: Form
) -> tuple[IndexArray, Form] | None:
    """Return ISO times in one shape, or None."""
    width = cells.dtype.itemsize
    is_utc = cells[0].endswith(b"Z")
    if form[1] != is_utc:
        return _parse_any(b"\n".join(cells.tolist()))
    try:
        moments = cells.astype(f"S{width - is_utc}").astype("datetime64[ns]")
    except ValueError:
        return None
    return moments.view(np.int64), form


def form_of(cell: bytes) -> Form | None:
    """Return how a time is written, or None if it is no time."""
    form = _form(cell.translate(_DIGITS))
    if form is not None and form[0] == TimeForm.INTEGER:
        return form
    found = parse(Cells.of([cell]))
    return found[1] if found else None


def problem(cell: bytes, form: Form | None) -> str | None:
    """Return what is wrong with a time, in the rest of a sentence, or None.

    Args:
        cell: The text, valid UTF-8 and without line ends.
        form: How the times before it are written; None for the first.
    """
    if not cell.strip(b" "):
        return f"the time is missing; use {ACCEPTED}."
    found = form_of(cell)
    if found is None:
        return (
            f"{shown(cell)} is no time between {_YEARS[0]} and {_YEARS[1]}; use "
            f"{ACCEPTED}."
        )
    if form is not None and found != form:
        return (
            f"{shown(cell)} is written unlike the times before it; use one form, with "
            f"or without a zone in all rows."
        )
    return None


def _form(shape: bytes) -> Form | None:
    """Return the form of a time whose digits are all 0, or None if it is no time."""
    if _INTEGER.fullmatch(shape):
        return TimeForm.INTEGER, False
    if _ISO.fullmatch(shape):
        return TimeForm.ISO, _ZONED.fullmatch(shape) is not None
    return None
