"""The fitted detector, and how it scores a series."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.gaussian import Gaussian
from lstm_ad.reconstruction import Reconstructor, error_vectors


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a detector says of each time step of a series."""

    normality_score: FloatArray
    """The Gaussian log-likelihood of the reconstruction errors, in nats, of shape
    ``(T,)``; low = anomalous. NaN for the first rows: they have no reconstruction."""
    reconstruction: FloatArray
    """Of shape ``(T, D)``, in the units of the series; the mean of a row's
    reconstructions where it has several. NaN for the first rows."""


@dataclasses.dataclass(frozen=True)
class LSTMAD:
    """Scores how normal each time step of a multivariate series is.

    LSTM-AD (Malhotra et al., ESANN 2015): a stacked LSTM reconstructs each sequence
    from the rows before it, and a multivariate Gaussian, fitted to the reconstruction
    errors on normal data that the LSTM has not seen, says how likely the errors are.
    """

    reconstructor: Reconstructor
    """The scaled LSTM."""
    gaussian: Gaussian
    """The distribution of the signed errors of the calibration part."""
    smoothing: int = 1
    """Over how many rows scores are averaged, the last one included."""

    def warm_up(self) -> None:
        """Score once, so that the first caller does not wait for lazy beginnings."""
        n_timesteps = self.reconstructor.network.layout.n_unscored + 1
        self.score(np.tile(self.reconstructor.scaler.mean, (n_timesteps, 1)))

    def score(self, series: FloatArray) -> Scores:
        """Return the normality score and the reconstruction of each time step.

        Sequences are cut from the first row on, so both depend on where the series
        starts. They do not depend on anything else that is scored.

        Args:
            series: Of shape ``(T, D)``, in the units of the training data, longer than
                the rows that have no score.

        Raises:
            SeriesError: If ``series`` has another number of columns than the training
                data, or too few rows.
        """
        parts = list(self.score_in_parts(series))
        return Scores(
            np.concatenate([part.normality_score for part in parts]),
            np.concatenate([part.reconstruction for part in parts]),
        )

    def score_in_parts(self, series: FloatArray) -> Iterator[Scores]:
        """Yield what :meth:`score` returns, some rows at a time and in order.

        The first part is the rows that have no scores.

        Args:
            series: As for :meth:`score`.

        Raises:
            SeriesError: As :meth:`score`, before anything is yielded.
        """
        before = np.empty(0)  # the scores that the next rows' averages go back to
        for rows, reconstructions in self.reconstructor.reconstruct(series):
            if rows.start == self.reconstructor.network.layout.n_unscored:
                nothing = np.full((rows.start, series.shape[1]), np.nan)
                yield Scores(np.full(rows.start, np.nan), nothing)
            errors = error_vectors(series[rows], reconstructions)
            score = np.concatenate([before, self.gaussian.log_likelihood(errors)])
            averages = _moving_average(score, self.smoothing)[len(before) :]
            before = score[max(len(score) - self.smoothing + 1, 0) :]
            yield Scores(averages, reconstructions.mean(axis=1))


def _moving_average(score: FloatArray, n_rows: int) -> FloatArray:
    """Return the mean of each score and of the ones before it, ``n_rows`` in all.

    Causal, so that a series scored while it grows has the scores of the whole. The
    first rows' averages are over what there is. Each window is summed by itself: with
    running sums, one very low score would spoil all that come after it.
    """
    if n_rows == 1:
        return score
    padded = np.concatenate([np.full(n_rows - 1, np.nan), score])
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_rows)
    averages: FloatArray = np.nanmean(windows, axis=1)
    return averages
