"""Divide the rows of all files between the processes of a team.

The files' rows, one file after the other, are cut into as many parts of the same size
as there are processes, so a process reads few files, and reads a file in part only
where a cut falls into it. A file of training data has two parts, the rows that fit the
LSTM and those that calibrate, and each is divided on its own: every process has its
share of both.

A process *owns* rows, each of which has one owner, and *holds* some rows more after
them, so that every sequence is whole for the owner of its first row. Where sequences
overlap, the LSTM keeps its state all along a series: what is scored is not cut then,
and has one owner per file.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.sequences import Segments


@dataclasses.dataclass(frozen=True)
class File:
    """What every process knows of a file."""

    name: str
    """Its name within its channel."""
    n_timesteps: int
    """``T``: its rows."""
    n_series: int
    """``D``: its columns."""
    readers: tuple[int, ...] = (0,)
    """The ranks of the processes that can read it, in order: all, or those of the host
    that SageMaker gave it to."""


@dataclasses.dataclass(frozen=True)
class Piece:
    """Consecutive rows of a file with one owner, as row numbers from 0."""

    file: int
    """The number of the file in its channel, from 0."""
    first: int
    """The first row that is owned, and held."""
    end: int
    """After the last row that is owned."""
    held: int
    """After the last row that is held."""

    @property
    def n_owned(self) -> int:
        """How many rows are owned."""
        return self.end - self.first

    @property
    def n_held(self) -> int:
        """How many rows are held."""
        return self.held - self.first


@dataclasses.dataclass(frozen=True)
class Shares:
    """Who owns what: the same in all processes."""

    training: tuple[File, ...]
    """The files of the training channel."""
    validation: tuple[File, ...]
    """The files of the validation channel; may be empty."""
    cuts: tuple[int, ...]
    """How many first rows of each training file fit the LSTM."""
    n_validating: int
    """How many rows validate."""
    fitting: tuple[tuple[Piece, ...], ...]
    """By rank: of the training files, what fits the LSTM."""
    calibrating: tuple[tuple[Piece, ...], ...]
    """By rank: of the training files, what the Gaussian is fitted on."""
    validating: tuple[tuple[Piece, ...], ...]
    """By rank: of the validation files."""

    @classmethod
    def of(
        cls,
        training: Sequence[File],
        validation: Sequence[File],
        hyperparameters: Hyperparameters,
        n_processes: int = 1,
        stretches: Sequence[tuple[str, range]] | None = None,
    ) -> "Shares":
        """Return a division of some files, which must be long enough.

        Args:
            training: The files of the training channel, in order of their names.
            validation: Likewise; may be empty.
            hyperparameters: The settings of the job.
            n_processes: Between how many processes they are divided.
            stretches: Which rows of which validation files validate; None = all.
        """
        layout = hyperparameters.layout
        cuts = tuple(hyperparameters.n_fitting(file.n_timesteps) for file in training)
        segments = Segments.of(layout, np.array(cuts, dtype=np.int64))

        def divided(
            files: Sequence[File], ranges: Sequence[tuple[int, range]], is_scored: bool
        ) -> tuple[tuple[Piece, ...], ...]:
            """Return the pieces of some rows of files by their numbers, by rank."""
            unit = 0 if is_scored and layout.is_overlapping else layout.stride
            n_more = layout.n_unscored if is_scored else segments.n_rows - 1
            by_rank: list[list[Piece]] = [[] for _ in range(n_processes)]
            readers = [files[number].readers for number, _ in ranges]
            rows = [rows for _, rows in ranges]
            for rank, index, owned in _cut(rows, readers, unit):
                held = min(owned.stop + n_more, rows[index].stop)
                # What is scored starts after a context: one without rows after it
                # has been left to the owner of the rows before.
                if not is_scored or held - owned.start > layout.n_unscored:
                    piece = Piece(ranges[index][0], owned.start, owned.stop, held)
                    by_rank[rank].append(piece)
            return tuple(map(tuple, by_rank))

        ends = [
            (cut, file.n_timesteps) for cut, file in zip(cuts, training, strict=True)
        ]
        number_of = {file.name: number for number, file in enumerate(validation)}
        if stretches is None:
            stretches = [(file.name, range(file.n_timesteps)) for file in validation]
        return cls(
            training=tuple(training),
            validation=tuple(validation),
            cuts=cuts,
            n_validating=sum(len(rows) for _, rows in stretches),
            fitting=divided(
                training, [(i, range(cut)) for i, (cut, _) in enumerate(ends)], False
            ),
            calibrating=divided(
                training,
                [(i, range(c - layout.n_borrowed, e)) for i, (c, e) in enumerate(ends)],
                True,
            ),
            validating=divided(
                validation, [(number_of[name], rows) for name, rows in stretches], True
            ),
        )

    @property
    def n_series(self) -> int:
        """``D``: the columns of every file."""
        return self.training[0].n_series


@dataclasses.dataclass(frozen=True)
class Held:
    """The rows that a process holds, for its pieces in their order."""

    shares: Shares
    """Who owns what."""
    rank: int
    """Which process this is."""
    fitting: Sequence[FloatArray]
    """For each of its pieces that fit the LSTM, of shape ``(T, D)``."""
    calibrating: Sequence[FloatArray]
    """Likewise, that calibrate."""
    validating: Sequence[FloatArray]
    """Likewise, that validate."""

    @classmethod
    def of(
        cls,
        shares: Shares,
        training: Sequence[FloatArray],
        validation: Sequence[FloatArray],
    ) -> "Held":
        """Return what one process holds of whole files, without a copy."""

        def views(
            pieces: Sequence[Piece], files: Sequence[FloatArray]
        ) -> list[FloatArray]:
            """Return what is held of each piece."""
            return [files[piece.file][piece.first : piece.held] for piece in pieces]

        return cls(
            shares,
            rank=0,
            fitting=views(shares.fitting[0], training),
            calibrating=views(shares.calibrating[0], training),
            validating=views(shares.validating[0], validation),
        )


@dataclasses.dataclass(frozen=True)
class Whereabouts:
    """Where each row of the fitting parts is held: by whom, and at which position."""

    n_timesteps: IndexArray
    """The rows of the fitting part of each file: their sums are where files start on
    the axis of all rows."""
    first: IndexArray
    """Where each piece starts on that axis, rising."""
    owner: IndexArray
    """The rank of each piece's owner."""
    position: IndexArray
    """Where each piece starts among the rows that its owner holds."""

    @classmethod
    def of_one(cls, n_timesteps: IndexArray) -> "Whereabouts":
        """Return where rows are if one process holds all of them, in order."""
        zero = np.zeros(1, dtype=np.int64)
        return cls(n_timesteps, zero, zero, zero)

    @classmethod
    def of(cls, shares: Shares) -> "Whereabouts":
        """Return where the pieces of a division are."""
        n_timesteps = np.array(shares.cuts, dtype=np.int64)
        starts = np.cumsum(n_timesteps) - n_timesteps
        table = []
        for rank, pieces in enumerate(shares.fitting):
            position = 0
            for piece in pieces:
                table.append((starts[piece.file] + piece.first, rank, position))
                position += piece.n_held
        first, owner, place = np.array(sorted(table), dtype=np.int64).T
        return cls(n_timesteps, first, owner, place)

    def find(self, rows: IndexArray) -> tuple[IndexArray, IndexArray]:
        """Return who owns rows of the axis of all rows, and their positions there."""
        index = np.searchsorted(self.first, rows, side="right") - 1
        return self.owner[index], self.position[index] + rows - self.first[index]


def readers_of(listings: Sequence[Iterable[str]]) -> dict[str, tuple[int, ...]]:
    """Return who can read each file of a channel, in order of the names.

    Args:
        listings: By rank, the names of the files that a process can read.
    """
    readers: dict[str, list[int]] = {}
    for rank, names in enumerate(listings):
        for name in names:
            readers.setdefault(name, []).append(rank)
    by_folder = sorted(readers, key=lambda name: name.split("/"))
    return {name: tuple(readers[name]) for name in by_folder}


def _cut(
    ranges: Sequence[range], readers: Sequence[tuple[int, ...]], unit: int
) -> Iterator[tuple[int, int, range]]:
    """Yield owners, numbers of files, and the rows that are owned, file by file.

    Args:
        ranges: The rows of each file that are divided.
        readers: Who can own rows of each.
        unit: Cuts fall on multiples of so many rows; 0 cuts no file.
    """
    totals: dict[tuple[int, ...], int] = {}
    for rows, ranks in zip(ranges, readers, strict=True):
        totals[ranks] = totals.get(ranks, 0) + len(rows)
    done = dict.fromkeys(totals, 0)
    for number, (rows, ranks) in enumerate(zip(ranges, readers, strict=True)):
        before, total = done[ranks], totals[ranks]
        done[ranks] += len(rows)
        if not unit:
            middle = before + len(rows) // 2
            yield ranks[middle * len(ranks) // total], number, rows
            continue
        first = rows.start
        for index, rank in enumerate(ranks):
            end = rows.start + (index + 1) * total // len(ranks) - before
            end = rows.stop if end >= rows.stop else end - (end - rows.start) % unit
            if end > first:
                yield rank, number, range(first, end)
                first = end
