"""What the columns of a table are: which are series, and which say when and of what.

A table without a header has no names: its series are called by their numbers, from 1.
"""

import dataclasses
import enum
import functools
from collections.abc import Iterator

from lstm_ad.model.scaling import spelled
from lstm_ad.ranges import PositiveCount


class Role(enum.StrEnum):
    """What a column is for."""

    SERIES = "series"
    """Numbers that are learnt from and scored."""
    TIMESTAMP = "timestamp"
    """When a row was measured: carried, and checked."""
    ID = "id"
    """Of what, or by whom: carried through as text, never learnt from."""


class TimeForm(enum.StrEnum):
    """How times are written."""

    ISO = "iso"
    """ISO 8601: nanoseconds since 1970, UTC where the text names no zone."""
    INTEGER = "integer"
    """Integers that rise, of any unit."""


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    """Its name in the header; of a table without one, the number of the series, from
    1, ``timestamp``, or ``id_`` and the number of the column."""
    role: Role
    """What it is for."""


@dataclasses.dataclass(frozen=True)
class Clock:
    """The times of the rows that a model was trained on."""

    form: TimeForm
    """How they are written."""
    step: PositiveCount
    """From one row to the next, most often: nanoseconds, or the unit of integers."""
    is_sampled: bool = False
    """Whether rows are the means of intervals of that length."""

    def spelled(self, difference: int) -> str:
        """Return a difference of times in words: in seconds, or as a number."""
        if self.form == TimeForm.INTEGER:
            return str(difference)
        return f"{difference / 1e9:.10g} s"


@dataclasses.dataclass(frozen=True)
class Schema:
    """The columns of the tables that a model was trained on, in their order."""

    columns: tuple[Column, ...]
    """All of them, those that are carried included."""
    is_named: bool
    """Whether the names come from a header."""
    clock: Clock | None = None
    """What is known of the times; None without a column of them."""
    group: str = ""
    """The id column that says which machine a row is of; empty if all are of one."""

    @classmethod
    def unnamed(cls, n_series: int) -> "Schema":
        """Return the schema of a table of ``D`` series and nothing else."""
        numbers = range(1, n_series + 1)
        return cls(tuple(Column(str(n), Role.SERIES) for n in numbers), is_named=False)

    @functools.cached_property
    def series(self) -> tuple[str, ...]:
        """The names of the series, in order."""
        return tuple(self._names(Role.SERIES))

    @functools.cached_property
    def timestamp(self) -> str | None:
        """The name of the column of times, if there is one."""
        return next(self._names(Role.TIMESTAMP), None)

    @functools.cached_property
    def ids(self) -> tuple[str, ...]:
        """The names of the id columns, in order."""
        return tuple(self._names(Role.ID))

    def column(self, series: int) -> str:
        """Return the column of a series in words: by its name, or counted from 1.

        Args:
            series: The number of the series, from 0.
        """
        places = [
            place
            for place, column in enumerate(self.columns, start=1)
            if column.role == Role.SERIES
        ]
        if not self.is_named:
            return f"column {places[series]}"
        return f"column {spelled(self.columns[places[series] - 1].name)}"

    def _names(self, role: Role) -> Iterator[str]:
        """Yield the names of the columns of a role."""
        return (column.name for column in self.columns if column.role == role)
