import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from lstm_ad.model.scaling import Scaler, name_series


def test_each_series_has_the_statistics_of_all_parts_together() -> None:
    """Parts of 1, 3 and of 5: mean 3, variance (4 + 0 + 4) / 3; a column each."""
    parts = [np.array([[1.0, 100.0], [3.0, 300.0]]), np.array([[5.0, 500.0]])]

    scaler = Scaler.fit(parts)

    np.testing.assert_allclose(scaler.mean, [3.0, 300.0], rtol=1e-15)
    expected = [np.sqrt(8 / 3), 100 * np.sqrt(8 / 3)]
    np.testing.assert_allclose(scaler.scale, expected, rtol=1e-15)


def test_transformed_values_have_mean_0_and_deviation_1() -> None:
    """What the network reads is standardised, in single precision."""
    series = np.random.default_rng(0).normal([5.0, -3e6], [0.1, 1e7], size=(500, 2))
    scaled = Scaler.fit([series]).transform(series)

    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0, dtype=np.float64), 0.0, atol=1e-6)
    np.testing.assert_allclose(scaled.std(axis=0, dtype=np.float64), 1.0, rtol=1e-6)


@given(
    npst.arrays(
        np.float64,
        st.tuples(st.integers(1, 20), st.integers(1, 4)),
        elements=st.floats(-1e30, 1e30, allow_subnormal=False),
    )
)
def test_transform_then_inverse_is_the_identity(series: np.ndarray) -> None:
    """Up to single precision, in units of each series' magnitude, or to 1e-100."""
    scaler = Scaler.fit([series])

    back = scaler.inverse_transform(scaler.transform(series))

    magnitude = np.abs(series).max(axis=0)
    assert (np.abs(back - series) <= 1e-5 * magnitude + 1e-100).all()


@pytest.mark.parametrize(
    ("value", "scale"),
    [
        (5.0, 1.0),
        (-2e30, 1.0),
        (0.0, 1.0),
        (-0.004, 0.004),
        (4e-6, 4e-6),
        (1e-30, 1e-9),
    ],
)
def test_a_constant_series_is_named_in_a_warning_and_has_a_scale(
    value: float, scale: float, caplog: pytest.LogCaptureFixture
) -> None:
    """It has no deviation: its magnitude takes the place, from 1e-9 to 1."""
    series = np.array([[1.0, value], [2.0, value], [3.0, value]])

    scaler = Scaler.fit([series])

    assert scaler.mean[1] == value
    assert scaler.scale[1] == scale
    assert scaler.transform(series)[:, 1].tolist() == [0.0, 0.0, 0.0]
    assert [record.getMessage() for record in caplog.records] == [
        "Constant in the rows that fit the LSTM: series 2. The model can only learn "
        "that value, and scores any other as an anomaly."
    ]


def test_rounding_noise_does_not_count_as_variation() -> None:
    """0.1 + 0.2 beside 0.3 is a constant series, not one of deviation 1e-17."""
    scaler = Scaler.fit([np.array([[0.1 + 0.2], [0.3]])])

    assert scaler.scale.tolist() == [0.3]


def test_varying_series_give_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """A warning always has a reason."""
    Scaler.fit([np.array([[1.0, 1e-30], [2.0, 2e-30]])])

    assert caplog.records == []


def test_magnitudes_of_1e100_and_1e_minus_100_keep_their_digits() -> None:
    """Their squares are no double-precision numbers; the statistics are."""
    pattern = np.array([1.0, 2.0, 4.0])
    series = np.column_stack([pattern * 1e99, pattern * 1e-99])

    scaled = Scaler.fit([series]).transform(series)

    expected = (pattern - pattern.mean()) / pattern.std()
    np.testing.assert_allclose(scaled[:, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(scaled[:, 1], expected, rtol=1e-6)


def test_values_beyond_single_precision_become_infinite_silently() -> None:
    """The network's input bound makes them finite again; nothing warns."""
    scaler = Scaler(mean=np.array([0.0]), scale=np.array([1e-30]))

    assert scaler.transform(np.array([[1e30], [-1e30]])).tolist() == [
        [np.inf],
        [-np.inf],
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ([1], "series 2"),
        ([1, 4], "series 2 and 5"),
        ([0, 1, 4], "series 1, 2 and 5"),
        (list(range(10)), "series 1, 2, 3, 4, 5, 6, 7, 8, 9 and 10"),
        (list(range(15)), "series 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 5 more"),
    ],
)
def test_series_are_named_by_their_column_from_1(columns: list, words: str) -> None:
    """As a spreadsheet counts; a long list is cut."""
    chosen = np.zeros(20, dtype=bool)
    chosen[columns] = True

    assert name_series(chosen) == words


def test_series_with_names_are_called_by_them() -> None:
    """In quotes where a name may be taken for several."""
    names = ["Druck", "a, b", 'x "1"', "this and that", "Sand"]
    words = 'series Druck, "a, b", "x "1"", "this and that" and Sand'
    assert name_series(np.ones(5, dtype=bool), names) == words
