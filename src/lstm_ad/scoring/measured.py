"""Measure on normal rows how a fitted detector does: its loss, and its alarms."""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.losses import Loss
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.reconstruction import Reconstructor


@dataclasses.dataclass(frozen=True)
class Measured:
    """How a detector does on normal rows."""

    loss: Loss
    """Of its reconstructions."""
    alarm_rate: float
    """The fraction of the rows with a score that are alarms."""
    n_rows: int
    """How many rows have a score."""


def measure(
    detector: LSTMAD,
    series: Iterable[FloatArray],
    scale: FloatArray,
    group: ProcessGroup = ALONE,
) -> Measured:
    """Return how a detector does on normal rows, each of which it scores once.

    Args:
        detector: What scores.
        series: The rows, each of shape ``(T, D)`` and longer than those that have no
            score: those that this process scores.
        scale: The unit of each series for the loss, of shape ``(D,)``.
        group: The processes of the job.
    """
    counts = np.zeros(2)

    def errors() -> Iterator[FloatArray]:
        """Yield the errors, and count on the way."""
        for values in series:
            first = 0
            for scores in detector.score_in_parts(values):
                score = scores.normality_score
                rows = slice(first, first + len(score))
                first = rows.stop
                is_alarm = scores.anomalies(detector.decision)
                counts[0] += np.count_nonzero(is_alarm)
                counts[1] += np.count_nonzero(~np.isnan(score))
                yield (values[rows] - scores.reconstruction) / scale

    loss = Loss.of(errors(), group)
    n_alarms, n_rows = group.sum(counts).tolist()
    return Measured(loss, float(n_alarms / max(n_rows, 1)), int(n_rows))


def reconstruction_loss(
    reconstructor: Reconstructor,
    series: Iterable[FloatArray],
    scale: FloatArray,
    group: ProcessGroup = ALONE,
) -> Loss:
    """Return the loss of the reconstructions that are scored.

    Args:
        reconstructor: What reconstructs.
        series: Each of shape ``(T, D)``: those that this process scores.
        scale: The unit of each series, of shape ``(D,)``.
        group: The processes of the job.
    """
    errors = (block for values in series for block in reconstructor.errors(values))
    return errors_loss(errors, scale, reconstructor, group)


def errors_loss(
    errors: Iterable[FloatArray],
    scale: FloatArray,
    reconstructor: Reconstructor,
    group: ProcessGroup = ALONE,
) -> Loss:
    """Return the loss of error vectors, without changes of level.

    Args:
        errors: Each of shape ``(T, K * D)``, or with levels ``(T, (K + 1) * D)``.
        scale: The unit of each series, of shape ``(D,)``.
        reconstructor: What they come from.
        group: The processes that have errors.
    """
    n_errors = len(scale) * reconstructor.network.layout.n_reconstructions
    return Loss.of(
        (block[:, :n_errors].reshape(-1, len(scale)) / scale for block in errors),
        group,
    )
