"""Take the columns before the numbers out of blocks of CSV, as fast as lines are found.

Times and ids stand first in most tables, and their cells have a few lengths: it is
enough to look for line ends, and for a comma at that distance from the start. Whatever
else there may be is left to :mod:`~sagemaker_container.formats.carried`.
"""

from typing import NamedTuple

import numpy as np

from lstm_ad.axes import IndexArray
from sagemaker_container.formats.ranges import Characters, copied
from sagemaker_container.formats.table import Cells

_LF, _COMMA, _QUOTE = 10, 44, 34
_MOST_LENGTHS = 32
"""Lengths that the cells of a column may have, and rows in which most of them are."""


class Leading(NamedTuple):
    """A text whose first columns are taken out."""

    cells: tuple[Cells, ...]
    """Those of each of these columns."""
    rest: bytes
    """The lines without them."""


def leading(text: bytes, n_columns: int) -> Leading | None:
    """Return the first columns of a text, or None if it takes more to find them.

    Args:
        text: Whole lines that end with LF.
        n_columns: How many of their columns hold no numbers.
    """
    characters = np.frombuffer(text, dtype=np.uint8)
    stops = _line_ends(characters) + 1
    starts = np.concatenate([[0], stops[:-1]])
    cells = []
    for _ in range(n_columns):
        ends = _cell_ends(text, characters, starts)
        if ends is None or (ends >= stops).any():
            return None
        cell_text, bounds = copied(characters, starts, ends)
        if b"," in cell_text:
            return None
        if b'"' in cell_text and not _are_quoted(characters, starts, ends, cell_text):
            return None
        cells.append(Cells([(cell_text, bounds)]))
        starts = ends + 1
    return Leading(tuple(cells), copied(characters, starts, stops)[0])


def _line_ends(characters: Characters) -> IndexArray:
    """Return where lines end, looking at eight bytes at a time: few hold an end."""
    is_end = characters == _LF
    n_words = len(characters) // 8
    words = is_end[: 8 * n_words].view("<u8")
    held = np.flatnonzero(words != 0)
    within = np.bitwise_count(words[held] - np.uint64(1)) >> 3  # the bytes before it
    rest = np.flatnonzero(is_end[8 * n_words :])
    found = np.concatenate([8 * held + within, 8 * n_words + rest])
    if len(found) < np.count_nonzero(is_end):  # there are two in one
        return np.flatnonzero(is_end)
    return found


def _cell_ends(
    text: bytes, characters: Characters, starts: IndexArray
) -> IndexArray | None:
    """Return where cells end with a comma, if they have a few lengths; or None.

    The shortest is tried first: further on, a comma may be one of those after it.
    """
    some = starts[:_MOST_LENGTHS].tolist()
    lengths = sorted({text.find(b",", start) - start for start in some}, reverse=True)
    ends, left = starts.copy(), np.arange(len(starts))
    for _ in range(_MOST_LENGTHS):
        first = int(starts[left[0]])
        length = lengths.pop() if lengths else text.find(b",", first) - first
        if length < 0:  # there is no more comma
            return None
        ends[left] = starts[left] + length
        left = left[characters.take(ends[left], mode="clip") != _COMMA]
        if not len(left):
            return ends
    return None


def _are_quoted(
    characters: Characters, starts: IndexArray, ends: IndexArray, cells: bytes
) -> bool:
    """Return whether quotes are around some cells only, and none within."""
    is_quoted = characters[starts] == _QUOTE
    is_closed = (characters[ends - 1] == _QUOTE) & (ends - starts > 1)
    n_quoted = int(np.count_nonzero(is_quoted))
    return bool((is_quoted == is_closed).all()) and cells.count(b'"') == 2 * n_quoted
