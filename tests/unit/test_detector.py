import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ad.detector import LSTMAD
from lstm_ad.exceptions import SeriesError

SEQUENCE_LENGTH = 10


def test_the_score_is_the_log_likelihood_of_the_signed_errors(
    detector: LSTMAD, make_series
) -> None:
    """Series minus reconstruction, under the Gaussian, one number per time step."""
    series = make_series(57, seed=3)

    scores = detector.score(series)

    errors = (series - scores.reconstruction)[SEQUENCE_LENGTH:]
    expected = detector.gaussian.log_likelihood(errors)
    assert scores.normality_score.shape == (57,)
    assert scores.reconstruction.shape == (57, 2)
    assert scores.normality_score[SEQUENCE_LENGTH:].tolist() == expected.tolist()


@pytest.mark.parametrize("n_timesteps", [11, 19, 20, 21, 30, 651])
def test_every_row_after_the_first_sequence_has_a_score(
    detector: LSTMAD, make_series, n_timesteps: int
) -> None:
    """The first sequence has none; a last partial one has them all."""
    scores = detector.score(make_series(n_timesteps, seed=3))

    has_score = np.arange(n_timesteps) >= SEQUENCE_LENGTH
    assert (np.isfinite(scores.normality_score) == has_score).all()
    assert (np.isfinite(scores.reconstruction) == has_score[:, np.newaxis]).all()


def test_a_spike_is_the_least_normal_row(detector: LSTMAD, make_series) -> None:
    """Low means anomalous, and the row is the right one."""
    series = make_series(200, seed=3)
    series[137] += [30.0, -70.0]

    scores = detector.score(series)

    assert np.nanargmin(scores.normality_score) == 137


@pytest.mark.parametrize("n_timesteps", [1, SEQUENCE_LENGTH])
def test_a_series_no_longer_than_a_sequence_is_refused(
    detector: LSTMAD, make_series, n_timesteps: int
) -> None:
    """No row of it could have a score."""
    with pytest.raises(SeriesError, match=re.escape("at least 11 are needed")):
        detector.score(make_series(n_timesteps))


def test_the_largest_values_score_finite(detector: LSTMAD) -> None:
    """What the CSV reader lets pass never gives an infinite or empty score."""
    series = np.tile([[1e100, -1e100], [0.0, 1e-100]], (15, 1))

    scores = detector.score(series)

    assert np.isfinite(scores.normality_score[SEQUENCE_LENGTH:]).all()
    assert np.isfinite(scores.reconstruction[SEQUENCE_LENGTH:]).all()


@settings(max_examples=25)
@given(st.integers(SEQUENCE_LENGTH + 1, 900))
def test_scores_do_not_depend_on_the_rows_that_follow(
    detector: LSTMAD, make_series, n_timesteps: int
) -> None:
    """Nor, so, on the size of the batches that the series' length gives rise to."""
    series = make_series(900, seed=3)
    whole = detector.score(series)

    part = detector.score(series[:n_timesteps])

    np.testing.assert_allclose(
        part.normality_score, whole.normality_score[:n_timesteps], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        part.reconstruction, whole.reconstruction[:n_timesteps], rtol=0, atol=1e-5
    )


@settings(max_examples=25)
@given(st.integers(0, 80))
def test_scores_do_not_depend_on_the_sequences_before_the_last(
    detector: LSTMAD, make_series, n_sequences: int
) -> None:
    """A series cut between two sequences scores as the whole one, one sequence on."""
    series = make_series(900, seed=3)
    whole = detector.score(series)
    first = n_sequences * SEQUENCE_LENGTH

    part = detector.score(series[first:])

    np.testing.assert_allclose(
        part.normality_score[SEQUENCE_LENGTH:],
        whole.normality_score[first + SEQUENCE_LENGTH :],
        rtol=1e-4,
        atol=1e-4,
    )


def test_warming_up_scores_without_a_trace(detector: LSTMAD, make_series) -> None:
    """The scores after it are those before it, bit by bit."""
    series = make_series(200, seed=3)
    before = detector.score(series)

    detector.warm_up()

    after = detector.score(series)
    assert after.normality_score.tobytes() == before.normality_score.tobytes()
