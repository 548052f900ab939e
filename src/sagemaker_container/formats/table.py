"""A table as it was sent: numbers, and beside them what is carried through as text."""

import bisect
import csv
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import overload

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from sagemaker_container.formats.ranges import Bounds, by_length, windows


class Cells(Sequence[bytes]):
    """The cells of a column as text, byte for byte: a few texts, not an object each.

    Args:
        parts: Each a text, and where its cells begin and the last one ends in it.
    """

    def __init__(self, parts: Sequence[tuple[bytes, Bounds]]) -> None:
        self._parts = [(text, bounds) for text, bounds in parts if len(bounds) > 1]
        lengths = [len(bounds) - 1 for _, bounds in self._parts]
        self._first = [0, *itertools.accumulate(lengths)]

    @classmethod
    def of(cls, cells: Sequence[bytes]) -> "Cells":
        """Return cells that are given one by one."""
        bounds = np.cumsum([0, *map(len, cells)])
        return cls([(b"".join(cells), bounds)])

    @classmethod
    def joined(cls, columns: Iterable["Cells"]) -> "Cells":
        """Return the cells of several columns, one after the other; no copy."""
        return cls([part for cells in columns for part in cells._parts])

    def __len__(self) -> int:
        return self._first[-1]

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> "Cells": ...

    def __getitem__(self, index: int | slice) -> "bytes | Cells":
        """Return a cell, or several."""
        if not isinstance(index, slice):
            at = range(len(self))[index]
            number = bisect.bisect_right(self._first, at) - 1
            text, bounds = self._parts[number]
            at -= self._first[number]
            return text[bounds[at] : bounds[at + 1]]
        start, stop, step = index.indices(len(self))
        if step != 1:
            return Cells.of([self[at] for at in range(start, stop, step)])
        places = zip(self._first, self._parts, strict=False)
        return Cells(
            [
                (text, bounds[max(0, start - first) : max(0, stop - first + 1)])
                for first, (text, bounds) in places
            ]
        )

    def __iter__(self) -> Iterator[bytes]:
        for text, bounds in self._parts:
            each = bounds if isinstance(bounds, range) else bounds.tolist()
            for start, stop in itertools.pairwise(each):
                yield text[start:stop]

    def by_length(
        self,
    ) -> Iterator[tuple[IndexArray | slice, npt.NDArray[np.bytes_]]]:
        """Yield the numbers of equally long cells, and these, of shape ``(n,)``.

        Empty cells are left out.
        """
        for first, (text, bounds) in zip(self._first, self._parts, strict=False):
            if isinstance(bounds, range):
                rows = slice(first, first + len(bounds) - 1)
                yield (
                    rows,
                    np.frombuffer(text[bounds[0] : bounds[-1]], f"S{bounds.step}"),
                )
                continue
            for length, which in by_length(np.diff(bounds)):
                cells = windows(text, length)[bounds[which]]
                yield which + first, cells.view(f"S{length}")


def plain(cell: bytes) -> str:
    """Return what a carried cell says: without the quotes and the spaces around it."""
    text = cell.decode()
    if not text.startswith('"'):
        return text.strip(" ")
    return next(csv.reader([text], strict=True))[0]


def quoted(text: str) -> bytes:
    """Return the cell that says a text: :func:`plain` returns it again."""
    if '"' in text or "," in text or text != text.strip(" "):
        text = '"' + text.replace('"', '""') + '"'
    return text.encode()


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
