"""A table as it was sent: numbers, and beside them what is carried through as text."""

import csv
import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import overload

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray


class Cells(Sequence[bytes]):
    """The cells of a column as text, byte for byte: one text, not an object each.

    Args:
        text: The cells, one after the other.
        bounds: Where each begins in it, and where the last one ends: ``T + 1``.
    """

    def __init__(self, text: bytes, bounds: IndexArray) -> None:
        self._text = text
        self._bounds = bounds

    @classmethod
    def of(cls, cells: Sequence[bytes]) -> "Cells":
        """Return cells that are given one by one."""
        return cls(b"".join(cells), _bounds([len(cell) for cell in cells]))

    @classmethod
    def joined(cls, parts: Sequence["Cells"]) -> "Cells":
        """Return the cells of all parts, each of which begins at its text's start."""
        lengths = [np.diff(part._bounds) for part in parts]
        text = b"".join(part._text for part in parts)
        return cls(text, _bounds(np.concatenate([*lengths, np.empty(0, np.int64)])))

    def __len__(self) -> int:
        return len(self._bounds) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> "Cells": ...

    def __getitem__(self, index: int | slice) -> "bytes | Cells":
        """Return a cell, or consecutive ones."""
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return Cells.of([self[at] for at in range(start, stop, step)])
            return Cells(self._text, self._bounds[start : max(start, stop) + 1])
        at = range(len(self))[index]
        return self._text[self._bounds[at] : self._bounds[at + 1]]

    def __iter__(self) -> Iterator[bytes]:
        text = self._text
        for start, stop in itertools.pairwise(self._bounds.tolist()):
            yield text[start:stop]


def plain(cell: bytes) -> str:
    """Return what a carried cell says: without the quotes and the spaces around it."""
    text = cell.decode()
    if not text.startswith('"'):
        return text.strip(" ")
    return next(csv.reader([text], strict=True))[0]


@dataclasses.dataclass(frozen=True)
class Table:
    """What a file or a request holds, row by row in the order it was sent."""

    values: FloatArray
    """Of shape ``(T, D)``, the series in the order of training; NaN where a cell is
    missing, if that is allowed."""
    has_header: bool = False
    """Whether the first row named the columns."""
    carried: Mapping[str, Sequence[bytes]] = dataclasses.field(default_factory=dict)
    """The cells of the columns that are carried through, by their names in the order
    that they were sent: ``T`` each, byte for byte, quotes included; UTF-8 and without
    line ends."""
    times: IndexArray | None = None
    """The time of each row, of shape ``(T,)``: nanoseconds since 1970, or integers as
    they were sent; None without a column of times."""


def _bounds(lengths: Sequence[int] | IndexArray) -> IndexArray:
    """Return where cells of some lengths begin, and where the last one ends."""
    bounds = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=bounds[1:])
    return bounds
