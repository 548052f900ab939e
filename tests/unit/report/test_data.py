import dataclasses
from xml.etree import ElementTree

import numpy as np
import orjson
import pytest

from lstm_ad.quality.data_parts import Data, Source
from lstm_ad.quality.examination import NOT_EXAMINED, Examination
from lstm_ad.quality.findings import find
from sagemaker_container.report.data import MAX_SERIES, data_numbers, data_table


def examined(
    n_series: int, n_rows: int = 500, absurd: int | None = None
) -> Examination:
    """Return what is known of noise, maybe with an absurd cell in one series."""
    series = np.random.default_rng(0).normal(size=(n_rows, n_series))
    if absurd is not None:
        series[100, absurd] = -9999.0
    data = Data.of([Source("a.csv", series, "")], [round(0.8 * n_rows)])
    return Examination(data, tuple(find(data)))


@pytest.mark.parametrize("n_series", [1, 38, 1000])
def test_the_table_is_bounded_and_shows_what_has_a_finding(n_series: int) -> None:
    """With a picture for each series, also of the last one of a thousand."""
    table = data_table(examined(n_series, absurd=n_series - 1))

    assert table is not None
    assert len(table.rows) == min(n_series, MAX_SERIES)
    name, picture, cells = table.rows[-1]
    assert (name, cells[0], cells[-1]) == (str(n_series), "-9999", "far value")
    assert all(ElementTree.fromstring(svg).tag == "svg" for _, svg, _ in table.rows)
    assert "nan" not in picture
    assert sum(len(svg) for _, svg, _ in table.rows) < 150_000
    assert f"of {n_series} series" in table.caption


def test_a_thousand_constants_hide_no_other_finding() -> None:
    """Five of them stand for all; the table goes on with series that are well."""
    series = np.random.default_rng(0).normal(size=(500, 1000))
    series[:, 10:900] = 0.0
    series[100, 950] = -9999.0
    data = Data.of([Source("a.csv", series, "")], [400])

    table = data_table(Examination(data, tuple(find(data))))

    assert table is not None
    found = [(name, cells[-1]) for name, _, cells in table.rows if cells[-1]]
    constants = [(str(name), "constant") for name in range(11, 16)]
    assert found == [*constants, ("951", "far value")]
    assert len(table.rows) == MAX_SERIES


def test_a_series_of_few_rows_has_a_picture() -> None:
    """Fewer rows than the picture has columns."""
    table = data_table(examined(1, n_rows=20))

    assert table is not None
    assert "nan" not in table.rows[0][1]


def test_the_numbers_of_a_series_are_those_of_its_rows() -> None:
    """Rows are counted from 1, in their file; parts are apart."""
    examination = examined(2, absurd=1)
    numbers = orjson.loads(orjson.dumps(data_numbers(examination)))

    train, calibration = (numbers["series"][1][k] for k in ("train", "calibration"))
    assert (train["rows"], calibration["rows"]) == (400, 100)
    assert train["lowest"] == -9999.0
    assert train["lowest_rows"] == [["a.csv", 101]] * 2
    assert calibration["highest_rows"][0][1] > 400
    assert len(train["tenths"]) == 10
    assert [tenth["lowest"] == -9999.0 for tenth in train["tenths"]] == [
        k == 2 for k in range(10)
    ]
    [finding] = numbers["findings"]
    assert (finding["series"], finding["row"]) == ([2], 101)


def test_data_that_nobody_looked_at_have_no_table() -> None:
    """A process that has described no file, or a caller that did not ask."""
    assert data_table(NOT_EXAMINED) is None
    assert data_numbers(dataclasses.replace(NOT_EXAMINED)) == {
        "findings": [],
        "series": [],
    }
