import dataclasses
import io
import json
import re
from collections.abc import Sequence

import numpy as np
import pytest

from lstm_ad.data.schema import Clock, Column, Role, Schema, TimeForm
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats.json_table import read_table
from sagemaker_container.formats.table import Table, plain

SCHEMA = Schema(
    (
        Column("time", Role.TIMESTAMP),
        Column("p", Role.SERIES),
        Column("asset", Role.ID),
        Column("f", Role.SERIES),
    ),
    is_named=True,
    clock=Clock(TimeForm.ISO, 60 * 10**9),
)
ROWS = [[1, 2], [3, 4]]
TIMES = ["2024-01-01T00:00:00Z", "2024-01-01T00:01:00Z"]
IDS = {"asset": ['a, "b"', 7]}


def read(
    document: object,
    schema: Schema = SCHEMA,
    keep: Sequence[str] = (),
    allows_missing: bool = False,
) -> Table:
    """Return the table in a document, or in its text."""
    text = document if isinstance(document, str) else json.dumps(document)
    return read_table(io.BytesIO(text.encode()), schema, keep, allows_missing)


def test_names_times_and_ids_are_read() -> None:
    """In any order; what is carried is a cell of CSV."""
    table = read(
        {
            "timestamps": TIMES,
            "ids": {**IDS, "batch": [' "x" ', "\\\u00e4"]},
            "columns": ["f", "p"],
            "series": [[2, 1], [4, 3]],
        },
        keep=["batch"],
    )
    assert table.values.tolist() == ROWS
    assert table.values.flags.c_contiguous
    assert table.has_header
    assert {name: [*cells] for name, cells in table.carried.items()} == {
        "time": [text.encode() for text in TIMES],
        "asset": [b'"a, ""b"""', b"7"],
        "batch": [b'" ""x"" "', "\\\u00e4".encode()],
    }
    assert [plain(cell) for cell in table.carried["batch"]] == [' "x" ', "\\\u00e4"]
    assert table.times is not None
    assert table.times.tolist() == [1704067200 * 10**9, 1704067260 * 10**9]


def test_all_but_the_series_is_optional() -> None:
    """As it is in CSV."""
    table = read({"series": ROWS})
    assert table.values.tolist() == ROWS
    assert (table.has_header, dict(table.carried), table.times) == (False, {}, None)
    schema = dataclasses.replace(SCHEMA, clock=Clock(TimeForm.INTEGER, 5))
    table = read({"series": ROWS, "timestamps": [0, 5]}, schema)
    assert table.times is not None
    assert table.times.tolist() == [0, 5]


def test_null_is_missing_where_that_is_allowed() -> None:
    """Else it is refused."""
    text = {"series": [[1, None], [None, 4]], "timestamps": [TIMES[0], TIMES[1]]}
    table = read(text, allows_missing=True)
    np.testing.assert_array_equal(table.values, [[1, np.nan], [np.nan, 4]])
    with pytest.raises(SeriesError, match='Row 1, column 2: "null" stands for a miss'):
        read(text)
    late = [TIMES[0], TIMES[1], "2024-01-01T00:05:00Z"]
    rows = {"series": [[1, 2]] * 3, "timestamps": late}
    assert read(rows, allows_missing=True).times is not None


MACHINES = dataclasses.replace(SCHEMA, group="asset")


def test_times_of_each_machine_rise_by_themselves() -> None:
    """Rows of several may come in turn."""
    text = {"series": ROWS, "timestamps": [TIMES[0]] * 2, "ids": {"asset": ["a", "b"]}}
    assert read(text, MACHINES).times is not None
    with pytest.raises(SeriesError, match='Row 2: the time "2024-01-01T00:00:00Z" is'):
        read(text)


TWICE = "The JSON holds a name more than once; use"
LEAVE = "unknown to the model; leave it out, or name it in keep to carry it through."
WRONG = 'of the JSON is wrong; beside "series", use {"columns": ["a", ...]'
REFUSED = [
    ({"series": ROWS, "columns": ["p"]}, '"columns" of the JSON has 1 name, but its'),
    ({"series": ROWS, "columns": []}, '"columns" of the JSON has 0 names, but its'),
    ({"series": ROWS, "columns": ["p", "p"]}, 'JSON has "p" more than once; use each'),
    ({"series": ROWS, "columns": ["p", "x"]}, 'has "x", which is no series of the mod'),
    ({"series": [[1]], "columns": ["p"]}, 'The header lacks the series "f"; send all'),
    ({"series": ROWS, "timestamps": [1]}, "has 1 item, but there are 2 rows; one per"),
    ({"series": ROWS, "timestamps": [1, 2]}, "The times are integers, but the model"),
    ({"series": ROWS, "timestamps": [1, "x"]}, 'Row 2, "timestamps": "x" is no'),
    (
        {"series": ROWS, "timestamps": [1, TIMES[0]]},
        'Row 2, "timestamps": "2024-01-01T00:00:00Z" is written unlike the times befo',
    ),
    ({"series": ROWS, "timestamps": TIMES[::-1]}, 'Row 2: the time "2024-01-01T00'),
    ({"series": ROWS, "timestamps": [1.5, 2]}, f'"timestamps", item 1, {WRONG}'),
    ({"series": ROWS, "timestamps": [True, 2]}, f'"timestamps", item 1, {WRONG}'),
    ({"series": ROWS, "timestamps": "x"}, f'"timestamps" {WRONG}'),
    ({"series": ROWS, "columns": [1, 2]}, f'"columns", item 1, {WRONG}'),
    ({"series": ROWS, "ids": {"asset": [None, 1]}}, f'"ids", item 1, {WRONG}'),
    ({"series": ROWS, "ids": {"x": [1, 1]}}, f'"ids", "x", of the JSON is {LEAVE}'),
    ({"series": ROWS, "ids": {"p": [1, 1]}}, f'"ids", "p", of the JSON is {LEAVE}'),
    (
        {"series": ROWS, "ids": {"asset": ["a\nb", 1]}},
        '"ids", "asset", of the JSON has a line',
    ),
    ({"ids": {"asset": [1, 2]}, "series": [[1, 2], [3]]}, "Row 2 has 1 cell, but the"),
    ({"ids": {"asset": [1, 2]}, "series": [[1, 2], [3, "]"]]}, 'column 2: ""]"" i'),
    ('{"ids": {}, "ids": {"asset": [1]}, "series": [[1, 2]]}', TWICE),
    ('{"ids": {"asset": [1], "asset": ["\\"", 2]}, "series": [[1, 2], [3, 4]]}', TWICE),
    ('{"columns": ["p", "f"], "series": [[1], [3, 4 5]]}', 'Row 2, column 2: "4 5" h'),
    (
        '{"series": [[1, 2]], "timestamps": [1 2]}',
        'malformed in "timestamps", at "2]}"; ',
    ),
    ('{"series": [[1, 2]], "timestamps": [1', 'malformed in "timestamps", before it '),
    ('{"columns": ["\\ud800", "f"], "series": [[1, 2]]}', "The JSON is malformed in "),
]


@pytest.mark.parametrize(("document", "message"), REFUSED, ids=str)
def test_anything_else_is_refused(document: object, message: str) -> None:
    """In one sentence with the place."""
    with pytest.raises(SeriesError, match=re.escape(message)) as caught:
        read(document)
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(".")


def test_what_does_not_fit_the_model_is_refused() -> None:
    """Names where the model has none, times where it knows no column, and keep."""
    with pytest.raises(SeriesError, match="trained on series without names"):
        read({"series": ROWS, "columns": ["p", "f"]}, Schema.unnamed(2))
    with pytest.raises(SeriesError, match='"timestamps" of the JSON is unknown'):
        read({"series": ROWS, "timestamps": TIMES}, Schema.unnamed(2))
    with pytest.raises(SeriesError, match='keep names "batch", but the ids'):
        read({"series": ROWS}, keep=["batch"])
