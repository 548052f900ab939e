import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lstm_ad.scoring.correlation import MAX_CONDITION
from lstm_ad.scoring.gaussian import (
    RESOLUTION,
    UNBOUNDED,
    WIDE,
    Gaussian,
    Regularisation,
)
from lstm_ad.scoring.moments import Moments

THREE_POINTS = np.array([[0.0, 0.0], [2.0, 2.0], [1.0, 4.0]])
ONES = np.ones(2)


def errors_of(n_timesteps: int, n_series: int, seed: int = 0) -> np.ndarray:
    """Return correlated errors with means and deviations of their own."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(n_series, n_series))
    return random.normal(size=(n_timesteps, n_series)) @ mixing + np.arange(n_series)


def test_three_points_in_two_dimensions() -> None:
    """Worked by hand.

    The mean is (1, 2); the deviations from it (-1, -2), (1, 0) and (0, 2). So the
    variances are 2/3 and 8/3, the covariance 2/3, the determinant 4/3, and the inverse
    ((2, -1/2), (-1/2, 1/2)). The squared distance of the first point is 2 - 2 + 2, of
    the second 2, and of the third 2: three points always lie equally far.
    """
    gaussian = Gaussian.fit([THREE_POINTS], scale=ONES)

    np.testing.assert_allclose(gaussian.mean, [1.0, 2.0], rtol=1e-15)
    np.testing.assert_allclose(
        gaussian.covariance, [[2 / 3, 2 / 3], [2 / 3, 8 / 3]], rtol=1e-14
    )
    at_mean = -math.log(2 * math.pi) - math.log(4 / 3) / 2
    np.testing.assert_allclose(
        gaussian.log_likelihood(np.vstack([THREE_POINTS, [[1.0, 2.0], [3.0, 2.0]]])),
        [at_mean - 1, at_mean - 1, at_mean - 1, at_mean, at_mean - 4],
        rtol=1e-14,
    )


def test_log_likelihood_is_scipys() -> None:
    """Against scipy's own density, in five dimensions."""
    errors = errors_of(200, 5)
    gaussian = Gaussian.fit([errors], scale=np.ones(5))

    expected = scipy.stats.multivariate_normal(
        errors.mean(axis=0), np.cov(errors.T, bias=True)
    ).logpdf(errors)
    np.testing.assert_allclose(gaussian.log_likelihood(errors), expected, rtol=1e-10)


def test_one_series_is_enough() -> None:
    """The standard normal at 0 and 2."""
    gaussian = Gaussian(mean=np.zeros(1), covariance=np.eye(1))

    np.testing.assert_allclose(
        gaussian.log_likelihood(np.array([[0.0], [2.0]])),
        [-math.log(2 * math.pi) / 2, -math.log(2 * math.pi) / 2 - 2],
        rtol=1e-15,
    )


def test_errors_are_signed() -> None:
    """With a mean of 1, an error of +1 is more likely than one of -1."""
    gaussian = Gaussian(mean=np.ones(1), covariance=np.eye(1))

    above, below = gaussian.log_likelihood(np.array([[1.0], [-1.0]]))

    assert above - below == pytest.approx(2.0, rel=1e-14)


def test_covariance_is_per_series_not_pooled() -> None:
    """A known defect of other implementations: one mean and variance for all."""
    errors = np.column_stack(
        [errors_of(50, 1)[:, 0], 100 + 10 * errors_of(50, 1)[:, 0]]
    )
    errors[:, 1] += np.random.default_rng(5).normal(size=50)

    gaussian = Gaussian.fit([errors], scale=ONES)

    np.testing.assert_allclose(gaussian.mean, errors.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(
        gaussian.covariance, np.cov(errors.T, bias=True), rtol=1e-12
    )


def test_well_behaved_errors_are_not_regularised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No warning, and the covariance is the plain estimate."""
    errors = errors_of(100, 3)

    gaussian = Gaussian.fit([errors], scale=np.ones(3))

    np.testing.assert_allclose(
        gaussian.covariance, np.cov(errors.T, bias=True), rtol=1e-12
    )
    assert caplog.records == []


def test_a_constant_error_is_given_its_resolution(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The warning names the series; the others keep their variance."""
    errors = np.column_stack([errors_of(50, 1)[:, 0], np.full(50, 3.0)])

    gaussian = Gaussian.fit([errors], scale=np.array([1e-1, 1e2]))

    np.testing.assert_allclose(
        np.diag(gaussian.covariance), [errors[:, 0].var(), 1e-6], rtol=1e-12
    )
    scores = gaussian.log_likelihood(np.vstack([errors, [[0.0, 4.0]]]))
    assert np.isfinite(scores).all()
    assert scores[-1] < scores[:-1].min() - 1e5
    assert [record.getMessage() for record in caplog.records] == [
        "The errors of series 2 do not vary in the calibration part: any other error "
        "will score very low."
    ]


@pytest.mark.parametrize(
    ("errors", "named"),
    [
        (errors_of(60, 3)[:, [0, 1, 2, 1]], "series 2 and 4"),
        (
            np.column_stack([errors_of(60, 2), errors_of(60, 2).sum(axis=1)]),
            "series 1, ",
        ),
        (errors_of(3, 5), "series 1, 2, 3, 4 and 5"),
        (errors_of(1, 2) * [[1.0, -1.0]], None),
    ],
    ids=["duplicated", "collinear", "fewer rows than series", "a single row"],
)
def test_a_singular_covariance_gives_finite_scores(
    errors: np.ndarray, named: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    """Shrunk no further than the condition number asks, variances kept, and named."""
    n_series = errors.shape[1]
    gaussian = Gaussian.fit([errors], scale=np.full(n_series, 1e-4))

    deviation = np.sqrt(np.diag(gaussian.covariance))
    condition = np.linalg.cond(gaussian.covariance / np.outer(deviation, deviation))
    expected_deviation = np.maximum(errors.std(axis=0), 1e-9)
    assert np.isfinite(gaussian.log_likelihood(errors)).all()
    assert np.isfinite(gaussian.log_likelihood(errors + 1e6)).all()
    assert condition <= MAX_CONDITION * (1 + 1e-6)
    np.testing.assert_allclose(deviation, expected_deviation, rtol=1e-12)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert (named or "series 1 and 2") in messages[0]


def test_dependent_errors_are_named_in_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The whole sentence, for a series that is there twice."""
    errors = errors_of(60, 2)[:, [0, 1, 0]]

    Gaussian.fit([errors], scale=np.ones(3))

    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        "The errors of series 1 and 3 depend on each other linearly in the 60 rows of "
        "the calibration part: their correlations are shrunk by "
    )


def test_parting_duplicates_score_low() -> None:
    """Regularised, the Gaussian still sees that two equal series part."""
    errors = errors_of(60, 1)[:, [0, 0]]
    gaussian = Gaussian.fit([errors], scale=np.ones(2))

    together, apart = gaussian.log_likelihood(np.array([[1.0, 1.0], [1.0, -1.0]]))

    assert together > apart + 1e3


@pytest.mark.parametrize("scales", [(1e30, 1e-30), (1e99, 1.0), (1e-99, 1e99)])
def test_units_only_shift_the_log_likelihood(scales: tuple[float, float]) -> None:
    """A series in units of 1e30 beside one of 1e-30 is as well conditioned as any."""
    errors = errors_of(50, 2)
    plain = Gaussian.fit([errors], scale=ONES)
    scaled = Gaussian.fit([errors * scales], scale=ONES * scales)

    np.testing.assert_allclose(
        scaled.log_likelihood(errors * scales),
        plain.log_likelihood(errors) - np.log(scales).sum(),
        rtol=1e-10,
        atol=1e-10,
    )


@given(st.permutations(range(4)))
def test_permuting_the_series_leaves_the_log_likelihood_unchanged(
    order: list[int],
) -> None:
    """The order of the columns means nothing."""
    errors = errors_of(40, 4)
    scale = np.ones(4)
    expected = Gaussian.fit([errors], scale).log_likelihood(errors)
    permuted = errors[:, order]

    actual = Gaussian.fit([permuted], scale).log_likelihood(permuted)

    np.testing.assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.parametrize("error", [1e99, -1e99, 2e100])
def test_the_largest_errors_score_finite(error: float) -> None:
    """Values are at most 1e100, so errors at most 2e100."""
    gaussian = Gaussian.fit([errors_of(50, 2) * 1e-30], scale=ONES * 1e-30)

    (score,) = gaussian.log_likelihood(np.array([[error, 0.0]]))

    assert np.isfinite(score)
    assert score < -1e100


SQUARE = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
"""Means 0, variances 1, correlation 0."""

DIAGONAL = np.array([[1.0, 2.0], [-1.0, -2.0]])
"""Means 0, deviations 1 and 2, correlation 1."""


@pytest.mark.parametrize(("n_times", "correlation"), [(1, 0.5), (3, 0.75)])
def test_correlations_of_few_rows_are_shrunk_and_variances_are_not(
    n_times: int, correlation: float
) -> None:
    """By hand: to two rows of correlation 1, two rows of none are added; to six, too.

    A half for each of the four entries of the matrix. They make 2 / 4 and 6 / 8; times
    the deviations, 1 and 2.
    """
    regularisation = Regularisation(floor=RESOLUTION, prior_rows=0.5, corner=UNBOUNDED)
    errors = np.tile(DIAGONAL, (n_times, 1))

    gaussian = Gaussian.fit([errors], scale=ONES, regularisation=regularisation)

    covariance = [[1.0, 2 * correlation], [2 * correlation, 4.0]]
    np.testing.assert_allclose(gaussian.covariance, covariance, rtol=1e-12)


def test_deviations_are_raised_to_the_floor_of_their_series() -> None:
    """By hand: 1 stays above half of 1, and becomes half of 10. No warning."""
    regularisation = Regularisation(floor=0.5, prior_rows=0.0, corner=UNBOUNDED)

    gaussian = Gaussian.fit(
        [SQUARE], scale=np.array([1.0, 10.0]), regularisation=regularisation
    )

    np.testing.assert_allclose(
        gaussian.covariance, [[1.0, 0.0], [0.0, 25.0]], rtol=1e-12, atol=1e-15
    )


def test_the_floor_is_that_of_the_series_in_every_reconstruction() -> None:
    """With two reconstructions of two series, the floors are 1, 10, 1, 10 halves."""
    regularisation = Regularisation(floor=0.5, prior_rows=0.0, corner=UNBOUNDED)
    errors = np.hstack([SQUARE, SQUARE[[2, 3, 1, 0]]]) * [1.0, 1.0, 0.1, 8.0]

    gaussian = Gaussian.fit(
        [errors], scale=np.array([1.0, 10.0]), regularisation=regularisation
    )

    np.testing.assert_allclose(
        np.sqrt(np.diag(gaussian.covariance)), [1.0, 5.0, 0.5, 8.0], rtol=1e-12
    )


def test_squares_grow_linearly_beyond_the_corner() -> None:
    """By hand, with a corner of 3: 5 deviations count 2 x 3 x 5 - 9, 1e9 still more.

    The other series still says what it has to say.
    """
    gaussian = Gaussian(mean=np.zeros(2), covariance=np.eye(2), corner=3.0)
    errors = np.array([[3.0, 0.0], [5.0, 0.0], [-5.0, 2.0], [1e9, 0.0]])

    np.testing.assert_allclose(gaussian.distances(errors), [9, 21, 25, 6e9 - 9])
    np.testing.assert_allclose(
        gaussian.distance_drops(errors, n_series=2),
        [[9, 0], [21, 0], [21, 4], [6e9 - 9, 0]],
    )


def test_the_corner_also_holds_for_the_errors_that_are_fitted() -> None:
    """By hand: one row far out must not make all the correlation there is.

    One error of 3 in both series, one of -3, and eighteen without: each deviation is
    3 / sqrt(10), so the far rows lie sqrt(10) deviations out and make the correlation
    1. A corner of 1 leaves them 2 (2 sqrt(10) - 1) / 20 of it.
    """
    errors = np.zeros((20, 2))
    errors[0], errors[1] = 3.0, -3.0
    regularisation = Regularisation(floor=RESOLUTION, prior_rows=0.0, corner=1.0)

    gaussian = Gaussian.fit([errors], scale=ONES, regularisation=regularisation)

    variance, correlation = 9 / 10, (2 * math.sqrt(10) - 1) / 10
    np.testing.assert_allclose(
        gaussian.covariance,
        variance * np.array([[1, correlation], [correlation, 1]]),
        rtol=1e-12,
    )
    assert gaussian.corner == 1.0


def test_a_deviation_is_the_larger_of_calibration_and_training_rows() -> None:
    """By hand: a switch that closed while the LSTM was trained, and not since.

    Its errors on four training rows are 0, 0, 0 and 4, with a root mean square of 2
    about the calibration rows' mean of 0; the other series' are smaller than there.
    """
    training = np.array([[0.0, 0.5], [0.0, -0.5], [0.0, 0.5], [4.0, -0.5]])
    errors = SQUARE * [0.1, 1.0]

    gaussian = Gaussian.fit([errors], ONES, training=Moments.of([training]))

    np.testing.assert_allclose(np.sqrt(np.diag(gaussian.covariance)), [2.0, 1.0])


@pytest.mark.parametrize("cuts", [[20], [0, 7, 59], [59, 60]])
def test_the_errors_of_files_make_the_gaussian_of_all(cuts: list[int]) -> None:
    """Rounding apart; a file may have no rows."""
    errors = errors_of(60, 3)
    whole = Gaussian.fit([errors], np.ones(3), WIDE)

    parts = Gaussian.fit(np.split(errors, cuts), np.ones(3), WIDE)

    np.testing.assert_allclose(parts.covariance, whole.covariance, rtol=1e-12)
    np.testing.assert_allclose(parts.mean, whole.mean, rtol=1e-12)


def test_warnings_name_the_series_and_not_the_places_of_an_error_vector(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Three reconstructions of two series: place 6 is series 2."""
    errors = errors_of(60, 6)
    errors[:, 5] = 1.0

    Gaussian.fit([errors], scale=ONES)

    assert caplog.messages == [
        "The errors of series 2 do not vary in the calibration part: any other error "
        "will score very low."
    ]


def test_dependent_places_are_named_as_their_series(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Three reconstructions of two series: places 1 and 5 are both series 1."""
    errors = errors_of(60, 6)
    errors[:, 4] = errors[:, 0]

    Gaussian.fit([errors], scale=ONES)

    (message,) = caplog.messages
    assert message.startswith("The errors of series 1 depend on each other linearly")


def test_wide_error_vectors_of_few_rows_stay_well_conditioned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """40 entries and 10 rows, to which 3 200 uncorrelated ones are added: no warning.

    Of the correlation matrix, at least 3200 / 3210 is the identity; no eigenvalue is
    larger than 40.
    """
    errors = errors_of(10, 40)

    gaussian = Gaussian.fit([errors], scale=ONES, regularisation=WIDE)

    deviation = np.sqrt(np.diag(gaussian.covariance))
    condition = np.linalg.cond(gaussian.covariance / np.outer(deviation, deviation))
    assert condition <= 40 / (3200 / 3210)
    assert caplog.messages == []


@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_distance_drop_is_what_leaving_a_series_out_saves(
    n_series: int, n_reconstructions: int, seed: int
) -> None:
    """By brute force: the distance of the others under their marginal Gaussian."""
    width = n_series * n_reconstructions
    errors = errors_of(3 * width + 10, width, seed)
    gaussian = Gaussian.fit([errors], scale=np.ones(n_series))

    def distance(places: np.ndarray) -> np.ndarray:
        """Return the squared Mahalanobis distance of some places of the vectors."""
        centred = (errors - gaussian.mean)[:, places]
        covariance = gaussian.covariance[np.ix_(places, places)]
        return (centred * np.linalg.solve(covariance, centred.T).T).sum(axis=1)

    drops = gaussian.distance_drops(errors, n_series)

    places = np.arange(width)
    whole = distance(places)
    expected = [
        whole - distance(places[places % n_series != d]) for d in range(n_series)
    ]
    np.testing.assert_allclose(
        drops / whole[:, np.newaxis],
        np.transpose(expected) / whole[:, np.newaxis],
        rtol=0,
        atol=1e-9,
    )
    assert (drops >= 0).all()


def test_distance_drops_of_independent_series_are_their_own_distances() -> None:
    """By hand: with deviations 1 and 2, errors of 3 and 2 are 9 and 1; 0 is nothing."""
    gaussian = Gaussian(mean=np.zeros(2), covariance=np.diag([1.0, 4.0]))

    drops = gaussian.distance_drops(np.array([[3.0, 2.0], [0.0, -4.0]]), n_series=2)

    np.testing.assert_allclose(drops, [[9.0, 1.0], [0.0, 4.0]], rtol=1e-14)


def test_series_of_all_units_have_their_distance_drops() -> None:
    """A series in units of 1e30 beside one of 1e-30 hides nothing."""
    errors = errors_of(50, 2)
    scales = np.array([1e30, 1e-30])
    plain = Gaussian.fit([errors], scale=ONES)
    scaled = Gaussian.fit([errors * scales], scale=ONES * scales)

    np.testing.assert_allclose(
        scaled.distance_drops(errors * scales, 2),
        plain.distance_drops(errors, 2),
        rtol=1e-9,
        atol=1e-12,
    )


def test_a_quiet_fit_is_the_same_without_warnings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """One series does not vary, two are the same."""
    errors = errors_of(60, 2)[:, [0, 1, 0]] * [1.0, 0.0, 1.0]

    quiet = Gaussian.fit([errors], scale=np.ones(3), names=None)

    assert caplog.messages == []
    loud = Gaussian.fit([errors], scale=np.ones(3))
    assert quiet.covariance.tolist() == loud.covariance.tolist()
    assert len(caplog.messages) == 2
