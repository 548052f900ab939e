import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lstm_ad.threshold.tail import PRIOR_SHAPE, Tail, mean_cluster_size

BODY = np.array([0.0, 1.0, 3.0])
"""Exceeded with probabilities 1, 0.1 and 0.01."""


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (0.0, 3 + 2 * math.log(10)),
        (0.5, 3 + 2 * (math.sqrt(10) - 1) / 0.5),
        (-0.5, 3 + 2 * (1 - 1 / math.sqrt(10)) / 0.5),
    ],
)
def test_a_value_ten_times_as_rare_as_the_tail(shape: float, expected: float) -> None:
    """By hand, from the generalised Pareto distribution's formula."""
    tail = Tail(BODY, fraction=0.01, scale=2.0, shape=shape)

    assert tail.quantile(0.001) == pytest.approx(expected, rel=1e-12)


def test_before_the_tail_the_quantiles_say_how_rare_a_value_is() -> None:
    """By hand: half way between two quantiles is half way in the logarithm."""
    tail = Tail(BODY, fraction=0.01, scale=2.0, shape=0.1)

    log10 = tail.log_probability(np.array([-5.0, 0.0, 0.5, 1.0, 2.0, 3.0])) / np.log(10)

    np.testing.assert_allclose(log10, [0, 0, -0.5, -1, -1.5, -2], rtol=1e-12)
    assert tail.quantile(0.1) == pytest.approx(1.0, rel=1e-12)
    assert tail.quantile(1.0) == 0.0


def test_a_negative_shape_has_an_end() -> None:
    """By hand: at 3 + 2 / 0.5 = 7. Nothing normal is there, or beyond."""
    tail = Tail(BODY, fraction=0.01, scale=2.0, shape=-0.5)

    found = tail.log_probability(np.array([6.9, 7.0, 100.0, np.nan]))

    assert math.isfinite(found[0])
    assert found[1:3].tolist() == [-math.inf, -math.inf]
    assert math.isnan(found[3])


@pytest.mark.parametrize("shape", [-0.4, -1e-9, 0.0, 1e-9, 0.3, 1.2])
@pytest.mark.parametrize("probability", [0.7, 0.1, 0.01, 1e-3, 1e-9])
def test_quantile_and_probability_are_each_others_inverse(
    shape: float, probability: float
) -> None:
    """Before the tail and within it, whatever its shape."""
    tail = Tail(BODY, fraction=0.01, scale=2.0, shape=shape)

    found = tail.log_probability(np.array([tail.quantile(probability)]))

    np.testing.assert_allclose(found, [math.log(probability)], rtol=1e-6)


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3, 0.8])
def test_the_estimate_is_as_likely_as_the_most_likely_one(shape: float) -> None:
    """Of samples of a known tail, against the maximum that SciPy searches for."""
    for seed in range(5):
        sample = stats.genpareto.rvs(shape, size=1000, random_state=seed)

        tail = Tail.fit(sample, prior_weight=0)

        exceedances = sample[sample > tail.body[-1]] - tail.body[-1]
        best, _, best_scale = stats.genpareto.fit(exceedances, floc=0)
        found = stats.genpareto.logpdf(exceedances, tail.shape, 0, tail.scale).sum()
        most = stats.genpareto.logpdf(exceedances, best, 0, best_scale).sum()
        assert found > most - 1


def test_few_exceedances_are_drawn_to_a_heavy_tail() -> None:
    """Ten of an exponential tail count twice what is believed beforehand."""
    values = -np.log1p(-(np.arange(20) + 0.5) / 20)
    alone = Tail.fit(values, prior_weight=0)

    tail = Tail.fit(values)

    assert tail.fraction == 0.5
    assert tail.shape == pytest.approx((2 * alone.shape + PRIOR_SHAPE) / 3)
    assert tail.scale == alone.scale
    assert tail.quantile(0.001) > alone.quantile(0.001)


def test_values_that_are_alike_count_as_one() -> None:
    """Each there five times, they say as much of the shape as once."""
    values = np.random.default_rng(0).exponential(size=1000)
    alone = Tail.fit(np.repeat(values, 5), n_alike=5, prior_weight=0)

    tail = Tail.fit(np.repeat(values, 5), n_alike=5)

    n_alone = (np.repeat(values, 5) > tail.body[-1]).sum() / 5
    expected = (n_alone * alone.shape + 5 * PRIOR_SHAPE) / (n_alone + 5)
    assert tail.shape == pytest.approx(expected)


@pytest.mark.parametrize("n_values", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("value", [0.0, -1e30, 7.5])
def test_constant_values_have_a_tail(n_values: int, value: float) -> None:
    """Anything beyond is rare: how much beyond is what the caller says."""
    tail = Tail.fit(np.full(n_values, value), scale_if_few=1.0)

    assert (tail.body == value).all()
    assert tail.scale >= 1.0
    assert tail.quantile(1e-6) > value
    assert tail.log_probability(np.array([value]))[0] >= math.log(tail.fraction) - 1e-9


def test_equal_exceedances_have_a_tail() -> None:
    """A hundred ties put the grid of the estimate onto 0, which is left out."""
    values = np.concatenate([np.zeros(1100), np.ones(100)])

    tail = Tail.fit(values)

    assert math.isfinite(tail.quantile(1e-6))
    assert tail.quantile(1e-6) >= 1.0


@given(
    st.lists(st.floats(-1e200, 1e200), min_size=1, max_size=60),
    st.floats(1e-9, 0.5),
)
def test_whatever_the_values_rarer_ones_are_larger(
    values: list[float], probability: float
) -> None:
    """Finite, and in order, for any values that scores can have."""
    sample = np.array(values)
    tail = Tail.fit(sample, mean_cluster_size(sample), scale_if_few=1.0)

    lower, higher = tail.quantile(probability), tail.quantile(probability / 2)
    found = tail.log_probability(np.sort(np.append(sample, [lower, higher])))

    assert math.isfinite(lower)
    assert lower <= higher
    assert (np.diff(found) <= 0).all()
    assert found[0] <= 0


def test_values_that_come_apart_are_clusters_of_one() -> None:
    """Of independent values the index is 1, but for what a sample can tell."""
    values = np.random.default_rng(0).normal(size=10_000)

    assert mean_cluster_size(values) == pytest.approx(1.0, abs=0.05)


def test_clusters_are_as_large_as_what_is_repeated() -> None:
    """Each value five times in a row: five large ones come, or by chance ten."""
    values = np.repeat(np.random.default_rng(0).normal(size=10_000), 5)

    assert mean_cluster_size(values) == pytest.approx(5.0, rel=0.15)


@pytest.mark.parametrize("values", [[1.0], [1.0] * 50, [0.0] * 9 + [1.0]])
def test_where_nothing_can_be_said_clusters_are_of_one(values: list[float]) -> None:
    """At most one value is large."""
    assert mean_cluster_size(np.array(values)) == 1.0


def test_a_few_huge_values_do_not_put_the_others_out_of_reach() -> None:
    """Faults in the data, say: no tail is believed to be heavier than a shape of 1."""
    values = np.random.default_rng(0).exponential(size=1000)
    values[[100, 500, 900]] = [1e20, 1e30, 1e40]

    tail = Tail.fit(values)

    assert tail.shape == 1.0
    assert tail.quantile(0.01) < 100
