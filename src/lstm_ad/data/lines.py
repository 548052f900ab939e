"""Find rows of a series on one straight line, as exactly as they are printed."""

import dataclasses

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray
from lstm_ad.data.chunks import Chunk, count_true

MIN_ROWS = 30
"""A line has at least so many rows."""

MAX_LINES = 8
"""Lines that are kept of a series: the first ones."""

_STRIDE = 8  # of so many rows one is looked at first; a line has three of them
_MIN_TESTED, _MAX_SHARE = 32, 0.4  # a series that is so often straight is left alone
_MAX_DECIMALS, _MAX_DIGITS, _N_LOOKED_AT = 9, 1e11, 256
_EPS = 8 * np.finfo(np.float64).eps


@dataclasses.dataclass(frozen=True)
class Line:
    """Consecutive rows of one series on one line, which is not level."""

    first: int
    """The number of its first row."""
    last: int
    """The number of its last row."""
    start: float
    """The first value."""
    end: float
    """The last value."""

    @property
    def slope(self) -> float:
        """What it rises by from row to row."""
        return (self.end - self.start) / (self.last - self.first)


@dataclasses.dataclass
class _Open:
    """A line that may go on in the next chunk."""

    first: int
    start: float
    low: float
    high: float
    """The smallest and the largest step."""


class Lines:
    """The straight lines of each series.

    Three rows are straight if the second difference is at most one unit of the last
    printed digit, which rounding makes of a line; steps then differ by at most two.

    Args:
        sampled: Sampled rows of the series, ``(n, D)``, which show the digits.
    """

    def __init__(self, sampled: FloatArray) -> None:
        n_series = sampled.shape[1]
        self.n_tested = np.zeros(n_series, dtype=np.int64)
        """Rows that were looked at."""
        self.n_straight = np.zeros(n_series, dtype=np.int64)
        """Of these, the ones on a line with their neighbours, also a level one."""
        self.n_on_lines = np.zeros(n_series, dtype=np.int64)
        """Rows on lines, also on those that are not kept."""
        self._tolerance = _tolerance(sampled)
        self._kept = np.arange(n_series)
        self._step = np.full(n_series, np.nan)
        self._value = np.full(n_series, np.nan)
        self._open: dict[int, _Open] = {}
        self._lines: dict[int, list[Line]] = {}

    def add(self, chunk: Chunk) -> None:
        """Take in more rows."""
        if not chunk.has_previous:
            self.end(chunk.first)
        if not len(self._kept):
            return
        steps = chunk.steps
        n_bends = steps.shape[1] - 1
        if n_bends > 0:
            bends = steps[:, 1::_STRIDE] - steps[:, :n_bends:_STRIDE]
            is_straight = np.abs(bends) <= self._tolerance[:, np.newaxis]
            self._drop(is_straight)
            kept = self._kept
            x = is_straight[kept]
            in_turn = x[:, 2:] & x[:, 1:-1] & x[:, :-2]
            last = np.abs(steps[kept, -1] - steps[kept, -2])
            looked_at = in_turn.any(axis=1) | (last <= self._tolerance[kept])
            chosen = {*map(int, kept[looked_at]), *self._open}
        else:
            chosen = {*map(int, self._kept)}
        for series in chosen:
            first = chunk.first - int(chunk.has_previous)
            self._find(series, first, chunk.values[series])
        self._step[:] = steps[:, -1] if n_bends >= 0 else np.nan

    def end(self, stop: int) -> None:
        """End the lines that go on, before row ``stop``."""
        for series in list(self._open):
            self._close(series, self._open.pop(series), stop - 1)
        self._step[:] = np.nan

    def result(self) -> tuple[tuple[Line, ...], ...]:
        """Return the lines of each series, in the order of their rows."""
        return tuple(
            tuple(self._lines.get(series, ())) for series in range(len(self._step))
        )

    def _drop(self, is_straight: npt.NDArray[np.bool_]) -> None:
        """Count in which rows series are straight, and leave those that often are."""
        kept = self._kept
        self.n_tested[kept] += is_straight.shape[1]
        self.n_straight[kept] += count_true(is_straight)[kept]
        share = self.n_straight[kept] / np.maximum(self.n_tested[kept], 1)
        is_often = (self.n_tested[kept] >= _MIN_TESTED) & (share > _MAX_SHARE)
        self._kept = kept[~is_often]
        for series in map(int, kept[is_often]):
            self._open.pop(series, None)

    def _find(self, series: int, base: int, values: FloatArray) -> None:
        """Find the lines of a series in a chunk that starts with row ``base``."""
        steps = np.diff(values, prepend=values[0] - self._step[series])
        tolerance = self._tolerance[series]
        is_straight = np.abs(np.diff(steps)) <= tolerance
        edges = np.flatnonzero(np.diff(is_straight, prepend=False, append=False))
        going = self._open.pop(series, None)
        if going and not (len(is_straight) and is_straight[0]):
            self._close(series, going, base, float(values[0]))
        starts, stops = edges.reshape(-1, 2).T
        # The others are too short, and do not go on from or to another chunk.
        is_long = stops - starts + 2 >= MIN_ROWS
        is_long |= (starts == 0) | (stops == len(is_straight))
        for start, stop in zip(starts[is_long], stops[is_long], strict=True):
            here = steps[start : stop + 1]
            line = _Open(
                base + int(start) - 1,
                float(values[start] - steps[start]),
                float(here.min()),
                float(here.max()),
            )
            if going and start == 0:
                line.first, line.start = going.first, going.start
                line.low = min(line.low, going.low)
                line.high = max(line.high, going.high)
            if stop == len(is_straight):
                self._open[series] = line
                self._value[series] = values[-1]
            else:
                self._close(series, line, base + int(stop), float(values[stop]))

    def _close(
        self, series: int, line: _Open, last: int, end: float | None = None
    ) -> None:
        """Keep a line that ends in row ``last`` if it is long, and one indeed."""
        end = float(self._value[series]) if end is None else end
        n_rows, tolerance = last - line.first + 1, self._tolerance[series]
        if (
            n_rows < MIN_ROWS
            or line.high - line.low > 2 * tolerance
            or abs(end - line.start) <= 4 * tolerance
        ):
            return
        self.n_on_lines[series] += n_rows
        lines = self._lines.setdefault(series, [])
        if len(lines) < MAX_LINES:
            lines.append(Line(line.first, last, line.start, end))


@np.errstate(over="ignore")
def _tolerance(sampled: FloatArray) -> FloatArray:
    """Return a unit of the last digit that most values have, and rounding: ``(D,)``."""
    x = np.abs(sampled[:: 1 + len(sampled) // _N_LOOKED_AT])
    n_values = np.count_nonzero(~np.isnan(x), axis=0)
    unit = np.zeros(x.shape[1])
    for decimals in range(_MAX_DECIMALS, -1, -1):
        scaled = x * 10.0**decimals
        is_whole = np.abs(scaled - np.rint(scaled)) <= _EPS * scaled
        n_printed = np.count_nonzero(is_whole & (scaled < _MAX_DIGITS), axis=0)
        unit[n_printed > n_values / 2] = 10.0**-decimals
    return np.asarray(unit * (1 + 1e-6) + _EPS * np.nan_to_num(x).max(axis=0))
