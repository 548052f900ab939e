import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lstm_ad.gaussian import MAX_CONDITION, Gaussian

THREE_POINTS = np.array([[0.0, 0.0], [2.0, 2.0], [1.0, 4.0]])
FINE = np.full(2, 1e-12)


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
    gaussian = Gaussian.fit(THREE_POINTS, resolution=FINE)

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
    gaussian = Gaussian.fit(errors, resolution=np.full(5, 1e-12))

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

    gaussian = Gaussian.fit(errors, resolution=FINE)

    np.testing.assert_allclose(gaussian.mean, errors.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(
        gaussian.covariance, np.cov(errors.T, bias=True), rtol=1e-12
    )


def test_well_behaved_errors_are_not_regularised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No warning, and the covariance is the plain estimate."""
    errors = errors_of(100, 3)

    gaussian = Gaussian.fit(errors, resolution=np.full(3, 1e-9))

    np.testing.assert_allclose(
        gaussian.covariance, np.cov(errors.T, bias=True), rtol=1e-12
    )
    assert caplog.records == []


def test_a_constant_error_is_given_its_resolution(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The warning names the series; the others keep their variance."""
    errors = np.column_stack([errors_of(50, 1)[:, 0], np.full(50, 3.0)])

    gaussian = Gaussian.fit(errors, resolution=np.array([1e-6, 1e-3]))

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
    gaussian = Gaussian.fit(errors, resolution=np.full(n_series, 1e-9))

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

    Gaussian.fit(errors, resolution=np.full(3, 1e-9))

    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(
        "The errors of series 1 and 3 depend on each other linearly in the 60 rows of "
        "the calibration part: their correlations are shrunk by "
    )


def test_parting_duplicates_score_low() -> None:
    """Regularised, the Gaussian still sees that two equal series part."""
    errors = errors_of(60, 1)[:, [0, 0]]
    gaussian = Gaussian.fit(errors, resolution=np.full(2, 1e-9))

    together, apart = gaussian.log_likelihood(np.array([[1.0, 1.0], [1.0, -1.0]]))

    assert together > apart + 1e3


@pytest.mark.parametrize("scales", [(1e30, 1e-30), (1e99, 1.0), (1e-99, 1e99)])
def test_units_only_shift_the_log_likelihood(scales: tuple[float, float]) -> None:
    """A series in units of 1e30 beside one of 1e-30 is as well conditioned as any."""
    errors = errors_of(50, 2)
    plain = Gaussian.fit(errors, resolution=FINE)
    scaled = Gaussian.fit(errors * scales, resolution=FINE * scales)

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
    resolution = np.full(4, 1e-12)
    expected = Gaussian.fit(errors, resolution).log_likelihood(errors)
    permuted = errors[:, order]

    actual = Gaussian.fit(permuted, resolution).log_likelihood(permuted)

    np.testing.assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.parametrize("error", [1e99, -1e99, 2e100])
def test_the_largest_errors_score_finite(error: float) -> None:
    """Values are at most 1e100, so errors at most 2e100."""
    gaussian = Gaussian.fit(errors_of(50, 2) * 1e-30, resolution=FINE * 1e-30)

    (score,) = gaussian.log_likelihood(np.array([[error, 0.0]]))

    assert np.isfinite(score)
    assert score < -1e100
