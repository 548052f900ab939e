"""Find states and levels that only one part of the data has."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.model.fences import TAIL
from lstm_ad.quality.data_parts import Data, Finding, Part
from lstm_ad.quality.outlying import DISTANCE
from lstm_ad.quality.reasons import Level

MIN_VISITS, MIN_SHARE = 3, 0.01
"""How often, or in what fraction of rows, a state belongs to the normal ones."""

MAX_MODES = 4
"""Series with more values than these are coarse measurements, not states."""


def find_different_parts(data: Data) -> Iterator[Finding]:
    """Yield states and levels that one part of the training files has alone."""
    fitting = data.fitting
    for other in data.parts[1:]:
        for one, two in ((fitting, other), (other, fitting)):
            for series in range(data.n_series):
                yield from _missing_states(data, one, two, series)
        yield from _other_level(data, fitting, other)


def _missing_states(data: Data, one: Part, two: Part, series: int) -> Iterator[Finding]:
    """Yield the states of a series that are in one part only."""
    states, others = one.profile.states[series], two.profile.states[series]
    if states is None or others is None:
        return
    if not 2 <= len({*states.values, *others.values}) <= MAX_MODES:
        return
    is_normal = (states.n_visits >= MIN_VISITS) | (
        states.n_rows >= MIN_SHARE * one.profile.n_rows
    )
    for index in np.flatnonzero(is_normal & ~np.isin(states.values, others.values)):
        file, row = one.place(int(states.first_rows[index]))
        yield Finding(
            "parts differ",
            Level.CHECK,
            (series,),
            file,
            row,
            f"{file}: {data.named(series)} is {states.values[index]:.6g} in "
            f"{states.n_rows[index]:,} rows of {one.name} (entered "
            f"{states.n_visits[index]} times, first in row {row}), but never in "
            f"{two.name}.",
            "What the model makes of that state was not measured, so the threshold "
            "does not hold there.",
            "Train on data in which both parts hold all states, for instance by a "
            "larger calibration-fraction or more rows.",
        )
        return


def _other_level(data: Data, one: Part, two: Part) -> Iterator[Finding]:
    """Yield series whose values in two parts are far apart."""
    if not (_may_be_apart(one, two) | _may_be_apart(two, one)).any():
        return
    levels = (0.05, 0.95, TAIL, 1 - TAIL)
    first, second = (part.profile.ordered.quantiles(*levels) for part in (one, two))
    is_apart = _is_apart(first, second) | _is_apart(second, first)
    for series in map(int, np.flatnonzero(is_apart)):
        file, row = two.place(0)
        low, high = first[:2, series]
        low_there, high_there = second[:2, series]
        yield Finding(
            "parts differ",
            Level.CHECK,
            (series,),
            file,
            row,
            f"{file}: from row {row} on, in {two.name}, {data.named(series)} goes "
            f"from {low_there:.6g} to {high_there:.6g}, but from {low:.6g} to "
            f"{high:.6g} in {one.name}.",
            "What the model makes of one of them was not learnt or not measured, "
            "so the threshold does not hold there.",
            "See whether a unit, a load or a sensor was changed there; leave these "
            "rows out, or train on more rows like them.",
        )


def _may_be_apart(inner: Part, outer: Part) -> npt.NDArray[np.bool_]:
    """Return for which series :func:`_is_apart` may hold: extremes lie further out."""
    (low, high), x = outer.profile.outer, inner.profile
    gap = np.maximum(x.high - high, low - x.low)
    return np.asarray(gap >= DISTANCE * (high - low))


def _is_apart(inner: FloatArray, outer: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which series lie mostly, by quantiles of ``(4, D)``, far from another."""
    width = outer[3] - outer[2]
    gap = np.maximum(inner[0] - outer[3], outer[2] - inner[1])
    return np.asarray((gap >= DISTANCE * width) & (width > 0))
