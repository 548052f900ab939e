"""A series to learn, and how: these tests need a GPU, and pass over without one."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from lstm_ad.data.partition import Owned
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.scaling import Scaler
from lstm_ad.model.sequences import Ranges
from lstm_ad.training.checkpoints import CheckpointFolder
from lstm_ad.training.control import Control
from lstm_ad.training.loop import Trained, TrainingRows, train_network


@pytest.fixture(params=["tiny", "overlapping"])
def settings(request: pytest.FixtureRequest) -> Hyperparameters:
    """Return settings without and with overlapping sequences, both with dropout."""
    found: Hyperparameters = request.getfixturevalue(request.param)
    return dataclasses.replace(found, dropout=0.2)


@pytest.fixture
def train(make_series) -> Callable[..., Trained]:
    """Return the function that learns a series of which some values are missing."""
    series = make_series(500)
    values = Scaler.fit([series]).transform(series)
    observed = np.random.default_rng(0).random(values.shape) > 0.05
    fitting, chosen = (
        (Owned((0,), Ranges(np.array([first]), np.array([length]))),)
        for first, length in ((0, 380), (380, 120))
    )
    rows = TrainingRows(values, observed, fitting, {"train": fitting, "valid": chosen})

    def run(
        hyperparameters: Hyperparameters,
        control: Control | None = None,
        checkpoints: CheckpointFolder | None = None,
    ) -> Trained:
        return train_network(rows, hyperparameters, control or Control(), checkpoints)

    return run
