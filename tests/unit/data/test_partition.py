from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ad.data.partition import File, Piece, Shares, Whereabouts, readers_of
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.sequences import Segments, training_starts

APART = Hyperparameters(sequence_length=5)
OVERLAPPING = Hyperparameters(
    context_length=7, prediction_length=6, sequence_stride=2, sequence_length=5
)


def divide(
    lengths: Sequence[int],
    n_processes: int,
    hyperparameters: Hyperparameters = APART,
    readers: Sequence[tuple[int, ...]] | None = None,
) -> Shares:
    """Return the shares of training files and of the same files as validation."""
    readers = readers or [tuple(range(n_processes))] * len(lengths)
    files = [
        File(f"{number}.csv", n_timesteps, 2, ranks)
        for number, (n_timesteps, ranks) in enumerate(
            zip(lengths, readers, strict=True)
        )
    ]
    return Shares.of(files, files, hyperparameters, n_processes)


def test_one_file_is_cut_into_even_parts_with_a_margin() -> None:
    """Worked by hand: 100 rows, of which 80 fit; sequences of 5 rows.

    Of what is learnt from, the owner of a row holds the 9 rows after it; of what is
    scored, 5: a sequence whose context it owns.
    """
    shares = divide([100], 2)

    assert shares.cuts == (80,)
    assert shares.fitting == ((Piece(0, 0, 40, 49),), (Piece(0, 40, 80, 80),))
    assert shares.calibrating == ((Piece(0, 80, 90, 95),), (Piece(0, 90, 100, 100),))
    assert shares.validating == ((Piece(0, 0, 50, 55),), (Piece(0, 50, 100, 100),))


def test_what_overlaps_is_not_cut_where_it_is_scored() -> None:
    """The LSTM keeps its state along a file: calibration and validation stay whole."""
    shares = divide([100, 100], 2, OVERLAPPING)

    assert [len(pieces) for pieces in shares.validating] == [1, 1]
    assert shares.validating[0] == (Piece(0, 0, 100, 100),)
    assert shares.calibrating == (
        (Piece(0, 80 - 11, 100, 100),),
        (Piece(1, 80 - 11, 100, 100),),
    )


layouts = st.sampled_from([APART, OVERLAPPING])


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(70, 300), min_size=1, max_size=6),
    n_processes=st.integers(1, 5),
    hyperparameters=layouts,
    seed=st.integers(0, 99),
)
def test_every_row_has_one_owner_and_every_sequence_its_rows(
    lengths: list[int], n_processes: int, hyperparameters: Hyperparameters, seed: int
) -> None:
    """However files and processes fall: nothing is learnt or scored twice or never."""
    random = np.random.default_rng(seed)
    readers = [
        tuple(sorted(random.permutation(n_processes)[: random.integers(1, 6)].tolist()))
        for _ in lengths
    ]
    shares = divide(lengths, n_processes, hyperparameters, readers)
    layout = hyperparameters.layout
    owned = np.zeros((len(lengths), 300), dtype=int)
    scored = np.zeros((len(lengths), 300), dtype=int)
    for rank in range(n_processes):
        for piece in shares.fitting[rank]:
            assert rank in readers[piece.file]
            assert piece.end <= piece.held <= shares.cuts[piece.file]
            owned[piece.file, piece.first : piece.end] += 1
        for piece in shares.validating[rank]:
            assert rank in readers[piece.file]
            scored[piece.file, piece.first + layout.n_unscored : piece.held] += 1

    rows = np.arange(300)
    for number, (cut, n_timesteps) in enumerate(zip(shares.cuts, lengths, strict=True)):
        assert owned[number].tolist() == (rows < cut).tolist()
        is_scored = (rows >= layout.n_unscored) & (rows < n_timesteps)
        assert scored[number].tolist() == is_scored.tolist()

    where = Whereabouts.of(shares)
    segments = Segments.of(layout, where.n_timesteps)
    starts = training_starts(where.n_timesteps, segments, random)
    owners, positions = where.find(starts)
    files = np.searchsorted(np.cumsum(where.n_timesteps), starts, side="right")
    within = starts - (np.cumsum(where.n_timesteps) - where.n_timesteps)[files]
    held = [
        [
            (piece.file, row)
            for piece in pieces
            for row in range(piece.first, piece.held)
        ]
        for pieces in shares.fitting
    ]
    for owner, position, file, row in zip(
        owners, positions, files, within, strict=True
    ):
        window = held[owner][position : position + segments.n_rows]
        assert window == [(file, row + step) for step in range(segments.n_rows)]


def test_shares_of_what_is_learnt_are_even() -> None:
    """To a sequence, whatever the lengths of the files."""
    shares = divide([1000, 300, 90, 777], 4)
    n_owned = [sum(piece.n_owned for piece in pieces) for pieces in shares.fitting]

    assert sum(n_owned) == sum(shares.cuts)
    assert max(n_owned) - min(n_owned) <= 2 * 5


def test_files_are_read_by_those_who_have_them() -> None:
    """In order of the names as folders sort them, from the lists of all processes."""
    readers = readers_of([["b.csv", "a-b.csv"], ["b.csv", "a/c.csv"]])

    assert list(readers.items()) == [
        ("a/c.csv", (1,)),
        ("a-b.csv", (0,)),
        ("b.csv", (0, 1)),
    ]


@pytest.mark.parametrize("n_processes", [1, 3])
def test_the_stretches_that_validate_are_divided_like_files(n_processes: int) -> None:
    """Rows that are labelled as anomalies are nobody's."""
    files = [File("v.csv", 100, 2, tuple(range(n_processes)))]
    stretches = [("v.csv", range(10, 40)), ("v.csv", range(50, 100))]

    shares = Shares.of(files, files, APART, n_processes, stretches)

    scored = sorted(
        row
        for pieces in shares.validating
        for piece in pieces
        for row in range(piece.first + 5, piece.held)
    )
    assert shares.n_validating == 80
    assert scored == [*range(15, 40), *range(55, 100)]
