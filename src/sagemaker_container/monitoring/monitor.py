"""What one worker uses to count, and to say what all of them have counted."""

import dataclasses
from collections.abc import Callable

from lstm_ad.model_json import Identity
from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.monitoring.counts import Counts
from sagemaker_container.monitoring.model import ServedModel
from sagemaker_container.monitoring.model_counts import ModelCounts
from sagemaker_container.monitoring.recorder import RequestRecorder, RowRecorder


@dataclasses.dataclass(frozen=True)
class Monitor:
    """The monitoring of a worker."""

    counts: Counts
    """Those of all workers."""
    requests: RequestRecorder
    """What counts this worker's requests."""
    rows: RowRecorder | None = None
    """What counts the rows that it returns; None if they are of several models."""
    model: ServedModel | None = None
    """The model, unless there are several."""
    after_file: Callable[[], None] | None = None
    """What is to be done after each file of a batch transform."""
    models: ModelCounts | None = None
    """What counts the rows of several models."""

    @classmethod
    def of(cls, model: ServedModel, counts: Counts, slot: int) -> "Monitor":
        """Return the monitoring of a worker that has loaded a model.

        Args:
            model: The model.
            counts: Those of all workers.
            slot: The number of the worker's own.
        """
        rows = RowRecorder(counts.slot(slot), model.reference, model.decision)
        return cls(counts, RequestRecorder(counts.slot(slot)), rows, model)

    @classmethod
    def of_several(cls, counts: Counts, slot: int, models: ModelCounts) -> "Monitor":
        """Return the monitoring of a worker whose models come and go.

        Args:
            counts: Those of all workers.
            slot: The number of the worker's own.
            models: Those of the models.
        """
        return cls(counts, RequestRecorder(counts.slot(slot)), models=models)

    @classmethod
    def alone(cls, detector: LSTMAD) -> "Monitor":
        """Return the monitoring of a process that has no others beside it."""
        counts = Counts(n_workers=1)
        model = ServedModel.of(detector, Identity("", {}))
        return cls.of(model, counts, counts.claim([]))
