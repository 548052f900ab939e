"""Fit a detector: the document's training algorithm, readable as a paragraph."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from lstm_ad.artifacts import Fit
from lstm_ad.axes import FloatArray, ScaledArray
from lstm_ad.checkpoints import CheckpointFolder, fingerprint
from lstm_ad.detector import LSTMAD
from lstm_ad.exceptions import SeriesError, TrainingError
from lstm_ad.gaussian import Gaussian
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.losses import Loss
from lstm_ad.network import StackedLSTM
from lstm_ad.onnx_graph import to_onnx
from lstm_ad.reconstruction import Reconstructor
from lstm_ad.runtime import OnnxNetwork
from lstm_ad.scaling import Scaler
from lstm_ad.sequences import Rows, input_sequences
from lstm_ad.training import Control, train_network

logger = logging.getLogger(__name__)

MAX_EXPORT_DIFFERENCE = 1e-5
"""How far ONNX Runtime may be from torch, in standard deviations of the series."""

ERROR_RESOLUTION = 1e-5
"""The smallest spread of errors that is believed, in standard deviations of the
series: the network computes in single precision."""


def fit(
    training: Mapping[str, FloatArray],
    validation: Mapping[str, FloatArray],
    hyperparameters: Hyperparameters,
    control: Control | None = None,
    checkpoint_dir: Path | None = None,
) -> Fit:
    """Return a detector fitted to normal data.

    Each training series is cut in time: the first part fits the LSTM, the last
    ``calibration-fraction`` gives the errors to which the Gaussian is fitted. No row,
    and no sequence, is in both. The validation series say how good the model is and,
    through that, which epoch's weights are kept; without any, the calibration part
    does.

    Args:
        training: Normal series by the name of their file, each of shape ``(T, D)``.
        validation: Likewise; may be empty.
        hyperparameters: The settings of the job.
        control: How training is watched and ended early.
        checkpoint_dir: Where to keep what is needed to go on; None keeps nothing.

    Raises:
        SeriesError: If a series is too short, or has another number of columns than
            the others. The message names the file.
        TrainingError: If training diverges from its first epoch on, or if the saved
            network does not reconstruct as the trained one.
    """
    _check(training, validation, hyperparameters)
    length = hyperparameters.sequence_length
    cuts = [_n_fitting(len(s), hyperparameters) for s in training.values()]
    fitting = [s[:cut] for s, cut in zip(training.values(), cuts, strict=True)]
    calibration = [s[cut:] for s, cut in zip(training.values(), cuts, strict=True)]
    validating = list(validation.values())
    digest = fingerprint(
        hyperparameters.to_public(), {"training": training, "validation": validation}
    )

    scaler = Scaler.fit(fitting)
    selection = scaler.transform_all(validating or calibration)
    trained = train_network(
        scaler.transform_all(fitting),
        selection,
        is_validation=bool(validating),
        hyperparameters=hyperparameters,
        control=control or Control(),
        checkpoints=CheckpointFolder(checkpoint_dir, digest)
        if checkpoint_dir
        else None,
    )
    weights = {k: v.numpy() for k, v in trained.network.state_dict().items()}
    runtime = OnnxNetwork(to_onnx(weights, length))
    _require_equal(
        trained.network, runtime, input_sequences(selection.series(0), length)
    )

    reconstructor = Reconstructor(scaler, runtime)
    gaussian = Gaussian.fit(
        errors=np.concatenate([reconstructor.errors(part) for part in calibration]),
        resolution=ERROR_RESOLUTION * scaler.scale,
    )
    parts = {"train": fitting, "valid": validating, "calibration": calibration}
    result = Fit(
        detector=LSTMAD(reconstructor, gaussian),
        hyperparameters=hyperparameters,
        weights=weights,
        losses={k: reconstructor.evaluate(part) for k, part in parts.items() if part},
        repeated=_repeat_last_value(selection, length),
        history=trained.history,
        best_epoch=trained.best_epoch,
        n_rows={name: sum(map(len, part)) for name, part in parts.items()},
        fingerprint=digest,
    )
    _compare(result)
    return result


def _repeat_last_value(selection: Rows, sequence_length: int) -> Loss:
    """Return the loss of repeating the last row of each sequence in the next one."""
    errors = []
    for index in range(len(selection.n_timesteps)):
        series = selection.series(index)
        last = series[sequence_length - 1 : -1 : sequence_length]  # (N, D)
        repeated = np.repeat(last, sequence_length, axis=0)
        targets = series[sequence_length:]
        errors.append(np.float64(targets) - repeated[: len(targets)])
    return Loss.of(errors)


def _compare(result: Fit) -> None:
    """Warn of a model that is no better than repeating the last value."""
    name = "valid" if "valid" in result.losses else "calibration"
    found, repeated = result.losses[name].mse, result.repeated.mse
    if not found < repeated:
        logger.warning(
            "The model is no better than repeating the last value: its %s_loss is "
            "%.6f, that of repeating is %.6f. More epochs, another lr or another "
            "sequence-length may help.",
            name,
            found,
            repeated,
        )


def _n_fitting(n_timesteps: int, hyperparameters: Hyperparameters) -> int:
    """Return how many of a file's first rows fit the LSTM."""
    return n_timesteps - round(n_timesteps * hyperparameters.calibration_fraction)


def _check(
    training: Mapping[str, FloatArray],
    validation: Mapping[str, FloatArray],
    hyperparameters: Hyperparameters,
) -> None:
    """Refuse series of unequal widths, or too short to be cut as they must be.

    Each of the two parts of a training file needs two sequences: one to read, and the
    next to reconstruct.
    """
    if not training:
        raise SeriesError("There are no training series: at least one is needed.")
    first, reference = next(iter(training.items()))
    length = hyperparameters.sequence_length
    for name, series in [*training.items(), *validation.items()]:
        if series.shape[1] != reference.shape[1]:
            raise SeriesError(
                f"{name}: the number of columns differs between files: "
                f"{series.shape[1]} were found, but {first} has {reference.shape[1]}."
            )
    for name, series in training.items():
        n_fitting = _n_fitting(len(series), hyperparameters)
        shorter = min(n_fitting, len(series) - n_fitting)
        if shorter < 2 * length:
            raise SeriesError(
                f"{name}: the file is too short for a sequence-length of {length}: "
                f"{len(series)} rows were found, of which {n_fitting} would fit the "
                f"LSTM and {len(series) - n_fitting} the Gaussian, but each part needs "
                f"two sequences ({2 * length} rows). "
                f"{_what_would_fit(shorter, hyperparameters)}"
            )
    for name, series in validation.items():
        if len(series) <= length:
            raise SeriesError(
                f"{name}: the file is too short for a sequence-length of {length}: "
                f"{len(series)} rows were found, but at least {length + 1} are needed."
            )


def _what_would_fit(shorter: int, hyperparameters: Hyperparameters) -> str:
    """Return the ways out of a file whose shorter part has ``shorter`` rows."""
    length = hyperparameters.sequence_length
    fraction = hyperparameters.calibration_fraction
    # Parts are rounded to whole rows: half a row less than 2 L may be enough.
    needed = math.floor((2 * length - 0.5) / min(fraction, 1 - fraction))
    while min(n := _n_fitting(needed, hyperparameters), needed - n) < 2 * length:
        needed += 1
    more = f"at least {needed} rows are accepted"
    if shorter < 2:
        return f"Files of {more}."
    return f"Files of {more}, or a sequence-length of at most {shorter // 2}."


def _require_equal(
    network: StackedLSTM, runtime: OnnxNetwork, inputs: ScaledArray
) -> None:
    """Refuse a saved network that reconstructs otherwise than the trained one."""
    inputs = inputs[: runtime.batch_size]
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs)).numpy()
    difference = float(np.abs(runtime.reconstruct(inputs) - expected).max())
    if not difference <= MAX_EXPORT_DIFFERENCE:
        raise TrainingError(
            f"The saved network differs from the trained one by {difference:.1e} "
            f"standard deviations, but at most {MAX_EXPORT_DIFFERENCE:.0e} is accepted."
        )
