"""Find columns that are no measurements, or that do not vary as one does."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.model.scaling import CONSTANT_RANGE
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.reasons import Level

_FIRST_TIME, _LAST_TIME = 631152000.0, 4102444800.0  # the years 1990 to 2100
_MIN_STEPS = 20
MAX_MISSING = 0.2
"""The fraction of values from which on so many are missing that it is said."""


def find_clocks(data: Data) -> Iterator[Finding]:
    """Yield series that tell the time or number the rows."""
    fitting, later = data.fitting.profile, data.calibration.profile
    if fitting.n_steps < _MIN_STEPS:
        return
    size = np.maximum(np.abs(fitting.low), np.abs(fitting.high))
    rounding = 8 * np.finfo(np.float64).eps * size
    lowest = np.minimum(fitting.steps[0], later.steps[0])
    highest = np.maximum(fitting.steps[1], later.steps[1])
    is_even = (highest - lowest <= rounding) & (lowest * highest > 0)
    only_rises = np.minimum(fitting.steps[0], later.steps[0]) > 0
    seconds = np.array([1.0, 1e3, 1e6, 1e9])[:, np.newaxis]
    is_time = (fitting.low >= _FIRST_TIME * seconds) & (
        fitting.high <= _LAST_TIME * seconds
    )
    is_clock = is_even | (only_rises & is_time.any(axis=0))
    for series in map(int, np.flatnonzero(is_clock)):
        start, end = fitting.low[series], later.high[series]
        if highest[series] < 0:
            start, end = fitting.high[series], later.low[series]
        how = (
            f"by {(lowest[series] + highest[series]) / 2:.6g} in every row"
            if is_even[series]
            else "in every row, as times since 1970 do"
        )
        yield Finding(
            "clock",
            Level.DO_NOT_USE,
            (series,),
            data.fitting.files[0],
            None,
            f"{data.fitting.files[0]}: {data.column(series)} goes from {start:.10g} to "
            f"{end:.10g}, {how}: it is an index or a clock, not a measurement.",
            "Every new row would lie outside of what was learnt.",
            f"Leave {data.column(series)} out, here and in every request, or name it "
            f"in timestamp-column.",
            is_refused=True,
        )


def find_constants(data: Data) -> Iterator[Finding]:
    """Yield series in which there is nothing to learn."""
    fitting = data.fitting.profile
    size = np.maximum(np.abs(fitting.low), np.abs(fitting.high))
    width = fitting.high - fitting.low
    for series in map(int, np.flatnonzero(width <= CONSTANT_RANGE * size)):
        value, where = fitting.low[series], data.fitting.files[0]
        others = [
            part
            for part in data.parts[1:]
            if max(
                abs(part.profile.low[series] - value),
                abs(part.profile.high[series] - value),
            )
            > CONSTANT_RANGE * max(size[series], abs(part.profile.high[series]))
        ]
        if width[series] > 0:
            yield Finding(
                "constant",
                Level.CHECK,
                (series,),
                where,
                None,
                f"{where}: {data.named(series)} varies too little for its size: from "
                f"{value:.17g} to {fitting.high[series]:.17g}.",
                "The difference is lost in rounding.",
                "Subtract a fixed offset from the series, here and in every request.",
            )
        elif others:
            part = others[0]
            is_switch = part.profile.states[series] is not None
            low, high = part.profile.low[series], part.profile.high[series]
            side = int(low == value)  # the one that is another value
            at = part.profile.extremes[side].rows[0, series]
            file, row = part.place(int(at))
            yield Finding(
                "constant until later",
                Level.CHECK if is_switch else Level.DO_NOT_USE,
                (series,),
                file,
                row,
                f"{file}: {data.named(series)} is {value:.6g} in all rows that the "
                f"LSTM is trained on, but goes from {low:.6g} to {high:.6g} in "
                f"{part.name} (row {row}).",
                "Nothing could be learnt of how it varies.",
                "Train on rows in which it varies, or leave the series out if it is a "
                "label.",
            )
        else:
            yield Finding(
                "constant",
                Level.CHECK,
                (series,),
                where,
                None,
                f"{where}: {data.named(series)} is {value:.6g} in all training rows.",
                "Any other value will be an alarm.",
                "Leave the series out, or train on rows in which it varies.",
            )


def numbers_files(data: Data) -> npt.NDArray[np.bool_]:
    """Return which series have one value in each file, not one in all: ``(D,)``."""
    n_rises, n_falls = data.n_changes
    fitting = data.fitting.profile
    return np.asarray((n_rises + n_falls == 0) & (fitting.low < fitting.high))


def find_unit_numbers(data: Data) -> Iterator[Finding]:
    """Yield series that number the files."""
    fitting = data.fitting.profile
    for series in map(int, np.flatnonzero(numbers_files(data))):
        where, low, high = (
            data.fitting.files[0],
            fitting.low[series],
            fitting.high[series],
        )
        yield Finding(
            "unit number",
            Level.CHECK,
            (series,),
            where,
            None,
            f"{where} and other files: {data.named(series)} has one value in each "
            f"file, from {low:.6g} to {high:.6g}: it looks like the number of a unit.",
            "A unit with another number would be an anomaly whatever it does.",
            "Leave the series out, or train a model for each unit.",
        )


def find_missing(data: Data) -> Iterator[Finding]:
    """Yield series of which many values are missing."""
    for part in data.parts:
        p = part.profile
        share = p.n_missing / p.n_rows
        for series in map(int, np.flatnonzero(share > MAX_MISSING)):
            file, row = part.place(int(p.longest_missing_first[series]))
            yield Finding(
                "missing values",
                Level.CHECK,
                (series,),
                file,
                row,
                f"{data.named(series)} has no value in {share[series]:.0%} of "
                f"{part.name}, and none in {p.longest_missing[series]} rows from "
                f"row {row} of {file} on.",
                "What is held in place of values teaches the model nothing.",
                "If the sensor seldom reports, sample all series as seldom, or leave "
                "it out.",
            )


def find_stuck(data: Data) -> Iterator[Finding]:
    """Yield series that always change, but for one long stretch."""
    for part in data.parts:
        p = part.profile
        rest = p.n_steps - (p.longest - 1)
        n_unchanged = rest - p.n_rises - p.n_falls
        is_stuck = (
            (p.longest >= np.maximum(20, 0.002 * p.n_rows))
            & (n_unchanged <= 0.001 * rest)
            & (rest >= 100)
        )
        for series in map(int, np.flatnonzero(is_stuck)):
            file, row = part.place(int(p.longest_first[series]))
            value = part.profile.mean[series]
            yield Finding(
                "stuck",
                Level.CHECK,
                (series,),
                file,
                row,
                f"{file}: {data.named(series)} has one value in the "
                f"{p.longest[series]} rows from row {row} on, but changes in every "
                f"other row.",
                "A sensor that stands still would count as normal.",
                "If the sensor or its transmission failed there, leave these rows out.",
            )
            del value
