import dataclasses
import math

import numpy as np
import pytest

from lstm_ad.threshold.decision import Decision, LabelledThreshold
from lstm_ad.threshold.tail import Tail

RATE = 0.01
TAIL = Tail(np.array([-4.0, 0.0, 2.0]), fraction=0.1, scale=1.0, shape=0.2)
"""Of minus the scores: from 4 down to -2, and rarer below."""


@pytest.fixture
def decision() -> Decision:
    """Return a decision of two series."""
    threshold = -TAIL.quantile(RATE)
    return Decision(
        max_alarm_rate=RATE,
        alarm_threshold=threshold,
        interval=(threshold - 1, threshold + 1),
        tail=TAIL,
        n_rows=1000,
        n_independent=900,
        n_exceedances=100,
        error_range=np.array([[-1.0, -20.0], [2.0, 10.0]]),
    )


LABELLED = LabelledThreshold(
    threshold=-1.5,
    beta=0.1,
    f_beta=0.9,
    precision=0.95,
    recall=0.4,
    n_rows=100,
    n_anomalies=7,
)


def test_a_score_below_the_threshold_is_an_anomaly(decision: Decision) -> None:
    """The threshold itself is none, nor is a row without a score."""
    below = np.nextafter(decision.threshold, -math.inf)

    found = decision.is_anomaly(np.array([below, decision.threshold, 0.0, np.nan]))

    assert found.tolist() == [True, False, False, False]


@pytest.mark.parametrize(("factor", "expected"), [(49, False), (51, True)])
def test_a_threshold_is_uncertain_where_its_interval_is_wide(
    decision: Decision, factor: float, expected: bool
) -> None:
    """Wide is said of alarm rates: scores have no scale of their own."""
    rates = (RATE / 10, RATE / 10 * factor)
    ends = (-TAIL.quantile(rates[0]), -TAIL.quantile(rates[1]))
    found = dataclasses.replace(decision, interval=ends)

    assert found.rate_range == pytest.approx(rates)
    assert found.is_uncertain == expected


def test_the_labels_threshold_is_the_one_that_counts(decision: Decision) -> None:
    """The alarm rate's stays beside it."""
    labelled = dataclasses.replace(decision, labelled=LABELLED)

    assert (decision.source, labelled.source) == ("max-alarm-rate", "labels")
    assert labelled.threshold == -1.5
    assert labelled.alarm_threshold == decision.threshold
    assert labelled.is_anomaly(np.array([-1.6, -1.4])).tolist() == [True, False]


def test_severity_is_the_logarithm_of_how_rare_a_score_is(decision: Decision) -> None:
    """By hand: 0 where all normal scores are lower, and 1/2 at the threshold.

    A score of -2 has p = 0.1, so a quarter, with a rate of 0.01; it is 1 where p is the
    square of the rate, and NaN without a score.
    """
    threshold, last = decision.threshold, -TAIL.quantile(RATE**2)
    scores = np.array([99.0, 4.0, -2.0, threshold, last, -1e9, np.nan])

    found = decision.severity(scores)

    expected = [0, 0, 0.25, 0.5, 1, 1, np.nan]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_severity_rises_as_the_score_falls(decision: Decision) -> None:
    """And never leaves 0 to 1, not even beyond the end of a tail that has one."""
    ends = dataclasses.replace(TAIL, shape=-0.2)
    scores = np.linspace(10, -30, 1000)

    for tail in (TAIL, ends):
        found = dataclasses.replace(decision, tail=tail).severity(scores)

        assert (np.diff(found) >= 0).all()
        assert (found[0], found[-1]) == (0.0, 1.0)


def test_the_normal_range_lies_around_the_reconstruction(decision: Decision) -> None:
    """By hand: each series has its own errors; a row without one has no range."""
    lower, upper = decision.normal_range(np.array([[5.0, 100.0], [np.nan, np.nan]]))

    assert (lower[0].tolist(), upper[0].tolist()) == ([4.0, 80.0], [7.0, 110.0])
    assert np.isnan([lower[1], upper[1]]).all()
