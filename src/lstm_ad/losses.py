"""The numbers that say how far reconstructions are from the truth."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.processes import ALONE, ProcessGroup


@dataclasses.dataclass(frozen=True)
class Loss:
    """How far reconstructions are from the truth, per element, in standardised units.

    Per element: the mean over all time steps and all series, so that losses of jobs
    with other sequence lengths, batch sizes or numbers of series compare.
    """

    mse: float
    """The mean squared error; repeating the mean of each series gives about 1."""
    mae: float
    """The mean absolute error."""

    @classmethod
    def of(cls, errors: Iterable[FloatArray], group: ProcessGroup = ALONE) -> "Loss":
        """Return the loss of all ``errors`` together, each of shape ``(T, D)``.

        Args:
            errors: Of this process; NaN where the truth is missing.
            group: The processes that have errors.
        """
        squares = absolutes = n_elements = 0.0
        for part in errors:
            squares += float(np.nansum(np.square(part)))
            absolutes += float(np.nansum(np.abs(part)))
            n_elements += np.count_nonzero(~np.isnan(part))
        sums = group.sum(np.array([squares, absolutes, n_elements]))
        squares, absolutes, n_elements = sums.tolist()
        return cls(mse=squares / n_elements, mae=absolutes / n_elements)


@dataclasses.dataclass(frozen=True)
class EpochMetrics:
    """What one epoch has to tell."""

    epoch: int
    """Counted from 1."""
    train: Loss
    """Over the epoch's own batches, while the network learns and drops out."""
    valid: Loss | None = None
    """Over the validation series after the epoch; None if there are none."""
    calibration: Loss | None = None
    """Over the calibration parts after the epoch; None if there are validation series,
    which then choose the best epoch."""

    @property
    def losses(self) -> dict[str, Loss]:
        """The losses that there are, by their names."""
        named = {
            "train": self.train,
            "valid": self.valid,
            "calibration": self.calibration,
        }
        return {name: loss for name, loss in named.items() if loss is not None}

    @property
    def selection(self) -> Loss:
        """The loss by which the best epoch is chosen."""
        chosen = self.valid or self.calibration
        assert chosen is not None
        return chosen
