"""A linear model of the last rows, whose errors are scored as the LSTM's are.

A ridge regression maps the last rows to the next ones; each row has several
reconstructions, as where sequences overlap. Whatever an LSTM finds has to be more than
this finds.
"""

import numpy as np

from lstm_ad.hyperparameters import DETECTION, Hyperparameters
from lstm_ad.scoring.calibrate import Calibrated, Errors, Settings, calibrate
from measures import FloatArray

LAGS = {True: 100, False: 10}
"""For one series, or several: how many rows are read."""

AHEAD = {True: 10, False: 5}
"""Likewise, how many are reconstructed."""


def linear_model(
    train: FloatArray, test: FloatArray
) -> tuple[Calibrated, FloatArray, int]:
    """Return what scores errors, the test series' errors, and the rows before them.

    Args:
        train: Normal rows, of shape ``(T, D)``: the first part is fitted to, the last
            one calibrates, as the product divides a file.
        test: Of shape ``(T, D)``.
    """
    settings = Hyperparameters.from_strings({"preset": DETECTION})
    settings = settings.for_series(train.shape[1])
    cut = settings.n_fitting(len(train))
    is_single = train.shape[1] == 1
    lags, ahead = LAGS[is_single], AHEAD[is_single]
    mean, scale = train[:cut].mean(axis=0), train[:cut].std(axis=0)
    scale[scale == 0] = 1.0
    weights = _weights((train[:cut] - mean) / scale, lags, ahead)
    n_unscored = lags + ahead - 1

    def errors(series: FloatArray) -> FloatArray:
        """Return the errors of each row's reconstructions, aligned."""
        scaled = (series - mean) / scale
        inputs = _windows(scaled[:-1], lags)
        made = (_with_ones(inputs) @ weights).reshape(len(inputs), ahead, -1)
        n_rows = len(series) - n_unscored
        parts = [
            scaled[n_unscored:] - made[ahead - 1 - lead :][:n_rows, lead]
            for lead in range(ahead)
        ]
        return np.concatenate(parts, axis=1) * np.tile(scale, ahead)

    calibrated = calibrate(
        Errors.alone([errors(train[max(cut - n_unscored, 0) :])]),
        Errors.alone([errors(train[:cut])]),
        scale,
        Settings.of(settings, train.shape[1]),
    )
    return calibrated, errors(test), n_unscored


def _weights(scaled: FloatArray, lags: int, ahead: int) -> FloatArray:
    """Return the ridge regression of the next rows on the last ones."""
    inputs = _with_ones(_windows(scaled[:-ahead], lags))
    targets = _windows(scaled[lags:], ahead)
    gram = inputs.T @ inputs + np.eye(inputs.shape[1])
    weights: FloatArray = np.linalg.solve(gram, inputs.T @ targets)
    return weights


def _with_ones(inputs: FloatArray) -> FloatArray:
    """Return inputs with a column for the intercept."""
    return np.column_stack([inputs, np.ones(len(inputs))])


def _windows(series: FloatArray, length: int) -> FloatArray:
    """Return every run of ``length`` rows, flattened, of shape ``(N, length * D)``."""
    view = np.lib.stride_tricks.sliding_window_view(series, length, axis=0)
    return view.swapaxes(1, 2).reshape(len(view), -1)
