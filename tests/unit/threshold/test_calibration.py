import logging
import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import signal, stats

from lstm_ad.axes import FloatArray
from lstm_ad.scoring.calibrate import Calibrated, Errors, Settings, calibrate
from lstm_ad.scoring.gaussian import MAXIMUM_LIKELIHOOD, WIDE, Regularisation
from lstm_ad.threshold.calibration import SCALE_IF_FEW, decide
from lstm_ad.threshold.decision import Decision
from lstm_ad.threshold.dependence import estimate_dependence
from lstm_ad.threshold.posterior import TailPosterior

RATE = 0.001
SEEDS = range(10)
N_NEW = 10_000
"""New rows per seed: about ten alarms are due on them."""

N_SAMPLES = 40
"""Of calibration data, to measure coverage on: its standard error is then 3.4 points
where it is 95 %, and 1 of 13 such sets of a coverage of 80 % reaches 90 %."""

Draw = Callable[[np.random.Generator, tuple[int, int]], FloatArray]
Transform = Callable[[FloatArray], FloatArray]

DISTRIBUTIONS: dict[str, Draw] = {
    "Gaussian": lambda random, shape: random.normal(size=shape),
    "heavy-tailed": lambda random, shape: random.standard_t(3, size=shape),
    "skewed": lambda random, shape: random.lognormal(sigma=0.5, size=shape),
}


def correlated(draw: Draw, random: np.random.Generator, n: int, width: int):
    """Return error vectors of which neighbouring places are correlated."""
    errors = draw(random, (n, width))
    return errors + 0.3 * np.roll(errors, 1, axis=1)


def learn(
    errors: FloatArray, regularisation: Regularisation, longest: int = 1
) -> tuple[Calibrated, Decision]:
    """Return what is made of error vectors whose entries are series."""
    width = errors.shape[1]
    lengths = [2**doubling for doubling in range(longest.bit_length())]
    found = calibrate(
        Errors.alone([errors]),
        None,
        np.ones(width),
        Settings(regularisation, lengths, margin=0.1),
    )
    return found, decide(found.scores[0], errors, RATE)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize(
    ("n_rows", "width", "regularisation", "longest", "lowest"),
    [
        (400, 38, MAXIMUM_LIKELIHOOD, 1, 1 / 3),
        (8000, 10, WIDE, 64, 1 / 3),
        (2000, 10, WIDE, 64, 0),  # worth few independent rows: no lower limit holds
    ],
    ids=["wide and few", "windows", "windows and few"],
)
def test_the_alarm_rate_on_new_normal_data_is_the_one_asked_for(
    name: str,
    n_rows: int,
    width: int,
    regularisation: Regularisation,
    longest: int,
    lowest: float,
) -> None:
    """Within a factor of 3, on average over calibration data."""
    random = np.random.default_rng(0)
    n_alarms = 0
    for _ in SEEDS:
        errors = correlated(DISTRIBUTIONS[name], random, n_rows, width)
        new = correlated(DISTRIBUTIONS[name], random, N_NEW, width)

        found, decision = learn(errors, regularisation, longest)

        n_alarms += decision.is_anomaly(found.score(new)).sum()

    assert lowest <= n_alarms / (RATE * N_NEW * len(SEEDS)) < 3


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_rate_and_the_interval_hold_for_rows_as_many_as_the_samples(
    name: str,
) -> None:
    """Scores of the Gaussian of two series, compared with those of 100 000 new rows."""
    random = np.random.default_rng(0)
    new = correlated(DISTRIBUTIONS[name], random, 10 * N_NEW, 2)
    rates, n_covered = [], 0
    for _ in range(N_SAMPLES):
        errors = correlated(DISTRIBUTIONS[name], random, 2000, 2)
        found, decision = learn(errors, MAXIMUM_LIKELIHOOD)
        scores = found.score(new)

        rates.append(decision.is_anomaly(scores).mean() / RATE)
        low, high = decision.interval
        n_covered += low <= np.quantile(scores, RATE) <= high

    assert 1 / 3 < np.mean(rates) < 3
    assert n_covered / N_SAMPLES >= 0.9


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_series_leaves_its_normal_range_as_often_as_asked_for(name: str) -> None:
    """Within a factor of 3, on average, each series by itself."""
    random = np.random.default_rng(0)
    n_outside = 0
    for _ in SEEDS:
        errors = DISTRIBUTIONS[name](random, (2000, 2))
        new = DISTRIBUTIONS[name](random, (N_NEW, 2))

        decision = decide(errors[:, 0], errors, RATE)
        lower, upper = decision.normal_range(np.zeros(2))

        n_outside += ((new < lower) | (new > upper)).sum()

    assert 1 / 3 < n_outside / (RATE * N_NEW * 2 * len(SEEDS)) < 3


TAILS: dict[str, tuple[Transform, Transform]] = {
    "light": (stats.norm.isf, stats.norm.sf),
    "exponential": (stats.expon.isf, stats.expon.sf),
    "heavy": (
        lambda p: stats.t.isf(p / 2, 4) ** 2,
        lambda x: 2 * stats.t.sf(np.sqrt(np.maximum(x, 0)), 4),
    ),
}
"""Of minus the scores: the value that is exceeded with a probability, and back. Heavy
are squares of Student's t with four degrees of freedom."""


def dependent(random: np.random.Generator, shape: tuple[int, int, int], kind: float):
    """Return Gaussian values, dependent along the last axis.

    Args:
        random: What draws them.
        shape: Samples, files, and rows of a file.
        kind: The correlation with the value before, or from 1 on, how many independent
            values each is the average of.
    """
    if kind < 1:
        noise = random.normal(size=shape) * math.sqrt(1 - kind**2)
        noise[..., 0] /= math.sqrt(1 - kind**2)
        return signal.lfilter([1], [1, -kind], noise)
    n_before = int(kind) - 1
    noise = random.normal(size=(*shape[:2], shape[2] + n_before))
    return signal.lfilter(np.full(int(kind), kind**-0.5), [1], noise)[..., n_before:]


@pytest.mark.parametrize(
    ("tail", "kind", "n_files", "n_rows", "rate", "lowest"),
    [
        *[(tail, 0.0, 1, 400, 0.001, 0.3) for tail in TAILS],
        *[(tail, 0.0, 1, 2000, 0.001, 0.7) for tail in TAILS],
        ("exponential", 0.0, 1, 2000, 0.01, 0.8),
        ("light", 0.9, 1, 2000, 0.001, 0.3),
        ("light", 0.9, 1, 8000, 0.001, 0.6),
        ("heavy", 0.9, 1, 2000, 0.001, 0.6),
        *[(tail, 0.97, 1, 400, 0.001, 0.0) for tail in TAILS],
        ("exponential", 0.97, 1, 2000, 0.001, 0.3),
        ("exponential", 25, 1, 2000, 0.001, 0.3),
        ("exponential", 50, 1, 2000, 0.001, 0.2),
        ("exponential", 100, 1, 8000, 0.001, 0.1),
        *[(tail, 0.9, 100, 120, 0.001, 0.7) for tail in ("exponential", "heavy")],
    ],
)
def test_the_rate_and_the_interval_hold_for_dependent_scores(
    tail: str, kind: float, n_files: int, n_rows: int, rate: float, lowest: float
) -> None:
    """At most three times the target, and coverage of 95 %, give or take the sample.

    With few effective rows the rate is below the target: what is uncertain is left
    out. Coverage is then higher. Both are exact for each sample, since the distribution
    of the scores is known.
    """
    quantile, survival = TAILS[tail]
    values = dependent(np.random.default_rng(0), (N_SAMPLES, n_files, n_rows), kind)
    values = quantile(stats.norm.sf(values)).reshape(N_SAMPLES, -1)
    lengths = [n_rows] * n_files
    decisions = [decide(-row, np.empty((row.size, 0)), rate, lengths) for row in values]
    lows, highs = np.transpose([decision.interval for decision in decisions])
    thresholds = np.array([decision.threshold for decision in decisions])

    assert lowest <= survival(-thresholds).mean() / rate <= 3
    assert ((lows <= -quantile(rate)) & (-quantile(rate) <= highs)).mean() >= 0.9


def test_the_decision_holds_what_was_estimated() -> None:
    """The threshold is the quantile of the predictive tail, inside the interval."""
    scores = -np.random.default_rng(0).exponential(size=2500)
    dependence = estimate_dependence(-scores)
    posterior = TailPosterior.of(-scores, dependence, SCALE_IF_FEW)

    decision = decide(scores, np.zeros((2500, 2)), RATE)

    tail = posterior.tail(RATE)
    high, low = posterior.interval(RATE, 0.95)
    assert decision.threshold == decision.alarm_threshold == -tail.quantile(RATE)
    assert decision.interval == (-low, -high)
    assert decision.interval[0] < decision.threshold < decision.interval[1]
    assert decision.max_alarm_rate == RATE
    assert decision.n_rows == 2500
    assert decision.n_independent == round(2500 / dependence.rows)
    assert decision.n_exceedances == (-scores > tail.body[-1]).sum()


def test_a_frequent_target_is_counted_in_the_data() -> None:
    """Beyond the tail's fraction of the rows, the threshold is their own quantile."""
    scores = np.random.default_rng(0).normal(size=10_000)

    decision = decide(scores, np.zeros((10_000, 1)), 0.25)

    assert decision.is_anomaly(scores).mean() == pytest.approx(0.25, abs=0.005)


def test_the_rows_of_files_are_told_apart() -> None:
    """The same scores are worth more where their neighbours are of other files."""
    scores = np.repeat(-np.random.default_rng(0).exponential(size=500), 2)
    errors = np.column_stack([scores])

    together = decide(scores, errors, RATE)
    apart = decide(scores, errors, RATE, [1, *[2] * 499, 1])

    assert apart.n_independent > 1.5 * together.n_independent
    assert apart.error_range.tolist() != together.error_range.tolist()


@pytest.mark.parametrize("n_rows", [1, 2, 9, 30])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_hardly_any_rows_and_constant_ones_give_a_cautious_threshold(
    n_rows: int, spread: float
) -> None:
    """Below everything seen, by nats, and finite."""
    random = np.random.default_rng(0)
    errors = spread * random.normal(size=(n_rows, 2))
    found, decision = learn(errors, MAXIMUM_LIKELIHOOD)

    (scores,) = found.scores

    (scores,) = found.scores

    assert math.isfinite(decision.interval[0])
    assert decision.threshold < scores.min() - 1
    assert np.isfinite(decision.error_range).all()
    assert not decision.is_anomaly(scores).any()


def test_the_threshold_is_one_line_of_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With its interval and the rows it was estimated from; no warning if they do."""
    scores = -np.random.default_rng(0).exponential(size=2500)

    with caplog.at_level(logging.INFO):
        decision = decide(scores, np.zeros((2500, 1)), RATE)

    low, high = decision.interval
    assert caplog.messages == [
        f"Threshold {decision.threshold:.6g}: scores below it are anomalies (target: "
        f"0.1 % of normal rows; 95 % interval {low:.6g} to {high:.6g}; estimated from "
        f"2500 rows, {decision.n_exceedances} of them in the tail)."
    ]


@pytest.mark.parametrize(
    ("values", "factor"),
    [
        (np.repeat(np.random.default_rng(0).exponential(size=100), 10), None),
        (np.random.default_rng(0).random(1200), 2),
    ],
    ids=["ten equal", "independent and bounded"],
)
def test_few_rows_for_the_rate_are_a_warning_with_how_many_to_use(
    values: FloatArray, factor: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    """The fewer, the more they depend on each other, but never hardly more."""
    decision = decide(-values, np.zeros((len(values), 1)), RATE)

    low, high = decision.rate_range
    needed = math.ceil(estimate_dependence(values).rows / RATE)
    assert (needed < 2 * len(values)) == bool(factor)
    needed = factor * len(values) if factor else needed
    assert caplog.messages == [
        f"The calibration rows are few for max-alarm-rate 0.001: the {len(values)} of "
        f"them are worth only {decision.n_independent} independent ones, and the "
        f"interval's ends have alarm rates of {low:.2g} and {high:.2g}. The threshold "
        f"is extrapolated far and probably too low, so it finds fewer anomalies; use "
        f"about {needed} rows, or a larger max-alarm-rate."
    ]


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize(("n_rows", "is_far"), [(400, True), (8000, False)])
def test_what_is_warned_of_is_far_extrapolation(
    tail: str, n_rows: int, is_far: bool
) -> None:
    """Not that the target is rarer than one of the independent rows.

    Of 8000 rows that is so as well, but four in five rates are from a tenth of the
    target to three times as much.
    """
    quantile, survival = TAILS[tail]
    values = dependent(np.random.default_rng(0), (N_SAMPLES, 1, n_rows), 0.9)
    values = quantile(stats.norm.sf(values)).reshape(N_SAMPLES, -1)
    decisions = [decide(-row, np.empty((row.size, 0)), RATE) for row in values]
    thresholds = np.array([decision.threshold for decision in decisions])
    low, high = np.quantile(survival(-thresholds) / RATE, [0.1, 0.9])
    n_warnings = sum(decision.is_uncertain for decision in decisions)

    assert max(decision.n_independent for decision in decisions) < 1 / RATE
    assert (low < 0.1 or high > 3) == is_far
    assert (n_warnings > 0.9 * N_SAMPLES) if is_far else (n_warnings == 0)
