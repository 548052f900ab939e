"""Tell from the first row of a text, and from what a model knows, what its columns are.

A first row in which no cell is a number is a header. Series are found by their names,
in any order; what is carried through beside them is found likewise, or by its place
where there are no names.
"""

import csv
import dataclasses
import itertools
import unicodedata
from collections.abc import Mapping, Sequence

from lstm_ad.data.schema import Column, Role, Schema
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats.cells import kind_of
from sagemaker_container.formats.messages import counted, listed, shown

_LONGEST_NAME = 256
_MOST_NAMED = 5
"""Names that a sentence lists."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """What each column of a text is; positions are counted from 0, as sent."""

    n_columns: int
    """How many there are."""
    series: tuple[int, ...]
    """The position of each series, in the order of training."""
    carried: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The position of each column that is carried through, in the order sent."""
    names: tuple[str, ...] = ()
    """The header; empty if there is none."""
    timestamp: str | None = None
    """Which of the carried columns holds the time, if one does."""
    group: str | None = None
    """Which of them says what machine a row is of, if one does."""

    @property
    def has_header(self) -> bool:
        """Whether the first row names the columns."""
        return bool(self.names)

    @property
    def numbers(self) -> list[int]:
        """The positions of the series, rising."""
        return sorted(self.series)

    def place(self, row: int, column: int | None = None) -> str:
        """Return the words for a place: rows are counted from 1, columns from 0.

        Rows are those of data, so that they are those of the answer.
        """
        words = f"Row {row} after the header" if self.has_header else f"Row {row}"
        if column is None:
            return words
        name = f" ({shown(self.names[column])})" if self.has_header else ""
        return f"{words}, column {column + 1}{name}"


@dataclasses.dataclass(frozen=True)
class Declared:
    """The columns that a training job carries through, by name or number from 1."""

    timestamp: str = ""
    """The one that holds the time; empty if there is none."""
    ids: tuple[str, ...] = ()
    """Those that hold ids."""
    group: str = ""
    """The one of them that says what machine a row is of; empty if all are of one."""

    def schema(self, names: Sequence[str], n_columns: int) -> Schema:
        """Return what the columns of a training file are.

        Args:
            names: Its header; empty if it has none.
            n_columns: How many columns it has.

        Raises:
            SeriesError: If it lacks a column, or if no series is left.
        """
        settings = [("timestamp-column", self.timestamp)] if self.timestamp else []
        settings += [("id-columns", word) for word in self.ids]
        roles = [Role.SERIES] * n_columns
        labels = list(names) or [""] * n_columns
        for setting, word in settings:
            at = _position(setting, word, names, n_columns)
            if roles[at] != Role.SERIES:
                raise SeriesError(
                    f"{setting} names column {at + 1}, which another setting or name "
                    f"already has; name each column once."
                )
            roles[at] = Role.TIMESTAMP if setting == "timestamp-column" else Role.ID
            if not names:
                labels[at] = f"id_{at + 1}" if roles[at] == Role.ID else "timestamp"
        if Role.SERIES not in roles:
            raise SeriesError(
                "timestamp-column and id-columns leave no column to learn from; at "
                "least one must be a series."
            )
        if not names:
            numbers = itertools.count(1)
            labels = [label or str(next(numbers)) for label in labels]
        group = ""
        if self.group:
            group = labels[_position("group-column", self.group, names, n_columns)]
        columns = tuple(map(Column, labels, roles))
        return Schema(columns, is_named=bool(names), group=group)


def _position(setting: str, word: str, names: Sequence[str], n_columns: int) -> int:
    """Return the position of a column, from 0, that a setting names.

    Raises:
        SeriesError: If there is no such column.
    """
    if word in names:
        return names.index(word)
    if word.isascii() and word.isdigit() and 1 <= int(word) <= n_columns:
        return int(word) - 1
    if names:
        raise SeriesError(
            f"{setting} names {shown(word)}, but the header has {_listed(names)}; use "
            f"one of these names, or a number from 1 to {n_columns}."
        )
    raise SeriesError(
        f"{setting} names {shown(word)}, but there is no header; use the number of the "
        f"column, from 1 to {n_columns}."
    )


def names_of(line: bytes) -> tuple[str, ...]:
    """Return the names in a header.

    Args:
        line: The first row, without its end.

    Raises:
        SeriesError: If they cannot be used.
    """
    if b"\r" in line:  # csv would drop it at the end
        raise SeriesError(
            "The header holds a carriage return within the line; end lines with LF or "
            "CRLF."
        )
    try:
        names = next(csv.reader([line.decode()], strict=True))
    except UnicodeDecodeError as error:
        raise SeriesError("The header is not encoded as UTF-8.") from error
    except csv.Error as error:
        raise SeriesError(
            f"The header, {shown(line)}, has quotes that do not match; a name in "
            f"quotes is written whole within them, on one line, and quotes within it "
            f"are doubled."
        ) from error
    names = [name.strip(" ") for name in names]
    for number, name in enumerate(names, start=1):
        if problem := _problem(name):
            raise SeriesError(f"Column {number} of the header {problem}.")
        if name in names[: number - 1]:
            raise SeriesError(
                f"Columns {names.index(name) + 1} and {number} of the header are both "
                f"called {shown(name)}; each column needs a name of its own."
            )
    return tuple(names)


def matched(names: Sequence[str], schema: Schema, keep: Sequence[str]) -> Columns:
    """Return what the columns of a text with a header are.

    Args:
        names: The header.
        schema: The columns that a model was trained on; they have names.
        keep: Further columns, which are carried through.

    Raises:
        SeriesError: If a series is missing, or a column unknown.
    """
    position = {name: number for number, name in enumerate(names)}
    roles = {column.name: column.role for column in schema.columns}
    if missing := [name for name in schema.series if name not in position]:
        raise SeriesError(
            f"The header lacks the series {_listed(missing)}; send all "
            f"{len(schema.series)} series that the model was trained on."
        )
    if missing := [name for name in keep if name not in position]:
        raise SeriesError(
            f"The header lacks {_listed(missing)}, which keep names; name columns that "
            f"are sent."
        )
    for number, name in enumerate(names, start=1):
        if name not in roles and name not in keep:
            raise SeriesError(
                f"Column {number} of the header, {shown(name)}, is unknown to the "
                f"model; leave it out, or name it in keep to carry it through."
            )
    if mistaken := [name for name in keep if roles.get(name) == Role.SERIES]:
        raise SeriesError(
            f"keep names {_listed(mistaken)}, which the model scores; name other "
            f"columns."
        )
    carried = {
        name: number
        for name, number in position.items()
        if roles.get(name) != Role.SERIES
    }
    series = tuple(position[name] for name in schema.series)
    return _columns(series, carried, schema, tuple(names))


def by_place(n_columns: int, schema: Schema, keep: Sequence[str]) -> Columns:
    """Return what the columns of a text without a header are.

    Args:
        n_columns: How many there are.
        schema: The columns that a model was trained on.
        keep: Must be empty.

    Raises:
        SeriesError: If it is another number than the model needs.
    """
    n_series, n_all = len(schema.series), len(schema.columns)
    if not schema.is_named and n_all == n_series and not keep:
        return _columns(tuple(range(n_columns)), {}, schema)  # counted by the detector
    if keep:
        raise SeriesError(
            f"keep names {_listed(keep)}, but there is no header; send the names of "
            f"the columns as the first row."
        )
    if n_columns == n_series:
        return _columns(tuple(range(n_series)), {}, schema)
    if n_columns != n_all:
        or_all = f", or {n_all} with those that are carried" if n_all > n_series else ""
        raise SeriesError(
            f"Row 1 has {counted(n_columns, 'cell')}, but the model was trained on "
            f"{n_series} series; send {counted(n_series, 'column')}{or_all}."
        )
    roles = [column.role for column in schema.columns]
    return _columns(
        tuple(n for n, role in enumerate(roles) if role == Role.SERIES),
        {
            column.name: number
            for number, column in enumerate(schema.columns)
            if column.role != Role.SERIES
        },
        schema,
    )


def _columns(
    series: tuple[int, ...],
    carried: Mapping[str, int],
    schema: Schema,
    names: tuple[str, ...] = (),
) -> Columns:
    """Return columns, with what the schema knows of those that are carried."""
    timestamp = schema.timestamp if schema.timestamp in carried else None
    group = schema.group if schema.group in carried else None
    n_columns = len(series) + len(carried)
    return Columns(n_columns, series, carried, names, timestamp, group)


def _problem(name: str) -> str | None:
    """Return what is wrong with a name, in the rest of a sentence, or None."""
    if not name:
        return "has no name; name it, or leave it out (in pandas: index=False)"
    if len(name) > _LONGEST_NAME:
        return (
            f"has a name of {len(name)} characters, {shown(name)}; use at most "
            f"{_LONGEST_NAME}"
        )
    if any(unicodedata.category(c) in ("Cc", "Zl", "Zp") for c in name):
        return f"has a name with a control character, {shown(name)}; leave it out"
    if _is_value(name):
        return (
            f"is called {shown(name)}, which is a value and no name; the header needs "
            f"a name per column"
        )
    return None


def _is_value(name: str) -> bool:
    """Return whether a name may as well be a number, a time or a missing value."""
    try:
        float(name)  # nan and infinity too
    except ValueError:
        return (kind_of(name.encode()) or "").startswith("is a date")
    return True


def _listed(names: Sequence[str]) -> str:
    """Return names in words: the first ones, if there are many."""
    words = [shown(name) for name in names[:_MOST_NAMED]]
    if len(names) > _MOST_NAMED:
        words.append(f"{len(names) - _MOST_NAMED} more")
    return listed(words) if len(words) > 1 else words[0]
