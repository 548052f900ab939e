"""Fit what scores errors: their Gaussian, and the scan over windows.

Errors of the rows that the LSTM was not trained on are what new normal data have;
errors of the rows that it was trained on say what else is normal now and then.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.gaussian import (
    MAXIMUM_LIKELIHOOD,
    WIDE,
    Gaussian,
    Regularisation,
)
from lstm_ad.scoring.held_out import held_out_distances
from lstm_ad.scoring.moments import Moments
from lstm_ad.scoring.scan import MARGINS, Scan, Scanner

MAX_GATHERED = 2**24
"""Calibration rows that levels and threshold are estimated from; of more, the first
rows of each file are taken."""


@dataclasses.dataclass(frozen=True)
class Errors:
    """Error vectors of the files that a process scores, among those of all."""

    parts: Sequence[FloatArray]
    """Of each file, of shape ``(T, K * D)``, in the units of the series; at least one
    array, which may have no rows."""
    first: Sequence[int]
    """The number of each one's first row among the rows of all processes."""
    n_rows: int
    """The number of rows of all processes."""

    @classmethod
    def alone(cls, parts: Sequence[FloatArray]) -> "Errors":
        """Return the errors of all files, scored by one process."""
        lengths = [len(part) for part in parts]
        first = np.cumsum([0, *lengths[:-1]]).tolist()
        return cls(parts, first, sum(lengths))

    def sample(self, most: int, group: ProcessGroup = ALONE) -> FloatArray:
        """Return at most so many rows, at equal distances, whoever has them."""
        step = max(1, math.ceil(self.n_rows / most))
        mine = [
            (first, part[-first % step :: step])
            for part, first in zip(self.parts, self.first, strict=True)
        ]
        return np.concatenate(in_order(mine, group))


@dataclasses.dataclass(frozen=True)
class Settings:
    """How errors are scored."""

    regularisation: Regularisation
    """Of the Gaussian."""
    lengths: Sequence[int]
    """Of the windows, in rows, each twice the one before."""
    margin: float
    """See :meth:`Scan.fit`."""
    adaptation_rows: int = 0
    """Likewise."""

    @classmethod
    def of(cls, hyperparameters: Hyperparameters, n_series: int) -> "Settings":
        """Return how the errors of ``D`` series are scored.

        Args:
            hyperparameters: The settings of the job.
            n_series: ``D``.
        """
        is_wide = hyperparameters.layout.is_overlapping
        return cls(
            WIDE if is_wide else MAXIMUM_LIKELIHOOD,
            hyperparameters.window_lengths(n_series),
            MARGINS[n_series == 1],
            hyperparameters.adaptation_rows,
        )


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """What scores errors, and how it scores the calibration rows."""

    gaussian: Gaussian
    """The distribution of the errors."""
    scan: Scan
    """The windows."""
    scores: Sequence[FloatArray]
    """Of each file of all processes, of shape ``(T,)``: the scores of its calibration
    rows as new data would have them; NaN before its shortest window is full."""

    def score(self, errors: FloatArray) -> FloatArray:
        """Return the scores of one series.

        Args:
            errors: Of shape ``(T, K * D)``.

        Returns:
            Of shape ``(T,)``; NaN before the shortest window is full.
        """
        evidence, _ = Scanner(self.scan).of(self.gaussian.distances(errors))
        return self.gaussian.log_likelihood_at(evidence)


def calibrate(
    calibration: Errors,
    training: Errors | None,
    scale: FloatArray,
    settings: Settings,
    group: ProcessGroup = ALONE,
    names: Sequence[str] = (),
) -> Calibrated:
    """Return what scores errors.

    Args:
        calibration: Errors on the calibration rows.
        training: Errors on the rows that the LSTM was trained on; None leaves them out.
        scale: The standard deviations of the series, of shape ``(D,)``.
        settings: How errors are scored.
        group: The processes that have errors.
        names: What warnings call the series.
    """
    fit = functools.partial(
        Gaussian.fit,
        scale=scale,
        regularisation=settings.regularisation,
        training=None if training is None else Moments.of(training.parts, group),
        group=group,
    )
    gaussian = fit(calibration.parts, names=names)
    distances = held_out_distances(
        calibration.parts,
        calibration.first,
        calibration.n_rows,
        functools.partial(fit, names=None),
    )
    found = _gathered(calibration, distances, group)
    scan = Scan.fit(found, settings.lengths, settings.margin, settings.adaptation_rows)
    scores = [gaussian.log_likelihood_at(Scanner(scan).of(part)[0]) for part in found]
    return Calibrated(gaussian, scan, scores)


def _gathered(
    errors: Errors, distances: Sequence[FloatArray], group: ProcessGroup
) -> list[FloatArray]:
    """Return the distances of all processes, file by file."""
    fraction = min(1.0, MAX_GATHERED / errors.n_rows)
    mine = [
        (first, part[: math.ceil(fraction * len(part))])
        for first, part in zip(errors.first, distances, strict=True)
    ]
    return [part for part in in_order(mine, group) if len(part)]


def in_order(
    mine: Sequence[tuple[int, FloatArray]], group: ProcessGroup
) -> list[FloatArray]:
    """Return what all processes have of their files, in the order of the files.

    Args:
        mine: The numbers of first rows, and something of the rows from there on.
        group: The processes.
    """
    everything = [pair for pairs in group.gather(mine) for pair in pairs]
    return [part for _, part in sorted(everything, key=lambda pair: pair[0])]
