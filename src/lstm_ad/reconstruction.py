"""Reconstruct a series in its own units: scale, run the network, scale back."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import SeriesError
from lstm_ad.losses import Loss
from lstm_ad.runtime import OnnxNetwork
from lstm_ad.scaling import Scaler
from lstm_ad.sequences import input_sequences, on_time_axis


@dataclasses.dataclass(frozen=True)
class Reconstructor:
    """Reconstructs each sequence of a series from the one before it."""

    scaler: Scaler
    """The standardisation, from the rows that fitted the LSTM."""
    network: OnnxNetwork
    """The LSTM, as saved."""

    def reconstruct(self, series: FloatArray) -> Iterator[tuple[slice, FloatArray]]:
        """Yield rows and their reconstructions, a bounded number of rows at a time.

        Every row after the first sequence is yielded once, in order.

        Args:
            series: Of shape ``(T, D)``, ``T > L``, in the units of the training data.

        Raises:
            SeriesError: If ``series`` has another number of columns than the training
                data, or no more rows than one sequence.
        """
        self._check(series)
        length = self.network.sequence_length
        step = self.network.batch_size * length
        for start in range(0, len(series) - length, step):
            # One batch of inputs, and the sequence that follows the last of them.
            part = series[start : start + step + length]
            scaled = self.scaler.transform(part)
            outputs = self.network.reconstruct(input_sequences(scaled, length))
            reconstruction = on_time_axis(outputs, len(part))
            rows = slice(start + length, start + len(part))
            yield rows, self.scaler.inverse_transform(reconstruction)

    def errors(self, series: FloatArray) -> FloatArray:
        """Return target minus reconstruction of each row after the first sequence.

        Args:
            series: Of shape ``(T, D)``, ``T > L``, in the units of the training data.

        Returns:
            Signed errors, of shape ``(T - L, D)``, in the units of the series.

        Raises:
            SeriesError: As :meth:`reconstruct`.
        """
        self._check(series)
        length = self.network.sequence_length
        errors = np.empty((len(series) - length, series.shape[1]))
        for rows, part in self.reconstruct(series):
            errors[rows.start - length : rows.stop - length] = series[rows] - part
        return errors

    def evaluate(self, parts: Iterable[FloatArray]) -> Loss:
        """Return the loss over all ``parts``, each of shape ``(T, D)``, ``T > L``.

        Raises:
            SeriesError: As :meth:`reconstruct`.
        """
        return Loss.of(
            (part[rows] - reconstruction) / self.scaler.scale
            for part in parts
            for rows, reconstruction in self.reconstruct(part)
        )

    def _check(self, series: FloatArray) -> None:
        """Refuse a series that the network cannot read."""
        n_timesteps, n_series = series.shape
        if n_series != self.network.n_series:
            raise SeriesError(
                f"The number of columns is wrong: {n_series} were found, but the model "
                f"was trained on {self.network.n_series} series, one per column."
            )
        length = self.network.sequence_length
        if n_timesteps <= length:
            raise SeriesError(
                f"The series is too short: {n_timesteps} rows were found, but at least "
                f"{length + 1} are needed, because the first sequence "
                f"({length} rows) has no score."
            )
