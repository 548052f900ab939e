"""Calibration rows are scored by Gaussians that were fitted to other rows."""

import numpy as np
import pytest

from lstm_ad.scoring.gaussian import Gaussian
from lstm_ad.scoring.held_out import N_FOLDS, held_out_distances


def gaussian_of(parts: list[np.ndarray]) -> Gaussian:
    """Return the Gaussian of maximum likelihood of two series' errors."""
    return Gaussian.fit(parts, np.ones(2), names=None)


@pytest.mark.parametrize("cuts", [[], [77], [3, 90, 150]])
def test_each_tenth_is_scored_by_the_other_nine(cuts: list[int]) -> None:
    """By leaving rows out by hand, however the rows are divided into files."""
    errors = np.random.default_rng(0).normal(size=(200, 2)) @ [[1, 0.5], [0, 1]]
    parts = np.split(errors, cuts)

    found = np.concatenate(
        held_out_distances(parts, [0, *cuts], len(errors), gaussian_of)
    )

    for fold in np.array_split(np.arange(200), N_FOLDS):
        others = gaussian_of([np.delete(errors, fold, axis=0)])
        np.testing.assert_allclose(found[fold], others.distances(errors[fold]))


def test_processes_score_their_files_as_one_would() -> None:
    """A process without rows of a fold still takes part in its Gaussian."""
    errors = np.random.default_rng(1).normal(size=(60, 2))
    mine, theirs = errors[:40], errors[40:]

    def with_others(parts: list[np.ndarray], fold: list[int]) -> Gaussian:
        """Return the Gaussian of these and of what the other process has then."""
        folds = np.array_split(np.arange(60), N_FOLDS)
        rows = np.delete(np.arange(60), folds[fold.pop(0)])
        return gaussian_of([*parts, theirs[rows[rows >= 40] - 40]])

    order = list(range(N_FOLDS))
    found = held_out_distances([mine], [0], 60, lambda parts: with_others(parts, order))

    expected = held_out_distances([errors], [0], 60, gaussian_of)
    np.testing.assert_allclose(found[0], expected[0][:40])


def test_a_single_row_is_scored_by_itself() -> None:
    """There is nothing else."""
    (found,) = held_out_distances([np.ones((1, 2))], [0], 1, gaussian_of)

    assert found.tolist() == [0.0]
