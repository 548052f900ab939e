import dataclasses
import io
import re

import numpy as np
import pytest

from lstm_ad.data.schema import Clock, Column, Role, Schema, TimeForm
from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from sagemaker_container.formats import csv_text
from sagemaker_container.formats.csv_table import read_table
from sagemaker_container.formats.table import Cells, Table, plain

SCHEMA = Schema(
    (
        Column("time", Role.TIMESTAMP),
        Column("pressure", Role.SERIES),
        Column("asset", Role.ID),
        Column("flow", Role.SERIES),
    ),
    is_named=True,
    clock=Clock(TimeForm.ISO, 60 * 10**9),
)
MACHINES = dataclasses.replace(SCHEMA, group="asset")
COUNTED = dataclasses.replace(SCHEMA, clock=Clock(TimeForm.INTEGER, 10))
NUMBERED = Schema(
    (Column("timestamp", Role.TIMESTAMP), Column("1", Role.SERIES)), is_named=False
)
SERIES = Schema((Column("a", Role.SERIES), Column("b", Role.SERIES)), is_named=True)

HEADER = "time,pressure,asset,flow"
START = 1704067200  # 2024-01-01T00:00:00Z
NAN = float("nan")


def read(text: str | bytes, schema: Schema = SCHEMA, **settings: object) -> Table:
    """Return the table in a text."""
    data = text.encode() if isinstance(text, str) else text
    return read_table(io.BytesIO(data), schema, **settings)  # type: ignore[arg-type]


@pytest.fixture(params=[4 * 2**20, 5], ids=["whole", "in pieces"], autouse=True)
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in blocks of this many bytes."""
    monkeypatch.setattr(csv_text, "BLOCK_SIZE", request.param)


ROWS = "2024-01-01T00:00:00,1,a,2\n2024-01-01T00:01:00,3,b,4\n"
TEXTS = {
    "a header": (f"{HEADER}\n{ROWS}", "time,asset"),
    "no header": (ROWS, "time,asset"),
    "another order": (
        "asset,flow,time,pressure\na,2,2024-01-01T00:00:00,1\n"
        "b,4,2024-01-01T00:01:00,3\n",
        "asset,time",
    ),
    "carried ones at the ends": (
        "time,pressure,flow,asset\n2024-01-01T00:00:00,1,2,a\n"
        "2024-01-01T00:01:00,3,4,b\n",
        "time,asset",
    ),
    "CRLF, spaces and a byte-order mark": (
        "\ufeff" + f"time, pressure,asset , flow\n{ROWS}".replace("\n", "\r\n"),
        "time,asset",
    ),
    "series alone, with a header": ("flow,pressure\n2,1\n4,3\n", ""),
    "series alone": ("1,2\n3,4\n", ""),
}


@pytest.mark.parametrize(("text", "names"), TEXTS.values(), ids=TEXTS)
def test_series_are_found_by_name_or_by_place(text: str, names: str) -> None:
    """Whatever the order, and whether what is carried is sent or not."""
    table = read(text)
    np.testing.assert_array_equal(table.values, [[1, 2], [3, 4]])
    assert ",".join(table.carried) == names
    assert table.has_header == ("pressure" in text)
    if names:
        assert [*table.carried["asset"]] == [b"a", b"b"]
        assert table.times is not None
        assert table.times.tolist() == [START * 10**9, (START + 60) * 10**9]


def test_several_cores_read_the_same() -> None:
    """Bit for bit, with what is carried."""
    rows = "".join(f"{start},{start / 7},x{start},2\n" for start in range(0, 900, 10))
    one, several = read(rows, COUNTED), read(rows, COUNTED, cores=Cores(3))
    np.testing.assert_array_equal(one.values, several.values)
    assert [*one.carried["asset"]] == [*several.carried["asset"]]
    assert several.times is not None
    assert several.times.tolist() == [*range(0, 900, 10)]


CELLS = ['"a, ""b"""', '""', "", " x ", '"="', "ä;\tö", "1e5", '"é"', "=1+1"]


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_carried_stays_byte_for_byte(cell: str) -> None:
    """Quotes and spaces included; numbers beside it are read."""
    table = read(f"asset,pressure,flow,batch\n{cell},1,2,{cell}\n", keep=["batch"])
    assert [*table.carried["asset"]] == [*table.carried["batch"]] == [cell.encode()]
    assert table.values.tolist() == [[1, 2]]


def test_cells_are_a_sequence() -> None:
    """Like a list of bytes, joined and sliced."""
    cells = [b"a", b"", b"bc", b"d"]
    joined = Cells.joined([Cells.of(cells[:1]), Cells.of([]), Cells.of(cells[1:])])
    assert len(joined) == 4
    assert [*joined] == cells == [joined[at] for at in range(4)]
    assert joined[-1] == b"d"
    assert [*joined[1:3]] == cells[1:3] == [*joined[1:][:2]]
    assert [*joined[3:1]] == []
    assert [*joined[::-2]] == cells[::-2]
    with pytest.raises(IndexError):
        joined[4]
    assert [plain(cell) for cell in (b'"a, ""b"""', b" x ")] == ['a, "b"', "x"]


def test_a_comma_in_quotes_is_no_column() -> None:
    """In the first row, too, without a header."""
    table = read('2024-01-01,1,"a, b",2\n')
    assert table.values.tolist() == [[1, 2]]
    assert [*table.carried["asset"]] == [b'"a, b"']


MISSING = {
    "empty": (f"{HEADER}\n,,,\n".replace("\n,", "\n2024-01-01,", 1), [[NAN, NAN]]),
    "nan": (f"{HEADER}\n2024-01-01, nan,x,NaN\n", [[NAN, NAN]]),
    "without a header": ("nan,2\n ,3\n4,\n", [[NAN, 2], [NAN, 3], [4, NAN]]),
}


@pytest.mark.parametrize(("text", "expected"), MISSING.values(), ids=MISSING)
def test_missing_cells_are_nan_where_they_are_allowed(
    text: str, expected: list[list[float]]
) -> None:
    """Empty cells and nan alone; otherwise they are refused."""
    table = read(text, allows_missing=True)
    np.testing.assert_array_equal(table.values, expected)
    with pytest.raises(SeriesError, match="needs a finite number"):
        read(text)


def test_many_cells_may_be_missing() -> None:
    """So many that pandas reads the others."""
    table = read("nan,2\n ,3\n4,\n" * 2000, SERIES, allows_missing=True)
    expected = [[NAN, 2], [NAN, 3], [4, NAN]] * 2000
    np.testing.assert_array_equal(table.values, expected)


def test_an_empty_line_is_a_missing_value_of_a_single_series() -> None:
    """Where they are allowed."""
    table = read("1\n\n3\n\n", Schema.unnamed(1), allows_missing=True)
    np.testing.assert_array_equal(table.values, [[1], [NAN], [3], [NAN]])
    with pytest.raises(SeriesError, match="Row 2 is empty; each row"):
        read("1\n\n3\n", Schema.unnamed(1))
    with pytest.raises(SeriesError, match="Row 2 is empty; each row"):
        read("1\n\t\n3\n", Schema.unnamed(1), allows_missing=True)


def test_absent_rows_are_allowed_as_missing_cells_are() -> None:
    """No row is inserted: the times tell."""
    text = "0,1,a,2\n10,1,a,2\n41,1,a,2\n"
    table = read(text, COUNTED, allows_missing=True)
    assert table.times is not None
    assert table.times.tolist() == [0, 10, 41]
    assert len(table.values) == 3
    with pytest.raises(SeriesError, match="so 2 rows at steps of 10 must be missing"):
        read(text, COUNTED)


def test_times_of_each_machine_rise_by_themselves() -> None:
    """Rows of several may come in turn."""
    text = '0,1,a,2\n0,1,b,2\n10,1,"b",2\n10,1,a,2\n'
    assert read(text, dataclasses.replace(COUNTED, group="asset")).times is not None
    with pytest.raises(SeriesError, match='Row 2: the time "0" is not after "0"'):
        read(text, COUNTED)


ISO = {
    "2024-05-01": 1714521600,
    "2024-05-01 13:45": 1714571100,
    "2024-05-01T13:45:00": 1714571100,
    '"2024-05-01T13:45:00.5"': 1714571100.5,
    "2024-05-01T13:45:00Z": 1714571100,
    " 2024-05-01T13:45:00+02:00 ": 1714563900,
    "2024-05-01T13:45:00.000-0030": 1714572900,
    "1700-01-01": -8520336000,
}


@pytest.mark.parametrize(("text", "seconds"), ISO.items())
def test_times_are_iso_8601(text: str, seconds: float) -> None:
    """With T or a space, a fraction, Z or an offset; carried as sent."""
    table = read(f"time,flow,pressure\n{text},1,2\n")
    assert table.times is not None
    assert table.times.tolist() == [seconds * 10**9]
    assert [*table.carried["time"]] == [text.encode()]


def test_steps_are_exact_over_centuries() -> None:
    """Where a number of type float64 no longer tells steps apart."""
    clock = Clock(TimeForm.INTEGER, 7)
    schema = dataclasses.replace(SCHEMA, clock=clock)
    far = 7 * 10**16
    text = "0,1,a,2\n7,1,a,2\n{},1,a,2\n"
    table = read(text.format(far), schema, allows_missing=True)
    assert table.times is not None
    with pytest.raises(SeriesError, match="is no whole number of steps after"):
        read(text.format(far + 2), schema, allows_missing=True)


def test_times_keep_their_nanoseconds() -> None:
    """Even where some have no fraction."""
    schema = dataclasses.replace(SCHEMA, clock=None)
    second = "2024-01-01T00:00:00.123456789"
    table = read(f"2024-01-01T00:00:00,1,a,2\n{second},1,a,2\n", schema)
    assert table.times is not None
    assert np.diff(table.times).tolist() == [123456789]


UNKNOWN = "is unknown to the model; leave it out, or name it in keep to carry it"
VALUE = "which is a value and no name; the header needs a name per column."
QUOTES = "has quotes that do not match; a cell in quotes is written whole within"
NO_TIME = "is no time between 1678 and 2261; use ISO 8601"
MIXED = "is written unlike the times before it; use one form, with or without a zone"

REFUSED = {
    # the header
    f"{HEADER}\n": "There is no row after the header; send at least one row",
    "": "There is no data; send at least one row of numbers.",
    "time,pressure,asset\n": 'The header lacks the series "flow"; send all 2 series',
    "time,Pressure,asset\n": 'The header lacks the series "pressure" and "flow"; send',
    f"{HEADER},x\n": f'Column 5 of the header, "x", {UNKNOWN}',
    f"{HEADER},\n": "Column 5 of the header has no name; name it, or leave it out",
    f",{HEADER}\n": "Column 1 of the header has no name; name it, or leave it out",
    f"{HEADER},flow \n": 'Columns 4 and 5 of the header are both called "flow"; each',
    f"{HEADER},nan\n": f'Column 5 of the header is called "nan", {VALUE}',
    f"{HEADER},2024-01-01\n": f'of the header is called "2024-01-01", {VALUE}',
    f"{HEADER},\u0663\n": f'Column 5 of the header is called "\u0663", {VALUE}',
    f"{HEADER},{'x' * 257}\n": "Column 5 of the header has a name of 257 characters",
    f"{HEADER},a\x07\n": "Column 5 of the header has a name with a control character",
    f"{HEADER},a\u2028b\n": "Column 5 of the header has a name with a control char",
    f'{HEADER},"a\nb"\n': 'The header, "time,pressure,asset,flow,"a", has quotes',
    f"{HEADER}\r\r\n": "The header holds a carriage return within the line; end lines",
    f'{HEADER},"a"b\n': "has quotes that do not match; a name in quotes is written",
    ",0,1\n1,2,3\n": 'Row 1 is a header, ",0,1"; leave it out, the first row must be',
    # rows without a header
    "1,2,3\n": "Row 1 has 3 cells, but the model was trained on 2 series; send 2 "
    "columns, or 4 with those that are carried.",
    # cells
    f"{HEADER}\n2024-01-01,x,a,1\n": 'Row 1 after the header, column 2 ("pressure"): '
    '"x" is not a number; use a finite decimal number.',
    f"{HEADER}\n2024-01-01,,a,1\n": 'column 2 ("pressure"): the value is missing;',
    f'{HEADER}\n2024-01-01,"1",a,1\n': "is in quotes; write numbers without quotes.",
    f"{HEADER}\n2024-01-01,1,a\n": "Row 1 after the header has 3 cells, but the rows",
    f"{HEADER}\n\n": "Row 1 after the header is empty; each row needs 4 numbers.",
    f"{HEADER}\n2024-01-01,1,a;b,2;2\n": "Row 1 after the header holds semicolons;",
    f"{HEADER}\n2024-01-01,1,a\x00,2\n": "Row 1 after the header holds a NUL byte; use",
    f"{HEADER}\n2024-01-01,1,a\rb,2\n": "Row 1 after the header holds a carr",
    f'{HEADER}\n2024-01-01,1,a"b,2\n': f"Row 1 after the header {QUOTES}",
    f'{HEADER}\n2024-01-01,1, "b",2\n': f"Row 1 after the header {QUOTES}",
    f'{HEADER}\n2024-01-01,1,"b\nc",2\n': f"Row 1 after the header {QUOTES}",
    # times
    f"{HEADER}\n,1,a,2\n": 'column 1 ("time"): the time is missing; use ISO 8601',
    f"{HEADER}\nNaT,1,a,2\n": f'column 1 ("time"): "NaT" {NO_TIME}',
    f"{HEADER}\nnow,1,a,2\n": f'"now" {NO_TIME}',
    f"{HEADER}\n01.05.2024,1,a,2\n": f'"01.05.2024" {NO_TIME}',
    f"{HEADER}\n2024-02-30,1,a,2\n": f'"2024-02-30" {NO_TIME}',
    f"{HEADER}\n2024-01-01T24:00,1,a,2\n": f'"2024-01-01T24:00" {NO_TIME}',
    f"{HEADER}\n0001-01-01,1,a,2\n": f'"0001-01-01" {NO_TIME}',
    f"{HEADER}\n1704067200.5,1,a,2\n": f'"1704067200.5" {NO_TIME}',
    f"{HEADER}\n{9 * 10**18},1,a,2\n": f'"{9 * 10**18}" {NO_TIME}',
    f"{HEADER}\n2024-01-01,1,a,2\n5,1,a,2\n": f"Row 2 after the header, column 1 "
    f'("time"): "5" {MIXED}',
    f"{HEADER}\n2024-01-01T00:00,1,a,2\n2024-01-01T00:01Z,1,a,2\n": f'Z" {MIXED}',
    "5,1,a,2\n": "The times are integers, but the model was trained on ISO "
    "8601 times; send times in the form of training.",
    f"{HEADER}\n2024-10-27T02:59,1,a,2\n2024-10-27T02:00,1,a,2\n": "Row 2 after the "
    'header: the time "2024-10-27T02:00" is not after "2024-10-27T02:59" of row 1; '
    "send rows in the order of time, and use UTC where local time goes back",
    f"{HEADER}\n{ROWS}2024-01-01T00:01:00,1,a,2\n": "Row 3 after the header: the time "
    '"2024-01-01T00:01:00" is not after "2024-01-01T00:01:00" of row 2; send rows',
    f"{HEADER}\n{ROWS}2024-01-01T00:02:10,1,a,2\n": "is no whole number of steps after "
    '"2024-01-01T00:01:00" of row 2, 70 s later; the step is 60 s',
    f"{HEADER}\n{ROWS}2024-01-01T00:03:00,1,a,2\n": "comes more than a step after "
    '"2024-01-01T00:01:00" of row 2, so 1 row at steps of 60 s must be missing',
    f"{HEADER}\n2024-01-01,1,a,2\n2024-01-02,1,a,2\n2024-01-03,1,a,2\n": "comes, like "
    'all others, more than a step after "2024-01-01" of row 1, 86400 s later; the',
}


@pytest.mark.parametrize(("text", "message"), REFUSED.items(), ids=map(repr, REFUSED))
def test_what_is_wrong_is_said_in_one_sentence(text: str, message: str) -> None:
    """With the row, the column, what was found and what is accepted."""
    with pytest.raises(SeriesError, match=re.escape(message)) as caught:
        read(text)
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(".")


OTHERS = {
    "a header without names in training": (
        "a,b\n1,2\n",
        Schema.unnamed(2),
        [],
        'Row 1 is a header, "a,b"; leave it out',
    ),
    "a header without names, but times": (
        "time,a\n2024-01-01,2\n",
        NUMBERED,
        [],
        'Row 1 is a header, "time,a"; leave it out',
    ),
    "keep without a header": (
        "1,2,3\n",
        SERIES,
        ["x"],
        'keep names "x", but there is no header',
    ),
    "keep of a series": (
        "a,b\n1,2\n",
        SERIES,
        ["a"],
        'keep names "a", which the model scores',
    ),
    "keep of nothing": (
        "a,b\n1,2\n",
        SERIES,
        ["x"],
        'The header lacks "x", which keep names',
    ),
    "one column too many": (
        "1,2,3\n",
        SERIES,
        [],
        "was trained on 2 series; send 2 columns.",
    ),
    "no UTF-8": (
        b"a,b,x\n1,2,\xff\n",
        SERIES,
        ["x"],
        "Row 1 after the header is not encoded as UTF-8",
    ),
    "a name that is no UTF-8": (
        b"a,b,\xff\n1,2,3\n",
        SERIES,
        [],
        "The header is not encoded as UTF-8",
    ),
    "column numbers": (
        "0,1\n" + "0.5,7.5\n-0.5,6.25\n" * 4,
        SERIES,
        [],
        "Row 1 is a header of column numbers",
    ),
}


@pytest.mark.parametrize(
    ("text", "schema", "keep", "message"), OTHERS.values(), ids=OTHERS
)
def test_what_does_not_fit_the_model_is_refused(
    text: str | bytes,
    schema: Schema,
    keep: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By what the model was trained on, and by what keep says."""
    monkeypatch.setattr(csv_text, "BLOCK_SIZE", 4 * 2**20)
    with pytest.raises(SeriesError, match=re.escape(message)):
        read(text, schema, keep=keep)
