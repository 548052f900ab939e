"""Reconstruct a series in its own units: scale, run the network, scale back."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.exceptions import SeriesError
from lstm_ad.losses import Loss
from lstm_ad.parallel import Cores
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
    cores: Cores = dataclasses.field(default_factory=Cores)
    """What computes."""

    def parts(self, series: FloatArray) -> list[slice]:
        """Return the rows that :meth:`reconstruct` takes at a time, in order.

        Every row after the first sequence is in one of them. How a series is divided
        depends on the network and on nothing else, so neither do the numbers.

        Args:
            series: Of shape ``(T, D)``, ``T > L``, in the units of the training data.

        Raises:
            SeriesError: If ``series`` has another number of columns than the training
                data, or no more rows than one sequence.
        """
        self._check(series)
        length = self.network.sequence_length
        step = self.network.batch_size * length
        return [
            slice(first, min(first + step, len(series)))
            for first in range(length, len(series), step)
        ]

    def reconstruct(self, series: FloatArray, rows: slice) -> FloatArray:
        """Return the reconstruction of one of the :meth:`parts` of ``series``."""
        length = self.network.sequence_length
        part = series[rows.start - length : rows.stop]
        sequences = input_sequences(self.scaler.transform(part), length)
        reconstructions = self.network.reconstruct(sequences)
        return self.scaler.inverse_transform(on_time_axis(reconstructions, len(part)))

    def errors(self, series: FloatArray) -> FloatArray:
        """Return target minus reconstruction of each row after the first sequence.

        Args:
            series: As for :meth:`parts`.

        Returns:
            Signed errors, of shape ``(T - L, D)``, in the units of the series.

        Raises:
            SeriesError: As :meth:`parts`.
        """
        return np.concatenate(list(self._errors(series)))

    def evaluate(self, series: Iterable[FloatArray]) -> Loss:
        """Return the loss over all ``series``, each as for :meth:`parts`.

        Raises:
            SeriesError: As :meth:`parts`.
        """
        return Loss.of(
            errors / self.scaler.scale for one in series for errors in self._errors(one)
        )

    def _errors(self, series: FloatArray) -> Iterator[FloatArray]:
        """Yield the errors of each part of a series."""
        parts = self.parts(series)
        reconstruct = functools.partial(self.reconstruct, series)
        for rows, part in zip(parts, self.cores.map(reconstruct, parts), strict=True):
            yield series[rows] - part

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
