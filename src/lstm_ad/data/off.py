"""Mark the rows in which a machine is off: they are not learnt from."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from lstm_ad.data.rows import Block
from lstm_ad.data.schema import Schema
from lstm_ad.model.off import Mask, comparisons, is_off


def marked(blocks: Iterator[Block], off_when: str) -> Iterator[Block]:
    """Yield blocks of a file with the rows marked that a condition says are off.

    Args:
        blocks: Those of one file.
        off_when: The condition.

    Raises:
        SeriesError: If the condition names no series.
    """
    for block in blocks:
        schema = block.schema or Schema.unnamed(block.values.shape[1])
        conditions = comparisons(off_when, schema.series)
        yield without(block, is_off(block.values, conditions))


def without(block: Block, off: Mask) -> Block:
    """Return a block without the values of rows that are off, beside those that are.

    Args:
        block: Consecutive rows of a file.
        off: Which of them are off, of shape ``(T,)``.
    """
    if block.off is not None:
        off = off | block.off
    if not off.any():
        return block
    values = np.where(off[:, np.newaxis], np.nan, block.values)
    return dataclasses.replace(block, values=values, off=off)
