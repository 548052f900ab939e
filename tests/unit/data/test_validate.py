"""Too many errors per time step for the memory; the other checks are in contract."""

import re

import pytest

from lstm_ad.data.validate import check_memory
from lstm_ad.exceptions import HyperparameterError
from lstm_ad.hyperparameters import Hyperparameters

APART = Hyperparameters()
FIVE_EACH = Hyperparameters(prediction_length=5, sequence_stride=1)


@pytest.mark.parametrize(
    ("n_series", "hyperparameters", "n_processes", "needed", "sentence"),
    [
        (
            1000,
            APART,
            1,
            80_000_000,
            "The Gaussian of 1000 errors per time step (1000 series x 1) needs 0.1 GB "
            "of memory, but the container has 0.1 GB; use fewer series or an instance "
            "with more memory.",
        ),
        (
            1000,
            FIVE_EACH,
            2,
            4_000_000_000,
            "The Gaussian of 5000 errors per time step (1000 series x 5) needs 4.0 GB "
            "of memory, but the container has 4.0 GB; use fewer series, a larger "
            "sequence-stride or an instance with more memory.",
        ),
    ],
)
def test_errors_that_are_too_many_for_the_memory_are_refused(
    n_series: int,
    hyperparameters: Hyperparameters,
    n_processes: int,
    needed: int,
    sentence: str,
) -> None:
    """By hand: 10 matrices of 8 bytes for each pair of errors, in each process."""
    check_memory(n_series, hyperparameters, n_processes, needed)

    with pytest.raises(HyperparameterError, match=f"^{re.escape(sentence)}$"):
        check_memory(n_series, hyperparameters, n_processes, needed - 1)
