import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_ad.sequences import Rows, input_sequences, on_time_axis

RAMP = np.arange(10, dtype=np.float32)[:, np.newaxis]


def rows_of(n_timesteps: list[int]) -> Rows:
    """Return a ramp cut into series of these lengths."""
    ramp = np.arange(sum(n_timesteps), dtype=np.float32)[:, np.newaxis]
    return Rows(ramp, np.array(n_timesteps))


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
    assert input_sequences(RAMP, sequence_length)[:, :, 0].tolist() == expected


def test_series_stay_side_by_side() -> None:
    """Rows are time steps and columns are series in every sequence."""
    series = np.array([[0, 10], [1, 11], [2, 12], [3, 13], [4, 14]], dtype=np.float32)

    assert input_sequences(series, 2).tolist() == [
        [[0, 10], [1, 11]],
        [[2, 12], [3, 13]],
    ]


def test_reconstructions_lie_behind_the_first_sequence() -> None:
    """Three sequences of 3 cover rows 3 to 9 of ten; two rows are cut off."""
    reconstructions = np.arange(9, dtype=np.float32).reshape(3, 3, 1)

    assert on_time_axis(reconstructions, 10)[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6]


@given(st.integers(1, 20), st.integers(1, 100), st.integers(1, 3))
def test_cut_then_reassembled_is_the_series_from_row_l_on(
    sequence_length: int, beyond: int, n_series: int
) -> None:
    """Each input, put where its reconstruction goes, is the series one L later."""
    n_timesteps = sequence_length + beyond
    shape = (n_timesteps, n_series)
    series = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)

    inputs = input_sequences(series, sequence_length)

    assert len(inputs) == math.ceil(n_timesteps / sequence_length) - 1
    shifted = on_time_axis(inputs, n_timesteps)
    assert shifted.tolist() == series[: n_timesteps - sequence_length].tolist()


@pytest.mark.parametrize(
    ("n_timesteps", "sequence_length", "expected"),
    [
        ([10], 2, ([0, 2, 4, 6], [2, 2, 2, 2])),
        ([10], 3, ([0, 3, 6], [3, 3, 1])),
        ([10], 9, ([0], [1])),
        ([7, 3], 2, ([0, 2, 4, 7], [2, 2, 1, 1])),
    ],
)
def test_every_row_after_the_first_sequence_of_each_series_is_a_target(
    n_timesteps: list[int], sequence_length: int, expected: tuple[list, list]
) -> None:
    """Worked by hand: where inputs start, and how many rows follow each."""
    starts, n_targets = rows_of(n_timesteps).scored_starts(sequence_length)

    assert (starts.tolist(), n_targets.tolist()) == expected


def test_joined_series_come_apart_again() -> None:
    """Each series has its own rows back."""
    rows = rows_of([3, 2, 4])

    assert [rows.series(i)[:, 0].tolist() for i in range(3)] == [
        [0, 1, 2],
        [3, 4],
        [5, 6, 7, 8],
    ]


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
    random = np.random.default_rng(0)

    starts = rows_of(n_timesteps).pair_starts(sequence_length, random)

    assert starts.tolist() == expected


@given(
    st.integers(1, 6),
    st.lists(st.integers(0, 30), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_no_pair_crosses_a_file_at_any_phase(
    sequence_length: int, beyond: list[int], seed: int
) -> None:
    """Input and target lie in one series, on one grid, which leaves no pair out."""
    n_timesteps = [2 * sequence_length + rows for rows in beyond]
    ends = np.cumsum(n_timesteps)
    firsts = ends - n_timesteps

    starts = rows_of(n_timesteps).pair_starts(
        sequence_length, np.random.default_rng(seed)
    )

    files = np.searchsorted(ends, starts, side="right")
    assert (starts + 2 * sequence_length <= ends[files]).all()
    for file in range(len(n_timesteps)):
        of_file = starts[files == file]
        assert 0 <= of_file[0] - firsts[file] < sequence_length
        assert (np.diff(of_file) == sequence_length).all()
        assert of_file[-1] + 3 * sequence_length > ends[file]


def test_every_phase_occurs() -> None:
    """Over the epochs the grid starts at each row below L."""
    random = np.random.default_rng(0)
    rows = rows_of([100])

    phases = {rows.pair_starts(5, random)[0] for _ in range(200)}

    assert phases == {0, 1, 2, 3, 4}


def test_files_have_phases_of_their_own() -> None:
    """The phase is drawn per series, not once for all."""
    random = np.random.default_rng(0)
    rows = rows_of([29, 29])
    draws = [rows.pair_starts(10, random) for _ in range(50)]

    assert any(first != second - 29 for first, second in draws)
