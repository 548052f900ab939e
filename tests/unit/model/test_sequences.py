import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ad.model.layout import Layout
from lstm_ad.model.sequences import (
    Ranges,
    Segments,
    aligned,
    input_sequences,
)

RAMP = np.arange(10, dtype=np.float32)[:, np.newaxis]


def apart(length: int) -> Layout:
    """Return the default layout: sequences that do not overlap."""
    return Layout(context_length=length, prediction_length=length, stride=length)


def rows_of(n_timesteps: list[int]) -> Ranges:
    """Return series of these lengths, one after the other."""
    lengths = np.array(n_timesteps)
    return Ranges(np.cumsum(lengths) - lengths, lengths)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    """Return any small layout, overlapping or not."""
    stride, n_reconstructions = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    return Layout(draw(st.integers(1, 8)), stride * n_reconstructions, stride)


@pytest.mark.parametrize(
    ("sequence_length", "expected"),
    [
        (3, [[0, 1, 2], [3, 4, 5], [6, 7, 8]]),
        (4, [[0, 1, 2, 3], [4, 5, 6, 7]]),
        (5, [[0, 1, 2, 3, 4]]),
        (9, [[0, 1, 2, 3, 4, 5, 6, 7, 8]]),
        (1, [[0], [1], [2], [3], [4], [5], [6], [7], [8]]),
    ],
)
def test_every_sequence_that_another_follows_is_an_input(
    sequence_length: int, expected: list[list[float]]
) -> None:
    """Cut from the first row on, not overlapping; a partial one may follow."""
    inputs = input_sequences(RAMP, apart(sequence_length))

    assert inputs[:, :, 0].tolist() == expected


def test_a_context_may_be_longer_than_a_sequence() -> None:
    """Worked by hand: 4 rows are read for each of the 3 sequences of 2 after them."""
    inputs = input_sequences(RAMP, Layout(4, 2, 2))

    assert inputs[:, :, 0].tolist() == [[0, 1, 2, 3], [2, 3, 4, 5], [4, 5, 6, 7]]


def test_series_stay_side_by_side() -> None:
    """Rows are time steps and columns are series in every sequence."""
    series = np.array([[0, 10], [1, 11], [2, 12], [3, 13], [4, 14]], dtype=np.float32)

    assert input_sequences(series, apart(2)).tolist() == [
        [[0, 10], [1, 11]],
        [[2, 12], [3, 13]],
    ]


@given(st.integers(1, 20), st.integers(1, 100), st.integers(1, 3))
def test_cut_then_reassembled_is_the_series_from_row_l_on(
    sequence_length: int, beyond: int, n_series: int
) -> None:
    """Each input, put where its reconstruction goes, is the series one L later."""
    n_timesteps = sequence_length + beyond
    shape = (n_timesteps, n_series)
    series = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    layout = apart(sequence_length)

    inputs = input_sequences(series, layout)

    assert len(inputs) == math.ceil(n_timesteps / sequence_length) - 1
    shifted = aligned(inputs, layout)[:beyond, 0]
    assert shifted.tolist() == series[:beyond].tolist()


def test_reconstructions_are_aligned_by_hand() -> None:
    """P = 4 and S = 2: each of two rows has what two origins said, the nearer first.

    The value is 10 times the origin plus the place in its sequence. Two rows after
    origin 1, its places 0 and 1 meet the places 2 and 3 of origin 0.
    """
    predictions = np.float32([[0, 1, 2, 3], [10, 11, 12, 13], [20, 21, 22, 23]])

    rows = aligned(predictions[:, :, np.newaxis], Layout(5, 4, 2))

    assert rows[:, :, 0].tolist() == [[10, 2], [11, 3], [20, 12], [21, 13]]


@given(layouts(), st.integers(0, 6), st.integers(1, 3))
def test_reconstructions_are_aligned_as_a_loop_does(
    layout: Layout, beyond: int, n_series: int
) -> None:
    """Row r after the first origin is at place r - n S of what origin n said."""
    n_each, stride = layout.n_reconstructions, layout.stride
    n_origins = n_each + beyond
    shape = (n_origins, layout.prediction_length, n_series)
    predictions = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)

    expected = []
    for row in range((n_each - 1) * stride, n_origins * stride):
        nearest = row // stride
        origins = range(nearest, nearest - n_each, -1)
        expected.append([predictions[n, row - n * stride].tolist() for n in origins])
    assert aligned(predictions, layout).tolist() == expected


@pytest.mark.parametrize(
    ("n_timesteps", "sequence_length", "expected"),
    [
        ([10], 2, ([0, 2, 4, 6], [10, 10, 10, 10])),
        ([10], 3, ([0, 3, 6], [10, 10, 10])),
        ([10], 9, ([0], [10])),
        ([7, 3], 2, ([0, 2, 4, 7], [7, 7, 7, 10])),
    ],
)
def test_every_row_after_the_first_sequence_of_each_series_is_a_target(
    n_timesteps: list[int], sequence_length: int, expected: tuple[list, list]
) -> None:
    """Worked by hand: where inputs start, and where the series of each ends."""
    rows = rows_of(n_timesteps)
    segments = Segments.of(apart(sequence_length), rows.n_timesteps)

    starts, ends = rows.scored_starts(segments)

    assert (starts.tolist(), ends.tolist()) == expected


@pytest.mark.parametrize(
    ("n_timesteps", "sequence_length", "expected"),
    [
        # Exactly two sequences per series: there is no phase but 0.
        ([4], 2, [0]),
        ([6, 6], 3, [0, 6]),
        # A sequence is one row: there is no phase but 0.
        ([4, 3], 1, [0, 1, 2, 4, 5]),
    ],
)
def test_pairs_start_at_each_sequence_that_a_whole_one_follows(
    n_timesteps: list[int], sequence_length: int, expected: list[int]
) -> None:
    """Worked by hand, where there is no choice: each series has its own grid."""
    rows = rows_of(n_timesteps)
    segments = Segments.of(apart(sequence_length), rows.n_timesteps)

    starts = rows.training_starts(segments, np.random.default_rng(0))

    assert starts.tolist() == expected


@given(
    layouts(),
    st.lists(st.integers(0, 90), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_no_segment_crosses_a_file_and_none_is_left_out(
    layout: Layout, beyond: list[int], seed: int
) -> None:
    """All read and target rows lie in one series, on one grid at any phase."""
    n_timesteps = [layout.n_shortest + rows for rows in beyond]
    rows = rows_of(n_timesteps)
    ends = np.cumsum(n_timesteps)
    segments = Segments.of(layout, rows.n_timesteps)

    starts = rows.training_starts(segments, np.random.default_rng(seed))

    files = np.searchsorted(ends, starts, side="right")
    assert (starts + segments.n_rows <= ends[files]).all()
    for file in range(len(n_timesteps)):
        of_file = starts[files == file]
        assert 0 <= of_file[0] - rows.first[file] < segments.step
        assert (np.diff(of_file) == segments.step).all()
        assert of_file[-1] + segments.n_rows + segments.step > ends[file]


@given(layouts(), st.integers(0, 90), st.integers(0, 2**32 - 1))
def test_an_epoch_visits_every_origin_of_its_grid_once(
    layout: Layout, beyond: int, seed: int
) -> None:
    """From the phase on, one origin every S rows; only the tail has none."""
    n_timesteps = layout.n_shortest + beyond
    rows = rows_of([n_timesteps])
    segments = Segments.of(layout, rows.n_timesteps)

    starts = rows.training_starts(segments, np.random.default_rng(seed))

    within = np.arange(segments.n_origins) * layout.stride
    origins = (starts[:, np.newaxis] + layout.context_length - 1 + within).ravel()
    expected = origins[0] + np.arange(len(origins)) * layout.stride
    last_possible = n_timesteps - 1 - layout.prediction_length
    assert origins.tolist() == expected.tolist()
    assert origins[-1] <= last_possible < origins[-1] + segments.step


@given(layouts(), st.lists(st.integers(1, 90), min_size=1, max_size=5))
def test_every_origin_is_scored_once(layout: Layout, beyond: list[int]) -> None:
    """Of each series, one every S rows, up to the last that a row follows.

    Every row after the context is so in a sequence; what lies beyond the end of its
    series is told apart by that end.
    """
    n_timesteps = [layout.context_length + rows for rows in beyond]
    rows = rows_of(n_timesteps)
    segments = Segments(layout, n_origins=3)

    starts, ends = rows.scored_starts(segments)

    within = np.arange(3) * layout.stride
    origins = starts[:, np.newaxis] + layout.context_length - 1 + within
    exists = origins + 1 < ends[:, np.newaxis]
    expected = [
        origin
        for first, n in zip(rows.first, n_timesteps, strict=True)
        for origin in range(
            first + layout.context_length - 1, first + n - 1, layout.stride
        )
    ]
    assert origins[exists].tolist() == expected
    assert exists.any(axis=1).all()


@given(layouts(), st.lists(st.integers(0, 90), min_size=1, max_size=5))
def test_segments_fit_into_the_shortest_series(
    layout: Layout, beyond: list[int]
) -> None:
    """As many origins as twice the context has strides, or as there is room for."""
    n_timesteps = np.array([layout.n_shortest + rows for rows in beyond])

    segments = Segments.of(layout, n_timesteps)

    wanted = 1
    if layout.is_overlapping:
        wanted = max(1, 2 * layout.context_length // layout.stride)
    longer = Segments(layout, segments.n_origins + 1)
    assert 1 <= segments.n_origins <= wanted
    assert segments.n_rows <= n_timesteps.min()
    assert segments.n_origins == wanted or longer.n_rows > n_timesteps.min()


def test_the_rows_of_a_segment_by_hand() -> None:
    """C = 30, P = 10, S = 5: 12 origins in 60 rows, the first at the 30th row."""
    segments = Segments.of(Layout(30, 10, 5), np.array([1000]))

    assert segments.n_origins == 12
    assert segments.step == 60
    assert segments.n_read == 85
    assert segments.n_rows == 95


@pytest.mark.parametrize(
    ("layout", "n_timesteps", "phases"),
    [
        (apart(5), 100, {0, 1, 2, 3, 4}),
        (Layout(3, 4, 2), 100, {0, 1, 2, 3, 4, 5}),
    ],
)
def test_every_phase_occurs(layout: Layout, n_timesteps: int, phases: set[int]) -> None:
    """Over the epochs the grid starts at each row below the step."""
    random = np.random.default_rng(0)
    rows = rows_of([n_timesteps])
    segments = Segments.of(layout, rows.n_timesteps)

    found = {rows.training_starts(segments, random)[0] for _ in range(200)}

    assert found == phases


def test_files_have_phases_of_their_own() -> None:
    """The phase is drawn per series, not once for all."""
    random = np.random.default_rng(0)
    rows = rows_of([29, 29])
    segments = Segments.of(apart(10), rows.n_timesteps)
    draws = [rows.training_starts(segments, random) for _ in range(50)]

    assert any(first != second - 29 for first, second in draws)
