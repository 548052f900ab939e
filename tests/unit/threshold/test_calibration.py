import logging
import math
from collections.abc import Callable

import numpy as np
import pytest

from lstm_ad.axes import FloatArray
from lstm_ad.scoring.detector import moving_average
from lstm_ad.scoring.gaussian import MAXIMUM_LIKELIHOOD, WIDE, Caution, Gaussian
from lstm_ad.scoring.held_out import N_FOLDS, held_out_scores
from lstm_ad.threshold.calibration import SCALE_IF_FEW, decide
from lstm_ad.threshold.decision import Decision
from lstm_ad.threshold.tail import Tail, mean_cluster_size

RATE = 0.001
SEEDS = range(15)
N_NEW = 10_000
"""New rows per seed: about ten alarms are due on them."""

Draw = Callable[[np.random.Generator, tuple[int, int]], FloatArray]

DISTRIBUTIONS: dict[str, Draw] = {
    "Gaussian": lambda random, shape: random.normal(size=shape),
    "heavy-tailed": lambda random, shape: random.standard_t(3, size=shape),
    "skewed": lambda random, shape: random.lognormal(sigma=0.5, size=shape),
}


def correlated(draw: Draw, random: np.random.Generator, n: int, width: int):
    """Return error vectors of which neighbouring places are correlated."""
    errors = draw(random, (n, width))
    return errors + 0.3 * np.roll(errors, 1, axis=1)


def learn(errors: FloatArray, caution: Caution, smoothing: int) -> Decision:
    """Return what is decided from error vectors whose places are series."""
    scale = np.ones(errors.shape[1])
    scores = held_out_scores([errors], scale, caution, smoothing)
    return decide(scores, errors, RATE, block_length=50)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize(
    ("n_rows", "width", "caution", "smoothing"),
    [
        (2000, 2, MAXIMUM_LIKELIHOOD, 1),
        (400, 38, MAXIMUM_LIKELIHOOD, 1),
        (2000, 10, WIDE, 50),
    ],
    ids=["as the sample", "wide and few", "smoothed"],
)
def test_the_alarm_rate_on_new_normal_data_is_the_one_asked_for(
    name: str, n_rows: int, width: int, caution: Caution, smoothing: int
) -> None:
    """Within a factor of 3, on average over data that the threshold was learnt from."""
    random = np.random.default_rng(0)
    scale = np.ones(width)
    n_alarms = 0
    for _ in SEEDS:
        errors = correlated(DISTRIBUTIONS[name], random, n_rows, width)
        new = correlated(DISTRIBUTIONS[name], random, N_NEW, width)
        gaussian = Gaussian.fit(errors, scale, caution, is_quiet=True)
        scores = moving_average(gaussian.log_likelihood(new), smoothing)

        n_alarms += learn(errors, caution, smoothing).is_anomaly(scores).sum()

    assert 1 / 3 < n_alarms / (RATE * N_NEW * len(SEEDS)) < 3


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_series_leaves_its_normal_range_as_often_as_asked_for(name: str) -> None:
    """Within a factor of 3, on average, each series by itself."""
    random = np.random.default_rng(0)
    n_outside = 0
    for _ in SEEDS:
        errors = DISTRIBUTIONS[name](random, (2000, 2))
        new = DISTRIBUTIONS[name](random, (N_NEW, 2))

        lower, upper = learn(errors, MAXIMUM_LIKELIHOOD, 1).normal_range(np.zeros(2))

        n_outside += ((new < lower) | (new > upper)).sum()

    assert 1 / 3 < n_outside / (RATE * N_NEW * 2 * len(SEEDS)) < 3


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_threshold_of_endless_data_mostly_lies_within_the_interval(
    name: str,
) -> None:
    """At least in three quarters of the cases: the true tail is no exact Pareto."""
    random = np.random.default_rng(0)
    n_within = 0
    for _ in SEEDS:
        errors = DISTRIBUTIONS[name](random, (2000, 2))
        gaussian = Gaussian.fit(errors, np.ones(2))
        scores = gaussian.log_likelihood(DISTRIBUTIONS[name](random, (20 * N_NEW, 2)))

        low, high = learn(errors, MAXIMUM_LIKELIHOOD, 1).interval

        n_within += low <= np.quantile(scores, RATE) <= high

    assert n_within >= 0.75 * len(SEEDS)


def test_each_tenth_is_scored_by_a_gaussian_of_the_others() -> None:
    """The scores are those that new rows would have."""
    errors = np.random.default_rng(0).normal(size=(200, 3))
    scale = np.ones(3)

    scores = held_out_scores([errors[:77], errors[77:]], scale, WIDE, smoothing=1)

    for fold in np.array_split(np.arange(200), N_FOLDS):
        others = Gaussian.fit(np.delete(errors, fold, axis=0), scale, WIDE)
        expected = others.log_likelihood(errors[fold])
        assert scores[fold].tolist() == expected.tolist()


def test_held_out_scores_are_averaged_within_their_part() -> None:
    """As the detector averages those of a series: no average crosses two files."""
    errors = np.random.default_rng(0).normal(size=(200, 3))
    scale = np.ones(3)
    parts = [errors[:77], errors[77:]]
    single = held_out_scores(parts, scale, MAXIMUM_LIKELIHOOD, smoothing=1)

    scores = held_out_scores(parts, scale, MAXIMUM_LIKELIHOOD, smoothing=5)

    expected = [*moving_average(single[:77], 5), *moving_average(single[77:], 5)]
    assert scores.tolist() == expected


def test_the_gaussians_of_parts_warn_of_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What there is to say of the errors, the detector's own Gaussian has said."""
    errors = np.random.default_rng(0).normal(size=(200, 1))[:, [0, 0]]

    held_out_scores([errors], np.ones(2), MAXIMUM_LIKELIHOOD, smoothing=1)

    assert caplog.messages == []


def test_the_threshold_is_the_quantile_of_the_tail() -> None:
    """What was learnt from how many rows is all in the decision."""
    scores = -np.random.default_rng(0).exponential(size=2500)
    n_alike = mean_cluster_size(-scores)
    tail = Tail.fit(-scores, n_alike, SCALE_IF_FEW)

    decision = decide(scores, np.zeros((2500, 2)), RATE, block_length=50)

    low, high = decision.interval
    assert decision.threshold == decision.alarm_threshold == -tail.quantile(RATE)
    assert low < decision.threshold < high
    assert decision.max_alarm_rate == RATE
    assert decision.n_rows == 2500
    assert decision.n_independent == round(2500 / n_alike)
    assert decision.n_exceedances == (-scores > tail.body[-1]).sum()


def test_a_rate_that_data_can_show_is_counted_in_it() -> None:
    """Beyond the tail's part of the rows, the threshold is their own quantile."""
    scores = np.random.default_rng(0).normal(size=10_000)

    decision = decide(scores, np.zeros((10_000, 1)), 0.25, block_length=50)

    assert decision.is_anomaly(scores).mean() == pytest.approx(0.25, abs=0.005)


def test_the_interval_is_wider_where_rows_are_alike() -> None:
    """A hundred times as many rows that say the same do not make it certain."""
    scores = -np.random.default_rng(0).exponential(size=500)
    alike = np.repeat(scores, 10)
    errors = np.zeros((5000, 1))

    narrow, wide = (
        np.ptp(decide(alike, errors, RATE, block_length).interval)
        for block_length in (1, 50)
    )

    assert wide > 2 * narrow


def test_the_same_scores_give_the_same_decision() -> None:
    """The interval, too, though it is drawn."""
    scores = np.random.default_rng(0).normal(size=300)
    errors = np.random.default_rng(1).normal(size=(300, 2))

    once, again = (decide(scores, errors, RATE, block_length=50) for _ in range(2))

    assert (once.threshold, once.interval) == (again.threshold, again.interval)


@pytest.mark.parametrize("n_rows", [1, 2, 9, 30])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_hardly_any_rows_and_constant_ones_give_a_cautious_threshold(
    n_rows: int, spread: float
) -> None:
    """Below everything seen, by nats, and finite."""
    random = np.random.default_rng(0)
    errors = spread * random.normal(size=(n_rows, 2))
    scores = held_out_scores([errors], np.ones(2), MAXIMUM_LIKELIHOOD, smoothing=1)

    decision = decide(scores, errors, RATE, block_length=50)

    assert math.isfinite(decision.interval[0])
    assert decision.threshold < scores.min() - 1
    assert np.isfinite(decision.error_range).all()
    assert not decision.is_anomaly(scores).any()


def test_what_was_learnt_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The threshold, its interval, and the rows behind it; no warning if they do."""
    scores = -np.random.default_rng(0).exponential(size=2500)

    with caplog.at_level(logging.INFO):
        decision = decide(scores, np.zeros((2500, 1)), RATE, block_length=50)

    low, high = decision.interval
    assert caplog.messages == [
        f"Threshold: a score below {decision.threshold:.6g} is an anomaly, which 0.001 "
        f"of normal rows are to be; with a confidence of 95 % it lies from {low:.6g} "
        f"to {high:.6g}; learnt from 2500 rows, {decision.n_exceedances} of them in "
        f"the tail."
    ]


def test_too_few_rows_for_the_rate_are_said_with_how_many_would_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The fewer, the larger clusters low scores come in: here ten."""
    scores = np.repeat(-np.random.default_rng(0).exponential(size=100), 10)

    decision = decide(scores, np.zeros((1000, 1)), RATE, block_length=50)

    needed = math.ceil(mean_cluster_size(-scores) / RATE)
    assert needed > 8000
    assert caplog.messages == [
        f"The calibration part has few rows for a max-alarm-rate of 0.001: 1000, worth "
        f"{decision.n_independent} that do not depend on each other; about {needed} "
        f"would be enough. Until then the threshold is a cautious guess; a larger "
        f"max-alarm-rate needs fewer."
    ]
