"""Refuse series that cannot be used, before and after their values are known."""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.data.rows import File
from lstm_ad.data.schema import Clock, Schema
from lstm_ad.exceptions import HyperparameterError, SeriesError
from lstm_ad.hyperparameters import CALIBRATE, Hyperparameters
from lstm_ad.model.layout import Layout
from lstm_ad.model.scaling import Scaler

MAX_STEP_DIFFERENCE = 0.1
"""How much the steps of time of two files may differ, as a part of one of them."""

MAX_DEVIATIONS = 1e15
"""The largest distance of a value from its series' mean, in standard deviations:
squares of larger ones are no finite numbers in single precision."""

N_MATRICES = 10
"""Square matrices, with a row for each error of a time step, that fitting the Gaussian
holds at its peak: 10.1 were measured with 1500 errors."""


def check_files(
    training: Sequence[File],
    validation: Sequence[File],
    hyperparameters: Hyperparameters,
) -> None:
    """Refuse files of unequal widths, or too short to be cut as they must be.

    Each of the two parts of a training file needs a context to read and the sequence
    after it to reconstruct: by default, two sequences.

    Raises:
        SeriesError: If there is such a file, or none at all.
    """
    if not training:
        raise SeriesError("There are no training series: at least one is needed.")
    reference = training[0]
    layout = hyperparameters.layout
    context = layout.context_length
    setting = _named(layout)
    for file in (*training, *validation):
        if file.n_timesteps <= context and file.n_timesteps < file.n_series:
            raise SeriesError(
                f"{file.name}: the file is too short for {setting}: "
                f"{file.n_timesteps} rows of {file.n_series} columns were found, but "
                f"one row is one time step and one column one time series. Are rows "
                f"and columns exchanged?"
            )
        if file.n_series != reference.n_series:
            raise SeriesError(
                f"{file.name}: the number of columns differs between files: "
                f"{file.n_series} were found, but {reference.name} has "
                f"{reference.n_series}."
            )
    calibrates = hyperparameters.warm_start == CALIBRATE
    n_calibrating = layout.n_borrowed + layout.n_calibrating
    for file in training:
        n_timesteps, found = file.n_on, _found(file)
        if calibrates and n_timesteps < n_calibrating:
            raise SeriesError(
                f"{file.name}: the file is too short for {setting}: {n_timesteps} rows "
                f"{found}, but at least {n_calibrating} are needed."
            )
        n_fitting = hyperparameters.n_fitting(n_timesteps)
        if not calibrates and not _is_enough(n_timesteps, hyperparameters):
            raise SeriesError(
                f"{file.name}: the file is too short for {setting}: {n_timesteps} rows "
                f"{found}, of which {n_fitting} would fit the LSTM and "
                f"{n_timesteps - n_fitting} the Gaussian, but {layout.n_shortest} and "
                f"{layout.n_calibrating} are needed. "
                f"{_what_would_fit(n_timesteps, hyperparameters)}"
            )
    n_unscored = hyperparameters.n_unscored(reference.n_series)
    for file in validation:
        if file.n_on <= n_unscored:
            raise SeriesError(
                f"{file.name}: the file is too short for {setting}: {file.n_on} rows "
                f"{_found(file)}, but at least {n_unscored + 1} are needed."
            )


def common_schema(files: Sequence[File]) -> Schema:
    """Return the columns of all files, and the clock that most of their rows have.

    Args:
        files: Those of all hosts; each host has put the columns of its own in order.

    Raises:
        SeriesError: If their columns or times do not agree.
    """
    if not files:
        return Schema((), is_named=False)
    first = files[0]
    for file in files[1:]:
        if problem := schema_problem(file.schema, first.schema):
            raise SeriesError(
                f"{file.name}: {problem} {first.name}; all files need the same columns "
                f"in the same order, and the same step of time."
            )
    rows: Counter[Clock] = Counter()
    for file in files:
        if file.schema.clock is not None:
            rows[file.schema.clock] += file.n_timesteps
    clock = min(rows, key=lambda one: (-rows[one], one.step)) if rows else None
    return dataclasses.replace(first.schema, clock=clock)


def schema_problem(found: Schema, expected: Schema) -> str | None:
    """Return how the columns of a file differ from others', in words, or None."""
    if found.is_named != expected.is_named:
        return f"it has {'a' if found.is_named else 'no'} header, unlike"
    if found.is_named and found.columns != expected.columns:
        return "its header differs from that of"
    one, other = found.clock, expected.clock
    if one is None or other is None:
        return None
    if one.form != other.form:
        return "its times are in another form than those of"
    if abs(one.step - other.step) > MAX_STEP_DIFFERENCE * other.step:
        steps = one.spelled(one.step), other.spelled(other.step)
        return f"its rows are {steps[0]} apart, and not {steps[1]} as those of"
    return None


def refuse_index_columns(files: Sequence[File]) -> None:
    """Refuse a file whose first column counts its rows.

    Raises:
        SeriesError: If there is such a file.
    """
    for file in files:
        if (first := file.counts_from) is not None:
            raise SeriesError(
                f"{file.name}: {file.schema.column(0)} counts the rows, from "
                f"{first:.0f} to {first + file.n_timesteps - 1:.0f}: leave that column "
                f"out, or name it in timestamp-column or id-columns."
            )


def check_memory(
    n_series: int,
    hyperparameters: Hyperparameters,
    n_processes: int,
    memory_bytes: int,
) -> None:
    """Refuse errors of a time step that are too many for a Gaussian in memory.

    Args:
        n_series: ``D``.
        hyperparameters: The settings of the job.
        n_processes: The processes of this host; each fits the Gaussian.
        memory_bytes: What they have together.

    Raises:
        HyperparameterError: If it is too little.
    """
    layout = hyperparameters.layout
    n_each = layout.n_reconstructions + hyperparameters.scores_levels(n_series)
    needed = n_processes * N_MATRICES * 8 * (n_series * n_each) ** 2
    if needed <= memory_bytes:
        return
    stride = ", a larger sequence-stride" if n_each > 1 else ""
    raise HyperparameterError(
        f"The Gaussian of {n_series * n_each} errors per time step ({n_series} series "
        f"x {n_each}) needs {needed / 1e9:.1f} GB of memory, but the container has "
        f"{memory_bytes / 1e9:.1f} GB; use fewer series{stride} or an instance with "
        f"more memory."
    )


def check_range(file: File, first_row: int, part: FloatArray, scaler: Scaler) -> None:
    """Refuse values that are beyond all comparison with the rows that fit the LSTM.

    Args:
        file: The file.
        first_row: The number of the first row of the part, from 0.
        part: Consecutive rows of the file, of shape ``(T, D)``.
        scaler: The standardisation.

    Raises:
        SeriesError: If there is such a value.
    """
    low = scaler.mean - MAX_DEVIATIONS * scaler.scale
    high = scaler.mean + MAX_DEVIATIONS * scaler.scale
    smallest, largest = (f.reduce(part, axis=0) for f in (np.fmin, np.fmax))
    outside = (smallest < low) | (largest > high)
    if outside.any():
        column = int(np.argmax(outside))
        values = part[:, column]
        is_far = (values < low[column]) | (values > high[column])
        row = int(np.argmax(is_far))
        raise SeriesError(
            f"{file.name}: row {file.sent_row(first_row + row)}, "
            f"{file.schema.column(column)}: "
            f"{values[row]:.6g} is too far from the rows that fit the LSTM; use "
            f"numbers from {low[column]:.6g} to {high[column]:.6g}."
        )


def _found(file: File) -> str:
    """Return the words after the number of rows of a file that are of use."""
    return "that are neither off nor excluded were found" if file.off else "were found"


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
    more = f"Use files of at least {needed} rows"
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
