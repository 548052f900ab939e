"""The store of a host: the values of all of its files, in one binary file.

Each file is read once, block by block. What must be known of it is gathered on the
way. Every process of the host maps the store, so none holds a copy, and data may be
larger than memory. Files are written as streams: a full disk is then an error that can
be reported, where a page that cannot be written to a mapped file kills the process.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import math
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.blocks import Number
from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SettingError
from lstm_ad.model.fences import Codes
from lstm_ad.model.gaps import Runs, stretches
from lstm_ad.processes import ProcessGroup

TRAINING, VALIDATION, LABELS = "training", "validation", "labels"

_VALUES = "values"


@dataclasses.dataclass(frozen=True)
class Block:
    """Consecutive rows of a file, as they were read."""

    values: FloatArray
    """Of shape ``(T, D)``; NaN where a value is missing."""
    schema: Schema | None = None
    """The columns of the file, with its own clock once that is known; None if it has
    neither names nor columns beside the series."""
    inserted: tuple[tuple[int, int], ...] = ()
    """The runs of rows in ``values`` that the file lacks, from their times."""
    span: tuple[int, int] | None = None
    """The times of the first and of the last row, if they are known."""
    times: IndexArray | None = None
    """Of each row, of shape ``(T,)``, if they are known: of those that the file lacks,
    the time of the row before."""
    off: npt.NDArray[np.bool_] | None = None
    """In which rows the machine is off, of shape ``(T,)``: these hold NaN. None if it
    is in none."""


class Source(NamedTuple):
    """A file to store, or the rows of one machine in it."""

    channel: str
    """The channel that it belongs to."""
    name: str
    """Its name within the channel."""
    blocks: Iterator[Block]
    """Its rows."""
    whole: str = ""
    """See :attr:`File.whole`."""
    places: IndexArray | None = None
    """See :attr:`File.places`."""


@dataclasses.dataclass(frozen=True, eq=False)
class File:
    """What is known of a file of a channel, from reading it once.

    The rows of each machine in a file that says of which machine a row is are a file of
    their own.
    """

    channel: str
    """The channel that it belongs to."""
    name: str
    """Its name within the channel."""
    n_timesteps: int
    """``T``: its rows."""
    n_series: int
    """``D``: its columns."""
    offset: int
    """The numbers before its first one in the store of this host."""
    digest: str
    """The SHA-256 of its values."""
    low: FloatArray
    """The smallest value of each series, of shape ``(D,)``."""
    high: FloatArray
    """The largest value of each series, of shape ``(D,)``."""
    counts_from: float | None
    """The first value of column 1 if that counts the rows, from 0 or 1."""
    n_missing: IndexArray
    """The missing values of each series, of shape ``(D,)``."""
    gaps: tuple[tuple[int, int], ...]
    """The runs of rows in which all series are missing: see
    :func:`lstm_ad.model.gaps.is_empty`."""
    schema: Schema
    """Its columns, and its own clock if it has times."""
    inserted: tuple[tuple[int, int], ...] = ()
    """The runs of rows, the last excluded, that it lacks: they are missing in time."""
    span: tuple[int, int] | None = None
    """The times of its first and of its last row, if they are known."""
    whole: str = ""
    """The name of the file that it is a machine of; empty if it is all of a file."""
    places: IndexArray | None = None
    """Which of the rows that were read of that file are its own, counted from 0, if
    labels need to be divided likewise."""
    off: tuple[tuple[int, int], ...] = ()
    """The runs of rows in which the machine is off: they are not learnt from, and hold
    NaN, which does not count as missing."""

    @property
    def key(self) -> tuple[str, list[str]]:
        """What files are ordered by: their channel, folder by folder and their name."""
        return self.channel, self.name.split("/")

    def sent_row(self, row: int) -> int:
        """Return the number in the file, from 1, of a row that it has, from 0."""
        return sent_row(row, self.inserted)

    def stretches(self, max_gap: int) -> list[range]:
        """Return the runs of rows that are a series each.

        Args:
            max_gap: See :func:`lstm_ad.model.gaps.stretches`.
        """
        return stretches(self.n_timesteps, self.gaps, max_gap, self.off)

    @property
    def n_on(self) -> int:
        """How many of its rows are not off."""
        return self.n_timesteps - sum(stop - start for start, stop in self.off)

    def on(self, start: int, stop: int) -> list[range]:
        """Return the runs of rows that are not off, from a row to another."""
        ends = [max(start, end) for _, end in self.off]
        starts = [min(stop, first) for first, _ in self.off]
        return [
            range(first, after)
            for first, after in zip([start, *ends], [*starts, stop], strict=True)
            if after > first
        ]

    def row_after(self, n_on: int) -> int:
        """Return the first row that has so many before it that are not off."""
        row = n_on
        for start, stop in self.off:
            row += (stop - start) if start < row else 0
        return row


def sent_row(row: int, inserted: Iterable[tuple[int, int]]) -> int:
    """Return the number in a file, from 1, of a row that is counted from 0.

    Args:
        row: The number of the row among those sent and those inserted.
        inserted: The runs of rows that the file lacks.
    """
    return row + 1 - sum(stop - start for start, stop in inserted if stop <= row)


@dataclasses.dataclass(frozen=True)
class Rows:
    """The rows of all files that a host has, mapped from its store."""

    folder: Path
    """The scratch folder of the store."""
    files: tuple[File, ...]
    """Those of training and of validation first, so they have a common axis of rows."""
    codes: Codes = dataclasses.field(default_factory=dict)
    """The values that were found to stand for missing readings, of all hosts."""

    @classmethod
    def of(
        cls,
        training: Mapping[str, FloatArray],
        validation: Mapping[str, FloatArray] | None = None,
        labels: Mapping[str, FloatArray] | None = None,
    ) -> "Rows":
        """Return rows given as arrays, each of shape ``(T, D)``, by name of a file.

        Their scratch folder goes when they do.
        """
        channels = {TRAINING: training, VALIDATION: validation, LABELS: labels}
        folder = Path(tempfile.mkdtemp(prefix="lstm-ad-"))
        rows = store(
            folder,
            (
                (channel, name, iter([Block(np.asarray(values, dtype=np.float64))]))
                for channel, files in channels.items()
                for name, values in (files or {}).items()
            ),
        )
        weakref.finalize(rows, shutil.rmtree, folder, ignore_errors=True)
        return rows

    def __reduce__(self) -> tuple[Any, ...]:
        """Send no values to another process: it maps the store itself."""
        return Rows, (self.folder, self.files, self.codes)

    def find(self, file: File) -> File | None:
        """Return what this host has under the name of a file, if anything."""
        return self._by_name.get((file.channel, file.name))

    def first(self, file: File) -> int:
        """Return the number of a file's first row on the axis of this host's rows."""
        found = self.find(file)
        return found.offset // found.n_series if found else 0

    def values(self, file: File, start: int = 0, stop: int | None = None) -> FloatArray:
        """Return some rows of a file of this host, of shape ``(rows, D)``; no copy."""
        found = self._by_name[file.channel, file.name]
        numbers = self._numbers[found.offset :][: found.n_timesteps * found.n_series]
        return numbers.reshape(-1, found.n_series)[start:stop]

    def derived(
        self,
        name: str,
        kind: type[Number],
        derive: Callable[[File], Iterator[npt.NDArray[Number]]],
        n_series: int,
        group: ProcessGroup,
    ) -> npt.NDArray[Number]:
        """Return something of all rows of this host: another file, mapped.

        The first process of the host writes it, while the others wait.

        Args:
            name: What the scratch file is called.
            kind: The type of its numbers.
            derive: Yields what there is of the rows of a file, of shape ``(rows, D)``,
                in order.
            n_series: ``D``.
            group: The processes of the job.

        Returns:
            Of shape ``(sum of all T, D)``: training, then validation files.

        Raises:
            SettingError: If the file cannot be written.
        """
        path = self.folder / name
        files = [file for file in self.files if file.channel != LABELS]
        if group.local_rank == 0:
            append(path, (block for file in files for block in derive(file)))
        group.wait()
        # Writable for torch, and shared: a private one must fit into the memory.
        numbers = mapped(path, kind, "r+")
        return numbers.reshape(len(numbers) // n_series, n_series)

    @functools.cached_property
    def _numbers(self) -> FloatArray:
        """All numbers of the store, one after the other."""
        return mapped(self.folder / _VALUES, np.float64)

    @functools.cached_property
    def _by_name(self) -> Mapping[tuple[str, str], File]:
        """The files by their channels and names."""
        return {(file.channel, file.name): file for file in self.files}


def store(
    folder: Path, sources: Iterable[Source | tuple[str, str, Iterator[Block]]]
) -> Rows:
    """Write the values of files into the store of a folder.

    Args:
        folder: A scratch folder.
        sources: What to store, labels last.

    Raises:
        SettingError: If the store cannot be written.
    """
    files: list[File] = []

    def blocks() -> Iterator[FloatArray]:
        """Yield all blocks, and find out about their files."""
        offset = 0
        for source in itertools.starmap(Source, sources):
            facts = _Facts(offset)
            for block in source.blocks:
                facts.add(block)
                yield block.values
            files.append(facts.file(source))
            offset += facts.n_timesteps * len(facts.low)

    append(folder / _VALUES, blocks())
    return Rows(folder, tuple(files))


class _Facts:
    """What is found out about a file from its blocks, one after the other.

    Args:
        offset: The numbers before its first one in the store.
    """

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.n_timesteps = 0
        self.low, self.high = np.array([np.inf]), np.array([-np.inf])
        self.counts_from = math.nan
        self.n_missing = np.zeros(1, dtype=np.int64)
        self._gaps, self._off = Runs(), Runs()
        self._digest = hashlib.sha256()
        self._schema: Schema | None = None
        self._inserted: list[tuple[int, int]] = []
        self._span: tuple[int, int] | None = None

    def add(self, rows: Block) -> None:
        """Take in the next rows."""
        block = rows.values
        if not len(block):
            return
        self._schema = rows.schema
        first = self.n_timesteps
        self._inserted += [(first + a, first + b) for a, b in rows.inserted]
        if rows.span is not None:
            begin, _ = self._span or rows.span
            self._span = begin, rows.span[1]
        if self.n_timesteps == 0 and block.shape[1] > 1 and block[0, 0] in (0, 1):
            self.counts_from = float(block[0, 0])
        count = self.counts_from + self.n_timesteps + np.arange(len(block))
        if not np.array_equal(block[:, 0], count):
            self.counts_from = math.nan
        self.low = np.fmin(self.low, np.fmin.reduce(block, axis=0))
        self.high = np.fmax(self.high, np.fmax.reduce(block, axis=0))
        is_missing, is_off = np.isnan(block), rows.off
        if is_off is None:
            is_off = np.zeros(len(block), dtype=np.bool_)
        else:
            is_missing &= ~is_off[:, np.newaxis]
        self.n_missing = self.n_missing + np.count_nonzero(is_missing, axis=0)
        self._gaps.add(np.asarray(is_missing.all(axis=1)))
        self._off.add(is_off)
        self.n_timesteps += len(block)
        self._digest.update(np.ascontiguousarray(block).data)

    def file(self, source: Source) -> File:
        """Return what was found out."""
        return File(
            source.channel,
            source.name,
            self.n_timesteps,
            len(self.low),
            self.offset,
            self._digest.hexdigest(),
            self.low,
            self.high,
            None if math.isnan(self.counts_from) else self.counts_from,
            self.n_missing,
            tuple(self._gaps.found),
            self._schema or Schema.unnamed(len(self.low)),
            tuple(self._inserted),
            self._span,
            source.whole,
            source.places,
            tuple(self._off.found),
        )


def append(path: Path, blocks: Iterable[npt.NDArray[Any]]) -> None:
    """Write blocks of numbers to a new scratch file, one after the other.

    Raises:
        SettingError: If it cannot be written.
    """
    with _writing(path.parent):
        path.unlink(missing_ok=True)  # whoever has mapped an earlier one keeps it
        with path.open("wb") as stream:
            for block in blocks:
                stream.write(np.ascontiguousarray(block).data)


def mapped(path: Path, kind: type[Number], mode: Any = "r") -> npt.NDArray[Number]:
    """Return the numbers of a scratch file, mapped into memory."""
    if path.stat().st_size == 0:  # cannot be mapped
        return np.empty(0, dtype=kind)
    # Slices of a memmap are memmaps, which take ten times as long to make.
    return np.asarray(np.memmap(path, dtype=kind, mode=mode))


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give a folder for what a job needs while it runs; the folder goes at the end.

    Raises:
        SettingError: If there can be none.
    """
    with contextlib.ExitStack() as stack:
        with _writing():
            folder = stack.enter_context(
                tempfile.TemporaryDirectory(
                    prefix="lstm-ad-", ignore_cleanup_errors=True
                )
            )
        yield Path(folder)


@contextlib.contextmanager
def _writing(folder: Path | str = "of the job") -> Iterator[None]:
    """Say in one sentence that the scratch folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise SettingError(
            f"The scratch folder {folder} cannot be written: "
            f"{error.strerror or error}. A job needs 12 bytes there for each value of "
            f"its files; the variable TMPDIR names another folder."
        ) from error
