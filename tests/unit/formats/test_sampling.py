"""Rows that are averaged over intervals of time, in training and in requests."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ad.data.rows import TRAINING, File, Rows, store
from lstm_ad.data.schema import Clock, Column, Role, Schema, TimeForm
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats import csv_table, csv_text, json_table
from sagemaker_container.formats.csv_file import FileColumns, read_file
from sagemaker_container.formats.header import Declared
from sagemaker_container.formats.table import Table

MINUTE = 60 * 10**9
HEADER = "time,pump,p\n"
COLUMNS = (
    Column("time", Role.TIMESTAMP),
    Column("pump", Role.ID),
    Column("p", Role.SERIES),
)
SCHEMA = Schema(
    COLUMNS,
    is_named=True,
    clock=Clock(TimeForm.ISO, MINUTE, is_sampled=True),
    group="pump",
)
ROWS = [
    ("00:00:10", "A", 1),
    ("00:00:20", "B", 7),
    ("00:00:59.5", "A", 2),
    ("00:01:00", "A", 4),
    ("00:02:30", "B", 8),
    ("00:02:40", "A", 5),
]

MISSING: dict[str, Any] = {"allows_missing": True}


def text(rows: list[tuple[str, str, float]]) -> str:
    """Return a file."""
    return HEADER + "".join(f"2024-05-01T{a}Z,{b},{c}\n" for a, b, c in rows)


def from_csv(rows: list, **settings) -> Table:
    """Return the table of a request in CSV."""
    stream = io.BytesIO(text(rows).encode())
    return csv_table.read_table(stream, SCHEMA, **MISSING | settings)


def from_json(rows: list, **settings) -> Table:
    """Return the table of a request in JSON."""
    times, pumps, values = zip(*rows, strict=True)
    document = {
        "series": [[value] for value in values],
        "timestamps": [f"2024-05-01T{time}Z" for time in times],
        "ids": {"pump": pumps},
    }
    stream = io.BytesIO(json.dumps(document).encode())
    return json_table.read_table(stream, SCHEMA, **MISSING | settings)


@pytest.mark.parametrize("read", [from_csv, from_json])
def test_a_request_has_a_row_for_each_interval_of_a_machine(read) -> None:
    """In the order of their first rows, with the time at which they begin."""
    table = read(ROWS)

    assert table.values.ravel().tolist() == [1.5, 7, 4, 8, 5]
    assert [*table.carried["pump"]] == [b"A", b"B", b"A", b"B", b"A"]
    assert [*table.carried["time"]] == [
        b"2024-05-01T00:00:00Z",
        b"2024-05-01T00:00:00Z",
        b"2024-05-01T00:01:00Z",
        b"2024-05-01T00:02:00Z",
        b"2024-05-01T00:02:00Z",
    ]
    assert table.times is not None
    assert (np.diff(table.times) // MINUTE).tolist() == [0, 1, 1, 0]


@pytest.mark.parametrize("read", [from_csv, from_json])
def test_a_code_is_missing_before_rows_are_averaged(read) -> None:
    """The mean of an interval is that of what is there."""
    table = read([*ROWS, ("00:02:50", "A", -99)], codes=(2, 8, -99))

    assert np.nan_to_num(table.values).ravel().tolist() == [1, 7, 4, 0, 5]


EMPTY = (
    'the time "2024-05-01T00:02:30Z" comes after 1 interval of 60 s without a row; use '
    "a longer sampling-interval, or missing-values=hold."
)


@pytest.mark.parametrize("read", [from_csv, from_json])
def test_an_interval_without_a_row_is_refused_unless_values_are_held(read) -> None:
    """With the row and its time."""
    with pytest.raises(SeriesError, match=re.escape(EMPTY)):
        read(ROWS, allows_missing=False)


def test_a_request_needs_times() -> None:
    """Rows may not be taken for means."""
    message = (
        "Rows are averaged over intervals of time (sampling-interval), but there are "
        "no times; send ISO 8601 times."
    )
    with pytest.raises(SeriesError, match=f"^{re.escape(message)}$"):
        csv_table.read_table(io.BytesIO(b"p\n1\n"), SCHEMA)


@pytest.fixture(params=[2**20, 5], ids=["whole", "in pieces"])
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in blocks of this many bytes."""
    monkeypatch.setattr(csv_text, "BLOCK_SIZE", request.param)


def trained_on(
    folder: Path, content: str, longest_gap: int, codes: tuple[float, ...] = ()
) -> tuple[Rows, File]:
    """Return the rows of a training file."""
    path = folder / "a.csv"
    path.write_text(content)
    columns = FileColumns(Declared("time", ("pump",)), codes=codes)
    blocks = read_file(path, path.name, columns, longest_gap, MINUTE)
    rows = store(folder, [(TRAINING, path.name, blocks)])
    return rows, rows.files[0]


@pytest.mark.usefixtures("block_size")
def test_a_file_has_a_row_for_each_interval(tmp_path: Path) -> None:
    """However it is read; intervals without a row are missing, and capped."""
    some = [(time, pump, value) for time, pump, value in ROWS if pump == "A"]
    some += [("00:02:50", "A", 7), ("00:05:00", "A", 9), ("03:00:00", "A", 3)]
    rows, file = trained_on(tmp_path, text(some), longest_gap=3)

    expected = [1.5, 4, 6, 0, 0, 9, 0, 0, 0, 0, 3]
    assert np.nan_to_num(rows.values(file)).ravel().tolist() == expected
    assert file.inserted == ((3, 5), (6, 10))
    assert file.schema.clock == Clock(TimeForm.ISO, MINUTE, is_sampled=True)


@pytest.mark.usefixtures("block_size")
def test_a_code_in_a_file_is_missing_before_rows_are_averaged(tmp_path: Path) -> None:
    """As in a request."""
    some = [(time, pump, value) for time, pump, value in ROWS if pump == "A"]
    rows, file = trained_on(tmp_path, text(some), 3, codes=(2, 5))

    assert np.nan_to_num(rows.values(file)).ravel().tolist() == [1, 4, 0]
    assert file.n_missing.tolist() == [1]


@pytest.mark.usefixtures("block_size")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            text([("00:00:00", "A", 1), ("00:02:30", "A", 1)]),
            f"a.csv: Row 2 after the header: {EMPTY}",
        ),
        (
            text([("00:00:10", "A", 1), ("00:00:10", "A", 1)]),
            'a.csv: Row 2 after the header: the time "2024-05-01T00:00:10Z" is not '
            'after "2024-05-01T00:00:10Z" of row 1; send rows in the order of time, '
            "and use UTC where local time goes back at the end of summer time.",
        ),
        (
            f"{HEADER}1,A,1\n2,A,2\n",
            "a.csv: Rows are averaged over intervals of time (sampling-interval), but "
            "the times are integers; send ISO 8601 times.",
        ),
    ],
    ids=["empty", "not after", "integers"],
)
def test_what_cannot_be_averaged_is_refused(
    tmp_path: Path, content: str, message: str
) -> None:
    """With the file and the row."""
    with pytest.raises(SeriesError, match=f"^{re.escape(message)}$"):
        trained_on(tmp_path, content, longest_gap=0)
