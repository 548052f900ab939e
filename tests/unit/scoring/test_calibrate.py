"""What scores errors is fitted to all of them, whoever has them."""

import numpy as np
import pytest

from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.scoring.calibrate import Calibrated, Errors, Settings, calibrate
from lstm_ad.scoring.gaussian import MAXIMUM_LIKELIHOOD, WIDE, Gaussian

SCAN = Settings(WIDE, (1, 2, 4), margin=0.1)


def errors_of(n_rows: int, seed: int = 0) -> np.ndarray:
    """Return errors of two series that depend on each other and on the rows before."""
    random = np.random.default_rng(seed)
    errors = random.normal(size=(n_rows, 2)) @ [[1.0, 0.6], [0.0, 0.8]]
    for row in range(1, n_rows):
        errors[row] += 0.5 * errors[row - 1]
    return errors


def fitted(
    calibration: list[np.ndarray],
    training: list[np.ndarray] | None = None,
    settings: Settings = SCAN,
) -> Calibrated:
    """Return what one process makes of errors."""
    others = None if training is None else Errors.alone(training)
    return calibrate(Errors.alone(calibration), others, np.ones(2), settings)


def test_the_documents_setting_is_the_gaussian_of_maximum_likelihood() -> None:
    """Each row by itself: scores are its log-likelihoods, to the last bit."""
    errors = errors_of(300)
    settings = Settings.of(Hyperparameters(), n_series=2)

    found = fitted([errors], settings=settings)

    gaussian = Gaussian.fit([errors], np.ones(2), MAXIMUM_LIKELIHOOD)
    assert found.score(errors).tolist() == gaussian.log_likelihood(errors).tolist()


@pytest.mark.parametrize(
    ("n_series", "lengths"), [(1, (25, 50, 100)), (2, (1, 2, 4, 8, 16, 32, 64))]
)
def test_the_preset_scans_as_its_kind_of_series_wants(
    n_series: int, lengths: tuple[int, ...]
) -> None:
    """Known when the data are read."""
    settings = Hyperparameters.from_strings({"preset": "detection"})

    found = Settings.of(settings.for_series(n_series), n_series)

    assert (found.regularisation, found.lengths) == (WIDE, lengths)


def test_calibration_rows_score_as_new_rows_do() -> None:
    """On average over seeds: the Gaussian does not know them.

    Scored by the Gaussian that was fitted to them, they would be too normal.
    """
    means = []
    for seed in range(20):
        found = fitted([errors_of(60, seed)])
        new = found.score(errors_of(2000, seed + 100))
        means.append([np.mean(found.scores[0]), np.mean(new)])

    held_out, new = np.mean(means, axis=0)
    assert held_out == pytest.approx(new, abs=0.25)


def test_a_rare_switch_that_fires_again_is_no_catastrophe() -> None:
    """It fired while the LSTM was trained, and not in the calibration part."""
    quiet = 0.01 * errors_of(300)
    training = 0.01 * errors_of(900, seed=1)
    training[[100, 500], 1] = 1.0
    test = 0.01 * errors_of(100, seed=2)
    test[50, 1] = 1.0
    errors = Errors.alone([quiet]), Errors.alone([training])

    found = calibrate(*errors, np.ones(2), SCAN)

    deviations = np.sqrt(found.gaussian.distances(test[50:51]))
    assert deviations[0] < 40


def test_a_huge_error_in_one_series_hides_no_fault_in_another() -> None:
    """A million deviations in the first, six in the second on top of them."""
    found = fitted([errors_of(300)])
    errors = np.array([[1e6, 0.0], [1e6, 6.0]])

    without, with_fault = found.gaussian.distances(errors)

    assert with_fault != without


def test_levels_and_scores_end_with_their_file() -> None:
    """Until the shortest window is full there is no score, in each file."""
    parts = [errors_of(50), errors_of(30, seed=1)]
    settings = Settings(WIDE, (5, 10), margin=0.1)

    found = fitted(parts, settings=settings)

    assert [len(part) for part in found.scores] == [50, 30]
    for part in found.scores:
        assert np.isnan(part).tolist() == [True] * 4 + [False] * (len(part) - 4)
