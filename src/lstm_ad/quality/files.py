"""Find training files that are unlike all others: another machine, unit or order."""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.model.fences import TAIL
from lstm_ad.model.quantiles import Ordered
from lstm_ad.quality.columns import numbers_files
from lstm_ad.quality.data_parts import Data, Finding
from lstm_ad.quality.outlying import DISTANCE
from lstm_ad.quality.reasons import Level

_MIN_FILES, _MIN_SAMPLED = 3, 50
"""So many files, each with so many sampled rows, are compared."""

_MIN_RATIO = 2.0
"""How many ranges of all others the central 80 % of a file have to be wide."""

_MARGIN = 0.25
"""What the quantiles of a file may lie outside those of others, in their widths, and
still be like them."""

_LEVELS = (TAIL, 0.1, 0.5, 0.9, 1 - TAIL)


def find_other_files(data: Data) -> Iterator[Finding]:
    """Yield files that are unlike all others, and those with columns in disorder."""
    if len({*data.fitting.files, *data.calibration.files}) < _MIN_FILES:
        return
    files = _Files.of(data)
    if len(files.names) < _MIN_FILES:
        return
    # A number of a unit is told by itself.
    is_odd = (files.apart() | files.wider()) & ~numbers_files(data)
    for index, name in enumerate(files.names):
        order = files.disorder(index)
        if order:
            yield _disordered(data, files, index, order)
        odd = np.flatnonzero(is_odd[index])
        rest = [int(series) for series in odd if int(series) not in order]
        if not rest:
            continue
        first = rest[0]
        low, high = files.range_of_others(index, first)
        here = files.quantiles[[1, 3], index, first]
        how = "are" if len(rest) > 1 else "is"
        yield Finding(
            "other file",
            Level.CHECK,
            tuple(rest),
            name,
            None,
            f"{name}: {data.named(*rest)} {how} unlike all other files: "
            f"{data.named(first)} mostly goes from {here[0]:.6g} to {here[1]:.6g}, "
            f"there from {low:.6g} to {high:.6g}.",
            "The model learns both as normal, and finds fewer faults in either.",
            "See whether the file is of another machine, or in another unit; leave it "
            "out, or train on more files like it.",
        )


def _disordered(
    data: Data, files: "_Files", index: int, order: dict[int, int]
) -> Finding:
    """Return that columns of a file stand in another order."""
    name, first = files.names[index], min(order)
    return Finding(
        "disordered columns",
        Level.DO_NOT_USE,
        tuple(sorted(order)),
        name,
        None,
        f"{name}: the columns of {data.named(*order)} seem to be exchanged: "
        f"{data.named(first)} lies around {files.quantiles[2, index, first]:.6g}, as "
        f"{data.named(order[first])} does in all other files.",
        "Each of these series would be learnt as a mixture of several.",
        "Put the columns of this file in the order of the others.",
    )


@dataclasses.dataclass(frozen=True)
class _Files:
    """Quantiles of the series of each file."""

    names: tuple[str, ...]
    """Of the files with enough rows."""
    quantiles: FloatArray
    """Those of ``_LEVELS``, of shape ``(5, files, D)``."""

    @classmethod
    def of(cls, data: Data) -> "_Files":
        """Return them for the training files."""
        parts = collections.defaultdict(list)
        for part in (data.fitting, data.calibration):
            ends = np.cumsum(part.profile.n_timesteps)
            bounds = np.searchsorted(part.profile.sample_rows, ends)
            for name, rows in zip(
                part.files, np.split(part.profile.sample, bounds[:-1]), strict=True
            ):
                parts[name].append(rows)
        chosen = {
            name: np.concatenate(rows)
            for name, rows in parts.items()
            if sum(map(len, rows)) >= _MIN_SAMPLED
        }
        found = [Ordered.of(x.T).quantiles(*_LEVELS) for x in chosen.values()]
        shape = (len(_LEVELS), 0, data.n_series)
        return cls(tuple(chosen), np.stack(found, 1) if found else np.empty(shape))

    def apart(self) -> npt.NDArray[np.bool_]:
        """Return in which files a series lies far from all others: ``(files, D)``."""
        lowest, low, _, high, highest = self.quantiles
        is_odd = np.zeros(low.shape, dtype=np.bool_)
        for few, many in self._splits(self.quantiles[2]):
            near = _take(low, few).min(axis=0), _take(high, few).max(axis=0)
            inner = _take(lowest, many).min(axis=0), _take(highest, many).max(axis=0)
            gap = np.maximum(near[0] - inner[1], inner[0] - near[1])
            width = inner[1] - inner[0]
            _mark(is_odd, few, (width > 0) & (gap >= DISTANCE * width))
        return is_odd

    def wider(self) -> npt.NDArray[np.bool_]:
        """Return in which files a series varies much more than in all others.

        One that varies less is a machine at rest, more often than not.
        """
        lowest, low, _, high, highest = self.quantiles
        width = high - low
        is_odd = np.zeros(width.shape, dtype=np.bool_)
        for few, many in self._splits(width):
            inner = _take(highest, many).max(axis=0) - _take(lowest, many).min(axis=0)
            is_wide = _take(width, few).min(axis=0) >= _MIN_RATIO * inner
            _mark(is_odd, few, (inner > 0) & is_wide)
        return is_odd

    def disorder(self, index: int) -> dict[int, int]:
        """Return which series of a file are like which others; empty if in order."""
        here = self.quantiles[1:4, index]
        there = np.delete(self.quantiles[1:4], index, axis=1)
        low, high = there.min(axis=1), there.max(axis=1)
        width = np.median(there[2] - there[0], axis=0)
        distance = np.maximum(low[1] - here[1], here[1] - high[1])
        wrong = np.flatnonzero((width > 0) & (distance >= DISTANCE * width))
        low, high = (
            (low - _MARGIN * width)[:, wrong],
            (high + _MARGIN * width)[:, wrong],
        )
        x = here[:, wrong, np.newaxis]
        is_like = ((x >= low[:, np.newaxis]) & (x <= high[:, np.newaxis])).all(axis=0)
        if len(wrong) < 2 or (is_like.sum(0) != 1).any() or (is_like.sum(1) != 1).any():
            return {}
        return dict(zip(wrong.tolist(), wrong[is_like.argmax(1)].tolist(), strict=True))

    def range_of_others(self, index: int, series: int) -> tuple[float, float]:
        """Return between which values a series mostly is in the other files."""
        others = np.delete(self.quantiles[:, :, series], index, axis=1)
        return float(np.median(others[1])), float(np.median(others[3]))

    def _splits(self, key: FloatArray) -> Iterator[tuple[npt.NDArray[np.int64], ...]]:
        """Yield the files with the lowest, or highest, keys, and all others."""
        order = np.argsort(key, axis=0, kind="stable")
        for count in range(1, len(order) // 3 + 1):
            yield order[:count], order[count:]
            yield order[-count:], order[:-count]


def _take(values: FloatArray, files: npt.NDArray[np.int64]) -> FloatArray:
    """Return the values of some files, which may be others for each series."""
    return np.take_along_axis(values, files, axis=0)


def _mark(
    is_odd: npt.NDArray[np.bool_],
    files: npt.NDArray[np.int64],
    chosen: npt.NDArray[np.bool_],
) -> None:
    """Mark the files of the chosen series."""
    marked = np.take_along_axis(is_odd, files, axis=0) | chosen
    np.put_along_axis(is_odd, files, marked, axis=0)
