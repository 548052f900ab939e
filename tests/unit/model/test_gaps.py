"""What the network reads where values are missing, and where a series ends."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ad.blocks import BLOCK_NUMBERS
from lstm_ad.model.gaps import Holder, Runs, away, is_empty, stretches

NAN = float("nan")


def column(*values: float) -> np.ndarray:
    """Return one series."""
    return np.array(values)[:, np.newaxis]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, NAN, NAN, 4], [1, 1, 1, 4]),
        ([1, NAN, NAN, NAN, 4, NAN], [1, 1, 1, 9, 4, 4]),  # held for two rows
        ([NAN, 2, NAN], [9, 2, 2]),  # nothing is held before the first value
    ],
)
def test_the_last_value_is_held_and_then_the_initial_one(
    values: list[float], expected: list[float]
) -> None:
    """Only the past fills a row."""
    found = Holder(np.array([9.0]), max_gap=2).fill(column(*values))

    assert found[:, 0].tolist() == expected


@given(st.data())
def test_rows_that_come_some_at_a_time_are_filled_alike(data: st.DataObject) -> None:
    """At every cut, for every mask."""
    mask = np.array(data.draw(st.lists(st.tuples(st.booleans(), st.booleans()))))
    values = np.arange(2.0 * len(mask)).reshape(-1, 2)
    if len(mask):
        values[mask] = NAN
    cut = data.draw(st.integers(0, len(values)))

    whole = Holder(np.full(2, -1.0), max_gap=2).fill(values)
    holder, gaps, all_gaps = Holder(np.full(2, -1.0), max_gap=2), Runs(), Runs()
    parts = [holder.fill(part) for part in (values[:cut], values[cut:])]
    for part in (values[:cut], values[cut:]):
        gaps.add(is_empty(part))
    all_gaps.add(is_empty(values))

    assert np.concatenate(parts).tolist() == whole.tolist()
    assert gaps.found == all_gaps.found


def test_a_series_ends_in_a_longer_gap_and_begins_anew_after_it() -> None:
    """As far as values are held the gap belongs to it, as to a growing series."""
    values = column(1, NAN, NAN, 4, NAN, NAN, NAN, 8, NAN, NAN, NAN)
    gaps = Runs()
    gaps.add(is_empty(values))

    assert gaps.found == [(1, 3), (4, 7), (8, 11)]
    found = stretches(len(values), gaps.found, max_gap=2)
    assert found == [range(6), range(7, 10)]
    off = [(0, 1), (5, 8), (10, 12)]
    found = stretches(12, [(1, 3), (8, 10)], 2, off)
    assert found == [range(1, 5), range(8, 10)]
    assert stretches(12, [(1, 5), (8, 10)], 1, off) == []


def test_a_series_is_away_from_its_long_gap_until_it_is_forgotten() -> None:
    """And partly so while its value is held."""
    values = column(0, 1, NAN, NAN, NAN, 5, 6, 7)

    found = away(np.hstack([values, values[:1].repeat(8, axis=0)]), 1, n_rows=2)

    assert found is not None
    assert found[:, 0].tolist() == [0, 0, 0.5, 1, 1, 1, 0, 0]
    assert found[:, 1].tolist() == [0] * 8
    assert away(np.zeros((3, 1)), 1, n_rows=2) is None


def test_many_rows_are_filled_in_the_memory_of_the_result() -> None:
    """Some at a time, which changes nothing."""
    values = np.random.default_rng(0).normal(size=(2 * BLOCK_NUMBERS, 4))
    values[::7, 1] = values[5:9] = np.nan
    mean = np.zeros(4)
    expected = Holder(mean, max_gap=2).fill(values)

    tracemalloc.start()
    found = Holder(mean, max_gap=2).fill_all(values)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert np.array_equal(found, expected)
    assert peak < 2 * values.nbytes
