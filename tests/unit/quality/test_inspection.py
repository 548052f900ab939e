"""The numbers of a report, against other ways to the same numbers."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pytest

from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.quality.inspection import MAX_SHOWN, Inspection, inspect


@pytest.fixture(scope="module")
def training(make_series) -> Mapping[str, np.ndarray]:
    """Return what the fits of conftest were fitted to."""
    return {"train.csv": make_series(400)}


@pytest.fixture(scope="module")
def validation(make_series) -> Mapping[str, np.ndarray]:
    """Return what they were validated on."""
    return {"valid.csv": make_series(123, seed=1)}


@pytest.fixture(scope="module", params=["tiny_fit", "overlapping_fit"])
def fitted(request: pytest.FixtureRequest) -> Fit:
    """Return a detector of sequences that do not overlap, and one of some that do."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def inspected(fitted: Fit, training, validation) -> Inspection:
    """Return what is seen of it."""
    return inspect(fitted, Rows.of(training, validation))


@pytest.fixture(scope="module")
def unvalidated(tiny, training) -> Inspection:
    """Return what is seen of a detector without validation series."""
    return inspect(fit(Rows.of(training), tiny), Rows.of(training))


def test_the_scores_are_those_of_the_detector(
    inspected: Inspection, fitted: Fit, validation
) -> None:
    """And so are the reconstructions: the first rows have none."""
    scores = fitted.detector.score(validation["valid.csv"])

    n_unscored = int(np.isnan(scores.normality_score).sum())
    stretch = inspected.stretch
    expected = scores.normality_score[n_unscored:].tolist()
    assert expected == inspected.normality_score.tolist()
    np.testing.assert_array_equal(scores.normality_score, stretch.normality_score)
    np.testing.assert_array_equal(scores.reconstruction, stretch.reconstruction)
    np.testing.assert_array_equal(validation["valid.csv"], stretch.values)


def test_the_errors_by_position_make_up_the_loss(
    inspected: Inspection, fitted: Fit
) -> None:
    """Where every position counts as often, the loss is the mean of their squares.

    Where sequences overlap, the loss is also of the first and the last ones.
    """
    is_overlapping = fitted.hyperparameters.layout.is_overlapping
    by_series = np.square(inspected.error_by_series).mean()

    assert by_series == pytest.approx(
        fitted.losses["valid"].mse, rel=0.1 if is_overlapping else 1e-5
    )
    positions = fitted.hyperparameters.layout.prediction_length
    assert inspected.error_by_position.shape == (positions,)
    by_position = np.square(inspected.error_by_position).mean()
    assert by_position == pytest.approx(by_series, rel=0.05)


def test_an_error_is_at_the_position_where_it_happens(tiny_fit: Fit, training) -> None:
    """Sequences start at rows 10, 20 ...; here every one has a jump at its fourth row.

    Repeating the last value is wrong by the jump there, and right everywhere else.
    """
    series = np.tile(tiny_fit.detector.reconstructor.scaler.mean, (60, 1))
    series[3::10] += 1000.0

    found = inspect(tiny_fit, Rows.of(training, {"valid.csv": series}))

    scale = tiny_fit.detector.reconstructor.scaler.scale
    expected = np.zeros(10)
    expected[3] = np.sqrt(np.mean(np.square(1000.0 / scale)))
    assert found.repeated_by_position == pytest.approx(expected)
    assert found.error_by_position.argmax() == 3


def test_a_lead_is_counted_from_the_last_row_that_was_read(
    overlapping_fit: Fit, training
) -> None:
    """On a ramp, repeating the last value is wrong by one step for each row ahead."""
    ramp = np.outer(0.5 + np.arange(100.0), [1.0, 1.0])

    found = inspect(overlapping_fit, Rows.of(training, {"valid.csv": ramp}))

    scale = overlapping_fit.detector.reconstructor.scaler.scale
    step = np.sqrt(np.mean(np.square(1 / scale)))
    assert found.repeated_by_position == pytest.approx(step * np.arange(1.0, 7.0))


def test_the_worst_stretch_is_around_the_lowest_score(
    tiny_fit: Fit, training, make_series
) -> None:
    """In the file that has it, with rows before and after."""
    spoilt = make_series(300, seed=2)
    spoilt[217, 1] += 500.0

    found = inspect(
        tiny_fit,
        Rows.of(training, {"a.csv": make_series(100, seed=3), "b.csv": spoilt}),
    )

    assert (found.stretch.name, found.stretch.lowest) == ("b.csv", 217)
    assert found.stretch.around == slice(157, 278)
    assert found.n_alarms == int((found.normality_score < _threshold(tiny_fit)).sum())
    assert (found.n_rows, found.n_available) == (400, 400)
    assert len(found.normality_score) == 90 + 290


def _threshold(fitted: Fit) -> float:
    """Return the score below which a row is an alarm."""
    return fitted.detector.decision.threshold


def test_few_of_many_series_are_shown(tiny) -> None:
    """Those with the largest errors, and the main one at the lowest score."""
    random = np.random.default_rng(0)
    series = random.normal(size=(300, 7)) * 10.0 ** np.arange(7)
    settings = dataclasses.replace(tiny, epochs=1)
    fitted = fit(Rows.of({"a.csv": series}), settings)
    spoilt = random.normal(size=(100, 7)) * 10.0 ** np.arange(7)
    spoilt[:, [0, 3, 4, 6]] *= 5  # of these the errors are large all the time
    spoilt[50, 1] += 400.0  # in this one, of one row only, but it is the largest

    found = inspect(fitted, Rows.of({"a.csv": series}, {"b.csv": spoilt}))

    assert found.stretch.lowest == 50
    assert 1 in found.stretch.columns
    assert len(found.stretch.columns) == MAX_SHOWN
    assert set(found.stretch.columns) <= {0, 1, 3, 4, 6}
    assert found.stretch.values.shape == (100, MAX_SHOWN)


def test_the_calibration_part_is_looked_at_where_there_is_no_validation(
    unvalidated: Inspection, training
) -> None:
    """The last fifth of the file; the numbers of its rows are those of the file."""
    stretch = unvalidated.stretch

    assert unvalidated.part == "calibration"
    assert (stretch.name, stretch.first_row) == ("train.csv", 320)
    np.testing.assert_array_equal(training["train.csv"][320:], stretch.values)
    assert len(unvalidated.normality_score) == 70


def test_a_look_is_short_however_much_data_there_is(
    tiny_fit: Fit, training, make_series
) -> None:
    """The first rows of many, and files after them not at all.

    Training has read 3 x (3 x 320 + 200 000) and 523 rows; a twentieth of it may be
    read once more.
    """
    many = make_series(200_000, seed=4)

    found = inspect(tiny_fit, Rows.of(training, {"a.csv": many, "b.csv": many[:50]}))

    assert found.n_rows == (3 * (3 * 320 + 200_050) + 320 + 123 + 80) // 20
    assert found.n_available == 200_050
    np.testing.assert_array_equal(many[: found.n_rows], found.stretch.values)


def test_the_memory_for_a_look_is_bounded(tiny_fit: Fit, training, make_series) -> None:
    """After a thousand epochs as after one: two million errors at most."""
    long = dataclasses.replace(tiny_fit, history=tiny_fit.history * 1000)
    very_many = np.tile(make_series(20), (60_000, 1))

    found = inspect(long, Rows.of(training, {"a.csv": very_many}))

    assert found.n_rows == 2**21 // 2


def test_errors_of_separate_series_do_not_depend_on_each_other(
    inspected: Inspection,
) -> None:
    """Though both are sines of one phase: their noise is their own."""
    assert inspected.dependent.tolist() == []


@pytest.mark.parametrize(("n_rows", "dependent"), [(500, [0, 1]), (4, [])])
def test_dependent_errors_are_found_in_enough_rows(
    tiny_fit: Fit, training, validation, n_rows: int, dependent: list[int]
) -> None:
    """Here those of a series are twice those of the other; any four rows nearly are."""
    errors = np.random.default_rng(0).normal(size=(n_rows, 1)) * [1.0, 2.0]
    doubled = dataclasses.replace(tiny_fit, calibration_errors=errors)

    found = inspect(doubled, Rows.of(training, validation))

    assert found.dependent.tolist() == dependent
