"""Score the calibration part as new normal data would be scored."""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.detector import moving_average
from lstm_ad.scoring.gaussian import BLOCK_ROWS, Caution, Gaussian

N_FOLDS = 10
"""Parts of the calibration part, each scored by a Gaussian fitted to the others."""


@dataclasses.dataclass(frozen=True)
class CalibrationErrors:
    """The errors that one process has of the calibration rows of all.

    All rows that calibrate and have a score are numbered from 0, file by file. A
    process has those of whole parts, in that order.
    """

    values: FloatArray
    """Of this process, of shape ``(rows, K * D)``; may be mapped from a file."""
    lengths: Sequence[int]
    """How many rows each part of all processes has."""
    is_mine: Sequence[bool]
    """Whether this process has them."""

    @property
    def n_rows(self) -> int:
        """How many rows all processes have."""
        return sum(self.lengths)

    @functools.cached_property
    def numbers(self) -> IndexArray:
        """The number of each row of this process, rising."""
        length = np.array(self.lengths, dtype=np.int64)
        return np.flatnonzero(np.repeat(np.array(self.is_mine, dtype=bool), length))

    @property
    def parts(self) -> IndexArray:
        """The number of the part that each row of this process is in."""
        return np.searchsorted(np.cumsum(self.lengths), self.numbers, side="right")

    def every(self, most: int) -> IndexArray:
        """Return which rows of this process belong to at most so many of all.

        These are at equal distances among the rows of all processes.
        """
        step = math.ceil(self.n_rows / most)
        return np.flatnonzero(self.numbers % step == 0)

    def gathered(
        self, values: FloatArray, rows: IndexArray, group: ProcessGroup
    ) -> FloatArray:
        """Return what all processes have of some rows, in order.

        Args:
            values: What this process has, of shape ``(len(rows), ...)``.
            rows: Which of its rows, as from :meth:`every`.
            group: The processes.
        """
        everything = group.gather((self.numbers[rows], values))
        order = np.argsort(np.concatenate([numbers for numbers, _ in everything]))
        found: FloatArray = np.concatenate([one for _, one in everything])[order]
        return found


def held_out_scores(
    errors: CalibrationErrors,
    scale: FloatArray,
    caution: Caution,
    smoothing: int,
    group: ProcessGroup = ALONE,
) -> FloatArray:
    """Return the scores of normal data as new normal data would have them.

    The Gaussian of the detector is fitted to these errors, and scores them higher than
    others: the more so, the wider they are and the fewer. So each of ``N_FOLDS`` runs
    of rows is scored by a Gaussian that was fitted to all other rows. Runs, because
    errors next to each other are alike.

    Args:
        errors: Of the calibration parts.
        scale: The standard deviations of the series, of shape ``(D,)``.
        caution: As the detector's Gaussian was fitted with.
        smoothing: Over how many rows of a part scores are averaged.
        group: The processes that have errors.

    Returns:
        The scores of the rows of this process, of shape ``(rows,)``.
    """
    n_folds = min(N_FOLDS, errors.n_rows)
    ends = np.cumsum(
        [len(x) for x in np.array_split(np.arange(errors.n_rows), n_folds)]
    )
    scores = np.empty(len(errors.values))
    first = 0
    for last in np.searchsorted(errors.numbers, ends).tolist():
        others = slice(first, last) if n_folds > 1 else slice(0, 0)
        gaussian = Gaussian.fit(errors.values, scale, caution, group, left_out=others)
        for start in range(first, last, BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, last))
            scores[rows] = gaussian.log_likelihood(errors.values[rows])
        first = last
    pairs = zip(errors.lengths, errors.is_mine, strict=True)
    borders = np.cumsum([length for length, is_mine in pairs if is_mine])
    parts = np.split(scores, borders[:-1]) if len(borders) else []
    averages = [moving_average(part, smoothing) for part in parts]
    return np.concatenate([np.empty(0), *averages])
