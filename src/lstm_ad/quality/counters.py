"""Find counters and angles, and numbers that wrap."""

import math
from collections.abc import Iterator

import numpy as np

from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.reasons import Level

_MIN_CHANGES, _MIN_CHANGING = 50, 0.05  # a counter changes that often
_WRAP = 0.9  # of the range of a series: the size of a wrap
_FULL = 0.97  # the part of a turn, or of all integers, that a series goes through
_SMALL = 0.1  # of the range: what a series that overflows falls by, and its middle half
_BITS = (16, 32)


def find_counters(data: Data) -> Iterator[Finding]:
    """Yield series that only rise, or only fall.

    Where the calibration part goes on from there, the errors that the Gaussian is
    fitted to are those of values that the LSTM never saw, as in every request: no model
    can be made. Files that each begin anew are another matter.
    """
    fitting, later = data.fitting.profile, data.calibration.profile
    n_rises, n_falls = data.n_changes
    enough = max(_MIN_CHANGES, _MIN_CHANGING * (fitting.n_steps + later.n_steps))
    is_counter = (np.minimum(n_rises, n_falls) == 0) & (n_rises + n_falls >= enough)
    where, beyond = data.fitting.files[0], ", beyond all that the LSTM is trained on"
    for series in map(int, np.flatnonzero(is_counter)):
        start, end, way = fitting.low[series], later.high[series], "rises"
        goes_on = later.low[series] >= fitting.high[series]
        if n_falls[series]:
            start, end, way = fitting.high[series], later.low[series], "falls"
            goes_on = later.high[series] <= fitting.low[series]
        yield Finding(
            "counter",
            Level.DO_NOT_USE if goes_on else Level.CHECK,
            (series,),
            where,
            None,
            f"{where}: {data.named(series)} only {way}, from {start:.10g} to "
            f"{end:.10g}{beyond if goes_on else ''}: it looks like a counter.",
            "Every new row lies outside of what was learnt.",
            "Replace the series by its differences from row to row, or leave it out, "
            "here and in every request.",
            is_refused=bool(goes_on),
        )


def find_wraps(data: Data) -> Iterator[Finding]:
    """Yield angles, integers that overflow, and counters that start again."""
    profile = data.fitting.profile
    n_rises, n_falls = data.n_changes
    width = profile.high - profile.low
    jump = np.maximum(-profile.steps[0], profile.steps[1])
    is_wrapping = (jump >= _WRAP * width) & (np.minimum(n_rises, n_falls) > 0)
    for series in map(int, np.flatnonzero(is_wrapping & (width > 0))):
        if profile.states[series] is not None:
            continue
        turns = (360.0, 2 * math.pi)
        fall = -profile.mean_fall[series] / width[series]
        is_counter = fall > _WRAP and n_falls[series] <= 0.02 * (
            n_rises[series] + n_falls[series]
        )
        is_spread = np.ptp(profile.quantiles[:, series]) >= _SMALL * width[series]
        bits = _bits(profile.low[series], profile.high[series])
        if any(_FULL * turn <= width[series] <= turn for turn in turns):
            yield _wrapping(
                data,
                series,
                "angle",
                f"jumps by {jump[series]:.6g} between neighbouring rows: it looks like "
                f"an angle that wraps.",
                "Replace the series by its sine and its cosine.",
            )
        elif bits and is_spread and (is_counter or fall <= _SMALL):
            yield _wrapping(
                data,
                series,
                "overflow",
                f"jumps by {jump[series]:.6g} between neighbouring rows: it looks like "
                f"a number of {bits} bits that overflows.",
                f"Read the series with more bits, or add {2**bits:,} after each such "
                f"fall; of a counter, take the differences from row to row then.",
            )
        elif is_counter:
            yield _wrapping(
                data,
                series,
                "restarting counter",
                "only rises between starts: it looks like a counter.",
                "Replace the series by its differences from row to row.",
            )


def _bits(low: float, high: float) -> int:
    """Return how many bits the integers have between these bounds; 0 if others."""
    for bits in _BITS:
        for first in (0, -(2 ** (bits - 1))):
            is_inside = low >= first and high <= first + 2**bits - 1
            if is_inside and high - low >= _FULL * 2**bits:
                return bits
    return 0


def _wrapping(data: Data, series: int, name: str, found: str, advice: str) -> Finding:
    """Return that a series wraps."""
    profile, where = data.fitting.profile, data.fitting.files[0]
    low, high = profile.low[series], profile.high[series]
    return Finding(
        name,
        Level.CHECK,
        (series,),
        where,
        None,
        f"{where}: {data.named(series)} goes from {low:.6g} to {high:.6g} and {found}",
        "Each wrap looks like a step that no model can foresee.",
        advice,
    )
