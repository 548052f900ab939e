import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ad.artifacts import Fit
from lstm_ad.exceptions import SeriesError
from lstm_ad.model import runtime
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.scan import SINGLE_ROWS, Scan, Scanner, WindowMeans

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


@pytest.fixture(scope="module")
def overlapping_detector(overlapping_fit: Fit) -> LSTMAD:
    """Return a detector whose sequences overlap; it scans windows of 1, 2 and 4."""
    return overlapping_fit.detector


N_UNSCORED = 10 + 6 - 2
"""The first rows without a score, where the sequences of the fixture overlap."""


@pytest.mark.parametrize("n_timesteps", [15, 16, 17, 40, 1100])
def test_overlapping_sequences_score_every_row_after_the_first_ones(
    overlapping_detector: LSTMAD, make_series, n_timesteps: int
) -> None:
    """C + P - S rows have none; scores and reconstructions begin together."""
    scores = overlapping_detector.score(make_series(n_timesteps, seed=3))

    has_score = np.arange(n_timesteps) >= N_UNSCORED
    assert (np.isfinite(scores.normality_score) == has_score).all()
    assert (np.isfinite(scores.reconstruction) == has_score[:, np.newaxis]).all()


def test_the_reconstruction_is_the_mean_of_a_rows_reconstructions(
    overlapping_detector: LSTMAD, make_series
) -> None:
    """And the score is of all of their errors, not of that mean's."""
    series = make_series(60, seed=3)
    plain = dataclasses.replace(overlapping_detector, scan=SINGLE_ROWS)

    scores = plain.score(series)

    _, parts, errors = zip(*plain.reconstructor.with_errors(series), strict=True)
    expected = np.concatenate(parts).mean(axis=1)
    likelihood = plain.gaussian.log_likelihood(np.vstack(errors))
    assert np.concatenate(parts).shape == (46, 3, 2)
    assert scores.reconstruction[N_UNSCORED:].tolist() == expected.tolist()
    assert scores.normality_score[N_UNSCORED:].tolist() == likelihood.tolist()


@settings(max_examples=25, deadline=None)
@given(st.integers(N_UNSCORED + 1, 1200))
def test_overlapping_scores_do_not_depend_on_the_rows_that_follow(
    overlapping_detector: LSTMAD, make_series, n_timesteps: int
) -> None:
    """Windows of several rows, too: a stream has the scores of the whole."""
    series = make_series(1200, seed=3)
    whole = overlapping_detector.score(series)

    part = overlapping_detector.score(series[:n_timesteps])

    np.testing.assert_allclose(
        part.normality_score, whole.normality_score[:n_timesteps], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(
        part.reconstruction, whole.reconstruction[:n_timesteps], rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("rows", [17, 31, 60])
def test_rows_that_follow_change_no_earlier_score(
    overlapping_detector: LSTMAD, make_series, rows: int
) -> None:
    """Not even rows far outside anything seen."""
    series, other = make_series(100, seed=3), make_series(100, seed=3)
    other[rows:] = 1e6

    scores, others = (overlapping_detector.score(s) for s in (series, other))

    np.testing.assert_array_equal(
        scores.normality_score[:rows], others.normality_score[:rows]
    )
    assert (scores.normality_score[rows:] != others.normality_score[rows:]).all()


def test_a_score_is_that_of_the_worst_window(any_detector: LSTMAD, make_series) -> None:
    """The log-likelihood at the evidence of the scan, and the length it comes from."""
    series = make_series(60, seed=3)
    errors = np.concatenate(list(any_detector.reconstructor.errors(series)))
    scan = Scan(2, np.log([2.0, 3.0]))
    scanning = dataclasses.replace(any_detector, scan=scan)

    scores = scanning.score(series)

    worst, number = Scanner(scan).of(any_detector.gaussian.distances(errors))
    expected = any_detector.gaussian.log_likelihood_at(worst)
    n_unscored = len(series) - len(errors) + 1
    assert scanning.n_unscored == n_unscored
    assert np.isnan(scores.normality_score[:n_unscored]).all()
    assert scores.normality_score[n_unscored:].tolist() == expected[1:].tolist()
    assert scores.lasting[:n_unscored].tolist() == [0] * n_unscored
    assert scores.lasting[n_unscored:].tolist() == [(2, 4)[n] for n in number[1:]]


@pytest.mark.parametrize("scan", [Scan(3, np.zeros(2)), Scan(1, np.zeros(7), 20)])
@pytest.mark.parametrize("run_rows", [1, 3, 16])
def test_windows_do_not_depend_on_how_a_series_is_divided(
    overlapping_detector: LSTMAD,
    make_series,
    scan: Scan,
    run_rows: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parts shorter than a window, a window longer than the series, a memory."""
    scanning = dataclasses.replace(overlapping_detector, scan=scan)
    series = make_series(60, seed=3)
    at_once = scanning.score(series, with_contributions=True)
    monkeypatch.setattr(runtime, "RUN_ROWS", run_rows)

    in_parts = list(scanning.score_in_parts(series, with_contributions=True))

    assert len(in_parts) > 2
    joined = type(at_once).joined(in_parts)
    np.testing.assert_allclose(
        joined.normality_score, at_once.normality_score, rtol=1e-4, atol=1e-4
    )
    assert joined.lasting.tolist() == at_once.lasting.tolist()
    np.testing.assert_allclose(joined.contribution, at_once.contribution, atol=1e-3)


def test_an_overlapping_detector_warms_up(overlapping_detector: LSTMAD) -> None:
    """Its shortest series is longer than a context."""
    overlapping_detector.warm_up()

    with pytest.raises(SeriesError, match="at least 15 are needed"):
        overlapping_detector.score(np.zeros((N_UNSCORED, 2)))


def test_the_largest_values_score_finite_with_overlapping_sequences(
    overlapping_detector: LSTMAD,
) -> None:
    """What the CSV reader lets pass never gives an infinite or empty score."""
    series = np.tile([[1e100, -1e100], [0.0, 1e-100]], (15, 1))

    scores = overlapping_detector.score(series)

    assert np.isfinite(scores.normality_score[N_UNSCORED:]).all()
    assert np.isfinite(scores.reconstruction[N_UNSCORED:]).all()


@pytest.fixture(params=["tiny_fit", "overlapping_fit"])
def any_detector(request: pytest.FixtureRequest) -> LSTMAD:
    """Return a detector with one reconstruction of a row, or three and windows."""
    fit: Fit = request.getfixturevalue(request.param)
    return fit.detector


def test_contributions_are_there_only_if_they_are_asked_for(
    any_detector: LSTMAD, make_series
) -> None:
    """And change nothing: the scores are the same bits."""
    series = make_series(300, seed=3)

    plain = any_detector.score(series)
    explained = any_detector.score(series, with_contributions=True)

    assert plain.contribution is None
    assert plain.direction is None
    assert explained.normality_score.tobytes() == plain.normality_score.tobytes()
    assert explained.reconstruction.tobytes() == plain.reconstruction.tobytes()


def test_contributions_are_parts_of_one(any_detector: LSTMAD, make_series) -> None:
    """At least 0 and 1 in all, wherever there is a score, whatever is scored."""
    series = make_series(300, seed=3)
    series[100] = 1e100
    series[200:220] = 0.0

    scores = any_detector.score(series, with_contributions=True)

    has_score = ~np.isnan(scores.normality_score)
    assert scores.contribution is not None
    assert scores.direction is not None
    assert np.isnan(scores.contribution[~has_score]).all()
    assert np.isnan(scores.direction[~has_score]).all()
    assert (scores.contribution[has_score] >= 0).all()
    np.testing.assert_allclose(
        scores.contribution[has_score].sum(axis=1), 1.0, rtol=1e-12
    )
    assert set(scores.direction[has_score].flat) == {-1.0, 1.0}


def test_contributions_are_fractions_of_the_drops_of_the_scored_window(
    any_detector: LSTMAD, make_series
) -> None:
    """On average over its rows; so is the direction, of value minus reconstruction."""
    series = make_series(300, seed=3)
    errors = np.concatenate(list(any_detector.reconstructor.errors(series)))
    lengths = any_detector.scan.lengths

    scores = any_detector.score(series, with_contributions=True)

    first = len(series) - len(errors)
    number = (
        [lengths.index(length) for length in scores.lasting[first:]],
        range(len(errors)),
    )
    drops = WindowMeans(lengths).of(any_detector.gaussian.distance_drops(errors, 2))
    drops = drops[number]
    signed = errors.reshape(len(errors), -1, 2).mean(axis=1)
    signed = WindowMeans(lengths).of(signed)[number]
    assert scores.contribution is not None
    assert scores.direction is not None
    np.testing.assert_allclose(
        scores.contribution[first:], drops / drops.sum(axis=1, keepdims=True), rtol=1e-9
    )
    np.testing.assert_array_equal(scores.direction[first:], np.where(signed < 0, -1, 1))


@pytest.mark.parametrize(("series", "change"), [(0, 30.0), (1, -70.0)])
def test_the_series_that_spikes_contributes_most(
    detector: LSTMAD, make_series, series: int, change: float
) -> None:
    """With the direction that it went, and though the other is nearly as much.

    The two move together: leaving either out, nothing shows that they have parted.
    """
    values = make_series(200, seed=3)
    values[137, series] += change

    scores = detector.score(values, with_contributions=True)

    assert scores.contribution is not None
    assert scores.direction is not None
    assert np.argmax(scores.contribution[137]) == series
    assert scores.direction[137, series] == np.sign(change)


def test_where_no_distance_drops_all_series_have_equal_parts(
    detector: LSTMAD, make_series
) -> None:
    """All errors are exactly the expected ones: here, under a Gaussian made so."""
    series = make_series(11, seed=3)
    (errors,) = np.vstack([*detector.reconstructor.errors(series)])
    gaussian = dataclasses.replace(detector.gaussian, mean=errors)
    exact = dataclasses.replace(detector, gaussian=gaussian)

    scores = exact.score(series, with_contributions=True)

    assert scores.contribution is not None
    assert scores.contribution[10].tolist() == [0.5, 0.5]


def test_an_event_may_bridge_a_sequence(detector: LSTMAD, overlapping_fit: Fit) -> None:
    """An anomaly disturbs the sequence that is reconstructed from it."""
    assert detector.event_gap == SEQUENCE_LENGTH
    assert overlapping_fit.detector.event_gap == 6
