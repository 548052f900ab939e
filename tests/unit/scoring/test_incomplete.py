"""Errors of which some are missing: expected distances, and correlations by EM."""

import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from lstm_ad.scoring.calibrate import Errors, Settings, calibrate
from lstm_ad.scoring.gaussian import MAXIMUM_LIKELIHOOD, Gaussian
from lstm_ad.threshold.calibration import decide

N_SERIES = 8


def correlated(n_rows: int, seed: int, heavy: bool = False) -> np.ndarray:
    """Return correlated errors, with Student's t of 5 degrees if they are heavy."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(N_SERIES, N_SERIES))
    drawn = random.normal(size=(n_rows, N_SERIES)) @ mixing
    if heavy:
        drawn *= np.sqrt(5 / random.chisquare(5, size=(n_rows, 1)))
    return drawn


def with_holes(errors: np.ndarray, share: float, seed: int = 1) -> np.ndarray:
    """Return errors of which a share is missing at random."""
    is_missing = np.random.default_rng(seed).random(errors.shape) < share
    return np.where(is_missing, np.nan, errors)


GAUSSIAN = Gaussian.fit([correlated(500, seed=0)], np.ones(N_SERIES))


@given(st.lists(st.booleans(), min_size=N_SERIES, max_size=N_SERIES))
def test_the_distance_is_that_of_what_is_there_plus_what_is_missing(
    mask: list[bool],
) -> None:
    """From the marginal distribution; none where more than half is missing."""
    row = correlated(1, seed=3)
    row[0, mask] = np.nan

    (found,) = GAUSSIAN.distances(row)

    there = ~np.array(mask)
    if there.sum() < N_SERIES / 2:
        assert np.isnan(found)
        return
    errors = (row[0] - GAUSSIAN.mean)[there]
    expected = errors @ np.linalg.solve(GAUSSIAN.covariance[there][:, there], errors)
    assert found == pytest.approx(expected + sum(mask))
    drops = GAUSSIAN.distance_drops(row, N_SERIES)[0]
    assert (drops[mask] == 0).all()
    assert (drops[there] >= 0).all()


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("n_missing", [1, 2, 4])
def test_missing_values_make_no_alarms(heavy: bool, n_missing: int) -> None:
    """With the threshold of complete rows there are never more than without."""
    calm = correlated(100_000, seed=5, heavy=heavy)
    gaussian = Gaussian.fit([calm[:20_000]], np.ones(N_SERIES))
    threshold = np.quantile(gaussian.distances(calm), 0.999)
    holes = calm.copy()
    columns = np.random.default_rng(6).random(calm.shape).argsort(axis=1)[:, :n_missing]
    np.put_along_axis(holes, columns, np.nan, axis=1)

    rate = np.mean(gaussian.distances(holes) > threshold)

    assert 0.0001 < rate <= 0.0011


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_correlations_are_found_although_no_row_is_complete(share: float) -> None:
    """Closer than what pairs of present errors alone, or their means, would give."""
    errors = correlated(3000, seed=7)
    complete = Gaussian.fit([errors], np.ones(N_SERIES))

    found = Gaussian.fit([with_holes(errors, share)], np.ones(N_SERIES))

    deviation = np.sqrt(np.diag(complete.covariance))
    assert (np.abs(found.mean - complete.mean) < 0.05 * deviation).all()
    difference = (found.covariance - complete.covariance) / np.outer(*2 * [deviation])
    assert np.abs(difference).max() < 0.05


def test_several_processes_find_the_correlations_of_one() -> None:
    """A part without a hole beside one with some."""
    parts = [correlated(400, seed=8), with_holes(correlated(300, seed=9), 0.1)]

    apart = Gaussian.fit(parts, np.ones(N_SERIES))
    joined = Gaussian.fit([np.concatenate(parts)], np.ones(N_SERIES))

    np.testing.assert_allclose(apart.covariance, joined.covariance, rtol=1e-9)


def dependent(n_rows: int, seed: int, heavy: bool) -> np.ndarray:
    """Return errors that last, as those of an LSTM do: AR(0.9)."""
    errors = correlated(n_rows, seed, heavy)
    return scipy.signal.lfilter([1.0], [1.0, -0.9], errors, axis=0)


@pytest.mark.parametrize("heavy", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.05, 0.2])
def test_the_alarm_rate_holds_whatever_is_missing(share: float, heavy: bool) -> None:
    """On average over models, never above twice the target; rows depend on others."""
    target, rates = 0.002, []
    for seed in range(4):
        known = with_holes(dependent(3000, seed, heavy), share, seed)
        new = with_holes(dependent(20_000, seed + 50, heavy), share, seed + 50)
        found = calibrate(
            Errors.alone([known]),
            None,
            np.ones(N_SERIES),
            Settings(MAXIMUM_LIKELIHOOD, (1,), margin=0.1),
        )
        scores = found.scores[0]
        decision = decide(scores[~np.isnan(scores)], known[~np.isnan(scores)], target)
        rates.append(np.mean(decision.is_anomaly(found.score(new))))

    assert np.mean(rates) <= 2 * target
