import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lstm_ad.threshold.dependence import NONE, Dependence, estimate_dependence
from lstm_ad.threshold.posterior import TailPosterior


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3, 0.8])
def test_many_exceedances_give_the_maximum_likelihood(shape: float) -> None:
    """Within two standard errors: then the prior distribution hardly matters."""
    values = stats.genpareto.rvs(shape, size=100_000, random_state=0)

    found = TailPosterior.of(values)

    exceedances = values[values > found.body[-1]] - found.body[-1]
    assert found.n_exceedances == len(exceedances)
    best, _, scale = stats.genpareto.fit(exceedances, floc=0)
    error = (1 + best) / math.sqrt(len(exceedances))
    assert (found.weight * found.shape).sum() == pytest.approx(best, abs=2 * error)
    assert (found.weight * np.log(found.scale)).sum() == pytest.approx(
        math.log(scale), abs=2 * error
    )


def test_the_uncertainty_of_the_shape_is_that_of_the_likelihood() -> None:
    """The standard error of the shape is (1 + shape) / sqrt(n)."""
    found = TailPosterior.of(np.random.default_rng(0).exponential(size=100_000))

    mean = (found.weight * found.shape).sum()
    error = math.sqrt((found.weight * (found.shape - mean) ** 2).sum())
    assert error == pytest.approx((1 + mean) / math.sqrt(found.n_exceedances), rel=0.1)


def test_dependent_rows_count_as_fewer() -> None:
    """Each five times, they say as much as once."""
    values = np.random.default_rng(0).exponential(size=1000)

    once = TailPosterior.of(values)
    repeated = TailPosterior.of(np.repeat(values, 5), Dependence(5, 5))

    assert repeated.n_independent == once.n_independent
    np.testing.assert_allclose(
        [*repeated.interval(0.001, 0.95), repeated.tail(0.001).quantile(0.001)],
        [*once.interval(0.001, 0.95), once.tail(0.001).quantile(0.001)],
        rtol=0.03,
    )


@pytest.mark.parametrize("n_values", [20, 200, 20_000])
@pytest.mark.parametrize("probability", [1e-2, 1e-3, 1e-6])
def test_the_tail_has_the_predictive_probability(
    n_values: int, probability: float
) -> None:
    """The mean of the probabilities that all tails of the posterior give a value."""
    found = TailPosterior.of(np.random.default_rng(0).exponential(size=n_values))
    tail = found.tail(probability)

    excess = tail.quantile(probability) - found.body[-1]

    each = stats.genpareto.sf(excess, found.shape, 0, found.scale)
    fraction = stats.beta.mean(
        found.n_independent * found.fraction + 0.5,
        found.n_independent * (1 - found.fraction) + 0.5,
    )
    assert fraction * (found.weight * each).sum() == pytest.approx(
        probability, rel=0.02
    )


def test_fewer_values_give_a_lower_probability_to_the_same_excess() -> None:
    """What is less certain must be further away."""
    values = np.random.default_rng(0).exponential(size=1000)

    quantiles = [
        TailPosterior.of(values, Dependence(d, d)).tail(0.001).quantile(0.001)
        for d in (1, 3, 10, 30)
    ]

    assert quantiles == sorted(quantiles)
    assert quantiles[-1] > 2 * quantiles[0]


def test_the_interval_within_the_sample_is_that_of_its_quantile() -> None:
    """Of the values' upper half: 1.96 standard errors around the median."""
    values = np.random.default_rng(0).uniform(size=10_000)

    low, high = TailPosterior.of(values).interval(0.5, 0.95)

    assert low == pytest.approx(0.5 - 0.0098, abs=0.006)
    assert high == pytest.approx(0.5 + 0.0098, abs=0.006)


@pytest.mark.parametrize("n_values", [1, 2, 3, 10, 1000])
@pytest.mark.parametrize("value", [0.0, -1e30, 7.5])
def test_constant_values_have_a_tail(n_values: int, value: float) -> None:
    """Anything beyond is rare: the caller says how far beyond."""
    found = TailPosterior.of(np.full(n_values, value), NONE, scale_if_few=1.0)
    tail = found.tail(1e-6)

    assert (tail.body == value).all()
    assert (found.n_exceedances, tail.scale > 0) == (0, True)
    assert value < tail.quantile(1e-6) < math.inf


def test_a_few_huge_values_do_not_put_the_others_out_of_reach() -> None:
    """Faults in the data, say: no shape is larger than 1."""
    values = np.random.default_rng(0).exponential(size=1000)
    values[[100, 500, 900]] = [1e20, 1e30, 1e40]

    assert TailPosterior.of(values).tail(0.01).quantile(0.01) < 100


@pytest.mark.parametrize(
    ("n_values", "rows", "expected"),
    [(8, 1, 4), (30, 1, 15), (400, 1, 60), (400, 4, 120), (400, 40, 200)],
)
def test_the_tail_grows_with_the_dependence_up_to_half(
    n_values: int, rows: float, expected: int
) -> None:
    """Three times the root of the values and of what one independent one takes."""
    values = np.random.default_rng(0).exponential(size=n_values)

    found = TailPosterior.of(values, Dependence(rows, rows))

    assert found.n_exceedances == expected


@settings(deadline=None)  # a busy machine takes its time
@given(
    st.lists(st.floats(-1e200, 1e200), min_size=1, max_size=60),
    st.floats(1e-9, 0.5),
)
def test_whatever_the_values_rarer_ones_are_larger(
    values: list[float], probability: float
) -> None:
    """Finite, and in order, for any values that scores can have."""
    sample = np.array(values)
    posterior = TailPosterior.of(sample, estimate_dependence(sample), scale_if_few=1.0)
    tail = posterior.tail(probability)

    lower, higher = tail.quantile(probability), tail.quantile(probability / 2)
    found = tail.log_probability(np.sort(np.append(sample, [lower, higher])))
    low, high = posterior.interval(probability, 0.95)

    assert math.isfinite(lower)
    assert lower <= higher
    assert -math.inf < low <= high < math.inf
    assert (found[1:] <= found[:-1]).all()
    assert found[0] <= 0
