"""Fit a detector: the document's training algorithm, readable as a paragraph."""

import dataclasses
import importlib.metadata
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from lstm_ad.artifacts import Fit
from lstm_ad.axes import FloatArray, ScaledArray
from lstm_ad.calibration import decide, held_out_scores
from lstm_ad.checkpoints import CheckpointFolder, digest_series, fingerprint
from lstm_ad.detector import LSTMAD
from lstm_ad.exceptions import SeriesError, TrainingError
from lstm_ad.gaussian import MAXIMUM_LIKELIHOOD, WIDE, Gaussian
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.labels import check as check_labels
from lstm_ad.labels import choose_threshold, normal_stretches
from lstm_ad.layout import Layout
from lstm_ad.losses import Loss
from lstm_ad.network import StackedLSTM
from lstm_ad.onnx_graph import to_onnx
from lstm_ad.parallel import Cores
from lstm_ad.reconstruction import Reconstructor
from lstm_ad.runtime import OnnxNetwork
from lstm_ad.scaling import Scaler
from lstm_ad.sequences import Rows, input_sequences
from lstm_ad.training import Control, train_network

logger = logging.getLogger(__name__)

MAX_EXPORT_DIFFERENCE = 1e-5
"""How far ONNX Runtime may be from torch, in standard deviations of the series, or,
for reconstructions further than one from the mean, relatively."""

MAX_DEVIATIONS = 1e15
"""The largest distance of a value from its series' mean, in standard deviations:
squares of larger ones are no finite numbers in single precision."""

_BLOCK_SEQUENCES = 4096

MAX_KEPT_ERRORS = 10_000
"""Error vectors that are kept for a report."""


def fit(
    training: Mapping[str, FloatArray],
    validation: Mapping[str, FloatArray],
    hyperparameters: Hyperparameters,
    control: Control | None = None,
    checkpoint_dir: Path | None = None,
    labels: Mapping[str, FloatArray] | None = None,
) -> Fit:
    """Return a detector fitted to normal data.

    Each training series is cut in time: the first part fits the LSTM, the last
    ``calibration-fraction`` gives the errors to which the Gaussian is fitted. No row,
    and no sequence, is in both; where sequences overlap, the LSTM also reads the last
    rows of the first part before it comes to the last part. The validation series say
    how good the model is and, through that, which epoch's weights are kept; without
    any, the calibration part does.

    Args:
        training: Normal series by the name of their file, each of shape ``(T, D)``.
        validation: Likewise; may be empty.
        hyperparameters: The settings of the job.
        control: How training is watched and ended early.
        checkpoint_dir: Where to keep what is needed to go on; None keeps nothing.
        labels: Which rows of the validation series are anomalies, by the same names,
            each of shape ``(T, 1)``: they choose the threshold, and only what is normal
            validates. None if all of them are normal.

    Raises:
        SeriesError: If a series is too short, or has another number of columns than
            the others, or if the labels do not fit. The message names the file.
        TrainingError: If training diverges from its first epoch on, or if the saved
            network does not reconstruct as the trained one.
    """
    _check(training, validation, hyperparameters)
    layout = hyperparameters.layout
    cuts = [hyperparameters.n_fitting(len(s)) for s in training.values()]
    fitting = [s[:cut] for s, cut in zip(training.values(), cuts, strict=True)]
    calibration = [
        s[cut - layout.n_borrowed :]
        for s, cut in zip(training.values(), cuts, strict=True)
    ]
    validating = list(validation.values())
    channels = {"training": training, "validation": validation}
    if labels:
        check_labels(labels, validation, layout.n_unscored)
        validating = normal_stretches(validation, labels, layout.n_unscored)
        channels["labels"] = labels
    data_digest = digest_series(channels)
    # Another version may compute other bits: its checkpoints would end elsewhere.
    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
    digest = fingerprint(hyperparameters.to_public() | versions, data_digest)

    scaler = Scaler.fit(fitting)
    firsts = [cut - layout.n_borrowed for cut in cuts]
    _check_range(dict(zip(training, calibration, strict=True)), firsts, scaler)
    _check_range(validation, [0] * len(validation), scaler)
    # Where rows are borrowed, the first sequence that counts starts after them.
    surplus = max(0, layout.n_borrowed - layout.context_length)
    selection = scaler.transform_all(
        validating or [part[surplus:] for part in calibration]
    )
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
    runtime = OnnxNetwork(to_onnx(weights, layout))
    _require_equal(trained.network, runtime, selection.series(0))

    reconstructor = Reconstructor(scaler, runtime, Cores(torch.get_num_threads()))
    errors = [reconstructor.errors(part) for part in calibration]
    all_errors = np.concatenate(errors)
    caution = WIDE if layout.is_overlapping else MAXIMUM_LIKELIHOOD
    gaussian = Gaussian.fit(all_errors, scaler.scale, caution)
    smoothing = hyperparameters.score_smoothing
    scores = held_out_scores(errors, scaler.scale, caution, smoothing)
    n_series = len(scaler.scale)
    decision = decide(
        scores,
        all_errors.reshape(len(scores), -1, n_series).mean(axis=1),
        hyperparameters.max_alarm_rate,
        block_length=smoothing + layout.prediction_length,
    )
    detector = LSTMAD(reconstructor, gaussian, decision, smoothing)
    if labels:
        labelled = choose_threshold(detector, validation, labels)
        decision = dataclasses.replace(decision, labelled=labelled)
        detector = dataclasses.replace(detector, decision=decision)
    parts = {"train": fitting, "valid": validating, "calibration": calibration}
    result = Fit(
        detector=detector,
        hyperparameters=hyperparameters,
        weights=weights,
        losses={k: reconstructor.evaluate(part) for k, part in parts.items() if part},
        repeated=_repeat_last_value(selection, layout),
        history=trained.history,
        best_epoch=trained.best_epoch,
        n_rows={
            "train": sum(cuts),
            "valid": sum(map(len, validating)),
            "calibration": sum(map(len, training.values())) - sum(cuts),
        },
        calibration_scores=scores,
        calibration_errors=all_errors[:: math.ceil(len(scores) / MAX_KEPT_ERRORS)],
        data_digest=data_digest,
        fingerprint=digest,
    )
    _compare(result)
    return result


def _repeat_last_value(selection: Rows, layout: Layout) -> Loss:
    """Return the loss of repeating the row before each sequence all through it."""

    def errors() -> Iterator[FloatArray]:
        """Yield the errors, a bounded number of rows at a time."""
        step = _BLOCK_SEQUENCES * layout.stride
        for index in range(len(selection.n_timesteps)):
            series = selection.series(index).astype(np.float64)
            for start in range(0, len(series) - layout.context_length, step):
                first = start + layout.context_length
                last = series[first - 1 : first - 1 + step : layout.stride]  # (N, D)
                for lead in range(layout.prediction_length):
                    targets = series[first + lead : first + lead + step : layout.stride]
                    yield targets - last[: len(targets)]

    return Loss.of(errors())


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


def _check(
    training: Mapping[str, FloatArray],
    validation: Mapping[str, FloatArray],
    hyperparameters: Hyperparameters,
) -> None:
    """Refuse series of unequal widths, or too short to be cut as they must be.

    Each of the two parts of a training file needs a context to read and the sequence
    after it to reconstruct: by default, two sequences.
    """
    if not training:
        raise SeriesError("There are no training series: at least one is needed.")
    first, reference = next(iter(training.items()))
    layout = hyperparameters.layout
    context = layout.context_length
    setting = _named(layout)
    for name, series in [*training.items(), *validation.items()]:
        if len(series) <= context and len(series) < series.shape[1]:
            raise SeriesError(
                f"{name}: the file is too short for {setting}: "
                f"{len(series)} rows of {series.shape[1]} columns were found, but one "
                f"row is one time step and one column one time series. Are rows and "
                f"columns exchanged?"
            )
        if series.shape[1] != reference.shape[1]:
            raise SeriesError(
                f"{name}: the number of columns differs between files: "
                f"{series.shape[1]} were found, but {first} has {reference.shape[1]}."
            )
        if series.shape[1] > 1 and _counts_rows(series[:, 0]):
            raise SeriesError(
                f"{name}: column 1 counts the rows, from {series[0, 0]:.0f} to "
                f"{series[-1, 0]:.0f}: an index column is not accepted, every column "
                f"is a time series."
            )
    for name, series in training.items():
        n_fitting = hyperparameters.n_fitting(len(series))
        if not _is_enough(len(series), hyperparameters):
            raise SeriesError(
                f"{name}: the file is too short for {setting}: {len(series)} rows were "
                f"found, of which {n_fitting} would fit the LSTM and "
                f"{len(series) - n_fitting} the Gaussian, but {layout.n_shortest} and "
                f"{layout.n_calibrating} are needed. "
                f"{_what_would_fit(len(series), hyperparameters)}"
            )
    for name, series in validation.items():
        if len(series) <= layout.n_unscored:
            raise SeriesError(
                f"{name}: the file is too short for {setting}: "
                f"{len(series)} rows were found, but at least "
                f"{layout.n_unscored + 1} are needed."
            )


def _counts_rows(column: FloatArray) -> bool:
    """Return whether a column is 0, 1, 2, ... or 1, 2, 3, ... from the first row on."""
    first = column[0]
    return first in (0, 1) and np.array_equal(column, first + np.arange(len(column)))


def _check_range(
    parts: Mapping[str, FloatArray], firsts: Sequence[int], scaler: Scaler
) -> None:
    """Refuse values that are beyond all comparison with the rows that fit the LSTM.

    Args:
        parts: Series, or their last parts, by the name of their file.
        firsts: The row of its file that each starts with, counted from 0.
        scaler: The standardisation.
    """
    low = scaler.mean - MAX_DEVIATIONS * scaler.scale
    high = scaler.mean + MAX_DEVIATIONS * scaler.scale
    for (name, part), first in zip(parts.items(), firsts, strict=True):
        outside = (part.min(axis=0) < low) | (part.max(axis=0) > high)
        if outside.any():
            column = int(np.argmax(outside))
            values = part[:, column]
            is_far = (values < low[column]) | (values > high[column])
            row = int(np.argmax(is_far))
            raise SeriesError(
                f"{name}: row {first + row + 1}, column {column + 1}: "
                f"{values[row]:.6g} is too far from the rows that fit the LSTM: "
                f"accepted are numbers from {low[column]:.6g} to {high[column]:.6g}."
            )


def _named(layout: Layout) -> str:
    """Return the hyperparameters behind a layout, as far as they need saying."""
    context, prediction = layout.context_length, layout.prediction_length
    if context == prediction == layout.stride:
        return f"a sequence-length of {context}"
    return f"a context-length of {context} and a prediction-length of {prediction}"


def _what_would_fit(n_timesteps: int, hyperparameters: Hyperparameters) -> str:
    """Return the ways out of a file of too few rows."""
    layout, fraction = hyperparameters.layout, hyperparameters.calibration_fraction
    # Parts are rounded to whole rows: half a row less may be enough.
    needed = math.floor((layout.n_shortest - 0.5) / (1 - fraction))
    needed = max(needed, math.floor((layout.n_calibrating - 0.5) / fraction))
    while not _is_enough(needed, hyperparameters):
        needed += 1
    more = f"Files of at least {needed} rows are accepted"
    n_fitting = hyperparameters.n_fitting(n_timesteps)
    longest = min(n_fitting, n_timesteps - n_fitting) // 2
    if longest == 0 or _named(layout) != f"a sequence-length of {layout.stride}":
        return f"{more}."
    return f"{more}, or a sequence-length of at most {longest}."


def _is_enough(n_timesteps: int, hyperparameters: Hyperparameters) -> bool:
    """Return whether a file of some rows can be cut into its two parts."""
    layout = hyperparameters.layout
    n_fitting = hyperparameters.n_fitting(n_timesteps)
    n_calibrating = n_timesteps - n_fitting
    return n_fitting >= layout.n_shortest and n_calibrating >= layout.n_calibrating


def _require_equal(
    network: StackedLSTM, runtime: OnnxNetwork, scaled: ScaledArray
) -> None:
    """Refuse a saved network that reconstructs otherwise than the trained one.

    Args:
        network: The trained one.
        runtime: The saved one.
        scaled: A series to compare them on, of shape ``(T, D)``.
    """
    layout = runtime.layout
    if layout.is_overlapping:
        # Along a carried state, harmless differences of rounding grow with the rows.
        rows = scaled[: 2 * layout.n_shortest]
        found, _ = runtime.run(rows, runtime.initial_states())
        found = found[layout.context_length - 1 :: layout.stride]
        inputs = rows[np.newaxis]
    else:
        inputs = input_sequences(scaled, layout)[: runtime.batch_size]
        found, _ = runtime.run(inputs)
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs.copy())).numpy()
    expected = expected.reshape(found.shape)
    magnitude = np.maximum(np.abs(expected), 1.0)  # single precision is relative
    difference = float((np.abs(found - expected) / magnitude).max())
    if not difference <= MAX_EXPORT_DIFFERENCE:
        raise TrainingError(
            f"The saved network differs from the trained one by {difference:.1e} "
            f"standard deviations, but at most {MAX_EXPORT_DIFFERENCE:.0e} is accepted."
        )
