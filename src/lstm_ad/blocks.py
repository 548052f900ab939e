"""Work on arrays a bounded part at a time: copies of all rows must not add up."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

BLOCK_NUMBERS = 2**20
"""Numbers that are worked on at a time: what bounds the memory of a step."""

Number = TypeVar("Number", bound=np.generic)


def in_blocks(*parts: npt.NDArray[Number]) -> Iterator[npt.NDArray[Number]]:
    """Yield all rows of arrays, in order, at most ``BLOCK_NUMBERS`` at a time.

    Large arrays come in views; consecutive small ones come together, copied, because
    every block has a cost of its own. A row with more numbers is a block by itself.

    Args:
        parts: Each of shape ``(T, ...)``.
    """
    small: list[npt.NDArray[Number]] = []
    n_small = 0
    for part in parts:
        if small and n_small + part.size > BLOCK_NUMBERS:
            yield _together(small)
            small, n_small = [], 0
        if part.size > BLOCK_NUMBERS:
            n_rows = max(1, BLOCK_NUMBERS // part[0].size)
            for first in range(0, len(part), n_rows):
                yield part[first : first + n_rows]
        elif len(part):
            small.append(part)
            n_small += part.size
    if small:
        yield _together(small)


def _together(parts: list[npt.NDArray[Number]]) -> npt.NDArray[Number]:
    """Return arrays as one."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
