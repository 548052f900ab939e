import io
import json
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from sagemaker_container.formats import json as json_format
from sagemaker_container.formats.json import read_series

FORM = 'accepted is {"series": [[1.5, 2], ...]}, a list of numbers per row.'
NUMBER = "is not a number; use a finite decimal number."
MISSING = "the value is missing; each cell needs a finite number."
LARGE = "is too large; numbers must be at most 1e+100 in magnitude."
NO_DATA = "There is no data; send at least one row of numbers."


def read(text: str | bytes, cores: Cores | None = None) -> np.ndarray:
    """Return the series in a text."""
    data = text.encode() if isinstance(text, str) else text
    return read_series(io.BytesIO(data), cores)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"series": [[1, 2], [3, 4]]}', [[1, 2], [3, 4]]),
        ('{"series":[[1,2],[3,4]]}', [[1, 2], [3, 4]]),
        ('\n{ "series"\t:\r\n[ [ 1 ,\n2 ] , [3,4] ] } \n', [[1, 2], [3, 4]]),
        ('{"series": [[7]]}', [[7]]),
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


REFUSED = {
    "empty": ("", NO_DATA),
    "no rows": ('{"series": []}', NO_DATA),
    "a list": ("[[1, 2]]", f'The JSON begins with "[[1, 2]]": {FORM}'),
    "CSV": ("1,2\n", f'The JSON begins with "1,2": {FORM}'),
    "another key": ('{"data": [[1]]}', 'The JSON begins with "{"data": [[1]]}": '),
    "no object": ("null", f'The JSON begins with "null": {FORM}'),
    "rows as an object": (
        '{"series": {"a": [1]}}',
        f'The JSON begins with "{{"series": {{"a": [1]}}}}": {FORM}',
    ),
    "rows as a string": ('{"series": "1,2"}', 'The JSON begins with "{"series": "1'),
    "single quotes": ("{'series': [[1]]}", "The JSON begins with \"{'series'"),
    "a key before": ('{"a": 1, "series": [[1]]}', 'The JSON begins with "{"a": 1, '),
    "a key after": (
        '{"series": [[1]], "a": 1}',
        f'Row 1 is followed by "], "a": 1}}": {FORM}',
    ),
    "the key twice": (
        '{"series": [[1]], "series": [[2]]}',
        'Row 1 is followed by "], "series": [[2',
    ),
    "no rows, and a key after": (
        '{"series": [], "a": 1}',
        'Row 1 is not a list of numbers, but "], "a": 1}": ',
    ),
    "something after": ('{"series": [[1]]} x', 'Row 1 is followed by "]} x": '),
    "two documents": (
        '{"series": [[1]]}{"series": [[1]]}',
        'Row 1 is followed by "]}{"series": [[1',
    ),
    "not closed": ('{"series": [[1, 2]]', f'Row 1 is followed by "]": {FORM}'),
    "closed otherwise": ('{"series": [[1, 2]}]', 'Row 1 is followed by "}]": '),
    "cut in a row": (
        '{"series": [[1, 2], [3, ',
        f'Row 2 is not a list of numbers, but "[3,": {FORM}',
    ),
    "cut after a comma": (
        '{"series": [[1, 2],',
        f'Row 2 is not a list of numbers, but "": {FORM}',
    ),
    "cut before the first row": ('{"series": [', NO_DATA),
    "a comma after the last row": (
        '{"series": [[1], [2],]}',
        f'Row 3 is not a list of numbers, but "": {FORM}',
    ),
    "no comma between rows": (
        '{"series": [[1] [2]]}',
        'Row 1 is followed by "[2],": ',
    ),
    "numbers without rows": (
        '{"series": [1, 2, 3]}',
        f'Row 1 is not a list of numbers, but "1, 2, 3": {FORM}',
    ),
    "a number among rows": (
        '{"series": [[1], 2, [3]]}',
        'Row 2 is not a list of numbers, but "2, [3]": ',
    ),
    "null among rows": (
        '{"series": [[1], null]}',
        'Row 2 is not a list of numbers, but "null": ',
    ),
    "an object among rows": (
        '{"series": [[1], {"a": 1}]}',
        'Row 2 is not a list of numbers, but "{"a": 1}": ',
    ),
    "a row in a row": (
        '{"series": [[1], [[2]]]}',
        'Row 2 is not a list of numbers, but "[[2]]": ',
    ),
    "an empty row": (
        '{"series": [[1, 2], []]}',
        "Row 2 is empty; each row needs 2 numbers.",
    ),
    "an empty first row": (
        '{"series": [[ ]]}',
        "Row 1 is empty; each row needs 1 number.",
    ),
    "ragged, shorter": (
        '{"series": [[1, 2], [3]]}',
        "Row 2 has 1 cell, but the rows before have 2; all rows need the same number.",
    ),
    "ragged, longer": (
        '{"series": [[1, 2], [3, 4], [5, 6, 7]]}',
        "Row 3 has 3 cells, but the rows before have 2; all rows need the same number.",
    ),
    "a comma at the end of a row": (
        '{"series": [[1, 2], [3, 4,]]}',
        "Row 2 has 3 cells, and the row ends with a comma, but the rows before have 2; "
        "all rows need the same number.",
    ),
    "a comma at the end of each row": (
        '{"series": [[1,], [2,]]}',
        f"Row 1, column 2: {MISSING}",
    ),
    "null": ('{"series": [[1, 2], [3, null]]}', f"Row 2, column 2: {MISSING}"),
    "nothing": ('{"series": [[1, 2], [, 4]]}', f"Row 2, column 1: {MISSING}"),
    "NaN": (
        '{"series": [[1], [NaN]]}',
        'Row 2, column 1: "NaN" stands for a missing value',
    ),
    "Infinity": (
        '{"series": [[1], [-Infinity]]}',
        'Row 2, column 1: "-Infinity" is infinite',
    ),
    "true": (
        '{"series": [[1], [true]]}',
        'Row 2, column 1: "true" is a word for true or false',
    ),
    "a string": ('{"series": [[1], ["2"]]}', 'Row 2, column 1: ""2"" is in quotes'),
    "an object": ('{"series": [[1], [{}]]}', f'Row 2, column 1: "{{}}" {NUMBER}'),
    "a comment": (
        '{"series": [[1], [2 /* */]]}',
        f'Row 2, column 1: "2 /* */" {NUMBER}',
    ),
    "a plus": ('{"series": [[+1]]}', f'Row 1, column 1: "+1" {NUMBER}'),
    "no digit before the point": (
        '{"series": [[.5]]}',
        f'Row 1, column 1: ".5" {NUMBER}',
    ),
    "no digit after the point": (
        '{"series": [[1.]]}',
        f'Row 1, column 1: "1." {NUMBER}',
    ),
    "a leading zero": ('{"series": [[01]]}', f'Row 1, column 1: "01" {NUMBER}'),
    "hex": ('{"series": [[0x10]]}', 'Row 1, column 1: "0x10" is hexadecimal'),
    "a space within": (
        '{"series": [[1 0]]}',
        'Row 1, column 1: "1 0" holds spaces between numbers',
    ),
    "half an exponent": ('{"series": [[1e]]}', f'Row 1, column 1: "1e" {NUMBER}'),
    "1e400": ('{"series": [[1], [1e400]]}', f'Row 2, column 1: "1e400" {LARGE}'),
    "1e101": ('{"series": [[1], [-1e101]]}', f'Row 2, column 1: "-1e101" {LARGE}'),
    "a huge exponent": (
        '{"series": [[1e99999999999999999999]]}',
        f'Row 1, column 1: "1e99999999999999999999" {LARGE}',
    ),
    "a huge integer": (
        '{"series": [[1], [1' + "0" * 5000 + "]]}",
        f'Row 2, column 1: "1{"0" * 39}" ... {LARGE}',
    ),
    "many columns": (
        '{"series": [[' + "1," * 100_000 + "1]]}",
        "Row 1 has 100001 cells; use at most 100000, one per series.",
    ),
    "depth": (
        '{"series": ' + "[" * 100_000 + "]" * 100_000 + "}",
        f'Row 1 is not a list of numbers, but "{"[" * 40}" ... : '.replace(" :", ":"),
    ),
    "a NUL": ('{"series": [[1\x00]]}', 'Row 1, column 1: "1\N{REPLACEMENT CHARACTER}"'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused_with_its_place(name: str) -> None:
    """The row and the column, what was found, and what is accepted."""
    text, expected = REFUSED[name]

    with pytest.raises(SeriesError) as refusal:
        read(text)

    assert str(refusal.value).startswith(expected)
    assert str(refusal.value).endswith(".")
    assert str(refusal.value).isprintable()


def test_text_that_is_no_utf_8_is_refused() -> None:
    """UTF-16 and stray bytes."""
    with pytest.raises(
        SeriesError, match=r"^The JSON is encoded as UTF-16; use UTF-8\.$"
    ):
        read('{"series": [[1]]}'.encode("utf-16"))
    with pytest.raises(SeriesError, match=r"^Row 1, column 2: "):
        read(b'{"series": [[1, \xff\xfe]]}')


@pytest.mark.parametrize("n_threads", [1, 3])
def test_blocks_parsed_side_by_side_keep_their_order(
    n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither blocks nor threads change the values, or the rows that errors name."""
    monkeypatch.setattr(json_format, "_BLOCK_SIZE", 16)
    rows = [[row, -row / 7] for row in range(100)]

    good = json.dumps({"series": rows}, indent=1)
    bad = json.dumps({"series": [*rows, [1, True], *rows]})

    assert read(good, Cores(n_threads)).tolist() == rows
    with pytest.raises(SeriesError, match=r"^Row 101, column 2: "):
        read(bad, Cores(n_threads))


def test_a_row_without_an_end_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would fill the memory."""
    monkeypatch.setattr(json_format, "_BLOCK_SIZE", 100)
    monkeypatch.setattr(json_format, "_MAX_ROW", 2**20)
    stream = io.BytesIO(b'{"series": [[' + b"1" * 2**22)

    with pytest.raises(SeriesError, match=r"^A row is longer than 1 MB: accepted is "):
        read_series(stream)

    assert stream.tell() < 2**20 + 1000


@given(
    npst.arrays(
        np.float64,
        st.tuples(st.integers(1, 20), st.integers(1, 4)),
        elements=st.floats(-1e100, 1e100),
    ),
    st.sampled_from([None, 1, 3]),
    st.integers(40, 200),
)
def test_any_series_comes_back_bit_by_bit(
    series: np.ndarray, indent: int | None, block_size: int
) -> None:
    """However it is laid out, and wherever the blocks are cut."""
    text = json.dumps({"series": series.tolist()}, indent=indent)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_format, "_BLOCK_SIZE", block_size)
        found = read(text)

    assert found.tobytes() == series.tobytes()


def oracle(text: bytes) -> list[list[float]] | None:
    """Return the rows of a document as Python's own reader sees them; None if bad."""
    try:
        document = json.loads(text.decode(), object_pairs_hook=list)
    except (ValueError, RecursionError):
        return None
    match document:
        case [("series", [_, *_] as rows)]:
            pass
        case _:
            return None
    for row in rows:
        if not isinstance(row, list) or not row or len(row) != len(rows[0]):
            return None
        if not all(type(cell) in (int, float) for cell in row):
            return None
        if not all(math.isfinite(cell) and abs(cell) <= 1e100 for cell in row):
            return None
    return rows


def mutations(text: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy of JSON with some bytes replaced, put in or left out."""
    odd = st.one_of(
        st.binary(max_size=2),
        st.sampled_from(list(b'[]{},:"0-+.eE \n')).map(lambda code: bytes([code])),
        st.sampled_from([b"null", b"NaN", b"1e999", b'"series"', b"[1,2],", b"]}"]),
    )
    change = st.tuples(st.integers(0, len(text)), st.integers(0, 3), odd)

    def mutate(changes: list[tuple[int, int, bytes]]) -> bytes:
        mutant = text
        for start, n_removed, put_in in changes:
            mutant = mutant[:start] + put_in + mutant[start + n_removed :]
        return mutant

    return st.lists(change, max_size=3).map(mutate)


@settings(max_examples=500)
@given(mutations(b'{"series": [[1.5, 2], [-3e2, 4]]}'), st.integers(20, 60))
@example(b'{"series": [[1,2],[3,4]]}', 20)
@example(b'{"series": [[1,2],[3,4]],"series": [[1,2],[3,4]]}', 60)
def test_a_bent_document_is_read_as_by_python_or_refused(
    text: bytes, block_size: int
) -> None:
    """What Python's own reader does not see as rows of numbers is refused."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_format, "_BLOCK_SIZE", block_size)
        try:
            found = read(text).tolist()
            sentence = "."
        except SeriesError as error:
            found = None
            sentence = str(error)

    assert found == oracle(text)
    assert sentence.endswith(".")
