"""Missing values from training to scores."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lstm_ad.artifacts import Fit, load, save
from lstm_ad.data.rows import Rows
from lstm_ad.exceptions import SeriesError
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import HOLD, Hyperparameters
from lstm_ad.scoring.detector import LSTMAD, Scores

LAYOUTS = ("tiny", "overlapping")


def with_holes(series: np.ndarray, share: float, gaps: int, seed: int) -> np.ndarray:
    """Return a series without some cells, and without all cells of some gaps."""
    random = np.random.default_rng(seed)
    found = np.where(random.random(series.shape) < share, np.nan, series)
    for start in random.integers(len(series) // 4, len(series) - 10, gaps):
        found[start : start + 6] = np.nan
    return found


class Fits:
    """What two settings make of the same data."""

    def __init__(self, refusing: Fit, holding: Fit) -> None:
        self.refusing, self.holding = refusing, holding

    def __repr__(self) -> str:
        """Return less than all of it, which hypothesis would show."""
        return "Fits"


@pytest.fixture(scope="module", params=LAYOUTS)
def fits(request: pytest.FixtureRequest, make_series) -> Fits:
    """Fits of the same data: one refuses missing values, and one holds them.

    They have learnt something: without, a row's score is that of its own value, and a
    sensor that is away leaves nothing to tell normal from abnormal by.
    """
    hyperparameters = dataclasses.replace(
        request.getfixturevalue(request.param), epochs=10
    )
    rows = Rows.of({"a": make_series(900)}, {"v": make_series(300, seed=1)})
    holding = dataclasses.replace(hyperparameters, missing_values=HOLD)
    return Fits(fit(rows, hyperparameters), fit(rows, holding))


def equal(first: Scores, second: Scores) -> bool:
    """Return whether scores and reconstructions are equal, to the last bit."""
    return all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
        for name in ("normality_score", "reconstruction", "contribution", "n_missing")
    )


def test_nothing_changes_where_nothing_is_missing(fits: Fits, make_series) -> None:
    """Weights, threshold and scores are those of a model that refuses, to the bit."""
    refusing, holding = fits.refusing, fits.holding
    series = make_series(200, seed=2)

    assert {k: v.tobytes() for k, v in refusing.weights.items()} == {
        k: v.tobytes() for k, v in holding.weights.items()
    }
    assert refusing.detector.decision.threshold == holding.detector.decision.threshold
    assert refusing.losses == holding.losses
    assert equal(*(one.detector.score(series, True) for one in (refusing, holding)))


def test_a_model_that_refuses_says_so(fits: Fits) -> None:
    """Readers refuse before; nobody scores NaN by accident."""
    with pytest.raises(SeriesError, match="missing-values=refuse"):
        fits.refusing.detector.score(np.full((40, 2), np.nan))


@settings(max_examples=30, deadline=None)
@example(seed=12755, n_rows=101)  # a block of one row
@given(seed=st.integers(0, 2**16), n_rows=st.integers(30, 120))
def test_a_growing_series_has_the_scores_of_the_whole(
    fits: Fits, make_series, seed: int, n_rows: int
) -> None:
    """With gaps at any row, and gaps that have not ended yet."""
    detector = fits.holding.detector
    series = with_holes(make_series(120, seed=3), 0.1, gaps=3, seed=seed)

    whole, part = (detector.score(rows, True) for rows in (series, series[:n_rows]))

    assert equal(whole.at(slice(n_rows)), part)


def test_after_a_long_gap_a_series_begins_anew(fits: Fits, make_series) -> None:
    """It has the scores of a series that starts there; in the gap there are none."""
    detector = fits.holding.detector
    series = make_series(140, seed=4)
    series[60:70] = np.nan

    found, anew = detector.score(series), detector.score(series[70:])

    assert np.isnan(found.normality_score[60:70]).all()
    assert found.n_missing is not None
    assert found.n_missing[55:75].tolist() == [0] * 5 + [2] * 10 + [0] * 5
    np.testing.assert_array_equal(found.normality_score[70:], anew.normality_score)


def test_a_saved_model_scores_gaps_as_before(fits: Fits, make_series, tmp_path) -> None:
    """What holds, for how long, and what an outage costs, is part of the model."""
    series = with_holes(make_series(200, seed=5), 0.05, gaps=2, seed=0)
    series[100:140, 1] = np.nan
    save(tmp_path, fits.holding)

    loaded = load(tmp_path)

    assert equal(loaded.score(series, True), fits.holding.detector.score(series, True))


@pytest.mark.parametrize("settings", LAYOUTS)
def test_holes_in_the_training_data_change_little(
    settings: str, make_series, request: pytest.FixtureRequest
) -> None:
    """The loss of what is there, a found fault, and no alarm where values miss."""
    hyperparameters = dataclasses.replace(
        request.getfixturevalue(settings), missing_values=HOLD, epochs=40, lr=0.01
    )
    series, valid = make_series(2000), make_series(600, seed=1)
    losses, detectors = [], []
    for share, gaps in ((0.0, 0), (0.05, 5)):
        rows = Rows.of(
            {"a": with_holes(series, share, gaps, seed=1)},
            {"v": with_holes(valid, share, gaps, seed=2)},
        )
        result = fit(rows, hyperparameters)
        losses.append(result.losses["valid"].mse)
        detectors.append(result.detector)
    complete, holed = losses

    assert holed <= 1.5 * complete
    detector = detectors[1]
    test = with_holes(make_series(600, seed=3), 0.05, 3, seed=4)
    test[300:310, 0] += 3.0
    is_anomaly = detector.decision.is_anomaly(detector.score(test).normality_score)
    assert is_anomaly[298:312].any()
    assert is_anomaly[:290].mean() <= 0.01


def test_a_sensor_that_is_away_makes_no_alarm_and_hides_no_other(
    fits: Fits, make_series
) -> None:
    """Its values are missing for good; the other one is scored, and has a fault."""
    detector = fits.holding.detector
    series = make_series(400, seed=6)
    series[100:, 1] = np.nan
    broken = series.copy()
    broken[250:260, 0] += 30.0

    calm, fault = (
        detector.decision.is_anomaly(detector.score(rows).normality_score)
        for rows in (series, broken)
    )

    assert not calm[100:].any()
    assert fault[250:260].any()


def test_a_series_without_values_is_named(tiny: Hyperparameters, make_series) -> None:
    """Nothing can be learnt from it."""
    series = make_series(400)
    series[:, 1] = np.nan
    holding = dataclasses.replace(tiny, missing_values=HOLD)

    with pytest.raises(SeriesError, match=r"series 2\. Leave the column out"):
        fit(Rows.of({"a": series}), holding)


def test_gaps_that_leave_nothing_to_learn_from_are_said(
    tiny: Hyperparameters, make_series
) -> None:
    """With the rows that are needed."""
    series = make_series(400)
    series[np.arange(400) % 12 > 8] = np.nan
    holding = dataclasses.replace(tiny, missing_values=HOLD, max_gap=1)

    with pytest.raises(SeriesError, match="leave no stretch that is long enough"):
        fit(Rows.of({"a": series}), holding)


def test_a_single_series_has_no_score_where_it_is_missing(
    overlapping: Hyperparameters, make_series
) -> None:
    """Nothing else tells what it does."""
    holding = dataclasses.replace(overlapping, missing_values=HOLD)
    detector: LSTMAD = fit(Rows.of({"a": make_series(900)[:, :1]}), holding).detector
    series = make_series(200, seed=7)[:, :1]
    series[[100, 120]] = np.nan

    score = detector.score(series).normality_score

    assert np.flatnonzero(np.isnan(score[50:])).tolist() == [50, 70]
