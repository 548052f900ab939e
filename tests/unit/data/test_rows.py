import errno
import io
from pathlib import Path

import numpy as np
import pytest

from lstm_ad.data.rows import LABELS, TRAINING, VALIDATION, Block, Rows, store
from lstm_ad.exceptions import SettingError
from lstm_ad.model.scaling import Scaler
from lstm_ad.processes import ALONE

TABLE = np.array([[1.0, 5.0], [2.0, -3.0], [3.0, 4.0]])


def test_the_values_are_those_that_came_in_blocks(tmp_path: Path) -> None:
    """Files of different widths do not disturb each other; labels come last."""
    sources = [
        (TRAINING, "a.csv", map(Block, [TABLE[:1], TABLE[1:]])),
        (VALIDATION, "b.csv", map(Block, [TABLE[::-1]])),
        (LABELS, "b.csv", map(Block, [np.array([[0.0], [1.0], [0.0]])])),
    ]

    rows = store(tmp_path, sources)

    training, validation, labels = rows.files
    assert rows.values(training).tolist() == TABLE.tolist()
    assert rows.values(validation, 1, 3).tolist() == TABLE[::-1][1:].tolist()
    assert rows.values(labels).tolist() == [[0.0], [1.0], [0.0]]
    assert [rows.first(file) for file in rows.files[:2]] == [0, 3]


def test_what_is_known_of_a_file_does_not_depend_on_its_blocks(tmp_path: Path) -> None:
    """The range, the digest, and whether column 1 counts the rows."""
    (one,) = Rows.of({"a.csv": TABLE}).files
    (two,) = store(
        tmp_path, [(TRAINING, "a.csv", map(Block, [TABLE[:2], TABLE[2:]]))]
    ).files

    assert one.digest == two.digest
    assert (two.low.tolist(), two.high.tolist()) == ([1.0, -3.0], [3.0, 5.0])
    assert (one.counts_from, two.counts_from) == (1.0, 1.0)


@pytest.mark.parametrize("column", [[2, 3, 4], [0, 1, 3], [1, 2, 2], [0.5, 1.5, 2.5]])
def test_a_column_that_does_not_count_from_0_or_1_is_a_series(column: list) -> None:
    """Nor does a single column, which may be a ramp."""
    tables = {"a": np.column_stack([column, column]), "b": np.arange(3.0)[:, None]}

    assert [file.counts_from for file in Rows.of(tables).files] == [None, None]


def test_standardised_rows_are_on_the_axis_of_the_store() -> None:
    """Training first, then validation; the labels are not among them."""
    rows = Rows.of({"a": TABLE}, {"b": 2 * TABLE}, {"b": np.zeros((3, 1))})
    scaler = Scaler(np.ones(2), np.full(2, 2.0))

    scaled = rows.derived(
        "scaled",
        np.float32,
        lambda file: iter([scaler.transform(rows.values(file))]),
        n_series=2,
        group=ALONE,
    )

    expected = scaler.transform(np.vstack([TABLE, 2 * TABLE]))
    assert scaled.tolist() == expected.tolist()
    assert scaled.flags.writeable  # torch warns of memory that it may not write to


def test_a_full_disk_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the folder, what a job needs, and how to choose another."""

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "open", lambda *_: Full())

    with pytest.raises(SettingError) as raised:
        store(tmp_path, [(TRAINING, "a.csv", map(Block, [TABLE]))])

    assert str(raised.value) == (
        f"The scratch folder {tmp_path} cannot be written: No space left on device. A "
        f"job needs 12 bytes there for each value of its files; the variable TMPDIR "
        f"names another folder."
    )
