"""Standardise the series with the statistics of the rows that fit the LSTM."""

import dataclasses
import logging
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, ScaledArray
from lstm_ad.blocks import in_blocks
from lstm_ad.exceptions import SeriesError
from lstm_ad.processes import ALONE, ProcessGroup

logger = logging.getLogger(__name__)

INPUT_BOUND = 10.0
"""The largest standardised value that the network reads, in standard deviations.

A spike far outside anything seen in training must not decide, through the LSTM's
state, how the rows after it are reconstructed. The bound is part of the network, so it
holds wherever the network runs. Errors are taken against the values as they are: the
spike itself scores as low as it should.
"""


CONSTANT_RANGE = 1e-12
"""A series whose range is at most this part of its magnitude does not vary."""

_MISREAD = re.compile(r'[,;"]|\band\b')

SMALLEST_SCALE = 1e-9
"""Of a constant series: a smaller one may be what rounding left of 0, and would make
every later value too far away to be computed with."""

_SMALLEST_RANGE = 1e-100
"""Nor does one with a smaller range: the squares of its errors would be no numbers."""


@dataclasses.dataclass(frozen=True)
class Scaler:
    """Maps each series to mean 0 and standard deviation 1, and back."""

    mean: FloatArray
    """The mean of each series, of shape ``(D,)``, in its own units."""
    scale: FloatArray
    """The standard deviation of each series, of shape ``(D,)``, positive.

    For a constant series, which has none, its magnitude, but at most 1 and at least
    ``SMALLEST_SCALE``; 1 if it is 0, as that has no unit. Otherwise a constant of 0.004
    that becomes 0 would be within the smallest deviation of errors.
    """

    @classmethod
    def fit(
        cls,
        parts: Sequence[FloatArray],
        group: ProcessGroup = ALONE,
        names: Sequence[str] = (),
    ) -> "Scaler":
        """Return the scaler for the rows of all ``parts`` together.

        Constant series are named in a warning: nothing can be learnt from them.

        Args:
            parts: Series of shape ``(T, D)``, of this process; they may have no rows,
                and NaN where a value is missing, but all processes together must have
                a value of each series.
            group: The processes that have parts.
            names: What messages call the series.

        Raises:
            SeriesError: If a series has no value at all.
        """
        low, high = value_range(parts, group)
        if (is_unseen := low > high).any():
            raise SeriesError(
                f"Without any value in the rows that fit the LSTM: "
                f"{name_series(is_unseen, names)}. Leave the column out, or give rows "
                f"with values."
            )
        magnitude = np.maximum(np.abs(low), np.abs(high))
        unit = np.where(magnitude > _SMALLEST_RANGE, magnitude, 1.0)
        constant = is_constant(low, high)

        # In units of the magnitude: the squares of 1e200 and 1e-200 are no numbers.
        total, squares, n_rows = np.zeros((3, len(unit)))
        for block in in_blocks(*parts):
            n_rows += np.count_nonzero(~np.isnan(block), axis=0)
            total += np.nansum(block / unit, axis=0)
        n_rows = group.sum(n_rows)
        mean = group.sum(total) / n_rows
        for block in in_blocks(*parts):
            squares += np.nansum((block / unit - mean) ** 2, axis=0)
        deviation = np.sqrt(group.sum(squares) / n_rows)

        if constant.any():
            logger.warning(
                "Constant in the rows that fit the LSTM: %s. The model can only learn "
                "that value, and scores any other as an anomaly.",
                name_series(constant, names),
            )
        return cls(
            mean=np.where(constant, low, mean * unit),
            scale=np.where(constant, _scale_of_constant(low), deviation * unit),
        )

    def transform(self, series: FloatArray) -> ScaledArray:
        """Return ``series``, of shape ``(T, D)``, standardised, in single precision."""
        with np.errstate(over="ignore"):  # infinite is within the network's INPUT_BOUND
            return ((series - self.mean) / self.scale).astype(np.float32)

    def inverse_transform(self, scaled: ScaledArray) -> FloatArray:
        """Return ``scaled``, of shape ``(T, D)``, in the units of the series."""
        return scaled.astype(np.float64) * self.scale + self.mean


def value_range(
    parts: Sequence[FloatArray], group: ProcessGroup = ALONE
) -> tuple[FloatArray, FloatArray]:
    """Return the smallest and the largest value of each series, as for ``Scaler.fit``.

    Returns:
        Two arrays of shape ``(D,)``.
    """
    low = np.full(parts[0].shape[1], np.inf)
    high = -low
    for block in in_blocks(*parts):
        low = np.fmin(low, np.fmin.reduce(block, axis=0))
        high = np.fmax(high, np.fmax.reduce(block, axis=0))
    return group.minimum(low), -group.minimum(-high)


def is_constant(low: FloatArray, high: FloatArray) -> npt.NDArray[np.bool_]:
    """Return which series do not vary, given their smallest and largest values."""
    magnitude = np.maximum(np.abs(low), np.abs(high))
    constant: npt.NDArray[np.bool_] = high - low <= np.maximum(
        CONSTANT_RANGE * magnitude, _SMALLEST_RANGE
    )
    return constant


def _scale_of_constant(value: FloatArray) -> FloatArray:
    """Return the scale of series that have one value each, of shape ``(D,)``."""
    scale = np.clip(np.abs(value), SMALLEST_SCALE, 1.0)
    return np.where(value == 0, 1.0, scale)


def name_series(chosen: npt.NDArray[np.bool_], names: Sequence[str] = ()) -> str:
    """Return the chosen series in words: ``series pressure and flow``.

    Args:
        chosen: Whether to name each series, of shape ``(D,)``.
        names: The names of all series; without any they are counted from 1.
    """
    columns = [
        spelled(names[column]) if names else str(column + 1)
        for column in np.flatnonzero(chosen).tolist()
    ]
    shown, more = columns[:10], len(columns) - 10
    if more > 0:
        shown.append(f"{more} more")
    *first, last = shown
    return f"series {', '.join(first)} and {last}" if first else f"series {last}"


def spelled(name: str) -> str:
    """Return the name of a series for a sentence: in quotes if it may be misread."""
    return f'"{name}"' if _MISREAD.search(name) else name
