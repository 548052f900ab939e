"""Cut CSV into pieces of whole lines, and parse their numbers quickly and strictly."""

import codecs
import contextlib
import io
import re
from collections.abc import Iterator
from typing import BinaryIO

import msgspec
import numpy as np
import pandas as pd

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats.blocks import refuse_too_many
from sagemaker_container.formats.cells import MAX_MAGNITUDE, kind_of
from sagemaker_container.formats.messages import counted, shown

_LF, _SPACE, _COMMA, _ZERO = 10, 32, 44, 48
NUMBER = re.compile(rb" *[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)? *")
NO_NUMBER = re.compile(rb" *(nan|NaN)? *")
_WORDS = re.compile(rb"(?:nan|NaN)(?<=[,\n]...)(?=[,\n])")
_SPACE_WITHIN = re.compile(rb" (?<=[^,\n ] ) *[^,\n ]")
"""Begins with a space: so spaces alone are looked at, not each byte of a cell."""
_IN_NUMBERS = b"0123456789+-.eE"
"""Bytes of decimal numbers. With no others, pandas takes nothing else for a number: not
``nan``, ``True``, ``0x10`` or quotes."""
_FIRST, _LAST = np.uint8(ord("+")), np.uint8(ord("9"))
"""Between them are, besides these bytes and commas, only slashes."""
_LIST_OF_NUMBERS = msgspec.json.Decoder(list[float])
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
BLOCK_SIZE = 2 * 2**20
"""Bytes that are parsed at a time: what bounds the memory beyond the result."""
FEW = 2**16
"""Bytes that are parsed faster without pandas."""
FEW_COLUMNS = 16
"""Columns that pandas parses faster than one with all their cells."""
_PIECE = 2**18
"""Bytes that are compared at a time: memory for more is cleared anew each time."""
_MAX_LINE = 64 * 2**20
"""Bytes of a row: what does not end is not read into memory to its end."""


def lines(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the stream in pieces of whole lines that end with LF.

    Args:
        stream: Its reads give fewer bytes than they are asked for only at the end.
    """
    rest, is_first, is_last = b"", True, False
    while not is_last:
        more = stream.read(BLOCK_SIZE)
        is_last = len(more) < BLOCK_SIZE
        if is_first and more.startswith(_UTF16):
            raise SeriesError("The text is encoded as UTF-16; use UTF-8.")
        if is_first:
            more = more.removeprefix(codecs.BOM_UTF8)
        is_first = False
        end = len(more) if is_last else more.rfind(b"\n") + 1
        if end or is_last:
            text = b"".join([rest, memoryview(more)[:end]])
            rest = more[end:]
            if text:
                yield _ended(text)
        else:
            rest += more
        if len(rest) > _MAX_LINE:
            raise SeriesError(
                f"A row is longer than {_MAX_LINE // 2**20} MB; each time step needs a "
                f"row of its own that ends with LF or CRLF."
            )


def _ended(text: bytes) -> bytes:
    """Return lines of text, each of which ends with LF."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n")
    if not text.endswith(b"\n"):
        text = text.removesuffix(b"\r") + b"\n"
    return text


def n_cells(text: bytes) -> int:
    """Return the number of cells in the first line of a text.

    Raises:
        SeriesError: If there are too many.
    """
    n_columns = text.count(b",", 0, text.find(b"\n")) + 1
    refuse_too_many(n_columns)
    return n_columns


def numbers(text: bytes, n_columns: int) -> FloatArray | None:
    """Return the numbers in lines of text, or None if a cell is bad."""
    cells = _without_spaces(text)
    if not _are_rows(cells, b"," * (n_columns - 1) + b"\n"):
        return None
    try:
        found = _parse_few(cells) if len(cells) < FEW else _parse_many(cells, n_columns)
    except ValueError:
        return None
    return found if _are_in_range(found) else None


def plain_numbers(text: bytes, n_columns: int) -> FloatArray | None:
    """Return many numbers without exponents in lines of text, or None.

    Their bytes are compared in a fraction of the time of the other check, and that each
    line has the same number of cells is left to pandas.
    """
    if len(text) < FEW or n_columns > FEW_COLUMNS:
        return None
    characters = np.frombuffer(text, dtype=np.uint8)
    n_others = n_lines = 0
    for at in range(0, len(text), _PIECE):
        piece = characters[at : at + _PIECE]
        n_others += int(np.count_nonzero(piece - _FIRST > _LAST - _FIRST))
        n_lines += int(np.count_nonzero(piece == _LF))
    if n_others != n_lines:
        return None
    try:
        found = _parse_many(text, n_columns)
    except ValueError:
        return None
    is_table = len(found) == n_lines * n_columns
    return found if is_table and np.abs(found).max() <= MAX_MAGNITUDE else None


def _are_rows(text: bytes, row: bytes) -> bool:
    """Return whether each line is a row of numbers, given what else a row holds."""
    ends = text.translate(None, _IN_NUMBERS)
    n_rows = ends.count(b"\n")
    return len(ends) == n_rows * len(row) and ends == row * n_rows


def _are_in_range(found: FloatArray) -> bool:
    """Return whether numbers are finite and accepted; magnitudes would be a copy."""
    return bool(found.min() >= -MAX_MAGNITUDE and found.max() <= MAX_MAGNITUDE)


def numbers_or_nothing(text: bytes, n_columns: int) -> FloatArray | None:
    """Return the numbers in lines of text, NaN for a missing one, or None."""
    text = _without_spaces(text)
    if b"a" in text:
        text = _WORDS.sub(b"", b"\n" + text)[1:]
    characters = np.frombuffer(text, dtype=np.uint8)
    is_end = (characters == _COMMA) | (characters == _LF)
    is_missing = is_end.copy()
    is_missing[1:] &= is_end[:-1]
    at = np.flatnonzero(is_missing)
    if not len(at):
        return numbers(text, n_columns)
    which = np.searchsorted(np.flatnonzero(is_end), at)
    cells = numbers(np.insert(characters, at, _ZERO).tobytes(), n_columns)
    if cells is None:
        return None
    cells = cells.copy()  # what pandas returns may not be written to
    cells[which] = np.nan
    return cells


def _without_spaces(text: bytes) -> bytes:
    """Return lines of text without the spaces around cells, if none has one within."""
    if b" " not in text:
        return text
    characters = np.frombuffer(text, dtype=np.uint8)
    is_space = characters == _SPACE
    is_end = (characters == _COMMA) | (characters == _LF)
    is_other = ~(is_space | is_end)
    # Padding on one side is told in a fraction of the time of the expression.
    follows = (is_space[1:] & is_other[:-1]).any()
    precedes = (is_space[:-1] & is_other[1:]).any()
    if follows and precedes and _SPACE_WITHIN.search(text):
        return text
    return text.replace(b" ", b"")


def _parse_few(text: bytes) -> FloatArray:
    """Return the numbers; what it costs pandas to begin would be most of it."""
    cells = text.replace(b",", b"\n")
    # What JSON has no number for, such as .5 and +1, is read one by one. It has -0, but
    # loses the sign; 1e-0 becomes no number.
    signed = cells.replace(b"-0\n", b"-0.0\n")
    with contextlib.suppress(msgspec.DecodeError):
        listed = b"[" + signed.replace(b"\n", b",") + b"0]"
        return np.array(_LIST_OF_NUMBERS.decode(listed)[:-1])
    return np.array([float(cell) for cell in cells[:-1].split(b"\n")])


def _parse_many(text: bytes, n_columns: int) -> FloatArray:
    """Return the numbers; to the last bit those that :func:`float` returns.

    Args:
        text: Whole lines.
        n_columns: The numbers in each line.
    """
    table = pd.read_csv(
        io.BytesIO(text if n_columns <= FEW_COLUMNS else text.replace(b",", b"\n")),
        header=None,
        dtype=np.float64,
        na_filter=False,
        skip_blank_lines=False,
        engine="c",
    )
    numbers: FloatArray = table.to_numpy().ravel()
    return numbers


def form_problem(line: bytes, place: str, n_columns: int) -> str | None:
    """Return what is wrong with a line, whatever its columns are, or None."""
    if b"\x00" in line:
        return f"{place} holds a NUL byte; use plain text in UTF-8."
    if b"\r" in line:
        return (
            f"{place} holds a carriage return within the line; end lines with LF or "
            f"CRLF."
        )
    if not line.strip():
        return f"{place} is empty; each row needs {counted(n_columns)}."
    return None


def delimiter_problem(line: bytes, place: str) -> str | None:
    """Return what is wrong with what divides the cells of a line, or None."""
    for delimiter, name in ((b";", "semicolons"), (b"\t", "tabs")):
        if delimiter in line:
            return (
                f"{place} holds {name}; use numbers with a decimal point, separated "
                f"by commas."
            )
    return None


def header_problem(line: bytes) -> str:
    """Return the sentence about a header where none can be used."""
    return (
        f"Row 1 is a header, {shown(line)}; leave it out, the first row must be the "
        f"first time step."
    )


def is_header(cells: list[bytes]) -> bool:
    """Return whether the cells of the first row are names.

    They are if not one is a number, and not all of them are something else that a cell
    of data may hold, such as ``nan``; or if they are what pandas writes over an index.
    """
    if not cells[0].strip() and len(cells) > 1:
        return cells[1:] == [b"%d" % number for number in range(len(cells) - 1)]
    return is_named(cells)


def is_named(cells: list[bytes]) -> bool:
    """Return whether no cell is a number, and at least one nothing else of data."""
    filled = [cell for cell in cells if cell.strip()]
    if not filled or any(map(NUMBER.fullmatch, cells)):
        return False
    return any(kind_of(cell) is None for cell in filled)
