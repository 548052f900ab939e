"""Cut the columns that are carried through as text out of blocks of CSV.

What is left holds numbers alone, for the strict reader of numbers. Quotes are allowed
in what is carried, as RFC 4180 has them, but a row is a line: what divides a file into
lines, as batch transform does, would cut a quoted cell with a line break in two.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from lstm_ad.axes import IndexArray
from sagemaker_container.formats.table import Cells

_LF, _COMMA, _QUOTE = 10, 44, 34

_Characters = npt.NDArray[np.uint8]
_Mask = npt.NDArray[np.bool_]


def cut(
    text: bytes, n_columns: int, positions: Sequence[int]
) -> tuple[bytes, tuple[Cells, ...]] | None:
    """Return a text without some columns, and the cells of these.

    Args:
        text: Whole lines that end with LF.
        n_columns: The number of cells in each line.
        positions: Which of them to cut out, from 0; not all.

    Returns:
        None if a line has another number of cells, or if quotes do not match.
    """
    characters = np.frombuffer(text, dtype=np.uint8)
    is_end = (characters == _COMMA) | (characters == _LF)
    if b'"' in text:
        outside = _outside_quotes(characters, is_end)
        if outside is None:
            return None
        is_end &= outside
    ends = np.flatnonzero(is_end)
    if len(ends) % n_columns:
        return None
    is_line_end = (characters[ends] == _LF).reshape(-1, n_columns)
    if not is_line_end[:, -1].all() or is_line_end[:, :-1].any():
        return None
    starts = np.concatenate([[0], ends[:-1] + 1]).reshape(-1, n_columns)
    stops = ends.reshape(-1, n_columns)
    cells = tuple(_cells(characters, starts[:, at], stops[:, at]) for at in positions)
    keep = np.ones(len(characters), dtype=bool)
    for first, last in _runs(positions):
        is_last = last == n_columns - 1  # the end of the line stays, the comma goes
        _clear(keep, starts[:, first] - is_last, stops[:, last] + (not is_last))
    return characters[keep].tobytes(), cells


def leading(text: bytes) -> Cells | None:
    """Return the cells of the first column if they are equally long, or None.

    Args:
        text: Whole lines that end with LF. Cells in quotes are left to :func:`cut`.
    """
    characters = np.frombuffer(text, dtype=np.uint8)
    width = text.find(b",")
    line_ends = np.flatnonzero(characters == _LF)
    starts = np.concatenate([[0], line_ends[:-1] + 1])
    if width < 1 or (line_ends - starts).min() <= width:
        return None
    if (characters[starts + width] != _COMMA).any():
        return None
    places = np.ndarray(len(text) - width, f"V{width}", text, strides=(1,))
    cells = places[starts].tobytes()
    if b"," in cells or b'"' in cells:
        return None
    return Cells([(cells, np.arange(0, len(cells) + 1, width, dtype=np.int32))])


def split(line: bytes) -> list[bytes]:
    """Return the cells of a line; quotes that do not match divide none."""
    characters = np.frombuffer(line + b"\n", dtype=np.uint8)
    is_end = (characters == _COMMA) | (characters == _LF)
    outside = _outside_quotes(characters, is_end)
    if outside is None:
        return line.split(b",")
    ends = np.flatnonzero(is_end & outside).tolist()
    starts = [0, *(end + 1 for end in ends[:-1])]
    return [line[start:end] for start, end in zip(starts, ends, strict=True)]


def has_matching_quotes(line: bytes) -> bool:
    """Return whether each quoted cell of a line is written as RFC 4180 has it."""
    characters = np.frombuffer(line + b"\n", dtype=np.uint8)
    is_end = (characters == _COMMA) | (characters == _LF)
    return _outside_quotes(characters, is_end) is not None


def _outside_quotes(characters: _Characters, is_end: _Mask) -> _Mask | None:
    """Return which characters are in no quotes; None if quotes do not match.

    A quote opens at the start of a cell and closes at its end; one that is doubled
    closes and opens again. Lines end outside.
    """
    is_quote = characters == _QUOTE
    outside = np.cumsum(is_quote, dtype=np.uint8) % 2 == 0
    may_touch = is_quote | is_end
    before = np.concatenate([[True], may_touch[:-1]])
    after = np.concatenate([may_touch[1:], [True]])
    opens, closes = is_quote & ~outside, is_quote & outside
    matches = before[opens].all() and after[closes].all()
    return outside if matches and outside[characters == _LF].all() else None


def _cells(characters: _Characters, starts: IndexArray, ends: IndexArray) -> Cells:
    """Return the cells of a column that begin and end at some positions."""
    lengths = ends - starts
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    if width := _common(lengths):
        text = sliding_window_view(characters, width)[starts].tobytes()
    else:
        text = characters[_within(starts, lengths)].tobytes()
    return Cells([(text, bounds.astype(np.int32))])


def _clear(mask: _Mask, starts: IndexArray, ends: IndexArray) -> None:
    """Set a mask to False in some ranges."""
    lengths = ends - starts
    if width := _common(lengths):
        sliding_window_view(mask, width, writeable=True)[starts] = False
    else:
        mask[_within(starts, lengths)] = False


def _common(lengths: IndexArray) -> int:
    """Return the length that all have, or 0; equal ones are copied much faster."""
    return int(lengths[0]) if (lengths == lengths[0]).all() else 0


def _within(starts: IndexArray, lengths: IndexArray) -> IndexArray:
    """Return all positions in ranges that begin somewhere and have some lengths."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(starts - before, lengths) + np.arange(lengths.sum())


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each run of consecutive positions."""
    runs: list[tuple[int, int]] = []
    for position in sorted(positions):
        if runs and runs[-1][1] == position - 1:
            runs[-1] = (runs[-1][0], position)
        else:
            runs.append((position, position))
    return runs
