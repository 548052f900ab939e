"""The scan over windows: worked out by hand, and independent of how rows come."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_ad.scoring.scan import Scan, WindowMeans


def test_means_are_those_of_full_windows_only() -> None:
    """By hand: a window that is not full has no mean."""
    means = WindowMeans([1, 2, 4]).of(np.array([4.0, 0.0, 2.0, 6.0, 8.0]))

    nan = np.nan
    expected = [[4, 0, 2, 6, 8], [nan, 2, 1, 4, 7], [nan, nan, nan, 3, 4]]
    np.testing.assert_array_equal(means, expected)


@settings(max_examples=50, deadline=None)
@given(
    cuts=st.lists(st.integers(0, 60), max_size=6),
    first=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 99),
    is_wide=st.booleans(),
)
def test_means_do_not_depend_on_how_rows_come(
    cuts: list[int], first: int, seed: int, is_wide: bool
) -> None:
    """A series that grows has the bits of the whole, beside a huge value, too."""
    values = np.random.default_rng(seed).chisquare(2, (60, 2) if is_wide else 60)
    values[20] = 1e300
    lengths = [first, 2 * first, 4 * first]
    whole = WindowMeans(lengths).of(values)

    growing = WindowMeans(lengths)
    parts = [growing.of(part) for part in np.split(values, sorted(cuts))]

    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_one_huge_value_spoils_no_window_without_it() -> None:
    """Its windows end, and so does what it does to the means."""
    values = np.ones(20)
    values[5] = 1e18

    (_, mean) = WindowMeans([2, 4]).of(values)

    assert mean[9:].tolist() == [1.0] * 11


def test_levels_and_evidence_by_hand() -> None:
    """Two lengths: the worst window decides, in the units of the shortest."""
    scan = Scan.fit([np.full(100, 3.0)], lengths=[1, 2], margin=np.log(2))

    worst, number = scan.worst(WindowMeans([1, 2]).of(np.array([3.0, 30.0, 40.0, 3.0])))

    # Levels: 1 + q = 4 and 4 x 2. Means of 2: 16.5, 35, 21.5.
    np.testing.assert_allclose(np.exp(scan.levels), [4, 8])
    np.testing.assert_allclose(worst, [3, 30, 40, 4 * 22.5 / 8 - 1])
    assert number.tolist() == [0, 0, 0, 1]


def test_without_longer_windows_the_distance_stays_as_it_is() -> None:
    """The length 1 alone: the document's score, to the last bit."""
    distances = np.random.default_rng(0).chisquare(3, 50)
    scan = Scan.fit([distances], lengths=[1], margin=0.5)

    worst, _ = scan.worst(WindowMeans([1]).of(distances))

    assert worst.tolist() == distances.tolist()


def test_there_is_no_evidence_before_the_shortest_window_is_full() -> None:
    """Longer ones join when theirs are."""
    scan = Scan.fit([np.ones(50)], lengths=[3, 6], margin=0.0)
    values = np.concatenate([np.full(6, 9.0), np.full(4, 1.0)])

    worst, number = scan.worst(WindowMeans([3, 6]).of(values))

    assert np.isnan(worst).tolist() == [True] * 2 + [False] * 8
    assert number[2:5].tolist() == [0, 0, 0]
    assert number[9] == 1


def test_windows_of_levels_end_with_their_file() -> None:
    """A length that no file fills takes no part; a file's end is no window's middle."""
    scan = Scan.fit([np.ones(3), np.full(2, 9.0)], lengths=[1, 2, 4], margin=0.0)

    assert scan.lengths == (1, 2)
    # Means of 2 within the files: 1, 1, 9; across them there would be a 5.
    assert np.expm1(scan.levels[1]) == pytest.approx(
        np.expm1(np.quantile(np.log1p([1, 1, 9]), 0.99))
    )


@pytest.mark.parametrize(("n_rows", "shortest"), [(24, 16), (3, 2), (1, 1)])
def test_files_shorter_than_every_window_are_scanned_as_far_as_they_go(
    n_rows: int, shortest: int
) -> None:
    """The shortest length is halved until a file fills it."""
    scan = Scan.fit([np.ones(n_rows)] * 3, lengths=[25, 50], margin=0.5)

    assert scan.lengths == (shortest,)
