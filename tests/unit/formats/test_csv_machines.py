import re
from pathlib import Path

import numpy as np
import pytest

from lstm_ad.data.labels import divided
from lstm_ad.data.rows import VALIDATION, Rows, store
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats import csv_machines, csv_text
from sagemaker_container.formats.csv_file import FileColumns
from sagemaker_container.formats.csv_machines import read_machines
from sagemaker_container.formats.header import Declared

PUMPS = Declared(timestamp="time", ids=("pump",), group="pump")
HEADER = "time,pump,p\n"


@pytest.fixture(params=[2**20, 5], ids=["whole", "in pieces"], autouse=True)
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in blocks of this many bytes, and gather so many numbers at a time."""
    monkeypatch.setattr(csv_text, "BLOCK_SIZE", request.param)
    monkeypatch.setattr(csv_machines, "BLOCK_NUMBERS", request.param)


def read(folder: Path, text: str, longest_gap: int = 0) -> Rows:
    """Return the rows of a validation file v.csv."""
    path = folder / "v.csv"
    path.write_text(text)
    columns = FileColumns(PUMPS)
    return store(
        folder,
        read_machines(VALIDATION, path, path.name, columns, folder, longest_gap),
    )


def test_each_machine_is_a_file_of_its_own(tmp_path: Path) -> None:
    """Its rows in order, its own steps in time and absent rows, its own labels."""
    rows = read(
        tmp_path,
        f'{HEADER}100,B,1\n200,"A, 1",2\n101,B,3\n201,"A, 1",4\n104,B,5\n202,"A, 1",6\n'
        "105,B,7\n",
        longest_gap=9,
    )

    assert [file.name for file in rows.files] == ["v.csv[B]", "v.csv[A, 1]"]
    b, a = rows.files
    assert np.nan_to_num(rows.values(b)).ravel().tolist() == [1, 3, 0, 0, 5, 7]
    assert rows.values(a).ravel().tolist() == [2, 4, 6]
    assert (b.inserted, a.inserted) == (((2, 4),), ())
    assert (b.span, a.span) == ((100, 105), (200, 202))
    labels = divided({"v.csv": np.arange(7.0)[:, np.newaxis]}, rows.files)
    assert labels["v.csv[B]"].ravel().tolist() == [0, 2, 4, 6]
    assert labels["v.csv[A, 1]"].ravel().tolist() == [1, 3, 5]
    assert {path.name for path in tmp_path.iterdir()} == {"v.csv", "values"}


def test_one_machine_is_the_file(tmp_path: Path) -> None:
    """Under its own name: no id is added."""
    (file,) = read(tmp_path, f"{HEADER}1,A,1\n2, A ,2\n").files
    assert (file.name, file.places) == ("v.csv", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "1,A,1\n1,B,1\n2,,1\n",
            'v.csv: Row 3 after the header, column 2 ("pump"): the cell is empty; say '
            "in each row which machine it is of.",
        ),
        (
            "1,A,1\n1,B,1\n2,A,1\n1,B,1\n",
            'v.csv: Row 4 after the header: the time "1" is not after "1" of row 2; '
            "send rows in the order of time, and use UTC where local time goes back at "
            "the end of summer time.",
        ),
        (
            "1,A,1\n1,B,1\n2,A,1\n3,A,x\n",
            'v.csv: Row 4 after the header, column 3 ("p"): "x" is not a number; use '
            "a finite decimal number.",
        ),
    ],
    ids=["no machine", "time of a machine goes back", "no number"],
)
def test_what_is_wrong_is_said_with_the_row_of_the_file(
    tmp_path: Path, text: str, message: str
) -> None:
    """Not with that of the machine."""
    with pytest.raises(SeriesError, match=f"^{re.escape(message)}$"):
        read(tmp_path, HEADER + text)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "v.csv",
            "labels/v.csv has 3 rows, but validation/v.csv has 2: one label per row is "
            "needed.",
        ),
        (
            "w.csv",
            "labels/v.csv is missing: every file of the validation channel needs one "
            "of the same name, with a 0 or 1 per row.",
        ),
    ],
)
def test_labels_are_of_the_whole_file(tmp_path: Path, name: str, message: str) -> None:
    """One per row of it, under its name."""
    files = read(tmp_path, f"{HEADER}1,A,1\n1,B,1\n").files
    with pytest.raises(SeriesError, match=f"^{re.escape(message)}$"):
        divided({name: np.zeros((3, 1))}, files)
