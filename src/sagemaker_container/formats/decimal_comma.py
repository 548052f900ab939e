"""Notice numbers with a decimal comma, which a reader of CSV takes for two series.

``23,5`` in every row is one number where a comma is the decimal sign, and two cells in
CSV. In the first 1000 rows of a table, whose cells are then all whole numbers, two
things tell:

- a fraction with a leading zero, ``23,05``, beside whole parts that have none: programs
  write no integer like that;
- one digit after the comma that goes through 9 to 0 where the whole part rises: of at
  least 10 steps of 1 of the whole part, the number of both makes 9 in 10 by half a unit
  or less. Of two unrelated series, it would make 15 in 100.

What is neither, such as a series that jumps from row to row, is not noticed.
"""

import re

import numpy as np

_MOST_ROWS = 1000
_FEWEST_STEPS = 10
_FEWEST_WHOLES = 5
"""Different whole parts: a switch of two states may go against a level of ten."""
_SMOOTH = 0.9
_NUMBER = r"-?(?:0|[1-9]\d{0,14}),\d{1,15}"
_ROW = re.compile(rf"{_NUMBER}(?:,{_NUMBER})*".encode())
_LEADING_ZERO = re.compile(rb"(?:[^,]*,[^,]*,)*([^,]*,0\d+)(?:,|\Z)")


def find(text: bytes) -> tuple[int, str] | None:
    """Return a row, from 1, and a number in it whose comma may be a decimal sign.

    Args:
        text: The first block of a table: whole lines that end with LF.
    """
    if not _ROW.match(text):
        return None
    lines = text.split(b"\n", _MOST_ROWS)[:-1]
    if not all(map(_ROW.fullmatch, lines)):
        return None
    for row, line in enumerate(lines, start=1):
        if match := _LEADING_ZERO.match(line):
            return row, match[1].decode()
    cells = [line.split(b",") for line in lines]
    if any(len(row) != 2 for row in cells):
        return None
    return (1, lines[0].decode()) if _is_carried(np.array(cells, float)) else None


def _is_carried(table: np.ndarray) -> bool:
    """Return whether the second column is the digit after the point of the first."""
    whole, digit = table.T
    if set(digit) != set(range(10)) or len(set(whole)) < _FEWEST_WHOLES:
        return False
    steps = np.diff(np.copysign(np.abs(whole) + digit / 10, whole))
    carried = np.abs(steps[np.abs(np.diff(whole)) == 1]) < 0.55
    return len(carried) >= _FEWEST_STEPS and bool(carried.mean() >= _SMOOTH)
