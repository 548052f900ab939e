"""Find values, and stretches of rows, far from all others of a series."""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.extremes import N_STRETCHES
from lstm_ad.data.profile import Profile
from lstm_ad.model.fences import TAIL, varying
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.reasons import Level

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
        for series in map(int, np.flatnonzero(varying(profile.sample))):
            at = far_rows(profile, series)
            if part is not data.fitting:
                at = at[_is_beyond(data.fitting.profile, series, profile, at)]
            if not len(at):
                continue
            far = profile.far[series]
            file, row = part.place(int(far.rows[at[0]]))
            low, high = far.inner
            gap = max(low - far.values[at].max(), far.values[at].min() - high)
            is_absurd = gap >= ABSURD_DISTANCE * (high - low)
            more = f" and {len(at) - 1} more rows" if len(at) > 1 else ""
            yield Finding(
                "far value",
                Level.DO_NOT_USE if is_absurd else Level.CHECK,
                (series,),
                file,
                row,
                f"{file}: row {row}{more}, {data.named(series)}: "
                f"{far.values[at[0]]:.6g} is far outside all other values, which go "
                f"from {low:.6g} to {high:.6g}.",
                BLINDS,
                "If it is a broken reading, replace it by the value before it, or "
                "leave out the rows around it.",
            )


BLINDS = (
    "It makes the series look as if it varied much more than it does, so that its "
    "faults are missed."
)
"""The harm that absurd values do."""


def _is_beyond(
    fitting: Profile, series: int, profile: Profile, at: IndexArray
) -> npt.NDArray[np.bool_]:
    """Return which far values are far from all training rows, too."""
    low, high = fitting.low[series], fitting.high[series]
    values = profile.far[series].values[at]
    distance = np.maximum(low - values, values - high)
    return np.asarray(distance > max(high - low, 0.0))


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


def training_sample(data: Data) -> tuple[FloatArray, IndexArray]:
    """Return sampled rows of both training parts, equally dense, and their numbers."""
    fitting, later = data.fitting.profile, data.calibration.profile
    n_kept = len(fitting.sample) * later.n_rows // fitting.n_rows
    keep = np.linspace(0, len(later.sample) - 1, min(len(later.sample), n_kept)).astype(
        np.int64
    )
    return (
        np.concatenate([fitting.sample, later.sample[keep]]),
        np.concatenate([fitting.sample_rows, fitting.n_rows + later.sample_rows[keep]]),
    )


def stretch_medians(sample: FloatArray, bounds: IndexArray) -> FloatArray:
    """Return the median of each stretch of sampled rows, of shape ``(stretches, D)``.

    Args:
        sample: The rows, of shape ``(n, D)``.
        bounds: Where each stretch starts, and where the last one ends.
    """
    stretches = np.split(sample, bounds[1:-1])
    return np.stack([np.median(rows, axis=0) for rows in stretches])


def find_unlike_stretches(data: Data) -> Iterator[Finding]:
    """Yield one stretch of the training files that is unlike all others."""
    fitting = data.fitting.profile
    n_rows = fitting.n_rows + data.calibration.profile.n_rows
    if n_rows < MIN_ROWS:
        return
    sample, rows = training_sample(data)
    bounds = np.searchsorted(rows, np.arange(N_STRETCHES + 1) * n_rows / N_STRETCHES)
    medians = stretch_medians(sample, bounds)
    for series in map(int, np.flatnonzero(fitting.quantiles[2] > fitting.quantiles[0])):
        odd = _odd_run(sample[:, series], bounds, medians[:, series])
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


def _odd_run(
    values: FloatArray, bounds: IndexArray, medians: FloatArray
) -> _Odd | None:
    """Return the longest run of at most a third of the stretches apart from all.

    Args:
        values: Of one series.
        bounds: Those of the stretches.
        medians: Of each stretch.
    """
    order = np.argsort(medians, kind="stable")
    for count in range(len(medians) // 3, 0, -1):
        for few, many in (
            (order[:count], order[count:]),
            (order[-count:], order[:-count]),
        ):
            start, stop = int(few.min()), int(few.max()) + 1
            others = medians[many]
            near = medians[few[-1 if few[0] == order[0] else 0]]
            gap = max(others.min() - near, near - others.max())
            if stop - start > count or gap < DISTANCE * np.ptp(others):
                continue
            core = slice(
                bounds[start + (count > 2)], bounds[stop - (count > 2)]
            )  # a stretch at an end may be unlike in part
            rest = np.delete(values, slice(bounds[start], bounds[stop]))
            low, high = np.quantile(rest, [TAIL, 1 - TAIL])
            low_here, median, high_here = np.quantile(values[core], [0.1, 0.5, 0.9])
            distance = max(low_here - high, low - high_here)
            if distance >= DISTANCE * (high - low) > 0:
                return _Odd(start, stop, float(median), float(low), float(high))
    return None
