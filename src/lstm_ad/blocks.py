"""Work on arrays a bounded part at a time: copies of all rows must not add up."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import numpy.typing as npt

BLOCK_NUMBERS = 2**20
"""Numbers that are worked on at a time: what bounds the memory of a step."""

Number = TypeVar("Number", bound=np.generic)


def in_blocks(*parts: npt.NDArray[Number]) -> Iterator[npt.NDArray[Number]]:
    """Yield all rows of arrays, in order, in views of at most ``BLOCK_NUMBERS``.

    A row with more numbers is a block of its own.

    Args:
        parts: Each of shape ``(T, ...)``.
    """
    for part in parts:
        n_numbers = max(1, part[:1].size)
        n_rows = max(1, BLOCK_NUMBERS // n_numbers)
        for first in range(0, len(part), n_rows):
            yield part[first : first + n_rows]
