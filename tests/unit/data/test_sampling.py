import numpy as np

from lstm_ad.data.sampling import means

NAN = float("nan")


def test_an_interval_has_the_mean_of_what_is_there() -> None:
    """Also before 1970; one without a row is not there."""
    times = np.array([-11, -10, -1, 0, 9, 30])
    values = np.array([[1, 5], [2, NAN], [4, NAN], [1, NAN], [NAN, NAN], [7, 8]])

    found, begins, first = means(values, times, 10)

    np.testing.assert_array_equal(found, [[1, 5], [3, NAN], [1, NAN], [7, 8]])
    assert begins.tolist() == [-20, -10, 0, 30]
    assert first.tolist() == [0, 1, 3, 5]
