import re

import numpy as np
import pytest

from lstm_ad.exceptions import SeriesError
from lstm_ad.losses import Loss
from lstm_ad.onnx_graph import to_onnx
from lstm_ad.reconstruction import Reconstructor
from lstm_ad.runtime import OnnxNetwork
from lstm_ad.scaling import Scaler


@pytest.fixture
def reconstructor() -> Reconstructor:
    """Return one whose network always says (0, 1), (2, 3) in standardised units.

    With means (10, 100) and scales (1, 10), that is (10, 110), (12, 130).
    """
    weights = {
        "lstm.weight_ih_l0": np.zeros((4, 2), dtype=np.float32),
        "lstm.weight_hh_l0": np.zeros((4, 1), dtype=np.float32),
        "lstm.bias_ih_l0": np.zeros(4, dtype=np.float32),
        "lstm.bias_hh_l0": np.zeros(4, dtype=np.float32),
        "head.weight": np.zeros((4, 1), dtype=np.float32),
        "head.bias": np.array([0, 1, 2, 3], dtype=np.float32),
    }
    scaler = Scaler(mean=np.array([10.0, 100.0]), scale=np.array([1.0, 10.0]))
    return Reconstructor(scaler, OnnxNetwork(to_onnx(weights, 2)))


SERIES = np.array([[0, 0], [0, 0], [11, 100], [11, 100], [10, 110.0]])


def test_errors_are_target_minus_reconstruction_in_the_series_units(
    reconstructor: Reconstructor,
) -> None:
    """Signed, from the row after the first sequence on, the partial one included."""
    assert reconstructor.errors(SERIES).tolist() == [
        [11.0 - 10.0, 100.0 - 110.0],
        [11.0 - 12.0, 100.0 - 130.0],
        [10.0 - 10.0, 110.0 - 110.0],
    ]


def test_the_loss_is_in_standardised_units(reconstructor: Reconstructor) -> None:
    """The errors above over (1, 10): 1, -1, -1, -3, 0, 0; and twice the series."""
    expected = Loss(mse=(1 + 1 + 1 + 9) / 6, mae=(1 + 1 + 1 + 3) / 6)

    assert reconstructor.evaluate([SERIES]) == expected
    assert reconstructor.evaluate([SERIES, SERIES]) == expected


def test_every_row_is_reconstructed_once_in_order_and_in_bounded_parts(
    reconstructor: Reconstructor,
) -> None:
    """However long the series is, one batch of sequences is in memory."""
    series = np.zeros((1001, 2))

    parts = reconstructor.parts(series)
    reconstructions = [reconstructor.reconstruct(series, rows) for rows in parts]

    rows = np.concatenate([np.arange(1001)[rows] for rows in parts])
    values = np.concatenate(reconstructions)
    assert rows.tolist() == list(range(2, 1001))
    assert max(map(len, reconstructions)) == 64 * 2
    assert values.tolist() == ([[10.0, 110.0], [12.0, 130.0]] * 500)[: len(rows)]


@pytest.mark.parametrize("n_series", [1, 3])
def test_another_number_of_columns_is_refused(
    reconstructor: Reconstructor, n_series: int
) -> None:
    """The message has what was found and what the model was trained on."""
    expected = (
        f"The number of columns is wrong: {n_series} were found, but the model was "
        f"trained on 2 series, one per column."
    )

    with pytest.raises(SeriesError, match=f"^{re.escape(expected)}$"):
        reconstructor.errors(np.zeros((10, n_series)))


@pytest.mark.parametrize("n_timesteps", [1, 2])
def test_a_series_no_longer_than_a_sequence_is_refused(
    reconstructor: Reconstructor, n_timesteps: int
) -> None:
    """The message has the smallest number of rows that is accepted."""
    expected = (
        f"The series is too short: {n_timesteps} rows were found, but at least 3 are "
        f"needed, because the first sequence (2 rows) has no score."
    )

    with pytest.raises(SeriesError, match=f"^{re.escape(expected)}$"):
        reconstructor.errors(np.zeros((n_timesteps, 2)))


def test_the_shortest_series_has_one_error(reconstructor: Reconstructor) -> None:
    """One row more than a sequence is enough, as the message above says."""
    assert reconstructor.errors(np.zeros((3, 2))).tolist() == [[-10.0, -110.0]]
