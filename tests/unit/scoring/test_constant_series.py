import dataclasses
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters


@pytest.mark.parametrize("constant", [0.004, -4e-6, 1.0, 1e9])
def test_any_other_value_of_a_constant_series_is_an_anomaly(
    constant: float,
    tiny: Hyperparameters,
    make_series: Callable[..., npt.NDArray[np.float64]],
) -> None:
    """In any unit: also with the floor that overlapping sequences have for errors."""
    settings = dataclasses.replace(tiny, prediction_length=5, sequence_stride=1)

    def with_constant(n_timesteps: int) -> npt.NDArray[np.float64]:
        """Return normal rows."""
        return np.column_stack(
            [make_series(n_timesteps), np.full(n_timesteps, constant)]
        )

    detector = fit(Rows.of({"train.csv": with_constant(400)}), settings).detector
    series = with_constant(100)
    series[50:70, 2] = 0.0

    scores = detector.score(series).normality_score

    assert detector.decision.is_anomaly(scores)[50:70].all()
