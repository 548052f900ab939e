"""Find changes of level or of scale that come once and stay, or come and go once."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.extremes import N_STRETCHES
from lstm_ad.model.fences import TAIL, varying
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.outlying import DISTANCE, MIN_ROWS
from lstm_ad.quality.reasons import Level
from lstm_ad.quality.stretches import N_BLOCKS, Stretches

_MIN_RATIO, _MAX_WIDER = 2.0, 8
"""How many ranges of all others the central 80 % of so many blocks have to be wide."""


_MIN_SAMPLED = 5 * N_STRETCHES
"""So many rows of a file are sampled at least, or its stretches are not compared."""


def find_changes(data: Data) -> Iterator[Finding]:
    """Yield series whose level changes within a file; of a single one, or scale."""
    for stretches in data.stretches_of_files(MIN_ROWS, _MIN_SAMPLED):
        yield from _changes(data, stretches)


def _changes(data: Data, stretches: Stretches) -> Iterator[Finding]:
    """Yield series whose level or scale changes within some stretches."""
    rows, blocks = stretches.rows, stretches.blocks
    may_change, runs = _may_change(stretches.medians), _wide(stretches.widths)
    if stretches is not data.stretches:  # a burst may be short beside all files
        runs = np.zeros_like(runs)
    for series in map(int, np.flatnonzero(may_change | runs.any(axis=0))):
        x = stretches.sample[:, series]
        if not varying(x[np.newaxis]):
            continue
        cut = _level_change(x, stretches.bounds) if may_change[series] else None
        if cut is not None:
            yield _changed(data, series, x, rows, (cut, len(rows)))
        elif (run := _wider(stretches, series, runs[:, series])) is not None:
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
        f"{low:.6g} to {high:.6g}, in all its other rows from {low_there:.6g} to "
        f"{high_there:.6g}.",
        "The model learns both as normal, and finds fewer faults in either.",
        "See whether the unit, the sensor or its gain was changed there; leave these "
        "rows out, or keep them alone.",
    )


def _may_change(medians: FloatArray) -> npt.NDArray[np.bool_]:
    """Return for which series :func:`_level_change` may find one: ``(D,)``.

    What keeps all values apart keeps the medians of the stretches apart.

    Args:
        medians: Of each stretch, of shape ``(N_STRETCHES, D)``.
    """
    cuts = slice(N_STRETCHES // 3 - 1, 2 * N_STRETCHES // 3)
    low, high = (f.accumulate(medians)[cuts] for f in (np.minimum, np.maximum))
    # The same of all stretches after those.
    later_low, later_high = (
        f.accumulate(medians[:0:-1])[::-1][cuts] for f in (np.minimum, np.maximum)
    )
    width = np.maximum(high - low, later_high - later_low)
    gap = np.maximum(later_low - high, low - later_high)
    return np.asarray(((gap > 0) & (gap >= DISTANCE * width)).any(axis=0))


def _level_change(values: FloatArray, bounds: IndexArray) -> int | None:
    """Return before which value all others lie elsewhere; None if they overlap.

    At most two thirds of the rows lie on either side: see find_unlike_stretches. The
    change may lie anywhere within a stretch.
    """
    best: tuple[float, int] | None = None
    for number in range(N_STRETCHES // 3, 2 * N_STRETCHES // 3):
        start, stop = map(int, bounds[number : number + 2])
        before, after = (
            np.quantile(x, [TAIL, 1 - TAIL]) for x in (values[:start], values[stop:])
        )
        width = max(np.ptp(before), np.ptp(after))
        gap = max(after[0] - before[1], before[0] - after[1])
        if gap >= DISTANCE * width > 0 and (best is None or gap > best[0]):
            is_up = after[0] > before[1]
            middle = (after[0] + before[1] if is_up else after[1] + before[0]) / 2
            is_before = (values[start:stop] < middle) == is_up
            best = float(gap), start + int(np.count_nonzero(is_before))
    return best[1] if best else None


def _wide(widths: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which blocks are one run, much wider than others but for its neighbours.

    Those that are narrower are a machine at rest, more often than not.

    Args:
        widths: The central 80 % of the values of each block, ``(N_BLOCKS, D)``.

    Returns:
        Whether the ``k + 1`` widest are, of shape ``(_MAX_WIDER, D)``.
    """
    order = np.argsort(-widths, axis=0, kind="stable")[:_MAX_WIDER]
    start, last = np.minimum.accumulate(order), np.maximum.accumulate(order)
    is_run = last - start == np.arange(_MAX_WIDER)[:, np.newaxis]
    # The widest of the first blocks, none to all, and of the last ones, all to none.
    none = np.zeros((1, widths.shape[1]))
    before = np.maximum.accumulate(np.concatenate([none, widths]))
    after = np.maximum.accumulate(np.concatenate([none, widths[::-1]]))[::-1]
    others = np.maximum(
        np.take_along_axis(before, np.maximum(start - 1, 0), axis=0),
        np.take_along_axis(after, np.minimum(last + 2, N_BLOCKS), axis=0),
    )
    least = np.take_along_axis(widths, order, axis=0)
    return np.asarray(is_run & (least >= _MIN_RATIO * others))


def _wider(
    stretches: Stretches, series: int, runs: npt.NDArray[np.bool_]
) -> tuple[int, int] | None:
    """Return the longest run of blocks much wider than the range of all others.

    Args:
        stretches: Of all series.
        series: The series to look at.
        runs: What :func:`_wide` found of it, of shape ``(_MAX_WIDER,)``.
    """
    values, blocks = stretches.sample[:, series], stretches.blocks
    widths = stretches.widths[:, series]
    order = np.argsort(-widths, kind="stable")
    for count in np.flatnonzero(runs)[::-1] + 1:
        few = order[:count]
        start, stop = int(few.min()), int(few.max()) + 1
        # All blocks but one on either side, which may be wide in part.
        near = slice(blocks[max(start - 1, 0)], blocks[min(stop + 1, N_BLOCKS)])
        inner = float(np.ptp(np.quantile(np.delete(values, near), [TAIL, 1 - TAIL])))
        if widths[few].min() >= _MIN_RATIO * inner > 0:
            return start, stop
    return None
