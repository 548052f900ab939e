"""What is found on either side of each threshold, at less than half or twice of it."""

import numpy as np
import pytest

from dirty_data import Dirty, N, T, beside, described
from lstm_ad.axes import FloatArray
from lstm_ad.quality.findings import find

FIVE = range(5)


def even(n_rows: int = N, seed: int = 0) -> FloatArray:
    """Return numbers evenly from 0 to 10 in random order, each once."""
    return np.random.default_rng(seed).permutation(np.linspace(0, 10, n_rows))


def at(rows: FloatArray, value: float, others: FloatArray | None = None) -> FloatArray:
    """Return these numbers, or others, with one value in some rows, as a series."""
    return np.where(rows, value, even() if others is None else others)


def every(period: int, length: int = 1, last: int = N) -> FloatArray:
    """Return which rows are the first ones of each period."""
    return (T % period < length) & (last > T)


def spaced(n_rows: int) -> FloatArray:
    """Return which rows are so many of the training rows."""
    return np.isin(T, np.arange(n_rows) * 1600 // n_rows + 7)


def coarse(n_values: int) -> FloatArray:
    """Return so many different numbers."""
    return np.round(even() / 10 * (n_values - 1)) * 10 / (n_values - 1)


def two_codes(period: int, second: int) -> FloatArray:
    """Return a series with a code behind another."""
    return np.where(T % period == second, -2222.0, at(every(period), -77777.0))


@pytest.mark.parametrize(
    ("name", "series", "is_found"),
    [
        ("sentinel", at(every(20), 26), True),
        ("sentinel", at(every(20), 18), False),
        ("sentinel", at((T >= 500) & (T < 510), 42), True),
        ("sentinel", at((T >= 500) & (T < 510), 26), False),
        ("sentinel", at((T >= 500) & (T < 524), 42), False),
        ("sentinel", at(spaced(5), 26), False),
        ("sentinel", at(every(320, 2, 1280), 26), True),
        ("sentinel", at(every(3), 26), False),
        ("sentinel", at(every(20), 26, coarse(24)), True),
        ("sentinel", at(every(20), 26, coarse(12)), False),
        ("sentinel", at(every(20), -77777.0, coarse(24)), True),
        ("repeated value", at(spaced(24), 5.0101), True),
        ("repeated value", at(spaced(12), 5.0101), False),
        ("repeated value", at(spaced(24), 5.0101, np.round(even(), 2)), False),
        ("repeated value", at(every(3), 5.0101), False),
        ("repeated value", at(every(30, 3), 5.0101), False),
    ],
)
def test_a_value_is_told_from_others(
    name: str, series: FloatArray, is_found: bool
) -> None:
    """By its distance, by how often it comes, and by how many others there are."""
    found = find(described(Dirty("", None, None, beside(series))))

    assert (name in {one.name for one in found if one.series == (2,)}) == is_found


@pytest.mark.parametrize(
    ("series", "codes"),
    [
        (two_codes(8, 3), {-77777.0, -2222.0}),
        (two_codes(5, 2), {-77777.0}),
        (np.where(spaced(4), -2222.0, at(every(20), -77777.0)), {-77777.0, -2222.0}),
        (at(every(100, 11), -99, even() * 0.66), {-99.0}),
        (at(every(100, 11), -99, even() * 1.41), {None}),
    ],
)
def test_codes_are_replaced(series: FloatArray, codes: set[float | None]) -> None:
    """By their share, how often they come, and how far they are."""
    found = find(described(Dirty("", None, None, beside(series))))

    assert {one.code for one in found if one.name == "sentinel"} == codes


@pytest.mark.parametrize(
    ("name", "shift", "is_exchanged", "sizes", "is_found"),
    [
        *(("other file", 24, False, [500] * 5, True),),
        *(("other file", 16, False, [500] * 5, False),),
        *(("other file", 30, False, [80] * 5, True),),
        *(("other file", 30, False, [40] * 5, False),),
        *(("disordered columns", 0, True, [500] * 5, True),),
        *(("disordered columns", 1.5, True, [500] * 5, True),),
        *(("disordered columns", 3, True, [500] * 5, False),),
        *(("disordered columns", 0, True, [500] * 2, False),),
    ],
)
def test_a_file_is_told_from_others(
    name: str, shift: float, is_exchanged: bool, sizes: list[int], is_found: bool
) -> None:
    """By its distance, in the widths of others, and by the number of files and rows."""
    files = {
        f"{k}.csv": np.column_stack([even(n, 2 * k), even(n, 2 * k + 1) + 12])
        for k, n in enumerate(sizes)
    }
    odd = files["1.csv"][:, [1, 0] if is_exchanged else [0, 1]] + shift

    found = find(described(Dirty("", None, None, files | {"1.csv": odd})))

    assert (name in {one.name for one in found}) == is_found


@pytest.mark.parametrize(("distance", "is_found"), [(12, True), (6, False)])
def test_columns_are_exchanged_if_they_lie_apart(
    distance: float, is_found: bool
) -> None:
    """By more than the central 80 % of either are wide."""
    files = {
        f"{k}.csv": np.column_stack([even(500, 2 * k), even(500, 2 * k + 1) + distance])
        for k in FIVE
    }
    files["2.csv"] = files["2.csv"][:, [1, 0]]

    found = find(described(Dirty("", None, None, files)))

    assert ("disordered columns" in {one.name for one in found}) == is_found
