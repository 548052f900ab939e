import math

import numpy as np
import pytest

from lstm_ad.threshold.tail import Tail

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
