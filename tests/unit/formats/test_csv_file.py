import gzip
import logging
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from lstm_ad.data.rows import TRAINING, File, Rows, store
from lstm_ad.data.schema import Clock, Column, Role, Schema, TimeForm
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats import csv_text
from sagemaker_container.formats.csv_file import FileColumns, read_file
from sagemaker_container.formats.header import Declared

NAN = float("nan")
TIME = Declared(timestamp="time", ids=("asset",))
HEADER = "time,p,asset,f\n"
MINUTE = Clock(TimeForm.ISO, 60 * 10**9)


@pytest.fixture(params=[4 * 2**20, 5], ids=["whole", "in pieces"], autouse=True)
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in blocks of this many bytes."""
    monkeypatch.setattr(csv_text, "BLOCK_SIZE", request.param)


def read(
    folder: Path,
    texts: Sequence[str],
    declared: Declared = TIME,
    longest_gap: int = 0,
) -> tuple[Rows, Sequence[File]]:
    """Return the rows of files named a.csv, b.csv ..."""
    columns = FileColumns(declared)
    sources = []
    for name, text in zip("abc", texts, strict=False):
        path = folder / f"{name}.csv"
        path.write_bytes(gzip.compress(text.encode()) if name == "b" else text.encode())
        blocks = read_file(path, path.name, columns, longest_gap)
        sources.append((TRAINING, path.name, blocks))
    rows = store(folder, sources)
    return rows, rows.files


def test_files_are_put_in_the_order_of_the_first(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By their names; what is carried is not learnt from."""
    caplog.set_level(logging.INFO)
    rows, (one, two) = read(
        tmp_path,
        [
            f"{HEADER}2024-01-01T00:00,1,x,2\n2024-01-01T00:01,3,x,4\n",
            "f,asset,p,time\n6,y,5,2024-01-02T00:00\n8,y,7,2024-01-02T00:01\n",
        ],
    )
    assert rows.values(one).tolist() == [[1, 2], [3, 4]]
    assert rows.values(two).tolist() == [[5, 6], [7, 8]]
    columns = (
        Column("time", Role.TIMESTAMP),
        Column("p", Role.SERIES),
        Column("asset", Role.ID),
        Column("f", Role.SERIES),
    )
    assert one.schema == two.schema == Schema(columns, is_named=True, clock=MINUTE)
    day = 24 * 3600 * 10**9
    assert one.span is not None
    assert one.span[1] - one.span[0] == MINUTE.step
    assert two.span == (one.span[0] + day, one.span[1] + day)
    assert caplog.messages == [
        "b.csv: the columns are in another order than in a.csv, and are put in that "
        "order by their names."
    ]


def test_columns_without_names_are_named_by_number(tmp_path: Path) -> None:
    """Series by their own numbers, others by what they are."""
    declared = Declared("1", ("3", "4"), "4")
    rows, (file,) = read(tmp_path, ['5,1.5,"a,a",x,2\n7,3,b,x,4\n'], declared)
    assert rows.values(file).tolist() == [[1.5, 2], [3, 4]]
    assert file.schema == Schema(
        (
            Column("timestamp", Role.TIMESTAMP),
            Column("1", Role.SERIES),
            Column("id_3", Role.ID),
            Column("id_4", Role.ID),
            Column("2", Role.SERIES),
        ),
        is_named=False,
        clock=Clock(TimeForm.INTEGER, 2),
        group="id_4",
    )


def test_a_header_alone_gives_names(tmp_path: Path) -> None:
    """Nothing is declared: every column is a series; numbers name columns as well."""
    rows, (file,) = read(tmp_path, ['"a, b",c\n1,2\n'], Declared())
    assert rows.values(file).tolist() == [[1, 2]]
    assert file.schema.series == ("a, b", "c")
    _, (file,) = read(tmp_path, ["p,f,t\n1,2,3\n"], Declared("3"))
    assert file.schema.series == ("p", "f")
    assert file.schema.timestamp == "t"


def test_rows_that_are_absent_are_missing_ones(tmp_path: Path) -> None:
    """As many as say that a gap is longer than a value is held, and no more."""
    text = "0,1\n10,2\n40,3\n50,4\n1000,5\n1011,6\n"
    rows, (file,) = read(tmp_path, [text], Declared("1"), 3)
    values = [1, 2, NAN, NAN, 3, 4, NAN, NAN, NAN, NAN, 5, 6]
    np.testing.assert_array_equal(rows.values(file)[:, 0], values)
    assert file.inserted == ((2, 4), (6, 10))
    assert file.span == (0, 1011)
    with pytest.raises(SeriesError, match='Row 3: the time "40" comes more than a st'):
        read(tmp_path, [text], Declared("1"))


def test_missing_cells_are_read_where_a_value_is_held(tmp_path: Path) -> None:
    """Else they are refused."""
    text = "p,f\n1,\nnan,2\n"
    rows, (file,) = read(tmp_path, [text], Declared(), 1)
    np.testing.assert_array_equal(rows.values(file), [[1, NAN], [NAN, 2]])
    with pytest.raises(SeriesError, match=r"^a.csv: Row 1 after the header, column 2 "):
        read(tmp_path, [text], Declared())


OTHER_COLUMNS = "all files need the same columns."
MINUTES = "2024-01-01T00:00,1,x,2\n2024-01-01T00:01,1,x,2\n"
REFUSED = {
    "a column is missing": (
        ["p,f\n1,2\n", "p\n1\n"],
        Declared(),
        f'b.csv: The header lacks the column "f", which a.csv has; {OTHER_COLUMNS}',
    ),
    "a column is new": (
        ["p,f\n1,2\n", "p,f,g\n1,2,3\n"],
        Declared(),
        f'b.csv: The header has the column "g", which a.csv lacks; {OTHER_COLUMNS}',
    ),
    "one has no header": (
        ["p,f\n1,2\n", "1,2\n"],
        Declared(),
        "b.csv: a.csv has a header, but b.csv has none; give all files the same "
        "header, or none.",
    ),
    "only one has a header": (
        ["1,2\n", "p,f\n1,2\n"],
        Declared(),
        "b.csv: b.csv has a header, but a.csv has none; give all files the same "
        "header, or none.",
    ),
    "no such name": (
        ["p,f\n1,2\n"],
        Declared("time"),
        'a.csv: timestamp-column names "time", but the header has "p" and "f"; use '
        "one of these names, or a number from 1 to 2.",
    ),
    "no names at all": (
        ["1,2\n"],
        Declared(ids=("3",)),
        'a.csv: id-columns names "3", but there is no header; use the number of the '
        "column, from 1 to 2.",
    ),
    "named twice": (
        ["p,f\n1,2\n"],
        Declared("p", ("1",)),
        "a.csv: id-columns names column 1, which another setting or name already has; "
        "name each column once.",
    ),
    "nothing is left": (
        ["p,f\n1,2\n"],
        Declared("p", ("f",)),
        "a.csv: timestamp-column and id-columns leave no column to learn from; at "
        "least one must be a series.",
    ),
    "time goes back": (
        [f"{HEADER}{MINUTES}2024-01-01T00:00:30,1,x,2\n"],
        TIME,
        'a.csv: Row 3 after the header: the time "2024-01-01T00:00:30" is not after '
        '"2024-01-01T00:01" of row 2; send rows in the order of time, and use UTC '
        "where local time goes back at the end of summer time.",
    ),
    "time takes half a step": (
        [f"{HEADER}{MINUTES}2024-01-01T00:02,1,x,2\n2024-01-01T00:02:30,1,x,2\n"],
        TIME,
        'a.csv: Row 4 after the header: the time "2024-01-01T00:02:30" is no whole '
        'number of steps after "2024-01-01T00:02" of row 3, 30 s later; the step is '
        "60 s, and rows must be that far apart, within a tenth.",
    ),
    "another form": (
        [f"{HEADER}{MINUTES}2024-01-01T00:02Z,1,x,2\n"],
        TIME,
        'a.csv: Row 3 after the header, column 1 ("time"): "2024-01-01T00:02Z" is '
        "written unlike the times before it; use one form, with or without a zone in "
        "all rows.",
    ),
}


@pytest.mark.parametrize(
    ("texts", "declared", "message"), REFUSED.values(), ids=REFUSED
)
def test_what_does_not_fit_together_is_refused(
    tmp_path: Path, texts: list[str], declared: Declared, message: str
) -> None:
    """With the file, the row and the column where there is one."""
    with pytest.raises(SeriesError, match=f"^{re.escape(message)}$"):
        read(tmp_path, texts, declared)
