"""Find codes for missing readings: one extreme value that is taken again and again."""

from collections.abc import Iterator

import numpy as np

from lstm_ad.model.fences import TAIL, varying
from lstm_ad.quality.data_parts import Data, Finding, Part
from lstm_ad.quality.outlying import BLINDS, DISTANCE, FAR_DISTANCE, far_rows
from lstm_ad.quality.reasons import Level

SENTINELS = (
    *(-1e30, -99999.0, -9999.0, -999.9, -999.0, -200.0, -99.9, -99.0),
    *(999.0, 9999.0, 32767.0, -32768.0, 65535.0, 99999.0, 2147483647.0, 4294967295.0),
)
"""Codes that instruments write for a reading that they do not have."""

_MIN_VALUES = 16
"""Series with fewer other values have states, one of which is far from the others."""

_MIN_JUMPS, _MAX_ISOLATED, _MAX_SHARE = 3, 2.0, 0.2
"""An unknown code comes at least so often, in so few rows at a time on average, and in
at most this fraction of the rows: what lasts longer may be a machine at rest."""

_MAX_RUN_SHARE = 0.01
"""One run of rows is a code up to this fraction of them, if it is as far as that."""


def find_sentinels(data: Data) -> Iterator[Finding]:
    """Yield codes for missing readings that are no far values: too frequent or near."""
    for part in data.parts:
        varies = varying(part.profile.sample)
        for side, (code, extreme) in enumerate(
            zip(
                (part.profile.low, part.profile.high),
                part.profile.extremes,
                strict=True,
            )
        ):
            share = extreme.n_rows / part.profile.n_rows
            has_code = np.isin(code, SENTINELS) | (
                varies & (share >= TAIL) & (share <= _MAX_SHARE)
            )
            has_code &= np.isfinite(extreme.nearest)
            for series in map(int, np.flatnonzero(has_code)):
                yield from _code(data, part, side, series)


def _code(data: Data, part: Part, side: int, series: int) -> Iterator[Finding]:
    """Yield the extreme of a series if it is a code."""
    profile, extreme = part.profile, part.profile.extremes[side]
    code = float((profile.low, profile.high)[side][series])
    n_rows, nearest = int(extreme.n_rows[series]), float(extreme.nearest[series])
    x = profile.sample[:, series]
    rest = x[x != code]
    if len(np.unique(rest)) < _MIN_VALUES:
        return
    low, high = min(nearest, rest.min()), max(nearest, rest.max())
    ranges = max(low - code, code - high) / (high - low)
    n_jumps = int(extreme.n_visits[series])
    is_known = code in SENTINELS
    is_isolated = n_jumps >= _MIN_JUMPS and n_rows <= _MAX_ISOLATED * n_jumps
    is_short = ranges >= FAR_DISTANCE and n_rows <= _MAX_RUN_SHARE * profile.n_rows
    is_told = code in profile.far[series].values[far_rows(profile, series)]
    if ranges < DISTANCE or is_told or not (is_known or is_isolated or is_short):
        return
    first_rows = (profile.low_rows, profile.high_rows)[side]
    file, row = part.place(int(first_rows[0, series]))
    times = "once" if n_jumps == 1 else f"{n_jumps:,} times"
    is_sure = is_known or is_isolated
    what = "that is" if is_sure else "it looks like"
    yield Finding(
        "sentinel",
        Level.DO_NOT_USE if is_sure else Level.CHECK,
        (series,),
        file,
        row,
        f"{file}: from row {row} on, {data.named(series)} is {code:.6g} in {n_rows:,} "
        f"rows of {part.name} (entered {times}), while its other values go from "
        f"{low:.6g} to {high:.6g}: {what} a code for a missing reading.",
        BLINDS,
        "Replace it by the value before it, or train on rows without it; if the "
        "machine was off, name it in off-when.",
    )
