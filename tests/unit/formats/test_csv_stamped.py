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
        Column("asset", Role.ID),
        Column("pressure", Role.SERIES),
        Column("flow", Role.SERIES),
    ),
    is_named=True,
)
HEADERS = [
    *("time,pressure,flow", "time,flow,pressure"),
    *("time,asset,pressure,flow", "asset,time,flow,pressure"),
    *("pressure,time,flow,asset", "time,pressure,flow,asset"),
]
N_ROWS = 20_000
START = 10**11
MANY = [f"{START + at},{at % 7}.5,-{at % 9}.5" for at in range(N_ROWS)]
SPOILT = {
    "no number": f"{START + 300},x,1",
    "a space within a number": f"{START + 300},1 1,1",
    "a space within the time": f"{START // 10} 5,1,1",
    "a letter in the time": f"{START // 10}T,1,1",
    "a cell more": f"{START + 300},1,1,1",
    "a cell less": f"{START + 300},1",
    "a longer time, and a cell less": f"{START + 300}0,1",
    "a comma within the time": f"{START // 10},,1,1",
    "no time": ",1,1.0000000000",
    "a number too large": f"{START + 300},1e101,1",
    "a long number too large": f"{START + 300},1{'0' * 101},1",
    "an empty row": "",
    "no comma": f"{START + 300}",
    "quotes around a number": f'{START + 300},"1",1',
    "quotes that do not match": f'"{START // 10},1,1',
    "quotes within the time": f'{START // 1000}"0",1,1',
    "a tab before a number": f"{START + 300},\t1,1",
    "a slash for a point": f"{START + 300},1/5,1",
}
WRITTEN = {
    "equally long": [str(START + at) for at in range(N_ROWS)],
    "of two lengths": [str(START - 3000 + at) for at in range(N_ROWS)],
    "one longer than all before": [
        str(START - N_ROWS + 1 + at) for at in range(N_ROWS)
    ],
    "in quotes": [f'"{START + at}"' for at in range(N_ROWS)],
    "some in quotes": [('"%d"', "%d")[at % 2] % (START + at) for at in range(N_ROWS)],
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("times", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("number", ["-{}.5", "{}e-1", " {}"])
def test_many_rows_that_begin_with_times_are_read(
    header: str, times: list[str], number: str
) -> None:
    """Bit for bit, in the order of the series of the model, and byte for byte."""
    written = {
        "time": times,
        "asset": [f"{at % 2}{'0' * (at % 3)}" for at in range(N_ROWS)],
        "pressure": [str(at / 8) for at in range(N_ROWS)],
        "flow": [number.format(at) for at in range(N_ROWS)],
    }
    names = header.split(",")
    rows = map(",".join, zip(*map(written.get, names), strict=True))
    text = "\n".join([header, *rows, ""]).encode()
    assert len(text) > 4 * csv_text.FEW
    table = read_table(io.BytesIO(text), STAMPED)
    for at, name in enumerate(["pressure", "flow"]):
        assert table.values[:, at].tolist() == [*map(float, written[name])]
    assert table.times is not None
    assert table.times.tolist() == [int(time.strip('"')) for time in times]
    for name in {*names} & {"time", "asset"}:
        assert [*table.carried[name]] == [cell.encode() for cell in written[name]]


@pytest.mark.parametrize("row", SPOILT.values(), ids=SPOILT)
def test_one_bad_row_among_many_with_times_is_named(row: str) -> None:
    """Whatever is wrong with it."""
    text = "\n".join([HEADERS[0], *MANY[:300], row, *MANY[301:], ""]).encode()
    assert len(text) > 4 * csv_text.FEW
    with pytest.raises(SeriesError, match=r"^Row 301\b"):
        read_table(io.BytesIO(text), STAMPED)


@pytest.mark.parametrize("row", ["{},1,1,1", "{},1"])
def test_many_rows_with_a_cell_more_or_less_are_refused(row: str) -> None:
    """Though all have as many as the first."""
    rows = [HEADERS[0], *(row.format(START + at) for at in range(N_ROWS)), ""]
    with pytest.raises(SeriesError, match=r"^Row 1\b"):
        read_table(io.BytesIO("\n".join(rows).encode()), STAMPED)


def test_a_row_with_a_cell_less_is_named_if_another_has_one_more() -> None:
    """Together they have as many as they should."""
    rows = [
        HEADERS[0],
        *MANY[:300],
        f"{START + 300},1",
        f"{START + 301},1,1,1",
        *MANY[302:],
        "",
    ]
    with pytest.raises(SeriesError, match=r"^Row 301\b"):
        read_table(io.BytesIO("\n".join(rows).encode()), STAMPED)


LABELLED = Schema(
    (Column("asset", Role.ID), Column("flow", Role.SERIES)), is_named=True
)
BAD_LABELS = {
    "no comma, where the row before ends with one": (",1\n3\n", 2),
    "no comma, where the next row has one": ("abcdef,1\nab\nabc,1\n", 2),
    "a cell more, where others have a comma": ("abc,1\n" * 99 + "a,2,3\n", 100),
    "quotes within quotes": ('"a",1\n"a"b",1\n', 2),
    "quotes that open and quotes that close": ('"ab,1\nab",1\n', 1),
    "a quote alone, and quotes within quotes": ('",1\n"a"b",1\n', 1),
}


@pytest.mark.parametrize(("rows", "bad"), BAD_LABELS.values(), ids=BAD_LABELS)
def test_a_bad_row_that_begins_with_an_id_is_named(rows: str, bad: int) -> None:
    """Even if what is wrong with one row looks right beside another."""
    text = f"asset,flow\n{rows}".encode()
    with pytest.raises(SeriesError, match=rf"^Row {bad}\b"):
        read_table(io.BytesIO(text), LABELLED)
