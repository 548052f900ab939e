"""The drift of new rows, on dependent rows and on those of a fitted model."""

import dataclasses

import numpy as np
import pytest
from scipy.signal import lfilter

from lstm_ad.data.rows import Rows
from lstm_ad.fitting import Fit, fit
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.quality.drift import (
    BLOCK_ROWS,
    RANKS,
    WINDOW_ROWS,
    Blocks,
    Reference,
    count,
    drift_index,
    score_shift,
    series_shift,
)
from lstm_ad.threshold.calibration import decide

SEEDS = range(20)
N_SERIES, SHIFTED = 8, 3
LOOK, RETRAIN = 0.1, 0.25
"""The bounds that the documents name."""


def dependent(n_rows: int, seed: int, n_series: int = 1) -> np.ndarray:
    """Return AR(0.9) series of mean 0 and deviation 1."""
    noise = np.random.default_rng(seed).normal(size=(n_rows + 100, n_series))
    return lfilter([np.sqrt(1 - 0.9**2)], [1, -0.9], noise, axis=0)[100:]


def load(n_rows: int, seed: int) -> np.ndarray:
    """Return series of other periods, each with dependent noise."""
    time = np.arange(n_rows)[:, np.newaxis] + 37 * seed
    periods = np.linspace(20, 60, N_SERIES)
    return np.sin(2 * np.pi * time / periods) + 0.7 * dependent(n_rows, seed, N_SERIES)


def blocks_of(reference: Reference, values: np.ndarray, scores: np.ndarray) -> Blocks:
    """Return the sums over blocks of the last rows."""
    starts = range(0, len(values), BLOCK_ROWS)
    parts = [reference.standardised(values[i : i + BLOCK_ROWS]) for i in starts]
    return Blocks(
        ranks=np.array(
            [count(reference.bins(scores[i : i + BLOCK_ROWS]))[:-1] for i in starts]
        ),
        n_values=np.array([np.count_nonzero(~np.isnan(p), axis=0) for p in parts]),
        sums=np.array([np.nansum(part, axis=0) for part in parts]),
    )


@pytest.fixture(scope="module")
def model() -> Fit:
    """Return a small model of eight series."""
    return fit(
        Rows.of({"a": load(6000, seed=1000)}),
        hyperparameters=Hyperparameters(
            sequence_length=20, hidden_size=8, num_layers=1, epochs=5, lr=0.01
        ),
    )


def drift(model: Fit, series: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the index and the shifts for the rows that have a score."""
    reference = Reference.of(model.detector, model.n_rows["train"])
    scores = model.detector.score(series).normality_score
    first = model.detector.n_unscored
    blocks = blocks_of(reference, series[first:], scores[first:])
    shifts = series_shift(blocks, reference.n_trained)
    index = drift_index(score_shift(blocks, reference), shifts)
    assert shifts is not None
    assert index is not None
    return index, shifts


def test_new_normal_rows_of_a_model_are_no_drift(model: Fit) -> None:
    """On 19 of 20 seeds the index stays below the lower bound, as do the shifts."""
    found = [drift(model, load(WINDOW_ROWS + 20, seed)) for seed in SEEDS]

    assert sum(index < LOOK for index, _ in found) >= 19
    assert sum(shifts.max() ** 2 < LOOK for _, shifts in found) >= 19


def test_a_shift_of_one_series_by_a_deviation_is_drift_and_named(model: Fit) -> None:
    """Within 10 000 rows."""
    for seed in SEEDS[:5]:
        series = load(WINDOW_ROWS + 20, seed)
        series[:, SHIFTED] += model.detector.reconstructor.scaler.scale[SHIFTED]

        index, shifts = drift(model, series)

        assert index > RETRAIN
        assert np.argmax(shifts) == SHIFTED
        assert np.delete(shifts, SHIFTED).max() < shifts[SHIFTED] / 2


@pytest.mark.parametrize("n_rows", [3_000, WINDOW_ROWS])
@pytest.mark.parametrize("size", [20.0, 1e100])
def test_a_fault_of_100_rows_is_no_drift(model: Fit, n_rows: int, size: float) -> None:
    """However far away it is, and even if there are few other rows yet."""
    for seed in SEEDS[:3]:
        series = load(n_rows + 20, seed)
        series[n_rows // 2 : n_rows // 2 + 100, SHIFTED] = size

        index, _ = drift(model, series)

        assert index < RETRAIN


@pytest.mark.parametrize("n_calibration", [300, 2_000])
def test_dependent_scores_are_compared_as_the_independent_ones_they_are_worth(
    model: Fit, n_calibration: int
) -> None:
    """New ones stay below the lower bound, scores that have moved pass the upper."""
    found = []
    for seed in SEEDS:
        scores = dependent(n_calibration + WINDOW_ROWS, seed)[:, 0]
        decision = decide(scores[:n_calibration], np.zeros((2, 1)), 0.001)
        reference = Reference.of(
            dataclasses.replace(model.detector, decision=decision), 1
        )
        none = np.zeros((WINDOW_ROWS, N_SERIES))
        new = blocks_of(reference, none, scores[n_calibration:])
        moved = blocks_of(reference, none, scores[n_calibration:] - 3)
        found.append([score_shift(new, reference), score_shift(moved, reference)])

    assert sum(index < LOOK for index, _ in found) >= 19
    assert min(index for _, index in found) > RETRAIN


@pytest.mark.parametrize("n_trained", [1_000, 100_000])
def test_dependent_series_are_compared_by_what_their_means_are_worth(
    model: Fit, n_trained: int
) -> None:
    """The mean of training rows is as uncertain as that of as many new ones."""
    reference = Reference.of(model.detector, n_trained)
    shifts = []
    for seed in SEEDS:
        series = dependent(n_trained + WINDOW_ROWS, seed, N_SERIES)
        trained, new = series[:n_trained], series[n_trained:]
        known = dataclasses.replace(
            reference, mean=trained.mean(axis=0), scale=trained.std(axis=0)
        )
        blocks = blocks_of(known, new, np.zeros(WINDOW_ROWS))
        shifts.append(series_shift(blocks, n_trained).max())

    assert sum(shift == 0 for shift in shifts) >= 19


def test_ranks_are_the_probabilities_of_scores_on_calibration_rows(model: Fit) -> None:
    """Without drift, their shares; a row without a score is in none of them."""
    scores = np.random.default_rng(0).normal(size=20_000)
    decision = decide(scores, np.zeros((2, 1)), 0.001)
    reference = Reference.of(dataclasses.replace(model.detector, decision=decision), 1)

    *ranks, n_unscored = count(reference.bins(np.append(scores, np.nan)))
    shares = np.cumsum(ranks) / len(scores)

    assert n_unscored == 1
    np.testing.assert_allclose(shares, RANKS, rtol=0.05, atol=0.002)


def test_missing_values_count_for_nothing_and_few_rows_say_nothing(model: Fit) -> None:
    """The mean is that of the values that are there; a series without any is still."""
    reference = Reference.of(model.detector, 10_000)
    values = np.tile(reference.mean + 2 * reference.scale, (WINDOW_ROWS, 1))
    values[::2] = np.nan
    values[:, 0] = np.nan

    blocks = blocks_of(reference, values, np.zeros(WINDOW_ROWS))
    few = Blocks(*(getattr(blocks, f.name)[:9] for f in dataclasses.fields(blocks)))

    expected = [0.0] + [2.0] * (N_SERIES - 1)
    np.testing.assert_allclose(series_shift(blocks, 10_000), expected)
    assert series_shift(few, 10_000) is None
    assert score_shift(few, reference) is None
    assert drift_index(None, None) is None
