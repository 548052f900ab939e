"""Cut the columns that are carried through as text out of blocks of CSV.

What is left holds numbers alone, for the strict reader of numbers. Quotes are allowed
in what is carried, as RFC 4180 has them, but a row is a line: what divides a file into
lines, as batch transform does, would cut a quoted cell with a line break in two.
"""

from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import IndexArray
from sagemaker_container.formats.ranges import Characters, copied
from sagemaker_container.formats.table import Cells

_LF, _COMMA, _QUOTE = 10, 44, 34

_MAY_TOUCH = np.zeros(256, dtype=bool)
"""Which characters may stand before a quote that opens, and after one that closes."""
_MAY_TOUCH[[_LF, _COMMA, _QUOTE]] = True


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
    ends = _ends(characters)
    if ends is None or len(ends) % n_columns:
        return None
    is_line_end = characters[ends] == _LF
    stops = ends.reshape(-1, n_columns)
    is_table = is_line_end[n_columns - 1 :: n_columns].all()
    if not is_table or np.count_nonzero(is_line_end) != len(stops):
        return None
    starts = np.concatenate([[0], ends[:-1] + 1]).reshape(-1, n_columns)
    cells = tuple(
        Cells([copied(characters, starts[:, at], stops[:, at])]) for at in positions
    )
    others = [at for at in range(n_columns) if at not in positions]
    bounds = []
    for first, last in _runs(others):
        has_end = last < others[-1] or last == n_columns - 1
        bounds += [starts[:, first], stops[:, last] + has_end]
    if others[-1] < n_columns - 1:
        bounds += [stops[:, -1], stops[:, -1] + 1]
    kept = np.column_stack(bounds).reshape(-1, 2)
    return copied(characters, kept[:, 0], kept[:, 1])[0], cells


def split(line: bytes) -> list[bytes]:
    """Return the cells of a line; quotes that do not match divide none."""
    ends = _ends(np.frombuffer(line + b"\n", dtype=np.uint8))
    if ends is None:
        return line.split(b",")
    stops = ends.tolist()
    starts = [0, *(stop + 1 for stop in stops[:-1])]
    return [line[start:stop] for start, stop in zip(starts, stops, strict=True)]


def has_matching_quotes(line: bytes) -> bool:
    """Return whether each quoted cell of a line is written as RFC 4180 has it."""
    return _ends(np.frombuffer(line + b"\n", dtype=np.uint8)) is not None


def _ends(characters: Characters) -> IndexArray | None:
    """Return where cells end, in order; None if quotes do not match.

    A quote opens at the start of a cell and closes at its end; one that is doubled
    closes and opens again. Lines end outside.

    Args:
        characters: A text that ends with LF.
    """
    ends = np.flatnonzero((characters == _COMMA) | (characters == _LF))
    quotes = np.flatnonzero(characters == _QUOTE)
    if not len(quotes):
        return ends
    if len(quotes) % 2:
        return None
    opens, closes = quotes[::2], quotes[1::2]
    before = characters[opens[opens > 0] - 1]
    if not (_MAY_TOUCH[before].all() and _MAY_TOUCH[characters[closes + 1]].all()):
        return None
    first, last = np.searchsorted(ends, opens), np.searchsorted(ends, closes)
    if (first == last).all():
        return ends
    n_opened, n_closed = (np.bincount(at, minlength=len(ends)) for at in (first, last))
    is_within = np.cumsum(n_opened - n_closed) > 0
    return None if (characters[ends[is_within]] == _LF).any() else ends[~is_within]


def _runs(positions: Sequence[int]) -> list[tuple[int, int]]:
    """Return the first and the last of each run of consecutive positions."""
    runs: list[tuple[int, int]] = []
    for position in sorted(positions):
        if runs and runs[-1][1] == position - 1:
            runs[-1] = (runs[-1][0], position)
        else:
            runs.append((position, position))
    return runs
