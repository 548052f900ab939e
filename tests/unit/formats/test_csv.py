import gzip
import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SeriesError
from lstm_ad.parallel import Cores
from sagemaker_container.formats import csv_text
from sagemaker_container.formats.csv_file import read_blocks
from sagemaker_container.formats.csv_table import read_table

ACCEPTED = {
    "LF": (b"1,2\n3,4\n", [[1, 2], [3, 4]]),
    "CRLF": (b"1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
    "LF and CRLF": (b"1,2\r\n3,4\n5,6\r\n", [[1, 2], [3, 4], [5, 6]]),
    "no last line end": (b"1,2\n3,4", [[1, 2], [3, 4]]),
    "no last line end, CRLF": (b"1,2\r\n3,4", [[1, 2], [3, 4]]),
    "a last line end, cut": (b"1,2\r\n3,4\r", [[1, 2], [3, 4]]),
    "byte-order mark": (b"\xef\xbb\xbf1,2\n", [[1, 2]]),
    "spaces around cells": (b" 1 ,  2\n3 , 4 \n", [[1, 2], [3, 4]]),
    "one row": (b"1,2,3\n", [[1, 2, 3]]),
    "one column": (b"1\n2\n3\n", [[1], [2], [3]]),
    "one cell": (b"7", [[7]]),
    "spellings": (b"1.,.5,+2,-0,2E3,1e-3\n", [[1.0, 0.5, 2.0, -0.0, 2000.0, 0.001]]),
    "leading zeros": (b"007,000.5\n", [[7.0, 0.5]]),
    "1e30 beside 1e-30": (b"1e30,1e-30\n", [[1e30, 1e-30]]),
    "the largest": (b"1e100,-1e100\n", [[1e100, -1e100]]),
    "the smallest": (b"5e-324\n", [[5e-324]]),
    "an underflow": (b"1e-400\n", [[0.0]]),
    "constant and duplicated": (b"5,1,1\n5,2,2\n", [[5, 1, 1], [5, 2, 2]]),
}

NO_DATA = "There is no data; send at least one row of numbers."
FIRST = "leave it out, the first row must be the first time step."
DELIMITER = "use numbers with a decimal point, separated by commas."
NUMBER = "is not a number; use a finite decimal number."
MISSING = "each cell needs a finite number."
WORD = f"stands for a missing value; {MISSING}"
UNEQUAL = "all rows need the same number."
LARGE = "is too large; numbers must be at most 1e+100 in magnitude."
ASCII = "use ASCII digits, signs and spaces."
RETURN = "Row 1 holds a carriage return within the line; end lines with LF or CRLF."
UTF_16 = "The text is encoded as UTF-16; use UTF-8."

CELLS = {
    "off-line": NUMBER,
    "2..5": NUMBER,
    "1.2.3": NUMBER,
    "--1": NUMBER,
    "1e": NUMBER,
    "1d5": NUMBER,
    "5 V": NUMBER,
    **dict.fromkeys(("NaN", "NA", "null", "#N/A", "-", "No Data", "Pt Created"), WORD),
    "-inf": f"is infinite; {MISSING}",
    **dict.fromkeys(("True", "off"), "is a word for true or false; use 1 and 0."),
    **dict.fromkeys(
        ('"4"', "'4'", '"nan"', '"1'), "is in quotes; write numbers without quotes."
    ),
    "1 0": "holds spaces between numbers; use commas.",
    "1.5|2": "holds pipes between numbers; use commas.",
    **dict.fromkeys(("1'234.5", "1_000"), "groups its digits; leave them joined."),
    "5 %": "is a percentage; leave out the sign.",
    "€5": "is an amount of money; leave out the currency.",
    **dict.fromkeys(
        ("2020-01-01", "2020-01-01T10:00:00Z", "1/2/2020 10:00", "10:30"),
        "is a date or time; leave out that column, or train with timestamp-column.",
    ),
    "0x1F": "is hexadecimal; use a decimal number.",
    "1/2": "is a fraction; use a decimal number.",
    "\u0663": f"holds the character U+0663 (ARABIC-INDIC DIGIT THREE); {ASCII}",
    "\uff11": f"holds the character U+FF11 (FULLWIDTH DIGIT ONE); {ASCII}",
    "\u22125": f"holds the character U+2212 (MINUS SIGN); {ASCII}",
    "1e400": LARGE,
    "-1e101": LARGE,
}
"""What a cell may be instead of a number, and what is said of it."""

REFUSED = {
    **{
        f"cell {cell}": (
            f"1,2\n{cell},4\n".encode(),
            f'Row 2, column 1: "{cell}" {end}',
        )
        for cell, end in CELLS.items()
    },
    **{
        f"first row {cell}": (
            f"{cell},{cell}\n1,2\n".encode(),
            f'Row 1, column 1: "{cell}" {end}',
        )
        for cell, end in CELLS.items()
        if end != NUMBER
    },
    **{
        f"unseen {name}": (
            f"1,2\n5{character},4\n".encode(),
            f'Row 2, column 1: "5{mark}" holds the character {name}; {ASCII}',
        )
        for character, mark, name in (
            ("\u00a0", "", "U+00A0 (NO-BREAK SPACE)"),
            ("\u200b", "\ufffd", "U+200B (ZERO WIDTH SPACE)"),
            ("\u00ad", "\ufffd", "U+00AD (SOFT HYPHEN)"),
            ("\ufeff", "\ufffd", "U+FEFF (ZERO WIDTH NO-BREAK SPACE)"),
        )
    },
    "empty": (b"", NO_DATA),
    "only a mark": (b"\xef\xbb\xbf", NO_DATA),
    "header": (b"a,b\n1,2\n", f'Row 1 is a header, "a,b"; {FIRST}'),
    "quoted header": (b'"a"\n1\n', f'Row 1 is a header, ""a""; {FIRST}'),
    "header with a word": (b"time,on\n1,2\n", f'Row 1 is a header, "time,on"; {FIRST}'),
    "header over an index": (b",0,1\n0,5,6\n", f'Row 1 is a header, ",0,1"; {FIRST}'),
    "index column": (b"a,1\nb,2\n", f'Row 1, column 1: "a" {NUMBER}'),
    "a long cell": (
        b"1\n" + b"x" * 1000 + b"\n",
        f'Row 2, column 1: "{"x" * 40}" ... {NUMBER}',
    ),
    "missing cell": (b"1,2\n,4\n", f"Row 2, column 1: the value is missing; {MISSING}"),
    "blank cell": (b"1,2\n3,  \n", f"Row 2, column 2: the value is missing; {MISSING}"),
    "first row of commas": (
        b",\n1,2\n",
        f"Row 1, column 1: the value is missing; {MISSING}",
    ),
    "trailing comma in each row": (
        b"1,2,\n3,4,\n",
        f"Row 1, column 3: the value is missing; {MISSING}",
    ),
    "trailing comma": (
        b"1,2\n3,4,\n",
        "Row 2 has 3 cells, and the row ends with a comma, but the rows before have 2; "
        f"{UNEQUAL}",
    ),
    "ragged, longer": (
        b"1,2\n3,4\n5,6,7\n",
        f"Row 3 has 3 cells, but the rows before have 2; {UNEQUAL}",
    ),
    "ragged, shorter": (
        b"1,2\n3\n",
        f"Row 2 has 1 cell, but the rows before have 2; {UNEQUAL}",
    ),
    "ends in mid-row": (
        b"1,2,3\n4,5",
        f"Row 2 has 2 cells, but the rows before have 3; {UNEQUAL}",
    ),
    "blank line": (b"1,2\n\n3,4\n", "Row 2 is empty; each row needs 2 numbers."),
    "blank, one column": (b"1\n\n3\n", "Row 2 is empty; each row needs 1 number."),
    "blank last line": (b"1,2\n\n", "Row 2 is empty; each row needs 2 numbers."),
    "decimal comma": (b"1,5;2,5\n", f"Row 1 holds semicolons; {DELIMITER}"),
    "tabs": (b"1\t2\n", f"Row 1 holds tabs; {DELIMITER}"),
    "NUL": (b"1,2\n3,\x00\n", "Row 2 holds a NUL byte; use plain text in UTF-8."),
    "old-Mac line ends": (b"1,2\r3,4\r", RETURN),
    "UTF-16, little endian": (b"\xff\xfe" + "1,2\n".encode("utf-16-le"), UTF_16),
    "UTF-16, big endian": (b"\xfe\xff" + "1,2\n".encode("utf-16-be"), UTF_16),
}
"""What the catalogue of bad input holds, each with its whole message."""

TABLES = npst.arrays(
    np.float64,
    st.tuples(st.integers(1, 30), st.integers(1, 5)),
    elements=st.floats(-1e100, 1e100),
)


def parsed(text: bytes, cores: Cores | None = None) -> np.ndarray:
    """Return the series in a text without a header."""
    return read_table(io.BytesIO(text), Schema.unnamed(1), cores=cores).values


def spelled(table: np.ndarray) -> bytes:
    """Return the CSV in which Python itself would write a table."""
    return "".join(",".join(map(repr, r)) + "\n" for r in table.tolist()).encode()


WHOLE = csv_text.BLOCK_SIZE


@pytest.mark.parametrize("block_size", [WHOLE, 4, 7, 61])
@pytest.mark.parametrize(("text", "expected"), ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_documented_as_accepted_is_read(
    text: bytes,
    expected: list[list[float]],
    block_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No row is lost, no cell changed, wherever a block ends: in a cell or line end."""
    monkeypatch.setattr(csv_text, "BLOCK_SIZE", block_size)

    series = parsed(text)

    assert series.dtype == np.float64
    assert series.tolist() == expected


@pytest.mark.parametrize("block_size", [WHOLE, 4, 61])
@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_bad_input_is_refused_with_the_place_the_find_and_what_to_use(
    text: bytes, message: str, block_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole sentence; rows are counted across blocks."""
    monkeypatch.setattr(csv_text, "BLOCK_SIZE", block_size)

    with pytest.raises(SeriesError, match=f"^{re.escape(message)}$"):
        parsed(text)


def test_a_block_is_parsed_before_the_next_is_read() -> None:
    """A second one would be waited for while nothing is computed."""
    stream = io.BytesIO(b"20.1,5.0\n" * (csv_text.BLOCK_SIZE // 3))

    first = next(csv_text.lines(stream))

    assert stream.tell() == csv_text.BLOCK_SIZE
    assert csv_text.BLOCK_SIZE - 9 < len(first) <= csv_text.BLOCK_SIZE


FLOATS = b"20.1,5.0\n20.3,5.1\n" * 4
INTEGERS = b"23,7\n24,8\n" * 4


def spelled_briefly(*columns: np.ndarray) -> bytes:
    """Return the CSV that a program writes that leaves out zeros: ``0,1``."""
    return "".join(
        ",".join(f"{value:g}" for value in row) + "\n" for row in np.transpose(columns)
    ).encode()


@pytest.mark.parametrize(
    "rows",
    [FLOATS, INTEGERS, spelled(np.random.default_rng(2).normal(3, 1, (50, 2)))],
    ids=["decimals", "integers", "decimals around 0 and 1"],
)
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
def test_column_numbers_that_pandas_wrote_are_refused(
    rows: bytes, line_end: bytes
) -> None:
    """Read as data they would make every score one row late.

    Numbers of the second row that are near 0 and 1 would hide them: see first_row.py.
    """
    text = (b"0,1\n" + rows).replace(b"\n", line_end)

    with pytest.raises(
        SeriesError, match=r'^Row 1 is a header of column numbers, "0,1'
    ):
        parsed(text)


ANGLES = np.arange(100) / 10


@pytest.mark.parametrize(
    "text",
    [
        spelled_briefly(np.sin(ANGLES), np.cos(ANGLES)),
        b"0.0,1.0\n" + FLOATS,
        b"0,2\n" + FLOATS,
        b"0\n" + b"20.5\n" * 9,
        b"0,1\n" + FLOATS[:27],
        b"0,1\n" + b"0,1\n1,0\n3,2\n" * 9,
        b"0,1\n" + b"230,1\n" * 9,
        b"0,1\n",
    ],
    ids=[
        "smooth",
        "not integers",
        "other numbers",
        "one column",
        "few rows",
        "counts",
        "a switch",
        "one row",
    ],
)
def test_series_that_begin_with_0_and_1_are_read(text: bytes) -> None:
    """No row of data is taken for a header."""
    assert len(parsed(text)) == text.count(b"\n")


def test_rows_are_counted_across_real_blocks() -> None:
    """A fault far behind the first block has its true row."""
    row = b"0.123456789,-1.5\n"
    n_rows = csv_text.BLOCK_SIZE // len(row) + 1000

    with pytest.raises(SeriesError, match=f"^Row {n_rows + 1}, column 2: "):
        parsed(row * n_rows + b"1,x\n")
    assert parsed(row * n_rows).shape == (n_rows, 2)


@given(TABLES)
def test_what_was_written_is_what_is_read_bit_by_bit(table: np.ndarray) -> None:
    """The shortest spelling of a double comes back as that double."""
    assert parsed(spelled(table)).tobytes() == table.tobytes()


@settings(max_examples=500)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text("0123456789.,+-eE \r\n;\tN", max_size=60).map(str.encode),
    )
)
@example(b"0e99999999999999999999\n")
@example(b"1e-99999999999999999999\n")
@example(b"." * 50)
def test_any_bytes_are_read_as_python_reads_them_or_refused(text: bytes) -> None:
    """Cell for cell what ``float`` makes of the same text, or one sentence."""
    try:
        rows, message = parsed(text).tolist(), "."
    except SeriesError as error:
        rows, message = None, str(error)
    plain = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
    lines = plain.removesuffix(b"\n").removesuffix(b"\r").split(b"\n")

    assert rows is None or rows == [
        [float(cell) for cell in line.split(b",")] for line in lines
    ]
    assert message.endswith(".")
    assert message.isprintable()


@given(TABLES, st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_an_error_or_one_changed_cell(
    table: np.ndarray, place: int, byte: int
) -> None:
    """A damaged file never shifts or loses rows: the shape tells, or the reader."""
    text = bytearray(spelled(table))
    text[place % len(text)] = byte
    try:
        series = parsed(bytes(text))
    except SeriesError:
        n_changed = 0
    else:
        is_same_shape = series.shape == table.shape
        # A comma for a digit in a table of one row, or a line end in one of a single
        # column, is another table and not a damaged one.
        n_changed = int((series != table).sum()) if is_same_shape else 0
        assert is_same_shape or 1 in table.shape

    assert n_changed <= 1


@pytest.mark.parametrize(
    "data",
    [
        b"1,2\n3,4",
        gzip.compress(b"1,2\n3,4\n"),
        gzip.compress(b"1,2\n3") + gzip.compress(b",4\n"),
    ],
    ids=["plain", "gzip", "gzip in two members"],
)
def test_a_file_is_decompressed_if_need_be(data: bytes, tmp_path: Path) -> None:
    """Whatever its name is."""
    (tmp_path / "a.csv").write_bytes(data)

    (table,) = read_blocks(tmp_path / "a.csv", "a.csv")

    assert table.tolist() == [[1, 2], [3, 4]]


def test_a_link_is_followed(tmp_path: Path) -> None:
    """Channels may be made of links."""
    (tmp_path / "a.csv").write_bytes(b"1,2\n")
    (tmp_path / "b.csv").symlink_to(tmp_path / "a.csv")

    assert np.vstack([*read_blocks(tmp_path / "b.csv", "b.csv")]).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"1,2\n3\n", "a/b.csv: Row 2 has 1 cell, but the rows before have 2; "),
        (gzip.compress(b"1,2\n3\n"), "a/b.csv: Row 2 has 1 cell, but the rows before "),
        (gzip.compress(b"1,2\n" * 99)[:-9], "a/b.csv: The gzip data is damaged ("),
        (gzip.compress(b"1,2\n")[:12] + b"?" * 20, "a/b.csv: The gzip data is damaged"),
        (gzip.compress(b"1,2\n") + b"rest", "a/b.csv: The gzip data is damaged ("),
        (b"\x1f\x8b", "a/b.csv: The gzip data is damaged ("),
        (gzip.compress(b""), "a/b.csv: There is no data; "),
        (b"PK\x03\x04", "a/b.csv: Row 1 is a header, "),
    ],
)
def test_messages_about_a_file_begin_with_its_name(
    tmp_path: Path, data: bytes, message: str
) -> None:
    """As the user knows it: the name within the channel."""
    (tmp_path / "b.csv").write_bytes(data)

    with pytest.raises(SeriesError, match=f"^{re.escape(message)}"):
        np.vstack([*read_blocks(tmp_path / "b.csv", "a/b.csv")])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/nowhere/train.csv", "No such file or directory"),
        ("/", "Is a directory"),
        ("/proc/self/mem", "Input/output error"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    path: str, reason: str
) -> None:
    """Not there, no file, or the disk fails in reading it."""
    with pytest.raises(SeriesError) as caught:
        next(read_blocks(Path(path), "a.csv"))

    assert str(caught.value) == f"a.csv: The file cannot be read: {reason}."


@given(
    st.lists(
        st.one_of(
            st.floats(-1e100, 1e100).map(repr),
            st.text("0123456789+-.eE ", min_size=1, max_size=9),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(1, 4),
)
@example(["-0", "1e-0", "1.5 ", " -0 ", ".5", "-0"], 2)
@example([" "], 1)
def test_few_cells_are_read_as_many_are(cells: list[str], n_columns: int) -> None:
    """All parsers agree to the last bit, and on what is no number."""
    rows = [cells[at : at + n_columns] for at in range(0, len(cells), n_columns)]
    text = "".join(f"{','.join(row)}\n" for row in rows).encode()
    found = []
    for few, few_columns in ((0, 0), (0, 4), (len(text) + 1, 0)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(csv_text, "FEW", few)
            patch.setattr(csv_text, "FEW_COLUMNS", few_columns)
            try:
                found.append(parsed(text).tobytes())
            except SeriesError as error:
                found.append(str(error))

    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_blocks_parsed_side_by_side_keep_their_order(
    n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that parse change neither the values nor the rows that errors name."""
    monkeypatch.setattr(csv_text, "BLOCK_SIZE", 16)
    good = b"".join(b"%d,%d\n" % (row, -row) for row in range(100))

    series = parsed(good, Cores(n_threads))

    assert series.tolist() == [[row, -row] for row in range(100)]
    with pytest.raises(SeriesError, match=r"^Row 101, column 2: "):
        parsed(good + b"1,x\n" + good, Cores(n_threads))
