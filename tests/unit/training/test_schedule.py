"""When a job ends, and how its learning rate goes, by hand-worked losses."""

import pytest

from lstm_ad.training.schedule import DECAY, WARM_UP, last_epoch, learning_rate


@pytest.mark.parametrize("last", [200, 60])
def test_the_learning_rate_rises_stays_and_falls(last: int) -> None:
    """From 0 to the peak, flat, and to 0 again, all in straight lines.

    A job that ends early has risen as one that does not: it could not know.
    """
    rise, fall = 200 * WARM_UP, last * DECAY
    marks = [0, rise / 2, rise, 15, last - fall, last - fall / 2, last]

    rates = [learning_rate(done, 200, last, peak=4.0) for done in marks]

    assert rates == pytest.approx([0.0, 2.0, 4.0, 4.0, 4.0, 2.0, 0.0])


@pytest.mark.parametrize(
    ("losses", "patience", "last"),
    [
        ([], 3, 20),
        ([5, 4, 4, 4], 3, 20),  # two epochs no better
        ([5, 4, 4, 4, 4], 3, 10),  # three: five epochs, and five to fall
        ([5, 4, 4, 4, 4, 1, 1, 1, 1], 3, 10),  # and so it stays
        ([5, 4, 4, 4, 4], 0, 20),
        ([5, 6, 4, 6, 6, 3, 6, 6, 6], 3, 18),
        ([9, 8, 7, 6, 5, 4, 3, 6, 6, 6, 6], 3, 20),  # it falls already
    ],
)
def test_a_job_ends_early_where_nothing_gets_better(
    losses: list[float], patience: int, last: int
) -> None:
    """While the learning rate is at its peak; of 20 epochs."""
    assert last_epoch(losses, 20, patience) == last
