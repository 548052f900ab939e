"""Tell a first row of column numbers, as pandas writes it, from a row of data.

pandas names the columns of a table without names 0, 1 ... D-1 and writes that as the
first row, which reads as data: every score would come one row late. The row is refused
if it is exactly ``0,1,...,D-1`` (D >= 2) in plain integers, at least 8 rows follow in
the first block, and they are unlike it in one of two ways:

- no cell of them is a plain integer, and the first row is no start of a smooth curve:
  in some column, the step to the second row is more than half a standard deviation of
  the rows that follow (a sine and a cosine do begin with 0 and 1);
- in every column, the number is outside the range of the rows that follow, by more than
  the width of that range.

What is neither is read as data: columns of small integers beside which 0 and 1 are not
unusual, and tables of a single column, whose 0 nothing tells from a zero.
"""

import numpy as np

from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats.messages import shown

_FEWEST_ROWS = 8
_MOST_ROWS = 1000


def refuse_column_numbers(text: bytes, n_columns: int) -> None:
    """Refuse a text whose first row numbers the columns.

    Args:
        text: The first block of the text: whole lines that end with LF.
        n_columns: The number of cells in the first row.

    Raises:
        SeriesError: If the first row is a header.
    """
    if not text.startswith(b"0,1") or n_columns < 2:
        return
    first, _, rest = text.partition(b"\n")
    if first != b",".join(b"%d" % number for number in range(n_columns)):
        return
    lines = rest.split(b"\n", _MOST_ROWS)[:-1]
    cells = [line.split(b",") for line in lines]
    try:
        rows = np.array(cells, dtype=np.float64)
    except ValueError:  # whoever parses the rows names the place
        return
    if len(rows) < _FEWEST_ROWS or rows.shape[1:] != (n_columns,):
        return
    numbers = np.arange(n_columns)
    if not any(cell.strip().lstrip(b"+-").isdigit() for row in cells for cell in row):
        is_header = (np.abs(rows[0] - numbers) > rows.std(axis=0) / 2).any()
    else:
        low, high = rows.min(axis=0), rows.max(axis=0)
        outside = np.maximum(low - numbers, numbers - high)
        is_header = (outside > high - low).all()
    if is_header:
        raise SeriesError(
            f"Row 1 is a header of column numbers, {shown(first)}, unlike the rows "
            f"after it; leave it out, the first row must be the first time step."
        )
