"""Score the calibration part as new normal data would be scored."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.partition import Shares
from lstm_ad.model.layout import Layout
from lstm_ad.scoring.detector import moving_average
from lstm_ad.scoring.gaussian import Caution, Gaussian
from lstm_ad.training.processes import ALONE, Team

N_FOLDS = 10
"""Parts of the calibration part, each scored by a Gaussian fitted to the others."""

MAX_NUMBERS = 2**24
"""Scores and errors that decide, gathered from all processes: where there are more,
rows at equal distances stand for all."""


@dataclasses.dataclass(frozen=True)
class Runs:
    """Where the calibration rows of a process are among those of all processes.

    All rows that calibrate are numbered from 0, file by file, without those that have
    no score. A process has runs of them.
    """

    n_rows: int
    """How many there are in all."""
    file: IndexArray
    """The number of each run's file."""
    first: IndexArray
    """The number of each run's first row."""
    length: IndexArray
    """How many rows each run has."""

    @classmethod
    def of_one(cls, lengths: Sequence[int]) -> "Runs":
        """Return the runs of a process that has all rows, a run per file."""
        length = np.array(lengths, dtype=np.int64)
        first = np.cumsum(length) - length
        return cls(int(length.sum()), np.arange(len(length)), first, length)

    @classmethod
    def of(cls, shares: Shares, rank: int, layout: Layout) -> "Runs":
        """Return the runs of a process."""
        starts = np.array(shares.cuts) - layout.n_borrowed
        n_scored = [file.n_timesteps for file in shares.training] - starts
        n_scored -= layout.n_unscored
        offset = np.cumsum(n_scored) - n_scored
        pieces = shares.calibrating[rank]
        file = np.array([piece.file for piece in pieces], dtype=np.int64)
        first = np.array([piece.first for piece in pieces], dtype=np.int64)
        length = np.array([piece.n_held for piece in pieces], dtype=np.int64)
        return cls(
            int(n_scored.sum()),
            file,
            offset[file] + first - starts[file],
            length - layout.n_unscored,
        )

    @functools.cached_property
    def numbers(self) -> IndexArray:
        """The number of each row of this process."""
        ranges = zip(self.first, self.length, strict=True)
        rows = [np.arange(first, first + length) for first, length in ranges]
        return np.concatenate([*rows, np.empty(0, dtype=np.int64)])

    def every(self, most: int) -> int:
        """Return the step that leaves at most so many of all rows."""
        return math.ceil(self.n_rows / most)

    def gathered(self, values: FloatArray, step: int, team: Team) -> FloatArray:
        """Return what all processes have for every so many-th row, in order.

        Args:
            values: Of this process, of shape ``(rows, ...)``.
            step: From one row to the next; 1 takes all.
            team: Who has values.
        """
        if team.size == 1:
            return values[::step]
        is_taken = self.numbers % step == 0
        everything = team.gather((self.numbers[is_taken], values[is_taken]))
        order = np.argsort(np.concatenate([numbers for numbers, _ in everything]))
        table: FloatArray = np.concatenate([found for _, found in everything])[order]
        return table

    def smoothed(self, scores: FloatArray, smoothing: int, team: Team) -> FloatArray:
        """Return moving averages, each over the rows of its own file.

        Where a file was cut, the rows before a run are the last ones of other runs.

        Args:
            scores: Of the rows of this process.
            smoothing: Over how many rows they are averaged.
            team: Who has scores.
        """
        parts = np.split(scores, np.cumsum(self.length)[:-1])
        table = list(zip(self.file.tolist(), self.first.tolist(), parts, strict=False))
        n_before = smoothing - 1
        ends = [(file, first, part[-n_before:]) for file, first, part in table]
        known: dict[int, list[tuple[int, FloatArray]]] = {}
        if n_before:
            everything = itertools.chain.from_iterable(team.gather(ends))
            for file, first, end in sorted(everything, key=lambda one: one[:2]):
                known.setdefault(file, []).append((first, end))
        averages = [np.empty(0)]
        for file, first, part in table:
            others = [end for at, end in known.get(file, []) if at < first]
            before = np.concatenate([np.empty(0), *others])[-n_before:]
            joined = np.concatenate([before, part]) if n_before else part
            averages.append(
                moving_average(joined, smoothing)[len(joined) - len(part) :]
            )
        return np.concatenate(averages)


def held_out_scores(
    errors: Sequence[FloatArray],
    scale: FloatArray,
    caution: Caution,
    smoothing: int,
    runs: Runs | None = None,
    team: Team = ALONE,
) -> FloatArray:
    """Return the scores of normal data as new normal data would have them.

    The Gaussian of the detector knows the errors that it was fitted to, and scores them
    higher than others: the more so, the wider they are and the fewer. So each of
    ``N_FOLDS`` runs of rows is scored by a Gaussian that was fitted to all other rows.
    Runs, because errors next to each other are alike.

    Args:
        errors: Of each run of rows that this process calibrates with, of shape
            ``(T, K * D)``.
        scale: The standard deviations of the series, of shape ``(D,)``.
        caution: As the detector's Gaussian was fitted with.
        smoothing: Over how many rows scores are averaged.
        runs: Where these are among the rows of all processes; None if there are no
            others.
        team: Who calibrates.

    Returns:
        The scores of all runs, of shape ``(n,)``.
    """
    if runs is None:
        runs = Runs.of_one([len(part) for part in errors])
    rows = np.concatenate(errors)
    n_folds = min(N_FOLDS, runs.n_rows)
    folds = np.array_split(np.arange(runs.n_rows), n_folds)
    ends = np.cumsum([len(fold) for fold in folds])
    number = np.searchsorted(ends, runs.numbers, side="right")  # the fold of each row
    scores = np.empty(len(rows))
    for fold in range(n_folds):
        is_in = number == fold
        others = rows[~is_in] if n_folds > 1 else rows
        gaussian = Gaussian.fit(
            others, scale, caution, is_quiet=True, add_up=team.add_up
        )
        scores[is_in] = gaussian.log_likelihood(rows[is_in])
    return runs.smoothed(scores, smoothing, team)
