"""Find values, and stretches of rows, far from all others of a series."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.profile import Profile
from lstm_ad.data.repeats import MIN_VALUES
from lstm_ad.model.fences import TAIL, most_absurd
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.isolated import advice, is_dirt, is_isolated
from lstm_ad.quality.reasons import Level
from lstm_ad.quality.stretches import Stretches

DISTANCE = 1.0
"""How many ranges of the others something lies from them to be far from them."""

FAR_DISTANCE = 2.0
"""The same for single values, as heavy tails leave gaps."""

ABSURD_DISTANCE = 10.0
"""From here on such a value is no measurement."""

MIN_ROWS = 500
"""Stretches of fewer rows than these are not compared."""


def find_far_values(data: Data) -> Iterator[Finding]:
    """Yield single values far outside all others."""
    for part in data.parts:
        profile = part.profile
        for series in range(data.n_series):
            at = far_rows(profile, series)
            if part is not data.fitting:
                at = at[_is_beyond(data.fitting.profile, series, profile, at)]
            if not len(at) or not profile.varies[series]:
                continue
            far = profile.far[series]
            file, row = part.place(int(far.rows[at[0]]))
            low, high = far.inner
            gap = max(low - far.values[at].max(), far.values[at].min() - high)
            code = _code(data, profile, series, at)
            is_absurd = gap >= ABSURD_DISTANCE * (high - low)
            is_replaced = code is not None or _are_replaced(profile, series, is_absurd)
            more = f" and {len(at) - 1} more rows" if len(at) > 1 else ""
            yield Finding(
                "far value",
                Level.DO_NOT_USE if is_absurd and not is_replaced else Level.CHECK,
                (series,),
                file,
                row,
                f"{file}: row {row}{more}, {data.named(series)}: "
                f"{far.values[at[0]]:.6g} is far outside all other values, which go "
                f"from {low:.6g} to {high:.6g}.",
                REPLACED if is_replaced else BLINDS,
                _BROKEN if code is None else advice(data, series, code),
                code=code,
            )


BLINDS = (
    "It makes the series look as if it varied much more than it does, so that its "
    "faults are missed."
)
"""The harm that absurd values do."""

_BROKEN = (
    "If it is a broken reading, replace it by the value before it, or leave out the "
    "rows around it."
)
"""What to do about a far value."""

REPLACED = (
    "Wherever something is learnt, what lies between the values before and after it "
    "takes its place; in a request it is an anomaly."
)
"""What is done about absurd values that are few, and about codes that are certain."""


def _code(data: Data, profile: Profile, series: int, at: IndexArray) -> float | None:
    """Return the one value that is far from all others, time and again, if it is one.

    Args:
        data: All parts.
        profile: That of one.
        series: The series.
        at: Which of its values beyond the fences are far.
    """
    far, code = profile.far[series], float(profile.far[series].values[at[0]])
    n_visits = 1 + int(np.count_nonzero(np.diff(far.rows[at]) > 1))
    if (far.values[at] != code).any() or not is_isolated(len(at), n_visits):
        return None
    x = profile.sample[:, series]
    if len(np.unique(x[x != code])) < MIN_VALUES:
        return None
    if not all(is_dirt(part.profile, series, code) for part in data.parts):
        return None
    return code


def _is_beyond(
    fitting: Profile, series: int, profile: Profile, at: IndexArray
) -> npt.NDArray[np.bool_]:
    """Return which far values are far from all training rows, too."""
    low, high = fitting.low[series], fitting.high[series]
    values = profile.far[series].values[at]
    distance = np.maximum(low - values, values - high)
    return np.asarray(distance > max(high - low, 0.0))


def _are_replaced(profile: Profile, series: int, is_absurd: bool) -> bool:
    """Return whether fences replace all far values of a series, in every file."""
    n_rows = np.array(profile.n_timesteps)
    files = np.searchsorted(np.cumsum(n_rows), profile.far[series].rows, side="right")
    n_far = np.bincount(files, minlength=len(n_rows))
    distance = ABSURD_DISTANCE if is_absurd else DISTANCE
    return bool((n_far <= most_absurd(distance, n_rows)).all())


def far_rows(profile: Profile, series: int) -> IndexArray:
    """Return which values beyond the fences are separated from all others by a gap."""
    far = profile.far[series]
    nothing = np.empty(0, dtype=np.int64)
    if not len(far.values) or not far.is_complete:
        return nothing
    low, high = far.inner
    found = [nothing]
    for sign, edge, other in ((1, high, low), (-1, low, high)):
        at = np.flatnonzero(sign * (far.values - edge) > 0)
        order = at[np.argsort(sign * far.values[at], kind="stable")]
        steps = sign * np.array([edge, *far.values[order]])
        gaps = np.diff(steps)
        is_gap = gaps >= FAR_DISTANCE * (steps[:-1] - sign * other)
        if is_gap.any():
            found.append(order[int(is_gap.argmax()) :])
    rows = np.sort(np.concatenate(found))
    return rows if len(rows) <= max(1, TAIL * profile.n_rows) else nothing


def find_unlike_stretches(data: Data) -> Iterator[Finding]:
    """Yield one stretch of the training files that is unlike all others."""
    fitting = data.fitting.profile
    n_rows = fitting.n_rows + data.calibration.profile.n_rows
    if n_rows < MIN_ROWS:
        return
    rows, bounds = data.stretches.rows, data.stretches.bounds
    runs = _apart(data.stretches.medians)
    for series in map(int, np.flatnonzero(runs.any(axis=(0, 1)))):
        if fitting.quantiles[2, series] <= fitting.quantiles[0, series]:
            continue
        odd = _odd_run(data.stretches, series, runs[:, :, series])
        if odd is None:
            continue
        first, last = int(rows[bounds[odd.start]]), int(rows[bounds[odd.stop] - 1])
        file, row, to = data.place_range(first, last)
        yield Finding(
            "unlike stretch",
            Level.CHECK,
            (series,),
            file,
            row,
            f"{file}: in rows {row} to about {to}, {data.named(series)} lies around "
            f"{odd.median:.6g}, in all other rows it goes from {odd.low:.6g} to "
            f"{odd.high:.6g}.",
            "The model learns both as normal, and the larger of them sets the scale "
            "for the other.",
            "See whether this is a start-up, a fault or another unit; leave these rows "
            "out, or train on more rows like them.",
        )


@dataclasses.dataclass(frozen=True)
class _Odd:
    """A run of stretches apart from all others."""

    start: int
    """The first stretch."""
    stop: int
    """After the last one."""
    median: float
    """The median of its values."""
    low: float
    """The smallest of the other values, but for their tails."""
    high: float
    """Likewise the largest."""


def _apart(medians: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which stretches are one run, with medians apart from those of all others.

    Args:
        medians: Of each stretch, of shape ``(stretches, D)``.

    Returns:
        Whether the ``k + 1`` lowest, and highest, are: ``(stretches // 3, 2, D)``.
    """
    found = []
    for sign in (1, -1):  # the lowest ones, or the highest
        order = np.argsort(medians, axis=0, kind="stable")[::sign]
        x = sign * np.take_along_axis(medians, order, axis=0)
        spans = np.maximum.accumulate(order) - np.minimum.accumulate(order)
        n = len(medians) // 3
        is_run = spans[:n] == np.arange(n)[:, np.newaxis]
        is_apart = x[1 : n + 1] - x[:n] >= DISTANCE * (x[-1] - x[1 : n + 1])
        found.append(is_run & is_apart)
    return np.stack(found, axis=1)


def _odd_run(
    stretches: Stretches, series: int, runs: npt.NDArray[np.bool_]
) -> _Odd | None:
    """Return the longest run of stretches apart from all others, with their tails.

    Args:
        stretches: Of all series.
        series: The series to look at.
        runs: What :func:`_apart` found of it, of shape ``(stretches // 3, 2)``.
    """
    values, bounds = stretches.sample[:, series], stretches.bounds
    order = np.argsort(stretches.medians[:, series], kind="stable")
    for index, side in np.argwhere(runs[::-1]):
        count = len(runs) - int(index)
        few = order[-count:] if side else order[:count]
        start, stop = int(few.min()), int(few.max()) + 1
        # A stretch at an end may be unlike in part, and so may the one beside it.
        edge = int(count > 2)
        core = slice(bounds[start + edge], bounds[stop - edge])
        before, after = max(start - edge, 0), min(stop + edge, len(bounds) - 1)
        rest = np.delete(values, slice(bounds[before], bounds[after]))
        low, high = np.quantile(rest, [TAIL, 1 - TAIL])
        low_here, median, high_here = np.quantile(values[core], [0.1, 0.5, 0.9])
        distance = max(low_here - high, low - high_here)
        if distance >= DISTANCE * (high - low) > 0:
            return _Odd(start, stop, float(median), float(low), float(high))
    return None
