"""What an answer repeats of a request: names of series, times and ids."""

import dataclasses
from collections.abc import Mapping, Sequence

from lstm_ad.data.schema import Schema
from sagemaker_container.formats.table import Table


@dataclasses.dataclass(frozen=True)
class Frame:
    """What stands around the numbers of a table."""

    series: tuple[str, ...]
    """The names of the series, in order; numbers from 1 if they have none."""
    carried: Mapping[str, Sequence[bytes]] = dataclasses.field(default_factory=dict)
    """The cells of the columns that are carried, in the order sent, byte for byte."""
    timestamp: str | None = None
    """Which of them holds the time, if one does."""
    group: str | None = None
    """Which of them says what machine a row is of, if one does."""

    @classmethod
    def of(cls, table: Table, schema: Schema) -> "Frame":
        """Return what stands around the numbers of a table that a model scores."""
        return cls(
            schema.series,
            table.carried,
            schema.timestamp if schema.timestamp in table.carried else None,
            schema.group if schema.group in table.carried else None,
        )

    def rows(self, rows: slice) -> "Frame":
        """Return the frame of some of the rows."""
        if not self.carried:
            return self
        cells = {name: cells[rows] for name, cells in self.carried.items()}
        return dataclasses.replace(self, carried=cells)
