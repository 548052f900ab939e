"""What is saved belongs together: the best epoch's weights, Gaussian and losses."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from lstm_ad import artifacts
from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.scoring.gaussian import Gaussian
from sagemaker_container import metrics

N_EPOCHS = 6


@pytest.fixture(scope="module")
def upside_down(make_series) -> np.ndarray:
    """Return a validation series that grows harder with every epoch of learning.

    One sequence as in training, and the next one mirrored at the mean.
    """
    series = make_series(20)
    series[10:] = 2 * series.mean(axis=0) - series[10:]
    return series


@pytest.fixture(scope="module")
def result(make_series, upside_down, tiny: Hyperparameters) -> Fit:
    """Return a fit whose first epoch is the best of six."""
    settings = dataclasses.replace(tiny, epochs=N_EPOCHS)
    return fit(
        Rows.of({"train.csv": make_series(400)}, {"v.csv": upside_down}), settings
    )


def test_the_best_epoch_is_the_one_of_the_smallest_validation_loss(
    result: Fit,
) -> None:
    """And not the last one, here."""
    losses = [epoch.valid.mse for epoch in result.history]

    assert len(losses) == N_EPOCHS
    assert result.best_epoch == losses.index(min(losses)) + 1 < N_EPOCHS


def test_without_validation_the_calibration_part_chooses(
    make_series, tiny: Hyperparameters
) -> None:
    """Its last rows are mirrored: learning makes the loss there grow, too."""
    series = make_series(400)
    series[330:] = 2 * series.mean(axis=0) - series[330:]
    settings = dataclasses.replace(tiny, epochs=N_EPOCHS)

    result = fit(Rows.of({"train.csv": series}), settings)

    losses = [epoch.calibration.mse for epoch in result.history]
    assert result.best_epoch == losses.index(min(losses)) + 1
    assert result.losses["calibration"].mse == pytest.approx(min(losses), rel=1e-5)


def test_the_final_losses_are_those_of_the_best_epoch(result: Fit) -> None:
    """Of the network as saved: of ONNX Runtime, hence not to the last digit."""
    best = result.history[result.best_epoch - 1]
    last = result.history[-1]

    assert result.losses["valid"].mse == pytest.approx(best.valid.mse, rel=1e-5)
    assert result.losses["valid"].mae == pytest.approx(best.valid.mae, rel=1e-5)
    assert result.losses["valid"].mse != pytest.approx(last.valid.mse, rel=1e-3)


def test_the_saved_gaussian_is_that_of_the_saved_network(
    result: Fit, make_series, tmp_path: Path
) -> None:
    """Worked out again from what was loaded, it is the same to the last bit."""
    artifacts.save(tmp_path, result)
    loaded = artifacts.load(tmp_path)

    again = Gaussian.fit(
        [np.vstack([*loaded.reconstructor.errors(make_series(400)[320:])])],
        loaded.reconstructor.scaler.scale,
    )

    assert loaded.gaussian.mean.tolist() == again.mean.tolist()
    assert loaded.gaussian.covariance.tolist() == again.covariance.tolist()


def test_the_log_and_the_description_name_the_best_epoch(
    result: Fit, tmp_path: Path
) -> None:
    """A person must be able to tell which one won, and out of how many."""
    artifacts.save(tmp_path, result)
    document = json.loads((tmp_path / "model.json").read_text())
    first, *_ = metrics.final_lines(result.losses, result.best_epoch)

    assert (document["best_epoch"], document["epochs"]) == (1, N_EPOCHS)
    assert first.startswith("best epoch: 1 train_loss: ")
