import logging
import re
from pathlib import Path

import numpy as np
import pytest

from lstm_ad.data.rows import Block
from lstm_ad.data.schema import Clock, TimeForm
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats.time_ranges import (
    TimeRanges,
    excluded,
    holds_ranges,
    recorded,
)

INTEGERS = Clock(TimeForm.INTEGER, 1)
ISO = "2024-05-01T00:00,2024-05-01T01:00\n"


def ranges(folder: Path, text: str) -> TimeRanges:
    """Return the ranges in a file."""
    (folder / "x").write_text(text)
    return TimeRanges.read(folder / "x", "exclude/x")


def test_both_ends_belong_to_a_range(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ranges may overlap, come in any order, and hold no row."""
    caplog.set_level(logging.INFO)
    some = ranges(tmp_path, "\ufeff90,99\r\n5,8\n2,3\n2,6")

    found = some.mask(np.arange(1, 11), INTEGERS)
    some.log_unused()

    assert np.flatnonzero(found).tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert caplog.messages == ["exclude/x: 1 of 4 ranges hold no row of the data."]


def test_rows_in_ranges_are_left_out_or_labelled(tmp_path: Path) -> None:
    """A row that is absent in time is like the one before it, and has no label."""
    block = Block(
        np.array([[1.0], [2], [np.nan], [5]]),
        inserted=((2, 3),),
        times=np.array([1, 2, 2, 5]),
    )
    labels: list[np.ndarray] = []

    (same,) = recorded(iter([block]), ranges(tmp_path, "2,4\n"), labels)
    (rest,) = excluded(iter([block]), ranges(tmp_path, "2,4\n"))
    (none,) = excluded(iter([block]), ranges(tmp_path, "7,9\n"))

    assert same is block
    assert none is block
    assert labels[0].tolist() == [[0], [1], [0]]
    assert rest.off is not None
    assert rest.off.tolist() == [False, True, True, False]
    np.testing.assert_array_equal(rest.values, [[1], [np.nan], [np.nan], [5]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            f"{ISO}2024-05-02T01:00,2024-05-02T00:00\n",
            'Row 2: the end "2024-05-02T00:00" is before the start '
            '"2024-05-02T01:00"; use start,end.',
        ),
        (
            "start,end\n",
            'Row 1, column 1: "start" is no time between 1678 and 2261; use ISO 8601 '
            '("2024-05-01 13:45:00", with "T" or a space, a fraction, "Z" or an '
            "offset), or integers.",
        ),
        (
            f"{ISO}2024-05-02T01:00Z,2024-05-02T02:00Z\n",
            'Row 2, column 1: "2024-05-02T01:00Z" is written unlike the times before '
            "it; use one form, with or without a zone in all rows.",
        ),
        (f"{ISO}2024-05-02T01:00\n", "Row 2 has 1 cell; use two times, start,end."),
        (
            f"{ISO}\n",
            "Row 2 has 1 cell; use two times, start,end.",
        ),
    ],
)
def test_what_is_no_range_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the row and what is accepted."""
    with pytest.raises(SeriesError, match=f"^exclude/x: {re.escape(message)}"):
        ranges(tmp_path, text)


def test_times_need_the_form_of_the_data(tmp_path: Path) -> None:
    """Integers are no ISO 8601."""
    with pytest.raises(SeriesError, match=r"^exclude/x: the ranges are times in an"):
        ranges(tmp_path, ISO).mask(np.arange(3), INTEGERS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(ISO, True), ("1,5\n", True), ("0\n1\n", False), ("1,x\n", False)],
)
def test_labels_may_be_ranges(tmp_path: Path, text: str, expected: bool) -> None:
    """Two times are; two integers only where the data have times."""
    path = tmp_path / "x"
    path.write_text(text)
    assert holds_ranges(path, "labels/x", has_times=True) == expected
    if text != ISO:
        assert not holds_ranges(path, "labels/x", has_times=False)


def test_ranges_need_times(tmp_path: Path) -> None:
    """Of the rows of the data."""
    (tmp_path / "x").write_text(ISO)
    with pytest.raises(SeriesError, match=r"^labels/x: The labels are ranges of time"):
        holds_ranges(tmp_path / "x", "labels/x", has_times=False)


def test_a_part_of_an_interval_in_a_range_is_enough(tmp_path: Path) -> None:
    """Its mean holds what was measured then."""
    some = ranges(tmp_path, "15,20\n39,39\n")
    clock = Clock(TimeForm.INTEGER, 10, is_sampled=True)
    found = some.mask(np.array([0, 10, 20, 30, 40]), clock)
    assert found.tolist() == [False, True, True, True, False]
