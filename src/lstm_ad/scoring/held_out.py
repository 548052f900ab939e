"""Score the calibration part as new normal data would be scored.

The Gaussian of the detector is fitted to the calibration errors, and scores them higher
than others: the more so, the wider they are and the fewer. So each of ``N_FOLDS`` runs
of rows is scored by a Gaussian that was fitted to all other rows. Runs, because errors
next to each other are alike.
"""

from collections.abc import Callable, Sequence

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.blocks import in_blocks
from lstm_ad.scoring.gaussian import Gaussian

N_FOLDS = 10
"""Runs of calibration rows, each scored by a Gaussian fitted to the others."""


def held_out_distances(
    errors: Sequence[FloatArray],
    first: Sequence[int],
    n_rows: int,
    fit: Callable[[Sequence[FloatArray]], Gaussian],
) -> list[FloatArray]:
    """Return the squared Mahalanobis distances of errors from Gaussians of the others.

    Args:
        errors: Of each file that this process scores, of shape ``(T, K * D)``; at least
            one array, which may have no rows.
        first: The number of each one's first row among the rows of all processes.
        n_rows: The number of rows of all processes.
        fit: Returns the Gaussian of some errors of this process, and of those of the
            others: every process calls it as often.

    Returns:
        Of each file, of shape ``(T,)``.
    """
    distances = [np.empty(len(part)) for part in errors]
    n_folds = min(N_FOLDS, n_rows)
    for fold in np.array_split(np.arange(n_rows), n_folds):
        others, held_out = [], []
        for part, found, start in zip(errors, distances, first, strict=True):
            begin, end = np.clip([fold[0] - start, fold[-1] + 1 - start], 0, len(part))
            others += [part[:begin], part[end:]] if n_folds > 1 else [part]
            held_out.append((part[begin:end], found[begin:end]))
        gaussian = fit(others)
        for rows, found in held_out:
            blocks = [gaussian.distances(block) for block in in_blocks(rows)]
            found[:] = np.concatenate([np.empty(0), *blocks])
    return distances
