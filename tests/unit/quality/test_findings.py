"""What is wrong with dirty data is found by series and row; clean data pass."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from dirty_data import (
    CLEAN,
    DIRTY,
    Dirty,
    N,
    T,
    beside,
    changed,
    clean,
    described,
    five,
    switch,
)
from lstm_ad.axes import FloatArray
from lstm_ad.data.schema import Column, Role, Schema
from lstm_ad.quality.data_parts import Data, Source
from lstm_ad.quality.findings import find, reasons
from lstm_ad.quality.reasons import Level


@pytest.mark.parametrize("dirty", DIRTY.values(), ids=DIRTY.keys())
def test_dirt_is_found_by_series_and_row(dirty: Dirty) -> None:
    """Each sentence names the file, and the series and the row where there is one."""
    chosen = [
        finding
        for finding in find(described(dirty))
        if finding.name == dirty.name
        and (dirty.series is None or dirty.series in finding.series)
    ]

    assert chosen
    finding = chosen[0]
    assert finding.level == dirty.level
    assert finding.is_refused == dirty.is_refused
    assert finding.file in finding.found
    assert dirty.series is None or f"{dirty.series + 1}" in finding.found
    assert dirty.row is None or abs((finding.row or 0) - dirty.row) <= dirty.margin
    assert dirty.row is None or f"{finding.row}" in finding.found


@pytest.mark.parametrize("dirty", DIRTY.values(), ids=DIRTY.keys())
def test_series_with_names_are_called_by_them(dirty: Dirty) -> None:
    """In what was found, in the advice, and among those that are found likewise."""
    if dirty.series is None:
        return
    n_series = next(iter(dirty.files.values())).shape[1]
    names = [f"Kanal {'ABCDEFGHIJKLMNOPQRSTUVWXYZ'[n]}" for n in range(n_series)]
    if dirty.name == "label":
        names[dirty.series] = "is_anomaly"
    columns = (
        Column("Zeit", Role.TIMESTAMP),
        *(Column(name, Role.SERIES) for name in names),
    )
    found = find(described(dirty, Schema(columns, is_named=True)))
    texts = [f"{one.found} {one.advice}" for one in found if dirty.series in one.series]

    assert any(names[dirty.series] in text for text in texts)
    said = " ".join([*texts, *(r.finding for r in reasons(found, names))])
    assert not re.search(r"(series|column) \d", said)


@pytest.mark.parametrize(
    ("n_cells", "level", "harm"),
    [(1, Level.CHECK, "takes its place"), (8, Level.DO_NOT_USE, "are missed")],
)
def test_absurd_values_that_are_too_many_to_be_replaced_are_worse(
    n_cells: int, level: Level, harm: str
) -> None:
    """In one file of 400 rows: in all rows together they would be few enough."""
    series = changed(list(range(0, 40 * n_cells, 40)), 0, 1e6 + T[:n_cells], n=400)
    dirty = Dirty("far value", 0, 1, {"a.csv": series, "b.csv": clean(seed=1)})

    (finding,) = find(described(dirty))

    assert (finding.name, finding.level) == ("far value", level)
    assert harm in finding.harm


@pytest.mark.parametrize(
    ("slope", "way"), [(0.01, "rises"), (-0.01, "falls"), (0.001, None)]
)
def test_a_trend_is_told_if_it_is_more_than_what_comes_and_goes(
    slope: float, way: str | None
) -> None:
    """In one file; one that begins anew in each file is what files do."""
    noise = np.random.default_rng(0).normal(size=N)
    series = beside(slope * T + noise)

    found = find(described(Dirty("", None, None, series)))
    again = find(described(Dirty("", None, None, {n: series for n in "ab"})))

    assert [one.name for one in found] == ["trend"] * (way is not None)
    assert all(f"series 3 {way} all the time" in one.found for one in found)
    assert "trend" not in [one.name for one in again]


def test_a_unit_number_makes_no_file_another_one() -> None:
    """It is told once, not for each file that is far from the others."""
    units = {
        f"{unit}.csv": np.column_stack([np.full(500, unit), clean(500, unit)])
        for unit in (4711, 4712, 4713)
    }

    found = find(described(Dirty("", None, None, units)))

    assert [one.name for one in found] == ["unit number"]


@pytest.mark.parametrize("series", CLEAN.values(), ids=CLEAN.keys())
def test_nothing_is_found_in_clean_data(series: FloatArray) -> None:
    """What real telemetry does all day is normal."""
    assert find(described(Dirty("", None, None, series))) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x,
        lambda x: x * [0.02, 1],  # at rest
        lambda x: x * [2, 1],
        lambda x: x - np.array([9, 0]),
        lambda x: x[:49, [1, 0]],
    ],
    ids=["alike", "at rest", "twice as wide", "beside the others", "too short"],
)
def test_nothing_is_found_in_files_that_differ_a_little(
    change: Callable[[FloatArray], FloatArray],
) -> None:
    """As days of one machine do."""
    assert find(described(Dirty("", None, None, five(change)))) == []


def test_what_is_explained_is_not_told_twice() -> None:
    """A code of 65535 is no overflow, and a wrap no stretch unlike the rest."""
    for name in ("a run of 65535", "a counter of 16 bits", "a level that overflows"):
        dirty = DIRTY[name]
        assert {one.name for one in find(described(dirty))} == {dirty.name}


@pytest.mark.parametrize(
    ("name", "is_label"),
    [("Label", True), ("pump.fault", True), ("valve", False), ("default", False)],
)
def test_a_label_is_known_by_its_name(name: str, is_label: bool) -> None:
    """Where there are names, whatever the column and however long its ones last."""
    series = beside(switch(*(range(k, k + 2) for k in range(0, N, 9))))[:, [2, 0, 1]]
    roles = [Column(one, Role.SERIES) for one in (name, "flow", "pressure")]
    schema = Schema(tuple(roles), is_named=True)
    found = find(described(Dirty("", None, None, series), schema))

    assert [(one.name, one.series) for one in found] == [("label", (0,))] * is_label


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("-200 in every twentieth row", -200.0),
        ("999.99 in every thirteenth row", 999.99),
        ("0 in a hundred rows of 50s", 0.0),
        ("0 in nine rows of 50s", 0.0),
        ("-9999 in three hundred rows", -9999.0),
        ("0 among 50s", None),
        ("a short run of 999", None),
        ("a run of 65535", None),
        ("a run of ten of -1", None),
    ],
)
def test_a_code_that_is_certain_is_replaced(name: str, code: float | None) -> None:
    """And the finding says so; one that may be a state is not a code."""
    found = find(described(DIRTY[name]))

    codes = {one.code for one in found if one.name == DIRTY[name].name}
    assert codes == {code}
    assert code is None or any("its place" in one.harm for one in found)


@pytest.mark.parametrize(
    ("length", "value", "is_replaced"),
    [
        *((2, 0.0, True), (3, 0.0, False)),
        *((10, -99.0, True), (11, -99.0, False), (11, -9999.0, True)),
    ],
)
def test_a_code_in_runs_is_no_code_in_any_part(
    length: int, value: float, is_replaced: bool
) -> None:
    """A machine may rest at 0; known codes may come for some rows at a time.

    For however many, if they are no measurement at all.
    """
    series = clean() * [1, 20]
    series[np.arange(N) % 200 < length, 1] = value
    series[1600:, 1] = np.where(np.arange(400) % 20 == 3, value, clean(400)[:, 1] * 20)

    found = find(described(Dirty("", None, None, series)))

    codes = [one for one in found if one.name == "sentinel" and one.series == (1,)]
    assert codes
    assert {one.code for one in codes} == {value if is_replaced else None}


def test_codes_behind_each_other_are_all_found() -> None:
    """On one side and on both; what is not far from the rest is no code."""
    series = clean()
    for first, value in enumerate((-9999.0, -999.0, -99.0, 65535.0, 70.0, 65.0)):
        series[first::50, 1] = value

    found = find(described(Dirty("", None, None, series)))

    assert {(one.name, one.code) for one in found} == {
        ("sentinel", value) for value in (-9999.0, -999.0, -99.0, 65535.0)
    }
    assert len(found) == 8
    assert "rows of the training rows (entered 32 times)" in found[0].found
    assert "to 70:" in found[0].found


@pytest.mark.parametrize("row", range(700, 1300, 45))
def test_a_change_is_found_wherever_it_begins(row: int) -> None:
    """Whatever part of a stretch it takes, and in which of several files it is."""
    level = clean()
    level[row:, 1] += 60
    files = {"a.csv": level, "b.csv": clean(800, 1)}
    for data in (level, files):
        found = [f for f in find(described(Dirty("", None, None, data)))]
        assert [(f.file, f.row) for f in found if f.name == "change"] == [
            ("a.csv" if data is files else "train.csv", row + 1)
        ]


@pytest.mark.parametrize("row", range(1500, 1600, 7))
def test_an_unlike_stretch_is_found_wherever_it_begins(row: int) -> None:
    """Beside it, a few of its rows are in a stretch that is like the rest."""
    series = changed(slice(row, row + 180), 1, np.full(180, 90.0) + clean(180)[:, 0])

    found = find(described(Dirty("", None, None, series)))

    assert "unlike stretch" in {one.name for one in found}


def test_two_files_and_two_kinds_of_files_are_not_told_apart() -> None:
    """None of them is the odd one."""
    kinds = {f"{k}.csv": clean(500, k) + (90 if k > 2 else 0) for k in range(5)}

    for files in ({"a.csv": clean(500, 1), "b.csv": clean(500, 2) + 90}, kinds):
        names = {one.name for one in find(described(Dirty("", None, None, files)))}
        assert "other file" not in names


def test_copied_rows_are_named_in_their_file_unless_all_of_it_is_a_copy() -> None:
    """Then the file is named, and that is all."""
    rows = clean(1000, 1)
    partly = {"a.csv": rows, "b.csv": np.concatenate([clean(200, 2), rows[:400]])}
    twice = {"a.csv": rows, "b.csv": clean(1000, 2), "c.csv": rows}

    (found,) = find(described(Dirty("", None, None, partly)))
    assert (found.name, found.file, found.row) == ("copied rows", "b.csv", 201)
    (found,) = find(described(Dirty("", None, None, twice)))
    assert (found.name, found.file) == ("copied file", "c.csv")


def test_rows_are_counted_as_they_were_sent() -> None:
    """Rows that were inserted, because they are absent in time, do not count."""
    series = clean()
    series[1000, 1] = 9999.0
    source = Source("a.csv", series, "", 0, ((10, 13), (500, 502), (1001, 1003)))
    found = find(Data.of([source], [1600]))

    assert [one.row for one in found] == [996]
    assert "row 996, series 2" in found[0].found


def test_findings_of_a_kind_become_one_reason() -> None:
    """However many series have it, the verdict has a line for it; the rest is named."""
    data = Data.of(
        [Source("a.csv", np.column_stack([clean(), np.zeros((N, 9))]), "")], [1600]
    )
    [reason] = reasons(find(data))

    assert reason.level == Level.CHECK
    assert "series 3 is 0" in reason.finding
    assert "Likewise: series 6, 7, 8, 9, 10 and 11." in reason.finding


def test_many_missing_values_are_said() -> None:
    """With their share, and where the longest run of them begins."""
    values = np.random.default_rng(0).normal(size=(1000, 2))
    values[100:400, 1] = np.nan

    (found,) = find(Data.of([Source("a", values, "")], [800]))

    assert found.found == (
        "series 2 has no value in 38% of the training rows, and none in 300 rows from "
        "row 101 of a on."
    )


def test_missing_values_hide_no_change() -> None:
    """What is missing is held in the sample, so that no other level comes in."""
    dirty = DIRTY["degrees Fahrenheit from the middle on"]
    values = next(iter(dirty.files.values())).copy()
    values[np.random.default_rng(4).random(values.shape) < 0.1] = np.nan

    found = find(described(Dirty("", None, None, values)))
    assert [one.name for one in found] == ["change"]


def test_stretches_of_one_file_are_no_copies_of_each_other() -> None:
    """Labels or gaps have cut it; a fourth copy of a file is told, too."""
    values = np.random.default_rng(0).normal(size=(1000, 2))
    training = Source("a", values[:500], "digest of a")
    stretches = [Source("v", values[k : k + 90], "digest", k) for k in (500, 600, 700)]

    assert find(Data.of([training], [400], stretches)) == []

    copies = [Source(f"a{k}", values[:500], "digest of a") for k in range(5)]
    names = {finding.name for finding in find(Data.of(copies, [400] * 5))}
    assert "copied file" in names
    (reason,) = reasons(f for f in find(Data.of(copies, [400] * 5)) if not f.series)
    assert reason.finding.endswith("counts twice.")
