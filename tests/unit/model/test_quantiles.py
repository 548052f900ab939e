"""Quantiles of series in order are those that numpy finds, to the last bit."""

import numpy as np
import pytest

from lstm_ad.model.quantiles import Ordered, tails

LEVELS = (0.005, 0.1, 0.25, 0.5, 0.75, 0.995, 1.0)


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_quantiles_are_those_of_numpy(n: int) -> None:
    """Also with missing values, of which each series has another number."""
    x = np.random.default_rng(n).normal(size=(3, 2, n))
    for series, missing in enumerate((0, n // 3, n - 1)):
        x[series, :, :missing] = np.nan
    rng = np.random.default_rng(0)

    found = Ordered.of(rng.permuted(x, axis=-1)).quantiles(*LEVELS)

    np.testing.assert_array_equal(found, np.nanquantile(x, LEVELS, axis=-1))


@pytest.mark.parametrize("n", [1, 7, 256, 257, 1000])
@pytest.mark.parametrize("share", [0.005, 0.1, 0.3])
def test_tails_are_those_of_numpy(n: int, share: float) -> None:
    """Of several runs, too, and with all missing values in one of them."""
    x = np.random.default_rng(n).normal(size=(2, 3, n))
    x[0, 0, : n // 3] = x[1, 2, 1:] = np.nan

    found = tails(x, share)

    np.testing.assert_array_equal(found, np.nanquantile(x, [share, 1 - share], axis=-1))


def test_without_values_there_are_no_quantiles() -> None:
    """NaN, without a warning."""
    assert np.isnan(Ordered.of(np.full((1, 5), np.nan)).quantiles(0.1, 0.5)).all()
