import numpy as np
import pytest
from scipy import signal

from lstm_ad.threshold.autocorrelation import autocorrelation_time
from lstm_ad.threshold.dependence import NONE, estimate_dependence


def autoregressive(correlation: float, n_rows: int, n_files: int = 1):
    """Return files of Gaussian values, each correlated with the one before."""
    noise = np.random.default_rng(0).normal(size=(n_files, n_rows))
    noise[:, 1:] *= np.sqrt(1 - correlation**2)
    return signal.lfilter([1], [1, -correlation], noise).ravel()


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9, 0.97])
def test_the_time_is_the_sum_of_all_autocorrelations(correlation: float) -> None:
    """Of an autoregressive process (1 + r) / (1 - r)."""
    values = autoregressive(correlation, 150_000)

    time = autocorrelation_time(values - values.mean(), [150_000])

    assert time == pytest.approx((1 + correlation) / (1 - correlation), rel=0.1)


def test_an_average_over_25_rows_is_worth_a_25th() -> None:
    """Its autocorrelations are a triangle, whose sum is 25."""
    noise = np.random.default_rng(0).normal(size=100_024)
    values = np.convolve(noise, np.full(25, 0.2), "valid")

    assert autocorrelation_time(values, [100_000]) == pytest.approx(25, rel=0.1)


def test_few_rows_are_corrected_for_their_estimated_mean() -> None:
    """Without it, forty rows of AR(0.9) would have a time of 7, on average."""
    values = autoregressive(0.9, 80, 200).reshape(200, 80)

    times = [autocorrelation_time(row - row.mean(), [80]) for row in values]

    assert np.mean(times) == pytest.approx(19, rel=0.35)


@pytest.mark.parametrize("n_files", [1, 500])
def test_independent_rows_are_worth_nearly_all(n_files: int) -> None:
    """But for the margin, whether they come in one file or in many."""
    values = np.random.default_rng(0).exponential(size=60_000)

    found = estimate_dependence(values, [60_000 // n_files] * n_files)

    assert 1 <= found.exceedances <= found.rows < 1.1


def test_dependence_within_many_short_files_is_found() -> None:
    """As in one long file: 500 files of 120 rows, dependent within each only."""
    short = estimate_dependence(autoregressive(0.9, 120, 500), [120] * 500)
    long = estimate_dependence(autoregressive(0.9, 60_000))

    assert short.rows == pytest.approx(long.rows, rel=0.2)
    assert short.exceedances == pytest.approx(long.exceedances, rel=0.2)


def test_rows_of_different_files_are_independent() -> None:
    """Equal neighbours on either side of a border are no cluster."""
    values = np.repeat(np.random.default_rng(0).normal(size=5000), 2)

    together = estimate_dependence(values, [10_000])
    apart = estimate_dependence(values, [1, *[2] * 4999, 1])

    assert together.rows == pytest.approx(2, rel=0.1)
    assert apart.rows == pytest.approx(1, rel=0.1)
    assert apart.exceedances == pytest.approx(1, rel=0.1)


def test_the_heights_of_values_do_not_matter() -> None:
    """Only their ranks."""
    values = autoregressive(0.9, 5000)

    assert estimate_dependence(values) == estimate_dependence(np.exp(4 * values))


@pytest.mark.parametrize(("correlation", "n_rows"), [(0.97, 400), (0.9, 2000)])
def test_few_dependent_rows_tell_their_dependence(
    correlation: float, n_rows: int
) -> None:
    """As many do, and four in five are not far below: those raise false alarms."""
    many = estimate_dependence(autoregressive(correlation, 200_000))
    rows = autoregressive(correlation, n_rows * 100, 1).reshape(100, n_rows)
    few = [estimate_dependence(row) for row in rows]

    for name in ("rows", "exceedances"):
        ratio = [getattr(one, name) / getattr(many, name) for one in few]
        assert np.median(ratio) == pytest.approx(1, abs=0.3)
        assert np.quantile(ratio, 0.2) > 0.45


def test_large_values_in_bursts_are_found_among_independent_ones() -> None:
    """What all values say of the large ones is not enough there."""
    random = np.random.default_rng(0)
    values = random.normal(size=20_000)
    bursts = np.repeat(random.random(1000) < 0.05, 20)
    values[bursts] += 4

    assert estimate_dependence(values).rows > 3


@pytest.mark.parametrize("values", [[1.0], [1.0] * 50, [0.0] * 20 + [1.0]])
def test_hardly_any_large_values_have_a_dependence(values: list[float]) -> None:
    """None where no value is larger than the others, else at most that of one value."""
    found = estimate_dependence(np.array(values))

    assert 1 <= found.rows <= len(values)
    assert found == NONE or max(values) > min(values)
