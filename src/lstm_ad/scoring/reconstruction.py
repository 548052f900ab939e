"""Reconstruct a series in its own units: scale, run the network, scale back."""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from lstm_ad.axes import FloatArray, ScaledArray
from lstm_ad.blocks import BLOCK_NUMBERS
from lstm_ad.exceptions import SeriesError
from lstm_ad.model.gaps import Holder, away
from lstm_ad.model.runtime import OnnxNetwork
from lstm_ad.model.scaling import Scaler
from lstm_ad.model.sequences import aligned, input_sequences
from lstm_ad.parallel import Cores
from lstm_ad.scoring.scan import window_sums


@dataclasses.dataclass(frozen=True)
class Reconstructor:
    """Reconstructs each row of a series from the rows before it."""

    scaler: Scaler
    """The standardisation, from the rows that fitted the LSTM."""
    network: OnnxNetwork
    """The LSTM, as saved."""
    cores: Cores = dataclasses.field(default_factory=Cores)
    """What computes."""
    has_level: bool = False
    """Whether error vectors also hold the change of each series' level: see
    :meth:`error_vectors`."""
    max_gap: int = 0
    """The longest run of rows over which a missing value is held: see
    :mod:`lstm_ad.model.gaps`. 0 = no value may be missing."""
    outage_ratios: FloatArray | None = None
    """By what errors are divided while each series is away, of shape ``(D,)``: see
    :mod:`lstm_ad.scoring.outages`. None while they are measured."""

    @property
    def n_errors(self) -> int:
        """How many entries an error vector has."""
        n_each = self.network.layout.n_reconstructions + self.has_level
        return n_each * self.network.n_series

    def errors(self, series: FloatArray) -> Iterator[FloatArray]:
        """Yield the error vector of each row that has all its reconstructions.

        Args:
            series: As for :meth:`with_errors`.

        Yields:
            Target minus reconstruction, signed, in the units of the series, of shape
            ``(rows, K * D)``: all series' errors from the nearest origin first, and
            the changes of level, if they are asked for; NaN where a value is missing.
            Some rows at a time and in order, ``T - layout.n_unscored`` in all.

        Raises:
            SeriesError: As :meth:`with_errors`.
        """
        return (errors for _, _, errors in self.with_errors(series))

    def with_errors(
        self, series: FloatArray
    ) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
        """Yield reconstructions and error vectors, some rows at a time and in order.

        Every row after the first ``layout.n_unscored`` comes once. How a series is
        divided depends on the network and on nothing else, so neither do the numbers.

        Args:
            series: Of shape ``(T, D)``, with more than ``layout.n_unscored`` rows, in
                the units of the training data; NaN where a value is missing.

        Yields:
            Some rows; all ``K`` reconstructions of each, of shape ``(rows, K, D)``,
            that from the nearest origin first; and their error vectors, as
            :meth:`errors`.

        Raises:
            SeriesError: If ``series`` has another number of columns than the training
                data, too few rows, or missing values that the model does not hold.
        """
        has_gaps = bool(np.isnan(series).any())
        self.check(series.shape, has_gaps)
        held, ratios = series, None
        if has_gaps:
            held = Holder(self.scaler.mean, self.max_gap).fill_all(series)
            ratios = self.ratios(series)
        layout = self.network.layout
        reconstruct = self._carried if layout.is_overlapping else self._apart
        first = layout.n_unscored
        for scaled in reconstruct(held):
            rows = slice(first, min(first + len(scaled), len(series)))
            first = rows.stop
            scaled = scaled[: rows.stop - rows.start]
            reconstructions = self.scaler.inverse_transform(scaled)
            errors = self.error_vectors(series, rows, reconstructions, ratios)
            yield rows, reconstructions, errors

    def ratios(self, series: FloatArray) -> FloatArray:
        """Return by what the errors of each row are divided, for series that are away.

        While the ratios are measured, rows with a series that is away have none.

        Args:
            series: As for :meth:`with_errors`; some value is missing.

        Returns:
            Of shape ``(T, 1)``.
        """
        context = self.network.layout.context_length
        reach = context + self.max_gap + 1  # rows that one row depends on
        n_rows = max(1, BLOCK_NUMBERS // series.shape[1])
        largest = np.ones((len(series), 1))
        for start in range(0, len(series), n_rows):
            first = max(0, start - reach)
            how_far = away(series[first : start + n_rows], self.max_gap, context)
            if how_far is not None:
                ratios = self._ratios(how_far[start - first :])
                largest[start : start + n_rows] = ratios.max(axis=1, keepdims=True)
        return largest

    def _ratios(self, how_far: FloatArray) -> FloatArray:
        """Return by what errors are divided for each series, of shape ``(T, D)``."""
        if self.outage_ratios is None:
            return np.where(how_far < 1, 1.0, np.nan)
        ratios: FloatArray = self.outage_ratios**how_far
        return ratios

    def error_vectors(
        self,
        series: FloatArray,
        rows: slice,
        reconstructions: FloatArray,
        ratios: FloatArray | None = None,
    ) -> FloatArray:
        """Return what the Gaussian scores of some rows.

        Where the LSTM maps to the change from the last row, it follows a shift of the
        level within a few rows. So one more entry says by how much the mean of the last
        rows, a tenth of a context, is above that of a whole context; of those rows
        that have a value.

        Args:
            series: As for :meth:`with_errors`.
            rows: Some of its rows.
            reconstructions: Theirs, of shape ``(rows, K, D)``.
            ratios: What :meth:`ratios` returns for the series; None if no value is
                missing.

        Returns:
            Of shape ``(rows, K * D)``, or with levels ``(rows, (K + 1) * D)``.
        """
        errors = error_vectors(series[rows], reconstructions)
        if ratios is not None:
            errors /= ratios[rows]
        if not self.has_level:
            return errors
        context = self.network.layout.context_length
        before = series[rows.start - context + 1 : rows.stop]
        is_there = ~np.isnan(before)
        known = np.where(is_there, before, 0.0)
        with np.errstate(invalid="ignore"):  # none of the rows may have a value
            means = [
                window_sums(known, length)[context - length :]
                / window_sums(is_there.astype(np.float64), length)[context - length :]
                for length in (max(1, context // 10), context)
            ]
        return np.hstack([errors, means[0] - means[1]])

    def _apart(self, series: FloatArray) -> Iterator[ScaledArray]:
        """Yield the reconstructions of sequences that do not overlap."""
        layout = self.network.layout
        step = self.network.batch_size * layout.stride
        starts = range(0, len(series) - layout.context_length, step)
        return self.cores.map(functools.partial(self._batch, series, step), starts)

    def _batch(self, series: FloatArray, step: int, start: int) -> ScaledArray:
        """Return the reconstructions that one run gives, of shape ``(rows, 1, D)``."""
        layout = self.network.layout
        part = series[start : start + layout.context_length + step]
        inputs = input_sequences(self.scaler.transform(part), layout)
        reconstructions, _ = self.network.run(inputs)
        return aligned(reconstructions, layout)

    def _carried(self, series: FloatArray) -> Iterator[ScaledArray]:
        """Yield the reconstructions of sequences that overlap, read row by row."""
        layout = self.network.layout
        states = self.network.initial_states()
        before = None  # what was reconstructed at the last origins, still to be used
        for start in range(0, len(series) - 1, self.network.run_rows):
            stop = min(start + self.network.run_rows, len(series) - 1)
            rows = self.scaler.transform(series[start:stop])
            with self.cores.turn():
                reconstructions, states = self.network.run(rows, states)
            to_first = max(layout.context_length - 1 - start, 0)
            to_next = (layout.context_length - 1 - start) % layout.stride
            at_origins = reconstructions[max(to_first, to_next) :: layout.stride]
            if before is not None:
                at_origins = np.concatenate([before, at_origins])
            if len(at_origins) >= layout.n_reconstructions:
                yield aligned(at_origins, layout)
            before = at_origins[-(layout.n_reconstructions - 1) :]

    def check(self, shape: tuple[int, ...], has_gaps: bool) -> None:
        """Refuse a series that the network cannot read.

        Args:
            shape: ``(T, D)``.
            has_gaps: Whether a value is missing.

        Raises:
            SeriesError: As :meth:`with_errors`.
        """
        n_timesteps, n_series = shape
        if n_series != self.network.n_series:
            raise SeriesError(
                f"The number of columns is wrong: {n_series} were found, but the model "
                f"was trained on {self.network.n_series} series, one per column."
            )
        if has_gaps and not self.max_gap:
            raise SeriesError(
                "The series has missing values, but the model was trained with "
                "missing-values=refuse."
            )
        check_length(n_timesteps, self.network.layout.n_unscored)


def check_length(n_timesteps: int, n_unscored: int) -> None:
    """Refuse a series of which no row could have a score.

    Args:
        n_timesteps: ``T``.
        n_unscored: How many rows at the start of a series have no score.

    Raises:
        SeriesError: If the series has no more rows than that.
    """
    if n_timesteps <= n_unscored:
        raise SeriesError(
            f"The series is too short: {n_timesteps} rows were found, but at least "
            f"{n_unscored + 1} are needed, because the first {n_unscored} rows "
            f"have no score."
        )


def error_vectors(targets: FloatArray, reconstructions: FloatArray) -> FloatArray:
    """Return target minus reconstruction of each row, as one vector.

    Args:
        targets: Of shape ``(rows, D)``.
        reconstructions: Of shape ``(rows, K, D)``.

    Returns:
        Of shape ``(rows, K * D)``.
    """
    errors = targets[:, np.newaxis] - reconstructions
    return errors.reshape(len(targets), -1)
