"""What lasts becomes normal, slowly, from past rows alone."""

import numpy as np
import pytest

from lstm_ad.scoring.adaptation import Adaptation

LEVEL = np.log(2.0)


def test_three_rows_by_hand() -> None:
    """Evidence of 7 lies two doublings beyond a level of 1; each row takes off a half.

    In units of log 2: the rows are 3, 3 and 3, the level 1, so the excess is 2; the
    memory before the rows is 0, 1 and 1.5.
    """
    found = Adaptation(2, LEVEL).of(np.full(3, 7.0))

    np.testing.assert_allclose(found, 2.0 ** np.array([3, 2, 1.5]) - 1)


def test_without_rows_it_never_adapts() -> None:
    """To the last bit."""
    evidence = np.random.default_rng(0).chisquare(2, 50)

    assert Adaptation(0, LEVEL).of(evidence).tolist() == evidence.tolist()


@pytest.mark.parametrize("cut", [0, 1, 50, 99])
def test_a_growing_series_has_the_bits_of_the_whole(cut: int) -> None:
    """The memory is that of the rows so far; rows without evidence leave it alone."""
    evidence = np.random.default_rng(1).chisquare(2, 100)
    evidence[:5] = np.nan
    whole = Adaptation(30, LEVEL).of(evidence)

    growing = Adaptation(30, LEVEL)
    parts = [growing.of(part) for part in (evidence[:cut], evidence[cut:])]

    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_new_regime_ends_as_normal_and_a_fault_in_it_stands_out() -> None:
    """A level of 100 from row 200 on, and ten times that at row 1500."""
    evidence = np.full(2000, 0.5)
    evidence[200:] = 100.0
    evidence[1500] = 1000.0

    found = Adaptation(200, LEVEL).of(evidence)

    assert found[200] == pytest.approx(100)
    assert found[1499] == pytest.approx(1, rel=0.05)
    assert found[1500] > 15
