"""A few absurd errors do not decide what is normal; a rare switch does."""

import numpy as np
import pytest

from lstm_ad.scoring.gaussian import WIDE, Gaussian
from lstm_ad.scoring.limits import MAX_DEVIATIONS, Limits, varying
from lstm_ad.scoring.moments import Moments

NONE = np.empty((0, 1))
VARIES = np.array([True])


def limits_of(calibration: np.ndarray, training: np.ndarray = NONE) -> Limits:
    """Return the limits of one series that varies."""
    return Limits.of(calibration, training, VARIES, np.array([1e-9]))


def test_limits_lie_at_robust_deviations_from_the_median() -> None:
    """For a normal distribution, at about as many standard deviations from the mean."""
    errors = np.random.default_rng(0).normal(3.0, 2.0, (20_000, 1))

    limits = limits_of(errors[:10_000], errors[10_000:])

    assert limits.center[0] == pytest.approx(3, abs=0.1)
    assert limits.far[0] == pytest.approx(2 * MAX_DEVIATIONS, rel=0.05)


@pytest.mark.parametrize("value", [-9999.0, 1e20, 65535.0])
def test_a_broken_reading_moves_the_deviation_by_little(value: float) -> None:
    """One in a thousand, of any size: by a few per cent, instead of blinding it."""
    clean = np.random.default_rng(1).normal(size=(2000, 1))
    broken = clean.copy()
    broken[[300, 1700]] = value

    deviations = [
        np.sqrt(Moments.of([errors], limits_of(errors)).variance[0])
        for errors in (clean, broken)
    ]

    assert deviations[1] == pytest.approx(deviations[0], rel=0.02)


def test_clean_errors_are_not_touched() -> None:
    """Not one bit of the Gaussian."""
    errors = np.random.default_rng(2).standard_t(5, (2000, 1))

    found = Gaussian.fit([errors], np.ones(1), WIDE, limits=limits_of(errors))

    expected = Gaussian.fit([errors], np.ones(1), WIDE)
    assert found.covariance.tolist() == expected.covariance.tolist()


def test_a_rare_switch_stays_as_normal_as_it_was() -> None:
    """Its errors are as rare and as large, but the series varies at nothing else."""
    switch = np.zeros((1000, 1))
    switch[[200, 700]] = 1.0
    errors = 0.01 * np.random.default_rng(3).normal(size=(1000, 1)) + switch

    limits = Limits.of(errors, NONE, varying(switch), np.array([1e-9]))

    assert varying(switch).tolist() == [False]
    assert limits.apply(errors).tolist() == errors.tolist()


def test_what_varies_is_told_by_the_outer_tenths() -> None:
    """A constant, a rare state, a state that is there half of the time, a sine."""
    rows = np.arange(1000)
    series = np.column_stack(
        [np.full(1000, 7.0), rows % 100 == 0, rows % 2, np.sin(rows)]
    )

    assert varying(series).tolist() == [False, False, True, True]


def test_every_reconstruction_of_a_series_has_limits_of_its_own() -> None:
    """Errors grow with the distance; a series that does not vary has none at all."""
    sizes = np.array([1.0, 1.0, 3.0, 3.0])
    errors = np.random.default_rng(4).normal(size=(5000, 4)) * sizes

    limits = Limits.of(errors, errors[:0], np.array([True, False]), 1e-9 * sizes)

    np.testing.assert_allclose(limits.far[[0, 2]], [50, 150], rtol=0.1)
    assert limits.far[[1, 3]].tolist() == [np.inf, np.inf]
