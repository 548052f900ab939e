"""Cut series into sequences, and put reconstructions back on the time axis.

The document's algorithm: a series is cut from its first row on into non-overlapping
sequences of ``L`` rows, and each sequence is the input for reconstructing the next
one. So the first ``L`` rows have no reconstruction, and a last sequence that is
shorter than ``L`` is reconstructed like any other, as far as it goes::

    rows      0 .. L-1   L .. 2L-1   2L .. 3L-1   3L .. T-1
    input     1st        2nd         3rd
    target               1st         2nd          3rd (partial)
"""

from collections.abc import Sequence

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


def pair_starts(
    n_timesteps: Sequence[int], sequence_length: int, random: np.random.Generator | None
) -> IndexArray:
    """Return where each pair of whole consecutive sequences starts.

    The pairs are those of one epoch. With ``random``, each file's grid of sequences
    starts at a random row below ``L``, so that over the epochs the network sees every
    phase of the series and not only the one in which the file happens to start.

    Args:
        n_timesteps: The number of rows of each file, at least ``2 L`` each; the files
            lie one after the other on one time axis.
        sequence_length: ``L``, in rows.
        random: The source of the phases; None leaves them all at 0.

    Returns:
        First rows, of shape ``(N,)``, in order. Rows ``[start, start + L)`` are the
        input, ``[start + L, start + 2 L)`` the target; no pair crosses a file.
    """
    rows = np.asarray(n_timesteps, dtype=np.int64)
    first = np.concatenate([[0], np.cumsum(rows)[:-1]])
    phase = np.zeros_like(rows)
    if random is not None:
        phase = random.integers(
            0, np.minimum(sequence_length, rows - 2 * sequence_length + 1)
        )
    n_pairs = (rows - phase) // sequence_length - 1
    number = np.arange(n_pairs.sum()) - np.repeat(np.cumsum(n_pairs) - n_pairs, n_pairs)
    starts: IndexArray = np.repeat(first + phase, n_pairs) + number * sequence_length
    return starts
