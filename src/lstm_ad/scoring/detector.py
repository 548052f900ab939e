"""The fitted detector, and how it scores a series."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.scoring.gaussian import Gaussian
from lstm_ad.scoring.reconstruction import Reconstructor, error_vectors
from lstm_ad.threshold.decision import Decision

_MAX_NUMBERS = 2**20
"""Numbers in the windows that are averaged at a time: what bounds the memory."""


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a detector says of each time step of a series."""

    normality_score: FloatArray
    """The Gaussian log-likelihood of the reconstruction errors, in nats, of shape
    ``(T,)``; low = anomalous. NaN for the first rows: they have no reconstruction."""
    reconstruction: FloatArray
    """Of shape ``(T, D)``, in the units of the series; the mean of a row's
    reconstructions where it has several. NaN for the first rows."""
    contribution: FloatArray | None = None
    """How much each series has to do with the score, of shape ``(T, D)``; None if it
    was not asked for. At least 0; each row sums to 1. NaN for the first rows.

    It is the part that the series has in the drops of
    :meth:`~lstm_ad.scoring.gaussian.Gaussian.distance_drops`, averaged over the rows
    that the score is averaged over. Where nothing drops, because all errors are exactly
    those expected, all series have equal parts.
    """
    direction: FloatArray | None = None
    """-1 where a series is below its reconstruction, 1 where it is not, on average over
    the rows that the score is averaged over. Of shape ``(T, D)``; None if it was not
    asked for; NaN for the first rows."""

    @classmethod
    def joined(cls, parts: Sequence["Scores"]) -> "Scores":
        """Return the scores of rows that follow each other as those of one series."""
        columns = {
            field.name: [getattr(part, field.name) for part in parts]
            for field in dataclasses.fields(cls)
        }
        return cls(
            **{k: np.concatenate(v) for k, v in columns.items() if v[0] is not None}
        )

    def rows(self, rows: slice) -> "Scores":
        """Return the scores of some of the rows."""
        columns = {
            field.name: getattr(self, field.name) for field in dataclasses.fields(self)
        }
        return Scores(**{k: v[rows] for k, v in columns.items() if v is not None})


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
    decision: Decision
    """What a score means."""
    smoothing: int = 1
    """Over how many rows scores are averaged, the last one included."""

    @property
    def event_gap(self) -> int:
        """How many normal rows may lie between the anomalies of one event.

        As many as a sequence has: an anomaly also disturbs the sequence after it, which
        is reconstructed from it.
        """
        return self.reconstructor.network.layout.prediction_length

    def warm_up(self) -> None:
        """Score once, so that the first caller does not wait for lazy beginnings."""
        n_timesteps = self.reconstructor.network.layout.n_unscored + 1
        self.score(np.tile(self.reconstructor.scaler.mean, (n_timesteps, 1)))

    def score(self, series: FloatArray, with_contributions: bool = False) -> Scores:
        """Return the normality score and the reconstruction of each time step.

        Sequences are cut from the first row on, so both depend on where the series
        starts. They do not depend on anything else that is scored.

        Args:
            series: Of shape ``(T, D)``, in the units of the training data, longer than
                the rows that have no score.
            with_contributions: Whether to say, too, which series a score comes from.

        Raises:
            SeriesError: If ``series`` has another number of columns than the training
                data, or too few rows.
        """
        return Scores.joined(list(self.score_in_parts(series, with_contributions)))

    def score_in_parts(
        self, series: FloatArray, with_contributions: bool = False
    ) -> Iterator[Scores]:
        """Yield what :meth:`score` returns, some rows at a time and in order.

        The first part is the rows that have no scores.

        Args:
            series: As for :meth:`score`.
            with_contributions: As for :meth:`score`.

        Raises:
            SeriesError: As :meth:`score`, before anything is yielded.
        """
        score = _Average(self.smoothing)
        drops, signed = _Average(self.smoothing), _Average(self.smoothing)
        for rows, reconstructions in self.reconstructor.reconstruct(series):
            if rows.start == self.reconstructor.network.layout.n_unscored:
                nothing = np.full((rows.start, series.shape[1]), np.nan)
                parts = (nothing, nothing) if with_contributions else ()
                yield Scores(np.full(rows.start, np.nan), nothing, *parts)
            errors = error_vectors(series[rows], reconstructions)
            averages = score.of(self.gaussian.log_likelihood(errors))
            reconstruction = reconstructions.mean(axis=1)
            if not with_contributions:
                yield Scores(averages, reconstruction)
                continue
            n_series = series.shape[1]
            contribution = _shares(
                drops.of(self.gaussian.distance_drops(errors, n_series))
            )
            is_below = signed.of(series[rows] - reconstruction) < 0
            yield Scores(
                averages, reconstruction, contribution, np.where(is_below, -1.0, 1.0)
            )


class _Average:
    """Averages over the last rows of what comes some rows at a time."""

    def __init__(self, n_rows: int) -> None:
        self.n_rows = n_rows
        self.before: FloatArray | None = None  # what the next rows' averages go back to

    def of(self, values: FloatArray) -> FloatArray:
        """Return the moving average of the next rows, of the same shape."""
        if self.n_rows == 1:
            return values
        n_before = 0
        if self.before is not None:
            n_before = len(self.before)
            values = np.concatenate([self.before, values])
        self.before = values[max(len(values) - self.n_rows + 1, 0) :]
        return moving_average(values, self.n_rows)[n_before:]


def _shares(drops: FloatArray) -> FloatArray:
    """Return ``drops``, of shape ``(T, D)``, as parts of the sum of each row."""
    total = drops.sum(axis=1, keepdims=True)
    equal = np.full_like(drops, 1 / drops.shape[1])
    shares: FloatArray = np.divide(drops, total, out=equal, where=total > 0)
    return shares


def moving_average(values: FloatArray, n_rows: int) -> FloatArray:
    """Return the mean of each row and of the ones before it, ``n_rows`` in all.

    Causal, so that a series scored while it grows has the scores of the whole. The
    first rows' averages are over what there is. Each window is summed by itself: with
    running sums, one very low score would spoil all that come after it.
    """
    if n_rows == 1:
        return values
    if values.ndim == 2:  # one column at a time: windows of all would fill the memory
        columns = [moving_average(column, n_rows) for column in values.T]
        return np.column_stack(columns)
    padded = np.concatenate([np.full(n_rows - 1, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_rows)
    averages = np.empty(len(windows))
    n_windows = max(1, _MAX_NUMBERS // n_rows)
    for first in range(0, len(windows), n_windows):  # a window is copied to be summed
        rows = slice(first, first + n_windows)
        averages[rows] = np.nanmean(windows[rows], axis=1)
    return averages
