"""What is counted of the rows of each model of a multi-model endpoint.

The memory is made before the worker is, as that of
:class:`~sagemaker_container.monitoring.counts.Counts`: nothing is lost with a worker.
What a model has counted is kept when it is unloaded, so counts never decrease.
"""

from __future__ import annotations

import dataclasses
import mmap
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from lstm_ad.axes import FloatArray

if TYPE_CHECKING:
    # Types alone: ONNX Runtime must not be imported before the worker is forked.
    from lstm_ad.scoring.detector import Scores
    from lstm_ad.threshold.decision import Decision

MAX_MODELS = 100
"""Models whose rows are counted: each is a label, and CloudWatch bills each metric."""

FIELDS = ("rows", "scored", "anomalies", "missing")

_KIND = np.dtype([("name", "S256"), *((field, "i8") for field in FIELDS)])


class ModelCounts:
    """The counts of the first ``MAX_MODELS`` models that were asked to score."""

    def __init__(self) -> None:
        shared = mmap.mmap(-1, MAX_MODELS * _KIND.itemsize)
        self._slots = np.frombuffer(shared, _KIND)
        self._lock = threading.Lock()

    def recorder(self, name: str, decision: Decision) -> ModelRecorder | None:
        """Return what counts the rows of a model; None if there are too many models.

        Args:
            name: What SageMaker calls it.
            decision: The model's own.
        """
        key = name.encode()[:256]
        with self._lock:
            names = self._slots["name"].tolist()
            if key not in names and b"" in names:
                self._slots["name"][names.index(b"")] = key
                names[names.index(b"")] = key
        if key not in names:
            return None
        return ModelRecorder(self._slots[names.index(key)], self._lock, decision)

    def totals(self) -> dict[str, dict[str, int]]:
        """Return what was counted of each model, by its name."""
        used = self._slots[self._slots["name"] != b""]
        return {
            slot["name"].decode(errors="replace"): {f: int(slot[f]) for f in FIELDS}
            for slot in used
        }


@dataclasses.dataclass(frozen=True)
class ModelRecorder:
    """Counts the rows that a model returns."""

    slot: np.void
    """Its counts, in the shared memory."""
    lock: threading.Lock
    """Held while numbers are added."""
    decision: Decision
    """The model's own."""

    def returned(self, values: FloatArray, parts: Sequence[Scores]) -> None:
        """Count the rows of an answer: see :meth:`recorder.RowCounter.returned`."""
        is_scored = [~np.isnan(part.normality_score) for part in parts]
        is_anomaly = [part.anomalies(self.decision) for part in parts]
        found = {
            "rows": len(values),
            "scored": sum(map(np.count_nonzero, is_scored)),
            "anomalies": sum(map(np.count_nonzero, is_anomaly)),
            "missing": np.count_nonzero(np.isnan(values)),
        }
        with self.lock:
            for field, number in found.items():
                self.slot[field] += number
