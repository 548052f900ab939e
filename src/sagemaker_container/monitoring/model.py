"""What operators are told of the model itself, and of how far its data have drifted."""

import dataclasses
import math

import numpy as np

from lstm_ad.model_json import Identity
from lstm_ad.quality import drift
from lstm_ad.quality.drift import Blocks, Reference
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.threshold.decision import Decision

MAX_SHIFTS = 50
"""The series whose shift is told: those that have shifted most."""


@dataclasses.dataclass(frozen=True)
class Drift:
    """How far the last rows have drifted; see :mod:`lstm_ad.quality.drift`."""

    index: float | None
    """0.1 is worth a look, 0.25 a new training; None if there are too few rows."""
    shifts: dict[str, float]
    """The shift of the mean of some series by name, in training deviations."""


@dataclasses.dataclass(frozen=True)
class ServedModel:
    """The model that a server has loaded."""

    identity: Identity
    """Which it is."""
    series: tuple[str, ...]
    """Names from the training data, or numbers from 1."""
    reference: Reference
    """What its rows are compared with."""
    decision: Decision
    """What an anomaly is."""

    @classmethod
    def of(cls, detector: LSTMAD, identity: Identity) -> "ServedModel":
        """Return what is told of a detector."""
        reference = Reference.of(detector, identity.n_trained)
        return cls(identity, detector.schema.series, reference, detector.decision)

    @property
    def expected_alarm_rate(self) -> float:
        """The fraction of normal rows that are anomalies to the model's threshold."""
        if self.decision.labelled is None:
            return self.decision.max_alarm_rate
        threshold = np.array([-self.decision.threshold])
        return math.exp(self.decision.tail.log_probability(threshold)[0])

    def drift(self, last_rows: Blocks) -> Drift:
        """Return how far the last rows have drifted."""
        shifts = drift.series_shift(last_rows, self.reference.n_trained)
        scores = drift.score_shift(last_rows, self.reference)
        index = drift.drift_index(scores, shifts)
        if shifts is None:
            return Drift(index, {})
        most = np.sort(np.argsort(-shifts, kind="stable")[:MAX_SHIFTS])
        return Drift(index, {self.series[i]: float(shifts[i]) for i in most})
