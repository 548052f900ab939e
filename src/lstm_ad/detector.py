"""The fitted detector, and how it scores a series."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.gaussian import Gaussian
from lstm_ad.reconstruction import Reconstructor


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a detector says of each time step of a series."""

    normality_score: FloatArray
    """The Gaussian log-likelihood of the reconstruction errors, in nats, of shape
    ``(T,)``; low = anomalous. NaN for the first sequence: it has no reconstruction."""
    reconstruction: FloatArray
    """Of shape ``(T, D)``, in the units of the series; NaN for the first sequence."""


@dataclasses.dataclass(frozen=True)
class LSTMAD:
    """Scores how normal each time step of a multivariate series is.

    LSTM-AD (Malhotra et al., ESANN 2015): a stacked LSTM reconstructs each sequence
    from the one before it, and a multivariate Gaussian, fitted to the reconstruction
    errors on normal data that the LSTM has not seen, says how likely the errors are.
    """

    reconstructor: Reconstructor
    """The scaled LSTM."""
    gaussian: Gaussian
    """The distribution of the signed errors of the calibration part."""

    def warm_up(self) -> None:
        """Score once, so that the first caller does not wait for lazy beginnings."""
        n_timesteps = self.reconstructor.network.sequence_length + 1
        self.score(np.tile(self.reconstructor.scaler.mean, (n_timesteps, 1)))

    def score(self, series: FloatArray) -> Scores:
        """Return the normality score and the reconstruction of each time step.

        Sequences are cut from the first row on, so both depend on where the series
        starts. They do not depend on anything else that is scored.

        Args:
            series: Of shape ``(T, D)``, ``T > L``, in the units of the training data.

        Raises:
            SeriesError: If ``series`` has another number of columns than the training
                data, or no more rows than one sequence.
        """
        parts = list(self.score_in_parts(series))
        return Scores(
            np.concatenate([part.normality_score for part in parts]),
            np.concatenate([part.reconstruction for part in parts]),
        )

    def score_in_parts(self, series: FloatArray) -> Iterator[Scores]:
        """Yield what :meth:`score` returns, some rows at a time and in order.

        The first part is the first sequence, which has no scores.

        Args:
            series: As for :meth:`score`.

        Raises:
            SeriesError: As :meth:`score`, before anything is yielded.
        """
        parts = self.reconstructor.parts(series)
        length = self.reconstructor.network.sequence_length
        yield Scores(
            np.full(length, np.nan), np.full((length, series.shape[1]), np.nan)
        )
        score = functools.partial(self._score_part, series)
        yield from self.reconstructor.cores.map(score, parts)

    def _score_part(self, series: FloatArray, rows: slice) -> Scores:
        """Return the scores of one part of a series."""
        reconstruction = self.reconstructor.reconstruct(series, rows)
        errors = series[rows] - reconstruction
        return Scores(self.gaussian.log_likelihood(errors), reconstruction)
