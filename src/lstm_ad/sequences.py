"""Cut series into sequences, and put reconstructions back on the time axis.

The document's algorithm: a series is cut from its first row on into non-overlapping
sequences of ``L`` rows, and each sequence is the input for reconstructing the next
one. So the first ``L`` rows have no reconstruction, and a last sequence that is
shorter than ``L`` is reconstructed like any other, as far as it goes::

    rows      0 .. L-1   L .. 2L-1   2L .. 3L-1   3L .. T-1
    input     1st        2nd         3rd
    target               1st         2nd          3rd (partial)
"""

import dataclasses

import numpy as np

from lstm_ad.axes import IndexArray, ScaledArray


def input_sequences(scaled: ScaledArray, sequence_length: int) -> ScaledArray:
    """Return every sequence that another one, whole or partial, follows.

    Args:
        scaled: Standardised values, of shape ``(T, D)``, ``T > L``.
        sequence_length: ``L``, in rows.

    Returns:
        A view of shape ``(N, L, D)`` with ``N = ceil(T / L) - 1``.
    """
    n_timesteps, n_series = scaled.shape
    n_sequences = (n_timesteps - 1) // sequence_length
    rows = scaled[: n_sequences * sequence_length]
    return rows.reshape(n_sequences, sequence_length, n_series)


def on_time_axis(reconstructions: ScaledArray, n_timesteps: int) -> ScaledArray:
    """Return the reconstruction of each row after the first sequence.

    Args:
        reconstructions: Of shape ``(N, L, D)``, as for :func:`input_sequences`.
        n_timesteps: ``T``, the number of rows of the series.

    Returns:
        A view of shape ``(T - L, D)``: the part of a last sequence that lies beyond
        the end of the series is cut off.
    """
    n_sequences, sequence_length, n_series = reconstructions.shape
    rows = reconstructions.reshape(n_sequences * sequence_length, n_series)
    return rows[: n_timesteps - sequence_length]


@dataclasses.dataclass(frozen=True)
class Rows:
    """The standardised rows of several series, one series after the other."""

    values: ScaledArray
    """Of shape ``(sum of all T, D)``."""
    n_timesteps: IndexArray
    """The number of rows of each series."""

    def series(self, index: int) -> ScaledArray:
        """Return the rows of one series, of shape ``(T, D)``."""
        first = self.first[index]
        return self.values[first : first + self.n_timesteps[index]]

    @property
    def first(self) -> IndexArray:
        """The first row of each series."""
        return np.cumsum(self.n_timesteps) - self.n_timesteps

    def pair_starts(
        self, sequence_length: int, random: np.random.Generator
    ) -> IndexArray:
        """Return where each pair of whole consecutive sequences starts in one epoch.

        Each series' grid of sequences starts at a random row below ``L``, so that over
        the epochs the network sees every phase of the series, and not only the one in
        which the file happens to start.

        Args:
            sequence_length: ``L``, in rows; every series has at least ``2 L``.
            random: The source of the phases.

        Returns:
            First rows, of shape ``(N,)``, in order. Rows ``[start, start + L)`` are
            the input, ``[start + L, start + 2 L)`` the target, of the same series.
        """
        most = np.minimum(sequence_length, self.n_timesteps - 2 * sequence_length + 1)
        phase = random.integers(0, most)
        n_pairs = (self.n_timesteps - phase) // sequence_length - 1
        return _grid(self.first + phase, n_pairs, sequence_length)

    def scored_starts(self, sequence_length: int) -> tuple[IndexArray, IndexArray]:
        """Return where each input sequence starts that another one follows.

        Args:
            sequence_length: ``L``, in rows; every series has more.

        Returns:
            First rows, of shape ``(N,)``, and the number of rows that follow each
            input sequence within its series, at most ``L``, of shape ``(N,)``.
        """
        n_inputs = (self.n_timesteps - 1) // sequence_length
        starts = _grid(self.first, n_inputs, sequence_length)
        end = np.repeat(self.first + self.n_timesteps, n_inputs)
        return starts, np.minimum(end - starts - sequence_length, sequence_length)


def _grid(first: IndexArray, count: IndexArray, step: int) -> IndexArray:
    """Return ``count[i]`` positions from each ``first[i]`` on, ``step`` apart."""
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    positions: IndexArray = np.repeat(first, count) + number * step
    return positions
