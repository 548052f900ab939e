"""How a detector does on normal rows."""

from collections.abc import Callable

import numpy as np
import pytest

from lstm_ad.artifacts import Fit
from lstm_ad.scoring.measured import measure, reconstruction_loss

Series = Callable[..., np.ndarray]


def test_a_detector_is_measured_on_all_rows_that_have_a_score(
    tiny_fit: Fit, make_series: Series
) -> None:
    """Of several series together; the loss is in the units that are asked for."""
    detector = tiny_fit.detector
    normal = make_series(110)
    scale = detector.reconstructor.scaler.scale
    errors = (normal - detector.score(normal).reconstruction)[10:] / scale

    one = measure(detector, [normal], 2 * scale)
    both = measure(detector, [normal, normal + 1e6], scale)

    assert one.loss.mse == pytest.approx(np.square(errors).mean() / 4)
    assert one.loss.mae == pytest.approx(np.abs(errors).mean() / 2)
    assert (one.alarm_rate, one.n_rows) == (0.0, 100)
    assert (both.alarm_rate, both.n_rows) == (0.5, 200)


def test_the_loss_of_an_lstm_is_the_one_that_training_found(
    tiny_fit: Fit, make_series: Series
) -> None:
    """On the validation series, of which a model knows it."""
    reconstructor = tiny_fit.detector.reconstructor

    found = reconstruction_loss(
        reconstructor, [make_series(123, seed=1)], reconstructor.scaler.scale
    )

    assert found.mse == pytest.approx(tiny_fit.losses["valid"].mse, rel=1e-5)
    assert found.mae == pytest.approx(tiny_fit.losses["valid"].mae, rel=1e-5)
