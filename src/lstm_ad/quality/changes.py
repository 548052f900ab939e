"""Find changes of level or of scale that come once and stay, or come and go once."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.extremes import N_STRETCHES
from lstm_ad.model.fences import TAIL, varying
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.outlying import (
    DISTANCE,
    MIN_ROWS,
    stretch_medians,
    training_sample,
)
from lstm_ad.quality.reasons import Level

_N_BLOCKS = 12
"""Equal stretches whose widths are compared."""

_MIN_RATIO, _MAX_WIDER = 2.0, 8
"""How many ranges of all others the central 80 % of so many blocks have to be wide."""


def find_changes(data: Data) -> Iterator[Finding]:
    """Yield series whose level or scale changes within the training files."""
    n_rows = data.fitting.profile.n_rows + data.calibration.profile.n_rows
    if n_rows < MIN_ROWS or len(set(data.fitting.files)) > 1:
        return
    sample, rows = training_sample(data)
    edges = np.arange(N_STRETCHES + 1) * n_rows / N_STRETCHES
    bounds = np.searchsorted(rows, edges)
    blocks = bounds[:: N_STRETCHES // _N_BLOCKS]
    may_change = _may_change(sample, bounds)
    widths = np.stack(
        [
            np.ptp(np.quantile(x, [0.1, 0.9], axis=0), axis=0)
            for x in np.split(sample, blocks[1:-1])
        ]
    )
    for series in map(int, np.flatnonzero(varying(sample))):
        x = sample[:, series]
        cut = _level_change(x, bounds) if may_change[series] else None
        if cut is not None:
            yield _changed(data, series, x, rows, (cut, len(rows)))
        elif (run := _wider(x, blocks, widths[:, series])) is not None:
            start, stop = map(int, blocks[list(run)])
            yield _changed(data, series, x, rows, (start, stop))


def _changed(
    data: Data,
    series: int,
    values: FloatArray,
    rows: IndexArray,
    stretch: tuple[int, int],
) -> Finding:
    """Return that a stretch of the sampled rows is unlike the others."""
    start, stop = stretch
    here, there = values[start:stop], np.delete(values, slice(start, stop))
    (low, high), (low_there, high_there) = (
        np.quantile(x, [0.1, 0.9]) for x in (here, there)
    )
    file, row, to = data.place_range(int(rows[start]), int(rows[stop - 1]))
    return Finding(
        "change",
        Level.CHECK,
        (series,),
        file,
        row,
        f"{file}: in rows {row} to about {to}, {data.named(series)} mostly goes from "
        f"{low:.6g} to {high:.6g}, in all other rows from {low_there:.6g} to "
        f"{high_there:.6g}.",
        "The model learns both as normal, and finds fewer faults in either.",
        "See whether the unit, the sensor or its gain was changed there; train on "
        "rows of one kind.",
    )


def _may_change(sample: FloatArray, bounds: IndexArray) -> npt.NDArray[np.bool_]:
    """Return for which series :func:`_level_change` may find one: ``(D,)``.

    What keeps all values apart keeps the medians of the stretches apart.
    """
    medians = stretch_medians(sample, bounds)
    found = np.zeros(sample.shape[1], dtype=np.bool_)
    for cut in range(N_STRETCHES // 3, 2 * N_STRETCHES // 3 + 1):
        before, after = medians[:cut], medians[cut:]
        width = np.maximum(np.ptp(before, axis=0), np.ptp(after, axis=0))
        up = after.min(axis=0) - before.max(axis=0)
        down = before.min(axis=0) - after.max(axis=0)
        gap = np.maximum(up, down)
        found |= (gap > 0) & (gap >= DISTANCE * width)
    return found


def _level_change(values: FloatArray, bounds: IndexArray) -> int | None:
    """Return before which value all others lie elsewhere; None if they overlap.

    At most two thirds of the rows lie on either side: see find_unlike_stretches.
    """
    best: tuple[float, int] | None = None
    for cut in map(int, bounds[N_STRETCHES // 3 : 2 * N_STRETCHES // 3 + 1]):
        before, after = (
            np.quantile(x, [TAIL, 1 - TAIL]) for x in (values[:cut], values[cut:])
        )
        width = max(np.ptp(before), np.ptp(after))
        gap = max(after[0] - before[1], before[0] - after[1])
        if gap >= DISTANCE * width > 0 and (best is None or gap > best[0]):
            best = float(gap), cut
    return best[1] if best else None


def _wider(
    values: FloatArray, bounds: IndexArray, widths: FloatArray
) -> tuple[int, int] | None:
    """Return the longest run of blocks much wider than the range of all others.

    Those that are narrower are a machine at rest, more often than not.

    Args:
        values: Of one series.
        bounds: Those of the blocks.
        widths: The central 80 % of the values of each block.
    """
    order = np.argsort(-widths, kind="stable")
    for count in range(_MAX_WIDER, 0, -1):
        few = order[:count]
        start, stop = int(few.min()), int(few.max()) + 1
        # All blocks but one on either side, which may be wide in part.
        others = np.delete(
            np.arange(_N_BLOCKS), slice(max(start - 1, 0), min(stop + 1, _N_BLOCKS))
        )
        least = widths[few].min()
        if stop - start > count or least < _MIN_RATIO * widths[others].max():
            continue
        rest = np.concatenate([values[bounds[k] : bounds[k + 1]] for k in others])
        inner = float(np.ptp(np.quantile(rest, [TAIL, 1 - TAIL])))
        if least >= _MIN_RATIO * inner > 0:
            return start, stop
    return None
