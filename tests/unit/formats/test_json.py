import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats import json as json_format
from sagemaker_container.formats.json import DocumentTooLargeError
from sagemaker_container.formats.json_table import read_table

FORM = 'use {"series": [[1.5, 2], ...]}, a list of numbers per row.'
NUMBER = "is not a number; use a finite decimal number."
MISSING = "the value is missing; each cell needs a finite number."
LARGE = "is too large; numbers must be at most 1e+100 in magnitude."
NO_DATA = "There is no data; send at least one row of numbers."
LENGTH = "but the rows before have 2; all rows need the same number."


def read(text: str | bytes) -> np.ndarray:
    """Return the series in a text without names."""
    stream = io.BytesIO(text.encode() if isinstance(text, str) else text)
    return read_table(stream, Schema.unnamed(1)).values


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"series": [[1, 2], [3, 4]]}', [[1, 2], [3, 4]]),
        ('{"series":[[1,2],[3,4]]}', [[1, 2], [3, 4]]),
        ('\n{ "series"\t:\r\n[ [ 1 ,\n2 ] , [3,4] ] } \n', [[1, 2], [3, 4]]),
        ('\ufeff{"series": [[7]]}', [[7]]),
        ('{"series": [[1], [2], [3]]}', [[1], [2], [3]]),
        ('{"series": [[-0.5, 2E3, 1e-3, 1e+2]]}', [[-0.5, 2000.0, 0.001, 100.0]]),
        ('{"series": [[1e100, -1e100]]}', [[1e100, -1e100]]),
        ('{"series": [[5e-324, 1e-400, 1e-99999999999]]}', [[5e-324, 0.0, 0.0]]),
        (
            '{"series": [[18446744073709551616, -9223372036854775809, 9007199254740993]'
            "]}",
            [[2.0**64, -(2.0**63), 2.0**53]],
        ),
        ('{"series": [[1' + "0" * 100 + "]]}", [[1e100]]),
        ('{"series": [[0.' + "1" * 5000 + "]]}", [[1 / 9]]),
    ],
)
def test_a_list_of_rows_is_read(text: str, expected: list[list[float]]) -> None:
    """Spaces wherever JSON has them; integers of any size are the nearest float."""
    assert read(text).tolist() == expected


REFUSED = [
    ("", NO_DATA),
    (" \n", NO_DATA),
    ('{"series": []}', NO_DATA),
    ("[[1, 2]]", f'The JSON is "[[1, 2]]"; {FORM}'),
    ("1,2\n", f'The JSON is "1,2"; {FORM}'),
    ("null", f'The JSON is "null"; {FORM}'),
    ('{"data": [[1]]}', f'The JSON is "{{"data": [[1]]}}"; {FORM}'),
    ('{"series": "1,2"}', f'The JSON is "{{"series": "1,2"}}"; {FORM}'),
    ('{"series": {"a": 1}}', f'The JSON is "{{"series": {{"a": 1}}}}"; {FORM}'),
    ('{"a": 1, "series": [[1]]}', 'The JSON is "{"a": 1, "series": [[1]]}"; '),
    ('{"series": [[1]], "a": 1}', 'The JSON is "{"series": [[1]], "a": 1}"; '),
    (
        '{"series": [[1]], "series": [[2]]}',
        f'The JSON holds "series" more than once; {FORM}',
    ),
    ("{'series': [[1]]}", "The JSON is malformed before row 1, at \"'series': "),
    ('{"series": [[1]]} x', f'The JSON is malformed after row 1, at "x"; {FORM}'),
    ('{"series": [[1]]}{}', 'The JSON is malformed after row 1, at "{}"; '),
    ('{"series": [[1] [2]]}', 'The JSON is malformed after row 1, at "[2]]}"; '),
    ('{"series": [[1, 2]}]', 'The JSON is malformed after row 1, at "}]"; '),
    ('{"series": [[1], [2],]}', 'The JSON is malformed after row 2, at "]}"; '),
    ('{"series": [', f"The JSON ends before row 1, before it is complete; {FORM}"),
    ('{"series": [[1, 2]]', "The JSON ends after row 1, before it is complete; "),
    ('{"series": [[1, 2], [3, ', "The JSON ends in row 2, before it is complete; "),
    ('{"series": [1, 2, 3]}', f'Row 1 is not a list of numbers, but "1"; {FORM}'),
    ('{"series": [[1] , 2, [3]]}', 'Row 2 is not a list of numbers, but "2"; '),
    ('{"series": [[1], null]}', 'Row 2 is not a list of numbers, but "null"; '),
    ('{"series": [[1], [2], {"a": 1}]}', 'Row 3 is not a list of numbers, but "{"a'),
    ('{"series": [[ ]]}', "Row 1 is empty; each row needs 1 number."),
    ('{"series": [[1, 2], []]}', "Row 2 is empty; each row needs 2 numbers."),
    ('{"series": [[1, 2], [3]]}', f"Row 2 has 1 cell, {LENGTH}"),
    ('{"series": [[1, 2], [3, 4], [5, 6, 7]]}', f"Row 3 has 3 cells, {LENGTH}"),
    ('{"series": [[1, 2], [3, 4,]]}', f"Row 2, column 3: {MISSING}"),
    ('{"series": [[1, 2], [, 4]]}', f"Row 2, column 1: {MISSING}"),
    (
        '{"series": [[1, 2], [3, null], [NaN]]}',
        'Row 2, column 2: "null" stands for a missing value; each cell needs a ',
    ),
    ('{"series": [[1], [NaN]]}', 'Row 2, column 1: "NaN" stands for a missing value'),
    ('{"series": [[-Infinity]]}', 'Row 1, column 1: "-Infinity" is infinite'),
    ('{"series": [[true]]}', 'Row 1, column 1: "true" is a word for true or false'),
    ('{"series": [[1], ["2"]]}', 'Row 2, column 1: ""2"" is in quotes'),
    ('{"series": [[1], [2, "a,]"]]}', f'Row 2, column 2: ""a,]"" {NUMBER}'),
    ('{"series": [[1], [{}]]}', f'Row 2, column 1: "{{}}" {NUMBER}'),
    ('{"series": [[1], [[2]]]}', f'Row 2, column 1: "[2" {NUMBER}'),
    ('{"series": [[1], [2 /* */]]}', f'Row 2, column 1: "2 /* */" {NUMBER}'),
    *(
        (f'{{"series": [[{cell}]]}}', f'Row 1, column 1: "{cell}" {NUMBER}')
        for cell in ("+1", ".5", "1.", "01", "1e", "tru")
    ),
    ('{"series": [[nul], [1]]}', 'Row 1, column 1: "nul" is not a number'),
    ('{"series": [[0x10]]}', 'Row 1, column 1: "0x10" is hexadecimal'),
    ('{"series": [[1 0]]}', 'Row 1, column 1: "1 0" holds spaces between numbers'),
    ('{"series": [[1], [1e400]]}', f'Row 2, column 1: "1e400" {LARGE}'),
    ('{"series": [[1, 2], [3, -1e101]]}', f'Row 2, column 2: "-1e101" {LARGE}'),
    ('{"series": [[1e99999999999]]}', f'Row 1, column 1: "1e99999999999" {LARGE}'),
    (
        '{"series": [[1], [1' + "0" * 5000 + "]]}",
        f'Row 2, column 1: "1{"0" * 39}" ... {LARGE}',
    ),
    (
        '{"series": [[' + "1," * 100_000 + "1]]}",
        "Row 1 has 100001 cells; use at most 100000, one per series.",
    ),
    ('{"series": ' + "[" * 10**6, f'Row 1, column 1: "{"[" * 40}" ... is not a '),
    ('{"a": ' + '{"a": ' * 10**6, 'The JSON is "{"a": {"a": '),
    ('{"series": [[1\x00]]}', 'Row 1, column 1: "1\N{REPLACEMENT CHARACTER}"'),
    (b'{"\xff": [[1]]}', 'The JSON is "{"\N{REPLACEMENT CHARACTER}": [[1]]}"; '),
    (b'{"series": [[1, \xff\xfe]]}', "Row 1, column 2: "),
    ('{"series": [[1]]}'.encode("utf-16"), "The JSON is encoded as UTF-16; use UTF-8."),
]


@pytest.mark.parametrize(("text", "expected"), REFUSED)
def test_anything_else_is_refused_with_its_place(
    text: str | bytes, expected: str
) -> None:
    """The row and the column, what was found, and what to use instead."""
    with pytest.raises(SeriesError) as refusal:
        read(text)

    assert str(refusal.value).startswith(expected)
    assert str(refusal.value).endswith(".")
    assert str(refusal.value).isprintable()


def test_a_document_beyond_the_limit_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its objects would fill the memory; CSV is read in pieces."""
    monkeypatch.setattr(json_format, "MAX_MB", 1)
    largest = b'{"series": [[1]]}'.ljust(2**20)
    stream = io.BytesIO(largest + b" " * 2**20)

    assert read(largest).tolist() == [[1]]
    with pytest.raises(
        DocumentTooLargeError,
        match=r"^The JSON is larger than 1 MB; send a series of that size as text/csv",
    ):
        read_table(stream, Schema.unnamed(1))
    assert stream.tell() == 2**20 + 1


@given(
    npst.arrays(
        np.float64,
        st.tuples(st.integers(1, 20), st.integers(1, 4)),
        elements=st.floats(-1e100, 1e100),
    ),
    st.sampled_from([None, 1, 3]),
)
def test_any_series_comes_back_bit_by_bit(
    series: np.ndarray, indent: int | None
) -> None:
    """However it is laid out."""
    found = read(json.dumps({"series": series.tolist()}, indent=indent))

    assert found.tobytes() == series.tobytes()
