"""Tests of large tables whose rows begin with times: read as small ones are."""

import io

import pytest

from lstm_ad.data.schema import Column, Role, Schema
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats import csv_text
from sagemaker_container.formats.csv_table import read_table

STAMPED = Schema(
    (
        Column("time", Role.TIMESTAMP),
        Column("pressure", Role.SERIES),
        Column("flow", Role.SERIES),
    ),
    is_named=True,
)
MANY = [f"{1000 + at},{at / 7},-{at}e-1" for at in range(6000)]
SPOILT = {
    "no number": "3000,x,1",
    "a space within a number": "3000,1 1,1",
    "a space within the time": "3 00,1,1",
    "a letter in the time": "3T00,1,1",
    "a cell more": "3000,1,1,1",
    "a cell less": "3000,1",
    "a longer time, and a cell less": "30000,1",
    "a comma within the time": "300,,1,1",
    "no time": ",1,1",
    "a number too large": "3000,1e101,1",
    "an empty row": "",
}


@pytest.mark.parametrize("header", ["time,pressure,flow", "time,flow,pressure"])
@pytest.mark.parametrize("last", ["7000,1,2", "70000,1,2"])
def test_many_rows_that_begin_with_times_are_read(header: str, last: str) -> None:
    """Bit for bit, in the order of the series of the model; also if one is longer."""
    rows = [*MANY, last]
    text = "\n".join([header, *rows, ""]).encode()
    assert len(text) > csv_text.FEW
    table = read_table(io.BytesIO(text), STAMPED)
    cells = [line.split(",") for line in rows]
    names = header.split(",")[1:]
    for number, name in enumerate(["pressure", "flow"]):
        expected = [float(row[1 + names.index(name)]) for row in cells]
        assert table.values[:, number].tolist() == expected
    assert table.times is not None
    assert [int(time) for time, *_ in cells] == table.times.tolist()
    assert [*table.carried["time"]] == [time.encode() for time, *_ in cells]


@pytest.mark.parametrize("row", SPOILT.values(), ids=SPOILT)
def test_one_bad_row_among_many_with_times_is_named(row: str) -> None:
    """Whatever is wrong with it."""
    text = "\n".join([*MANY[:300], row, *MANY[301:], ""]).encode()
    assert len(text) > csv_text.FEW
    with pytest.raises(SeriesError, match=r"^Row 301\b"):
        read_table(io.BytesIO(text), STAMPED)
