"""Describe each series of some rows in numbers: what to look at before learning.

The rows are read in chunks, so memory is bounded whatever their number. Everything is
exact but what needs an order (median, quartiles, deviation): that is of a stratified
random sample, one row of each of as many equal stretches. The sample also sets fences,
and every value beyond them is kept, up to a limit.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.chunks import chunks
from lstm_ad.data.extremes import Extreme, Extremes, Far
from lstm_ad.data.lines import Line, Lines
from lstm_ad.data.repeats import Repeat, Repeats
from lstm_ad.data.running import Missing, Steps
from lstm_ad.data.states import StateCounter, States
from lstm_ad.model.fences import TAIL, fences, sample, varying
from lstm_ad.model.quantiles import Ordered, tails

_NORMAL_MAD = 1.482602218505602
"""Standard deviation of a Gaussian per median absolute deviation."""


@dataclasses.dataclass(frozen=True)
class Profile:
    """Numbers about each series of some files, whose rows are counted through.

    Arrays are of shape ``(D,)`` unless said otherwise. Steps are differences between
    neighbouring rows of a file.
    """

    n_timesteps: tuple[int, ...]
    """The rows of each file."""
    extremes: tuple[Extreme, Extreme]
    """The smallest and the largest value, and who takes it."""
    mean: FloatArray
    """The mean of all rows."""
    sample: FloatArray
    """A random row of each of at most ``SAMPLE_ROWS`` stretches, ``(n, D)``; where a
    value is missing, the last one sampled before it."""
    sample_rows: IndexArray
    """Their row numbers, of shape ``(n,)``, rising."""
    outer: FloatArray
    """What ``TAIL`` of the sampled values are below, and above, of shape ``(2, D)``."""
    n_steps: int
    """How many steps there are."""
    n_rises: IndexArray
    """How many steps go up."""
    n_falls: IndexArray
    """How many steps go down."""
    mean_fall: FloatArray
    """The mean of the steps that go down; 0 where there are none."""
    steps: FloatArray
    """The smallest and the largest step, of shape ``(2, D)``."""
    longest: IndexArray
    """The rows of the longest constant stretch."""
    longest_first: IndexArray
    """Its first row."""
    stretch_mean: FloatArray
    """The mean of each of ``N_STRETCHES`` equal stretches, ``(N_STRETCHES, D)``; NaN
    for one without rows."""
    stretch_range: FloatArray
    """Likewise the smallest and the largest value, ``(2, N_STRETCHES, D)``."""
    n_missing: IndexArray
    """How many values are missing."""
    longest_missing: IndexArray
    """The rows of the longest run of missing values."""
    longest_missing_first: IndexArray
    """Its first row."""
    lines: tuple[tuple[Line, ...], ...]
    """Of each series the first straight lines, which are not level."""
    straight_share: FloatArray
    """The fraction of rows, estimated, that lie on a line with both neighbours."""
    n_on_lines: IndexArray
    """How many rows lie on straight lines that are not level."""
    states: tuple[States | None, ...]
    """Of each series the values it has, or None if there are many."""
    far: tuple[Far, ...]
    """Of each series the values beyond its fences."""
    repeats: Mapping[int, tuple[Repeat, ...]]
    """Of some series the values that come again and again, far from all others."""

    @property
    def n_rows(self) -> int:
        """The rows of all files together."""
        return sum(self.n_timesteps)

    @property
    def low(self) -> FloatArray:
        """The smallest value."""
        return self.extremes[0].value

    @property
    def high(self) -> FloatArray:
        """The largest value."""
        return self.extremes[1].value

    @functools.cached_property
    def ordered(self) -> Ordered:
        """The sampled values of each series in order, of shape ``(D, n)``."""
        return Ordered.of(self.sample.T)

    @functools.cached_property
    def quantiles(self) -> FloatArray:
        """Quartiles and median, estimated, of shape ``(3, D)``."""
        return self.ordered.quantiles(0.25, 0.5, 0.75)

    @functools.cached_property
    def varies(self) -> npt.NDArray[np.bool_]:
        """Which series vary by themselves."""
        return varying(self.sample.T)

    @functools.cached_property
    def deviation(self) -> FloatArray:
        """The robust standard deviation: 1.48 median absolute deviations."""
        distance = np.abs(self.sample - self.quantiles[1])
        found: FloatArray = _NORMAL_MAD * np.median(distance, axis=0)
        return found

    @property
    def change_share(self) -> FloatArray:
        """The fraction of steps that are not 0."""
        return (self.n_rises + self.n_falls) / max(self.n_steps, 1)

    def locate(self, row: int) -> tuple[int, int]:
        """Return the number of the file that a row is in, and its row there."""
        ends = np.cumsum(self.n_timesteps)
        file = int(np.searchsorted(ends, row, side="right"))
        return file, row - int(ends[file]) + self.n_timesteps[file]


def profile(files: Sequence[FloatArray]) -> Profile:
    """Return the profile of some files, each of shape ``(T, D)``, ``T`` at least 1."""
    n_timesteps = tuple(map(len, files))
    sample_rows, sampled = sample(files)
    sampled = np.asfortranarray(sampled)  # the values of a series are adjacent
    outer = np.stack(tails(sampled.T, TAIL))
    extremes = Extremes(fences(*outer), sum(n_timesteps))
    steps, missing = Steps(sampled.shape[1]), Missing(sampled.shape[1])
    states = StateCounter(sampled)
    lines, repeats = Lines(sampled), Repeats(sampled)
    held = _held(sampled)
    with np.errstate(over="ignore", invalid="ignore"):
        for chunk in chunks(files):
            for each in (extremes, steps, states, missing, lines, repeats):
                each.add(chunk)
    steps.end(sum(n_timesteps))
    lines.end(sum(n_timesteps))
    with np.errstate(invalid="ignore"):
        stretch_mean = extremes.sums / extremes.n_values
        mean = extremes.sums.sum(axis=0) / extremes.n_values.sum(axis=0)
    return Profile(
        n_timesteps=n_timesteps,
        extremes=extremes.extremes(),
        mean=mean,
        sample=held,
        sample_rows=sample_rows,
        outer=outer if held is sampled else np.stack(tails(held.T, TAIL)),
        n_steps=steps.n_steps,
        n_rises=steps.n_rises,
        n_falls=steps.n_falls,
        mean_fall=steps.falls / np.maximum(steps.n_falls, 1),
        steps=steps.bounds,
        longest=steps.longest,
        longest_first=steps.longest_first,
        stretch_mean=stretch_mean,
        stretch_range=extremes.ranges,
        n_missing=missing.n_missing,
        longest_missing=missing.longest,
        longest_missing_first=missing.longest_first,
        lines=lines.result(),
        straight_share=lines.n_straight / np.maximum(lines.n_tested, 1),
        n_on_lines=lines.n_on_lines,
        states=states.result(),
        far=extremes.far(),
        repeats=repeats.result(),
    )


def _held(sampled: FloatArray) -> FloatArray:
    """Return sampled rows, ``(n, D)``, with the last value where one is missing.

    Before the first one, and where there is none, it is the median, or 0.
    """
    is_missing = np.isnan(sampled)
    if not is_missing.any():
        return sampled
    numbers = np.arange(len(sampled))[:, np.newaxis]
    last = np.maximum.accumulate(np.where(is_missing, 0, numbers), axis=0)
    held = np.take_along_axis(sampled, last, axis=0)
    median = np.nan_to_num(Ordered.of(sampled.T).quantiles(0.5)[0])
    return np.where(np.isnan(held), median, held)
