"""Rows in which the machine is off, from training to scores."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ad.artifacts import Fit, load, save
from lstm_ad.data.off import marked
from lstm_ad.data.partition import Partition
from lstm_ad.data.rows import TRAINING, VALIDATION, Block, Rows, store
from lstm_ad.exceptions import SeriesError
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import HOLD, Hyperparameters
from lstm_ad.quality.examination import examine
from lstm_ad.scoring.detector import LSTMAD, Scores

OFF_WHEN = "1 < -90"
"""The first series of the sines is never so low."""


def with_off(series: np.ndarray, rows: list[range], seed: int = 0) -> np.ndarray:
    """Return a series with the machine off in some rows: all else is random there."""
    found = series.copy()
    random = np.random.default_rng(seed)
    for run in rows:
        some = slice(run.start, run.stop)
        found[some] = random.normal(scale=1e6, size=found[some].shape)
        found[some, 0] = -99
    return found


def stored(folder, training: np.ndarray, validation: np.ndarray) -> Rows:
    """Return the rows of two files."""
    files = {TRAINING: training, VALIDATION: validation}
    return store(
        folder,
        [
            (channel, "a", marked(iter([Block(part) for part in parts]), OFF_WHEN))
            for channel, values in files.items()
            for parts in [np.array_split(values, 3)]
        ],
    )


@pytest.fixture(scope="module")
def settings_of(tiny: Hyperparameters) -> Hyperparameters:
    """Return hyperparameters with a condition; values may be missing, too."""
    return dataclasses.replace(
        tiny, off_when=OFF_WHEN, missing_values=HOLD, max_gap=2, epochs=2
    )


@pytest.fixture(scope="module")
def off_fit(
    settings_of: Hyperparameters, make_series, tmp_path_factory: pytest.TempPathFactory
) -> Fit:
    """Return a fit of rows some of which are off."""
    training = with_off(make_series(400), [range(150, 170), range(360, 361)])
    validation = with_off(make_series(123, seed=1), [range(60, 70)])
    folder = tmp_path_factory.mktemp("rows")
    return fit(stored(folder, training, validation), settings_of)


@pytest.fixture(scope="module", params=["tiny", "overlapping"])
def either(request: pytest.FixtureRequest, make_series, tmp_path_factory) -> LSTMAD:
    """Return a detector of each kind of layout."""
    if request.param == "tiny":
        found: LSTMAD = request.getfixturevalue("off_fit").detector
        return found
    overlapping = dataclasses.replace(
        request.getfixturevalue("overlapping"),
        **{"off_when": OFF_WHEN, "missing_values": HOLD, "max_gap": 2, "epochs": 1},
        max_anomaly_length=4,
    )
    training = with_off(make_series(400), [range(150, 170)])
    folder = tmp_path_factory.mktemp("rows")
    return fit(stored(folder, training, make_series(123)), overlapping).detector


def equal(first: Scores, second: Scores) -> bool:
    """Return whether scores are equal, to the last bit; contributions nearly."""
    return all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True)
        for name in ("normality_score", "reconstruction", "n_missing")
    ) and np.allclose(first.contribution, second.contribution, equal_nan=True)


def test_values_of_rows_that_are_off_change_nothing(
    off_fit: Fit, settings_of: Hyperparameters, make_series, tmp_path
) -> None:
    """Neither weights nor threshold nor what is said of the data."""
    training = with_off(make_series(400), [range(150, 170), range(360, 361)], seed=5)
    validation = with_off(make_series(123, seed=1), [range(60, 70)], seed=6)
    rows = stored(tmp_path, training, validation)

    other = fit(rows, settings_of)

    assert {k: v.tobytes() for k, v in other.weights.items()} == {
        k: v.tobytes() for k, v in off_fit.weights.items()
    }
    assert other.detector.decision.threshold == off_fit.detector.decision.threshold
    assert other.n_rows == off_fit.n_rows
    assert other.n_rows["valid"] == 113
    assert other.data_digest == off_fit.data_digest
    assert examine(rows, settings_of).findings == ()
    (file, _) = rows.files
    assert file.off == ((150, 170), (360, 361))
    assert not file.n_missing.any()
    assert file.n_on == 379
    # The last fifth of the rows that are not off calibrates.
    assert file.row_after(settings_of.n_fitting(file.n_on)) == 323


def labelled(folder, make_series, anomaly: slice) -> Rows:
    """Return the rows of a training and of a labelled file that is off for 10 rows."""
    validation = make_series(123, seed=1)
    validation[anomaly] += 30
    validation = with_off(validation, [range(60, 70)])
    labels = np.zeros((123, 1))
    labels[anomaly] = 1
    return store(
        folder,
        [
            *(
                (channel, "a", marked(iter([Block(values)]), OFF_WHEN))
                for channel, values in (
                    (TRAINING, make_series(400)),
                    (VALIDATION, validation),
                )
            ),
            ("labels", "a", iter([Block(labels)])),
        ],
    )


def test_labels_count_where_the_machine_is_on(
    settings_of: Hyperparameters, make_series, tmp_path
) -> None:
    """Rows that are off have no score, so they choose no threshold."""
    rows = labelled(tmp_path, make_series, slice(100, 104))
    found = fit(rows, settings_of).detector.decision.labelled
    assert found is not None
    # 10 rows are off, and 10 before each stretch have no score.
    assert found.n_rows == 123 - 10 - 2 * 10


def test_anomalies_without_scores_are_refused(
    settings_of: Hyperparameters, make_series, tmp_path
) -> None:
    """Before training: these are off, or follow on that."""
    rows = labelled(tmp_path, make_series, slice(65, 80))
    with pytest.raises(SeriesError, match="all lie in gaps, where the machine is off"):
        Partition.of(rows, settings_of)


@settings(max_examples=30)
@given(data=st.data())
def test_a_growing_series_has_the_scores_of_the_whole(
    either: LSTMAD, make_series, data: st.DataObject
) -> None:
    """Whatever rows are off or missing; each stretch is a series of its own."""
    detector = either
    runs = data.draw(
        st.lists(st.tuples(st.integers(0, 99), st.integers(1, 30)), max_size=4)
    )
    series = with_off(make_series(100, seed=3), [range(a, a + n) for a, n in runs])
    holes = data.draw(st.lists(st.integers(0, 99), max_size=8))
    series[np.array(holes, dtype=int)] = np.nan
    n_rows = data.draw(st.integers(detector.n_unscored + 1, 100))

    whole, part = (detector.score(rows, True) for rows in (series, series[:n_rows]))

    assert equal(whole.at(slice(n_rows)), part)
    assert whole.is_off is not None
    is_off = series[:, 0] == -99
    assert whole.is_off.tolist() == is_off.tolist()
    assert np.isnan(whole.normality_score[is_off]).all()
    edges = np.flatnonzero(np.diff(~is_off, prepend=False, append=False))
    for start, stop in edges.reshape(-1, 2).tolist():
        if stop - start > detector.n_unscored:
            alone = detector.score(series[start:stop], True)
            assert equal(whole.at(slice(start, stop)), alone)


def test_the_condition_is_saved(off_fit: Fit, tmp_path, make_series) -> None:
    """A loaded detector knows when the machine is off."""
    save(tmp_path, off_fit)
    detector: LSTMAD = load(tmp_path)
    assert detector.off_when == off_fit.detector.off_when
    series = with_off(make_series(60), [range(30, 35)])
    assert equal(detector.score(series, True), off_fit.detector.score(series, True))


def test_a_model_that_refuses_missing_values_may_be_off(
    tiny: Hyperparameters, make_series, tmp_path
) -> None:
    """But a missing value in the condition's series is not off."""
    without_gaps = dataclasses.replace(tiny, off_when=OFF_WHEN, epochs=1)
    training = with_off(make_series(400), [range(150, 170)])
    detector = fit(stored(tmp_path, training, make_series(100)), without_gaps).detector

    series = with_off(make_series(60), [range(30, 35)])
    series[31, 1] = np.nan
    scores = detector.score(series)
    assert scores.n_missing is not None
    assert scores.n_missing[31] == 1
    assert np.isfinite(scores.normality_score[45:]).all()
    series[20, 0] = np.nan
    with pytest.raises(SeriesError, match="missing values"):
        detector.score(series)


def test_a_file_that_is_off_too_long_is_refused(
    settings_of: Hyperparameters, make_series, tmp_path
) -> None:
    """With how many rows are left."""
    training = with_off(make_series(400), [range(10, 400)])
    with pytest.raises(
        SeriesError, match="10 rows that are neither off nor excluded were"
    ):
        fit(stored(tmp_path, training, make_series(100)), settings_of)
