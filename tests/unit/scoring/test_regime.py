"""What nothing in training resembles is said once, and of normal data never."""

import numpy as np
import pytest

from lstm_ad.scoring.regime import NONE, RISE, RegimeWatch, Seen, Teller

SEEN = Seen(np.array([0.0, 5.0]), np.array([1.0, 5.0]))
BOUNDS = SEEN.bounds(np.array([0.5, 1.0]))
"""A series between 0 and 1, and one that is always 5."""


def ar(coefficient: float, n_rows: int, seed: int) -> np.ndarray:
    """Return rows of three series of unit variance that depend on those before."""
    values = np.random.default_rng(seed).normal(size=(n_rows, 3))
    values[1:] *= np.sqrt(1 - coefficient**2)
    for row in range(1, n_rows):
        values[row] += coefficient * values[row - 1]
    return values


def states(n_rows: int, seed: int) -> np.ndarray:
    """Return a command given about once in 200 rows, for longer and longer."""
    random = np.random.default_rng(seed)
    values = np.zeros((n_rows, 3))
    for start in random.integers(0, n_rows, n_rows // 200):
        values[start : start + random.integers(1, 100), random.integers(0, 3)] = 1
    return values


def test_bounds_by_hand() -> None:
    """A range on either side, and a fiftieth of the series' deviation."""
    low, high = BOUNDS

    np.testing.assert_allclose(low, [-1.01, 4.98])
    np.testing.assert_allclose(high, [2.01, 5.02])


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([2, 2, 2, 2, 2, 2], [5] * 6, [NONE] * 6),
        ([3, 0, 0, 0, 3, 0], [5] * 6, [NONE] * 6),
        ([0, 3, 3, 0, 0, 0], [5] * 6, [NONE, NONE, 0, 0, 0, NONE]),
        ([0, 3, -3, 0, 0, 0], [5] * 6, [NONE] * 6),
        ([0, 3, 0, 0, 0, 0], [5, 5, 6, 6, 6, 6], [NONE, NONE, NONE, 1, 1, 1]),
        ([3, np.nan, 3, 0, 0, 0], [5] * 6, [NONE, NONE, 0, 0, NONE, NONE]),
    ],
    ids=["within", "seldom", "half of four rows", "two sides", "constant", "missing"],
)
def test_a_regime_is_half_of_a_window_beyond_all_that_was_seen(
    first: list[float], second: list[float], expected: list[int]
) -> None:
    """Of one series, on one side of it."""
    values = np.column_stack([first, second]).astype(float)

    found = RegimeWatch(BOUNDS, (1, 2, 4)).of(values, np.zeros(6))

    assert found.series.tolist() == expected


def test_a_regime_explains_what_does_not_rise_above_it() -> None:
    """Alarms end when it fills the longest window; a rise is another alarm."""
    logarithm = np.array([0, 0, 0, 0, 2, 2, 2, 2, 2, 2 + RISE / 2, 3, 2, 0.0])
    values = np.tile([0.0, 5.0], (len(logarithm), 1))
    values[4:12, 0] = 9.0

    found = RegimeWatch(BOUNDS, (1, 2, 4)).of(values, np.expm1(logarithm))

    assert found.series.tolist() == [NONE] * 5 + [0] * 8
    assert np.flatnonzero(found.is_known).tolist() == [8, 9, 11, 12]


@pytest.mark.parametrize("cuts", [[1], [3, 4, 5], [50], list(range(1, 100))])
def test_a_growing_series_has_the_bits_of_the_whole(cuts: list[int]) -> None:
    """Of the series, of what is known, and of the row that tells."""
    random = np.random.default_rng(0)
    values = np.column_stack([random.normal(1, 2, 100), np.full(100, 5.0)])
    evidence = random.chisquare(3, 100)
    evidence[[0, 1, 30]] = np.nan
    is_anomaly = random.random(100) < 0.3
    watch, teller = RegimeWatch(BOUNDS, (2, 4, 8)), Teller(2)
    whole = watch.of(values, evidence)
    tells = teller.of(is_anomaly, whole.series)
    assert len(set(whole.series.tolist())) == 2
    assert 0 < whole.is_known.sum() < 100
    assert tells.sum() > 1

    watch, teller = RegimeWatch(BOUNDS, (2, 4, 8)), Teller(2)
    parts = [
        watch.of(*part)
        for part in zip(np.split(values, cuts), np.split(evidence, cuts), strict=True)
    ]
    told = [
        teller.of(rows, part.series)
        for rows, part in zip(np.split(is_anomaly, cuts), parts, strict=True)
    ]

    for name in ("series", "is_known"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert joined.tolist() == getattr(whole, name).tolist()
    assert np.concatenate(told).tolist() == tells.tolist()


@pytest.mark.parametrize(
    ("make", "files", "n_rows"),
    [
        (lambda n, seed: ar(0.9, n, seed), 1, 400),
        (lambda n, seed: ar(0.99, n, seed), 1, 2000),
        (lambda n, seed: ar(0.9, n, seed), 100, 40),
        (states, 1, 2000),
    ],
    ids=["AR(0.9)", "AR(0.99)", "many files", "rare states"],
)
def test_of_data_like_those_of_training_nothing_is_said(
    make, files: int, n_rows: int
) -> None:
    """However much the rows depend on each other, in 20 000 new rows of 20 seeds."""
    for seed in range(20):
        parts = [make(n_rows, 1000 * seed + number) for number in range(files)]
        seen = Seen.of(parts, 3)
        bounds = seen.bounds(np.concatenate(parts).std(axis=0))
        watch = RegimeWatch(bounds, (16, 32, 64))

        found = watch.of(make(20_000, 1000 * seed + 999), np.zeros(20_000))

        assert (found.series == NONE).all(), seed


def test_what_an_earlier_model_saw_was_seen() -> None:
    """Whichever of the two saw less, and rows without a value count for nothing."""
    parts = [np.array([[0.5, np.nan]]), np.array([[-1.0, 6.0]])]

    found = Seen.of(parts, 2, before=SEEN)

    assert (found.low.tolist(), found.high.tolist()) == ([-1, 5], [1, 6])


def test_a_regime_is_told_once_per_event() -> None:
    """At the first anomaly in it; up to two rows in between are of the same event."""
    is_anomaly = np.array([1, 1, 0, 0, 1, 0, 0, 0, 1, 1, 0], dtype=bool)
    series = np.array([NONE, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1])

    tells = Teller(2).of(is_anomaly, series)

    assert np.flatnonzero(tells).tolist() == [1, 8]
