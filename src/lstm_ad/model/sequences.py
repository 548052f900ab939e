"""Cut series into sequences, and put reconstructions back on the time axis.

How a series is divided is in :mod:`lstm_ad.model.layout`.
"""

import dataclasses

import numpy as np

from lstm_ad.axes import IndexArray, ScaledArray
from lstm_ad.model.layout import Layout

ROWS_PER_CONTEXT = 2
"""With overlap, how many times as many rows a segment has after its context."""


def input_sequences(scaled: ScaledArray, layout: Layout) -> ScaledArray:
    """Return what each sequence is reconstructed from, where none overlap.

    Args:
        scaled: Standardised values, of shape ``(T, D)``, ``T > C``.
        layout: How the series is divided.

    Returns:
        A view of shape ``(N, C, D)``; every row after the first ``C`` is in one of the
        ``N`` sequences that follow these.
    """
    n_rows, n_series = scaled.shape
    n_sequences = (n_rows - layout.context_length - 1) // layout.stride + 1
    row, cell = scaled.strides
    # sliding_window_view takes as long as all else that a small series is cut by.
    return np.ndarray(
        (n_sequences, layout.context_length, n_series),
        scaled.dtype,
        scaled,
        strides=(layout.stride * row, row, cell),
    )


def aligned(predictions: ScaledArray, layout: Layout) -> ScaledArray:
    """Return all the reconstructions of each row.

    Args:
        predictions: The sequences reconstructed at consecutive origins, of shape
            ``(N, P, D)``, ``N >= K``.
        layout: How the series is divided.

    Returns:
        Of shape ``((N - K + 1) S, K, D)``: for the ``S`` rows after each origin but the
        first ``K - 1``, the reconstruction made there, at the origin before, and so on.
    """
    n_origins, _, n_series = predictions.shape
    n_each, stride = layout.n_reconstructions, layout.stride
    n_complete = n_origins - n_each + 1
    # What was reconstructed k origins ago for now is k strides into its sequence.
    pieces = predictions.reshape(n_origins, n_each, stride, n_series)
    rows = np.empty((n_complete, stride, n_each, n_series), predictions.dtype)
    for k in range(n_each):
        rows[:, :, k] = pieces[n_each - 1 - k :][:n_complete, k]
    return rows.reshape(n_complete * stride, n_each, n_series)


@dataclasses.dataclass(frozen=True)
class Segments:
    """Pieces of series that the network is trained on: a context and some origins.

    Without overlap a segment has one origin: a context and the sequence after it. With
    overlap it has many, so that its rows are read once for all of them.
    """

    layout: Layout
    """How the series are divided."""
    n_origins: int
    """``M``: the origins of a segment."""

    @classmethod
    def of(cls, layout: Layout, n_timesteps: IndexArray) -> "Segments":
        """Return segments that fit into the shortest of some series.

        Args:
            layout: How the series are divided.
            n_timesteps: The rows of each series, at least ``C + P``.
        """
        if not layout.is_overlapping:
            return cls(layout, n_origins=1)
        wanted = max(1, ROWS_PER_CONTEXT * layout.context_length // layout.stride)
        room = int(n_timesteps.min()) - layout.n_shortest
        return cls(layout, n_origins=min(wanted, room // layout.stride + 1))

    @property
    def step(self) -> int:
        """The rows from one segment to the next: no origin is in two of them."""
        return self.n_origins * self.layout.stride

    @property
    def n_read(self) -> int:
        """The rows that are read: up to the last origin."""
        return self.layout.context_length + self.step - self.layout.stride

    @property
    def n_targets(self) -> int:
        """How many rows are reconstructed, each as often as it is in a sequence."""
        return self.n_origins * self.layout.prediction_length

    @property
    def n_rows(self) -> int:
        """The rows in all: up to the end of the last sequence."""
        return self.n_read + self.layout.prediction_length


def n_worth_fitting(layout: Layout) -> int:
    """Return how many rows a stretch between gaps needs to be learnt from.

    All segments have the origins that fit into the shortest series: where sequences
    overlap, one short stretch would make every epoch many times as long.
    """
    more = ROWS_PER_CONTEXT * layout.context_length if layout.is_overlapping else 0
    return layout.n_shortest + more


@dataclasses.dataclass(frozen=True)
class Ranges:
    """Consecutive rows of several series, on a common axis of rows."""

    first: IndexArray
    """The first row of each."""
    n_timesteps: IndexArray
    """The number of rows of each."""

    def scored_starts(self, segments: Segments) -> tuple[IndexArray, IndexArray]:
        """Return where each segment starts, so that all origins are in one.

        Args:
            segments: The pieces; every range is longer than a context.

        Returns:
            First rows, of shape ``(N,)``, and the end of the range that each is in:
            the last one may reach beyond it.
        """
        n_after = self.n_timesteps - segments.layout.context_length
        n_segments = (n_after - 1) // segments.step + 1
        starts = _grid(self.first, n_segments, segments.step)
        return starts, np.repeat(self.first + self.n_timesteps, n_segments)

    def training_starts(
        self, segments: Segments, random: np.random.Generator
    ) -> IndexArray:
        """Return where each segment of one epoch starts.

        Each range's grid starts at a random row, so that over the epochs the network
        sees every phase of the series, and not only the one in which the file happens
        to start.

        Args:
            segments: The pieces; every range has at least the rows of one.
            random: The source of the phases.

        Returns:
            First rows, of shape ``(N,)``, in order. No segment leaves its range.
        """
        room = self.n_timesteps - segments.n_rows + 1
        phase = random.integers(0, np.minimum(segments.step, room))
        n_segments = (room - phase - 1) // segments.step + 1
        return _grid(self.first + phase, n_segments, segments.step)


def _grid(first: IndexArray, count: IndexArray, step: int) -> IndexArray:
    """Return ``count[i]`` positions from each ``first[i]`` on, ``step`` apart."""
    number = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    positions: IndexArray = np.repeat(first, count) + number * step
    return positions
