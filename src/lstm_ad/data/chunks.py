"""Read the rows of files in chunks that stay in the cache of a processor."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray

_N_VALUES, _MIN_ROWS = 2**18, 1024
_TILE, _MIN_TILE_ROWS = 2**14, 256


@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one file, in the order of the series."""

    first: int
    """The number of the first new row, counted through all files."""
    has_previous: bool
    """Whether there is a row before it in its file."""
    values: FloatArray
    """Of shape ``(D, rows)``, the row before included; NaN where one is missing."""
    steps: FloatArray
    """The differences from row to row, of shape ``(D, rows - 1)``."""
    has_missing: bool
    """Whether any value is missing."""

    @property
    def new(self) -> FloatArray:
        """The values of the new rows."""
        return self.values[:, int(self.has_previous) :]

    def visits(self, is_there: npt.NDArray[np.bool_]) -> IndexArray:
        """Return how many times something comes in the new rows, of ``(k,)``.

        Args:
            is_there: Whether it is there, of shape ``(k, rows)``, as :attr:`values`.
        """
        n_visits = count_true(is_there[:, 1:] > is_there[:, :-1])
        return n_visits if self.has_previous else n_visits + is_there[:, 0]


def count_true(is_there: npt.NDArray[np.bool_]) -> IndexArray:
    """Return how many are true along the last of two axes.

    In bits: numpy's own count takes each for an integer first.
    """
    found: IndexArray = np.bitwise_count(np.packbits(is_there, axis=1)).sum(
        axis=1, dtype=np.int64
    )
    return found


def chunks(files: Sequence[FloatArray]) -> Iterator[Chunk]:
    """Yield all rows of some files, each of shape ``(T, D)``, ``T`` at least 1.

    A chunk holds until the next one is asked for, which is written over it.
    """
    n_series = files[0].shape[1]
    size = min(max(_N_VALUES // n_series, _MIN_ROWS), max(map(len, files)))
    tile = max(_TILE // n_series, _MIN_TILE_ROWS)
    space = np.empty((2, n_series * (size + 1)))
    start = 0
    for file in files:
        for first in range(0, len(file), size):
            rows = file[max(first - 1, 0) : first + size]
            shape, n_values = (n_series, len(rows)), rows.size
            values, steps = (flat[:n_values].reshape(shape) for flat in space)
            for at in range(0, len(rows), tile):  # reads and writes stay near
                values[:, at : at + tile] = rows[at : at + tile].T
            # Across the ends of series, too: one long loop is faster than many.
            flat, found = space[:, :n_values]
            np.subtract(flat[1:], flat[:-1], out=found[:-1])
            yield Chunk(
                start + first,
                first > 0,
                values,
                steps[:, :-1],
                bool(np.isnan(values.min())),
            )
        start += len(file)
