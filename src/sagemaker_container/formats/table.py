"""A table as it was sent: numbers, and beside them what is carried through as text."""

import dataclasses
from collections.abc import Mapping, Sequence

from lstm_ad.axes import FloatArray, IndexArray


@dataclasses.dataclass(frozen=True)
class Table:
    """What a file or a request holds, row by row in the order it was sent."""

    values: FloatArray
    """Of shape ``(T, D)``, the series in the order of training; NaN where a cell is
    missing, if that is allowed."""
    has_header: bool = False
    """Whether the first row named the columns."""
    carried: Mapping[str, Sequence[bytes]] = dataclasses.field(default_factory=dict)
    """The cells of the columns that are carried through, by their names in the order
    that they were sent: ``T`` each, byte for byte, quotes included."""
    times: IndexArray | None = None
    """The time of each row, of shape ``(T,)``: nanoseconds since 1970, or integers as
    they were sent; None without a column of times."""
