"""How many processes the only host of a job starts, if nothing else says it."""

import dataclasses

import numpy as np
import pytest

from lstm_ad.data.rows import Rows
from lstm_ad.hyperparameters import Hyperparameters
from sagemaker_container.job import Cluster
from sagemaker_container.limits import Limits
from sagemaker_container.team import divided, seconds_of_training

UNDECIDED = Cluster(("algo-1",), "algo-1", False, 16, 7777, is_undecided=True)
SIXTEEN = Limits(n_cores=16, memory_bytes=2**36)


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Return 10 000 rows of two series, as many as those of the samples."""
    return Rows.of({"a.csv": np.random.default_rng(0).normal(size=(10_000, 2))})


@pytest.mark.parametrize(
    ("changes", "limits", "n_processes"),
    [
        ({}, SIXTEEN, 2),  # a quarter of a minute of one core
        ({"epochs": 70}, SIXTEEN, 1),
        ({"epochs": 250}, SIXTEEN, 2),  # 32 sequences of a batch each
        ({"epochs": 250, "batch_size": 1024}, SIXTEEN, 16),  # a core each
        ({"epochs": 250, "batch_size": 63}, SIXTEEN, 1),
        ({"epochs": 250, "batch_size": 256}, Limits(2, memory_bytes=2**36), 2),
        ({"epochs": 250}, Limits(n_cores=1, memory_bytes=2**36), 1),
        ({"epochs": 250, "batch_size": 256}, Limits(16, 3 * 2**30), 3),  # 1 GiB each
        ({"epochs": 250}, dataclasses.replace(SIXTEEN, trains_on_gpu=True), 1),
        ({"epochs": 250, "hidden_size": 16}, SIXTEEN, 1),  # small networks are fast
        ({"epochs": 250, "warm_start": "calibrate"}, SIXTEEN, 1),  # nothing to train
    ],
)
def test_processes_are_started_where_they_are_worth_it(
    rows: Rows, changes: dict, limits: Limits, n_processes: int
) -> None:
    """By the time of training, the batch, the cores and the memory."""
    cluster = divided(UNDECIDED, Hyperparameters(**changes), rows, limits)

    found = cluster.n_cpu_processes if cluster.is_distributed else 1
    assert found == n_processes


def test_what_is_decided_stays(rows: Rows) -> None:
    """By the switch or by the threads that the user asks for."""
    decided = dataclasses.replace(UNDECIDED, is_undecided=False)

    assert divided(decided, Hyperparameters(epochs=250), rows, SIXTEEN) is decided


def test_the_time_of_training_is_about_what_it_takes(rows: Rows) -> None:
    """The default job of the samples: 14 to 16 s of one core, measured."""
    assert seconds_of_training(Hyperparameters(), rows) == pytest.approx(15, rel=0.2)
