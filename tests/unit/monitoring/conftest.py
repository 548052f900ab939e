"""A small model, the counts of its workers, and recorders that write them."""

from collections.abc import Callable

import pytest

from lstm_ad.model_json import Identity
from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.monitoring.counts import Counts
from sagemaker_container.monitoring.model import ServedModel
from sagemaker_container.monitoring.monitor import Monitor

DIGEST = "0123456789abcdef"


@pytest.fixture
def model(detector: LSTMAD) -> ServedModel:
    """Return what is told of the tiny detector."""
    return ServedModel.of(detector, Identity(DIGEST, {"train": 320}))


@pytest.fixture
def counts() -> Counts:
    """Return the counts of two workers."""
    return Counts(n_workers=2)


@pytest.fixture
def worker(counts: Counts, model: ServedModel) -> Callable[[int], Monitor]:
    """Return the function that makes the monitoring of a worker, by its slot."""
    return lambda slot: Monitor.of(model, counts, slot)
