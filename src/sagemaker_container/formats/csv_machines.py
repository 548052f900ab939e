"""Divide a file with the rows of several machines: each machine is a series of its own.

The rows of a machine are those of the file with its id, in order, whether machines take
turns or come one after the other. The numbers go through a scratch file; what is held
in memory is less than 32 bytes per row.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.blocks import BLOCK_NUMBERS
from lstm_ad.data.machines import rows_of_each
from lstm_ad.data.rows import VALIDATION, Block, Source, append, mapped
from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SeriesError
from sagemaker_container.formats import time_text, times
from sagemaker_container.formats.csv_file import FileColumns, Read, named, read_rows
from sagemaker_container.formats.header import Columns
from sagemaker_container.formats.sampler import Sampler, steps_of
from sagemaker_container.formats.steps import Steps, Timed
from sagemaker_container.formats.table import plain

_SCRATCH = "machines"


class _Divided(NamedTuple):
    """The rows of a file, and of which machine each is."""

    columns: Columns
    schema: Schema
    machines: dict[str, IndexArray]
    """The numbers of each one's rows, from 0, by its name."""
    values: FloatArray
    """Of shape ``(T, D)``, mapped."""
    times: IndexArray | None
    """Of shape ``(T,)``; None without a column of times."""
    form: time_text.Form | None
    """How they are written."""


def read_machines(
    channel: str,
    path: Path,
    name: str,
    columns: FileColumns,
    folder: Path,
    longest_gap: int,
    interval: int = 0,
) -> Iterator[Source]:
    """Yield the machines of a file; each must be read before the next.

    Args:
        channel: The channel of the file.
        path: As for :func:`~sagemaker_container.formats.csv_file.read_file`.
        name: Likewise.
        columns: Likewise; one of them says which machine a row is of.
        folder: For a scratch file, which is gone after the last machine.
        longest_gap: As ``path``.
        interval: Likewise.

    Raises:
        SeriesError: If the file cannot be read as it stands.
        SettingError: If the scratch file cannot be written.
    """
    divided = _divide(path, name, columns, longest_gap, folder / _SCRATCH)
    is_one = len(divided.machines) == 1
    for machine, rows in divided.machines.items():
        yield Source(
            channel,
            name if is_one else f"{name}[{machine}]",
            _blocks(
                divided, rows, name, steps_of(divided.columns, longest_gap, interval)
            ),
            "" if is_one else name,
            rows if channel == VALIDATION and not is_one else None,
        )
    (folder / _SCRATCH).unlink()


def _divide(
    path: Path, name: str, columns: FileColumns, longest_gap: int, scratch: Path
) -> _Divided:
    """Return the rows of a file by their machines, the numbers in a scratch file."""
    known: dict[bytes, int] = {}
    machines: dict[str, int] = {}
    numbers: list[npt.NDArray[np.int32]] = []
    moments: list[IndexArray] = []
    last: list[Read] = []

    def number(cell: bytes, some: Read, row: int) -> int:
        """Return the number of a machine that is met for the first time."""
        machine = plain(cell)
        if not machine:
            at = some.columns.carried[some.columns.group or ""]
            place = some.columns.place(some.n_rows_before + row + 1, at)
            raise SeriesError(
                f"{name}: {place}: the cell is empty; say in each row which machine it "
                f"is of."
            )
        return machines.setdefault(machine, len(machines))

    def values() -> Iterator[FloatArray]:
        """Yield the numbers of all rows, and find out about their machines."""
        for some in read_rows(path, name, columns, longest_gap):
            cells = some.carried(some.columns.group or "")
            found = np.empty(len(cells), dtype=np.int32)
            for row, cell in enumerate(cells):
                if cell not in known:
                    known[cell] = number(cell, some, row)
                found[row] = known[cell]
            numbers.append(found)
            if some.parsed.times is not None:
                moments.append(some.parsed.times)
            last[:] = [some]
            yield some.values

    append(scratch, values())
    of_each = rows_of_each(np.concatenate(numbers))
    (some,) = last
    return _Divided(
        some.columns,
        some.schema,
        dict(zip(machines, of_each, strict=True)),
        mapped(scratch, np.float64).reshape(sum(map(len, of_each)), -1),
        np.concatenate(moments) if moments else None,
        some.parsed.form,
    )


def _blocks(
    divided: _Divided, rows: IndexArray, name: str, steps: Steps | Sampler
) -> Iterator[Block]:
    """Yield the rows of a machine, with those that are absent in time as missing."""
    size = max(1, BLOCK_NUMBERS // divided.values.shape[1])
    for first in range(0, len(rows), size):
        some = rows[first : first + size]
        values = divided.values[some]
        if divided.times is None or divided.form is None:
            yield Block(values, divided.schema)
            continue
        moments, form = divided.times[some], divided.form
        cell = functools.partial(times.spelled, moments, form)
        timed = Timed(values, moments, form, cell, some + 1)
        with named(name):
            block = steps.rows(timed, divided.schema)
        yield block
    with named(name):
        left = steps.end()
    yield from left
