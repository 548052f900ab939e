"""Find an extreme value that is taken again and again: codes, limits of sensors."""

from collections.abc import Iterator

import numpy as np

from lstm_ad.data.extremes import Extreme
from lstm_ad.data.repeats import MIN_VALUES, Repeat
from lstm_ad.model.fences import TAIL
from lstm_ad.quality.data_parts import Data, Finding, Part
from lstm_ad.quality.isolated import MAX_SHARE, SENTINELS, advice, is_dirt, is_isolated
from lstm_ad.quality.outlying import (
    ABSURD_DISTANCE,
    BLINDS,
    DISTANCE,
    FAR_DISTANCE,
    REPLACED,
    far_rows,
)
from lstm_ad.quality.reasons import Level

_MAX_RUN_SHARE = 0.01
"""One run of rows is a code up to this fraction of them, if it is as far as that."""

_BOUNDS = (0.0, 1.0, -1.0, 100.0, -100.0)
"""What shares, switches and loads reach without any sensor being at its limit."""

_MIN_VISITS, _MIN_RUN, _LIMIT_SHARES = 5, 2.0, (0.01, 0.4)
"""A limit is reached so often, for so many rows on average, in that share of them:
where a series rests for longer, that is what it does, as rain or the sun at night."""

_MIN_DISTINCT, _MAX_GAP = 0.9, 0.05
"""Nearly all other values come once, and the nearest is a part of their range away."""


def find_sentinels(data: Data) -> Iterator[Finding]:
    """Yield codes for missing readings that are no far values: too frequent or near."""
    for part in data.parts:
        for extreme in part.profile.extremes:
            share = extreme.n_rows / part.profile.n_rows
            is_known = np.isin(extreme.value, SENTINELS)
            has_code = is_known | ((share >= TAIL) & (share <= MAX_SHARE))
            has_code &= np.isfinite(extreme.nearest)
            for series in map(int, np.flatnonzero(has_code)):
                if is_known[series] or part.profile.varies[series]:
                    yield from _code(data, part, series, extreme.repeat(series))
        for series, repeats in part.profile.repeats.items():
            ends = {float(extreme.value[series]) for extreme in part.profile.extremes}
            for repeat in repeats:
                is_hidden = repeat.value not in ends and not repeat.is_amid
                if part.profile.varies[series] and is_hidden:
                    yield from _code(data, part, series, repeat)


def _code(data: Data, part: Part, series: int, found: Repeat) -> Iterator[Finding]:
    """Yield a value that comes again and again if it is a code."""
    profile, code, n_rows = part.profile, found.value, found.n_rows
    repeats = profile.repeats.get(series, ())
    others = [repeat.value for repeat in repeats if not repeat.is_amid]
    x = profile.sample[:, series]
    rest = x[~np.isin(x, [code, *others])]
    if len(np.unique(rest)) < MIN_VALUES:
        return
    near = [value for value in found.nearest if value not in others]
    low, high = min([rest.min(), *near]), max([rest.max(), *near])
    ranges = max(low - code, code - high) / (high - low)
    n_jumps = found.n_visits
    is_known = code in SENTINELS
    is_single = is_isolated(n_rows, n_jumps)
    is_short = ranges >= FAR_DISTANCE and n_rows <= _MAX_RUN_SHARE * profile.n_rows
    is_told = code in profile.far[series].values[far_rows(profile, series)]
    if ranges < DISTANCE or is_told or not (is_known or is_single or is_short):
        return
    file, row = part.place(found.first_row)
    times = "once" if n_jumps == 1 else f"{n_jumps:,} times"
    is_sure = is_known or is_single
    what = "that is" if is_sure else "it looks like"
    is_replaced = is_sure and all(
        is_dirt(each.profile, series, code, ranges >= ABSURD_DISTANCE)
        for each in data.parts
    )
    yield Finding(
        "sentinel",
        Level.DO_NOT_USE if is_sure and not is_replaced else Level.CHECK,
        (series,),
        file,
        row,
        f"{file}: from row {row} on, {data.named(series)} is {code:.6g} in {n_rows:,} "
        f"rows of {part.name} (entered {times}), while its other values go from "
        f"{low:.6g} to {high:.6g}: {what} a code for a missing reading.",
        REPLACED if is_replaced else BLINDS,
        advice(data, series, code),
        code=code if is_replaced else None,
    )


def find_repeats(data: Data) -> Iterator[Finding]:
    """Yield values that come again and again amid others that come once."""
    told: set[tuple[int, float]] = set()
    for part in data.parts:
        for series, repeats in part.profile.repeats.items():
            for one in repeats:
                is_seldom = one.n_rows <= MAX_SHARE * part.profile.n_rows
                is_code = is_seldom and is_isolated(one.n_rows, one.n_visits)
                if one.is_amid and is_code and (series, one.value) not in told:
                    told.add((series, one.value))
                    yield _repeat(data, part, series, one)


def _repeat(data: Data, part: Part, series: int, found: Repeat) -> Finding:
    """Return that a value comes again and again amid the others."""
    file, row = part.place(found.first_row)
    return Finding(
        "repeated value",
        Level.CHECK,
        (series,),
        file,
        row,
        f"{file}: from row {row} on, {data.named(series)} is exactly "
        f"{found.value:.6g} in {found.n_rows:,} rows of {part.name} (entered "
        f"{found.n_visits:,} times), while nearly all its other values come once: it "
        f"looks like a code for a missing reading.",
        "The model learns jumps that are none.",
        advice(data, series, found.value),
    )


def find_limits(data: Data) -> Iterator[Finding]:
    """Yield series that stay at one extreme value, as at the limit of a sensor."""
    told: set[tuple[int, int]] = set()
    for part in data.parts:
        for side, extreme in enumerate(part.profile.extremes):
            least, most = (share * part.profile.n_rows for share in _LIMIT_SHARES)
            is_limit = (
                ~np.isin(extreme.value, _BOUNDS)
                & (extreme.n_visits >= _MIN_VISITS)
                & (extreme.n_rows >= _MIN_RUN * extreme.n_visits)
                & (extreme.n_rows >= least)
                & (extreme.n_rows <= most)
            )
            for series in map(int, np.flatnonzero(is_limit)):
                if (side, series) not in told and _is_continued(part, extreme, series):
                    told.add((side, series))
                    yield _limit(data, part, side, series)


def _is_continued(part: Part, extreme: Extreme, series: int) -> bool:
    """Return whether the other values of a series are distinct, and go up to it."""
    limit = extreme.value[series]
    gap = abs(float(extreme.nearest[series] - limit))
    x = part.profile.sample[:, series]
    rest = x[x != limit]
    is_distinct = len(np.unique(rest)) >= _MIN_DISTINCT * len(rest)
    return (
        bool(part.profile.varies[series])
        and is_distinct
        and gap <= _MAX_GAP * float(np.ptp(rest))
    )


def _limit(data: Data, part: Part, side: int, series: int) -> Finding:
    """Return that a series is often at its limit."""
    extreme = part.profile.extremes[side]
    file, row = part.place(int(extreme.rows[0, series]))
    return Finding(
        "at its limit",
        Level.CHECK,
        (series,),
        file,
        row,
        f"{file}: from row {row} on, {data.named(series)} stays at exactly "
        f"{extreme.value[series]:.6g} {extreme.n_visits[series]:,} times, in "
        f"{extreme.n_rows[series]:,} rows of {part.name}; it is never "
        f"{('smaller', 'larger')[side]}, and varies freely in all others.",
        "If the sensor is at its limit there, nothing beyond it is seen.",
        "Widen the range of the sensor, or leave the series out if faults would lie "
        "beyond the limit.",
    )
