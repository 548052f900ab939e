"""Say which rows of a job are used for what, and by which of its processes.

A file of training data has two parts: the rows that fit the LSTM, and those that
calibrate. Validation files validate whole, or, where they are labelled, in stretches of
normal rows. The ranks that *own* a file can read it and share the work on it: all of
them if every host lists the same files, and those of one host where SageMaker has
divided the files by key. A part that is scored after training is never cut: one owner
scores it whole, because the LSTM may keep its state all along a series.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from lstm_ad.axes import FloatArray
from lstm_ad.data import labels as labelling
from lstm_ad.data.rows import LABELS, TRAINING, VALIDATION, File, Rows
from lstm_ad.data.schema import Schema
from lstm_ad.data.validate import check_files, common_schema, refuse_index_columns
from lstm_ad.exceptions import SeriesError
from lstm_ad.hyperparameters import CALIBRATE, Hyperparameters
from lstm_ad.model.sequences import Ranges, n_worth_fitting
from lstm_ad.processes import ALONE, ProcessGroup, share

logger = logging.getLogger(__name__)

MAX_LINES = 20
"""Files of a channel that have a line of the log each; more have one line together."""

Owners = tuple[int, ...]
"""The ranks of the processes that can read a file, in order."""

Listing = Mapping[str, Sequence[tuple[File, Owners]]]
"""The files of each channel, in order of their names."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Consecutive rows of a file, counted from 0."""

    file: File
    """The file."""
    start: int
    """The first row."""
    stop: int
    """After the last row."""
    owners: Owners
    """Who can read the file."""
    scorer: int = 0
    """The owner that scores this part."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return max(0, self.stop - self.start)

    def values(self, rows: Rows) -> FloatArray:
        """Return the values, of shape ``(T, D)``, from the store of an owner."""
        return rows.values(self.file, self.start, self.stop)

    def share(self, rows: Rows, group: ProcessGroup) -> FloatArray:
        """Return this process's even share of the values, maybe none."""
        if group.rank not in self.owners:
            return np.empty((0, self.file.n_series))
        position = self.owners.index(group.rank)
        return self.values(rows)[share(len(self), position, len(self.owners))]


@dataclasses.dataclass(frozen=True)
class Owned:
    """Ranges of rows with the same owners."""

    owners: Owners
    """The ranks that can read them."""
    ranges: Ranges
    """Where they are in the store of an owner."""

    @classmethod
    def of(cls, parts: Iterable[Part], rows: Rows) -> "tuple[Owned, ...]":
        """Return parts by their owners; positions are right for this host's own."""
        by_owners: dict[Owners, list[Part]] = {}
        for part in parts:
            by_owners.setdefault(part.owners, []).append(part)
        return tuple(
            cls(
                owners,
                Ranges(
                    np.array([rows.first(p.file) + p.start for p in some], np.int64),
                    np.array([len(part) for part in some], np.int64),
                ),
            )
            for owners, some in sorted(by_owners.items())
        )


@dataclasses.dataclass(frozen=True)
class Partition:
    """Which rows are used for what: the same in all processes."""

    schema: Schema
    """The columns of every file, and the clock of their times."""
    fitting: tuple[Part, ...]
    """What the LSTM is fitted to."""
    calibration: tuple[Part, ...]
    """What the Gaussian is fitted to, with the rows before it that are only read."""
    validation: tuple[Part, ...]
    """What validates; may be empty."""
    selection: tuple[Part, ...]
    """What chooses the best epoch: what validates, or else what calibrates, where the
    first sequence that counts starts one context after the first row."""
    labelled: tuple[Part, ...]
    """The validation files, whole, if there are labels."""
    labels: Mapping[str, FloatArray]
    """Of each validation file, of shape ``(T, 1)``; empty if there are none."""
    n_rows: Mapping[str, int]
    """How many rows fit the LSTM, validate, and give the Gaussian its errors."""
    digest: str
    """A digest of all channels, names and values."""

    @property
    def n_series(self) -> int:
        """``D``: the series of every file."""
        return len(self.schema.series)

    @classmethod
    def of(
        cls,
        rows: Rows,
        hyperparameters: Hyperparameters,
        group: ProcessGroup = ALONE,
        is_quiet: bool = False,
    ) -> "Partition":
        """Return how the rows of all hosts are used.

        Args:
            rows: The rows of this host.
            hyperparameters: The settings of the job.
            group: The processes of the job.
            is_quiet: Whether to leave out of the log what was found.

        Raises:
            SeriesError: If a file or the labels cannot be used.
        """
        listing = _listed(rows, group)
        training, validation = (
            [file for file, _ in listing[channel]] for channel in (TRAINING, VALIDATION)
        )
        for files, purpose in ((training, "Training"), (validation, "Validating")):
            if not is_quiet:
                _log(files, purpose)
        schema = common_schema([*training, *validation])
        check_files(training, validation, hyperparameters)
        refuse_index_columns([*training, *validation])
        labels = _labels(rows, listing, group)
        stretches = _stretches(
            validation, labels, hyperparameters, training[0].n_series
        )

        fitting, calibration = _cut(listing[TRAINING], hyperparameters)
        validating = _dealt(
            Part(file, stretch.start, stretch.stop, owners)
            for file, owners in listing[VALIDATION]
            for stretch in stretches.get(file.name, ())
        )
        labelled = (
            Part(file, 0, file.n_timesteps, owners)
            for file, owners in listing[VALIDATION]
            if labels
        )
        return cls(
            schema=schema,
            fitting=fitting,
            calibration=calibration,
            validation=validating,
            selection=validating or loss_parts(calibration, hyperparameters),
            labelled=_dealt(labelled),
            labels=labels,
            n_rows={
                "train": sum(map(len, fitting)),
                "valid": sum(map(len, validating)),
                "calibration": _n_calibrating(calibration, hyperparameters),
            },
            digest=_digest(file for files in listing.values() for file, _ in files),
        )


def loss_parts(
    calibration: Iterable[Part], hyperparameters: Hyperparameters
) -> tuple[Part, ...]:
    """Return the rows that a loss on calibration parts is of.

    The first sequence that counts starts one context after the first of them.
    """
    layout = hyperparameters.layout
    surplus = max(0, layout.n_borrowed - layout.context_length)
    return tuple(
        dataclasses.replace(part, start=part.start + surplus) for part in calibration
    )


def _n_calibrating(
    calibration: Iterable[Part], hyperparameters: Hyperparameters
) -> int:
    """Return how many rows give the Gaussian its errors."""
    return sum(
        part.stop - max(part.start, _first_calibrating(part.file, hyperparameters))
        for part in calibration
    )


def _listed(rows: Rows, group: ProcessGroup) -> Listing:
    """Return the files of all hosts, and who owns them."""
    everything = group.gather((group.host, rows.files))
    return {
        channel: list(_owned(channel, everything))
        for channel in (TRAINING, VALIDATION, LABELS)
    }


def _owned(
    channel: str, everything: Sequence[tuple[int, Sequence[File]]]
) -> Iterator[tuple[File, Owners]]:
    """Yield the files of a channel, in order of their names, and their owners."""
    hosts: dict[int, dict[str, File]] = {}
    ranks: dict[int, list[int]] = {}
    for rank, (host, files) in enumerate(everything):
        hosts[host] = {file.name: file for file in files if file.channel == channel}
        ranks.setdefault(host, []).append(rank)
    contents = [{f.name: f.digest for f in files.values()} for files in hosts.values()]
    is_replicated = all(content == contents[0] for content in contents)
    found: dict[str, tuple[File, Owners]] = {}
    for host in sorted(hosts):
        owners = tuple(range(len(everything))) if is_replicated else tuple(ranks[host])
        for name, file in hosts[host].items():
            found.setdefault(name, (file, owners))
    yield from sorted(found.values(), key=lambda one: one[0].key)


def _first_calibrating(file: File, hyperparameters: Hyperparameters) -> int:
    """Return the first row of a training file that calibrates."""
    return file.row_after(hyperparameters.n_fitting(file.n_on))


def _cut(
    training: Iterable[tuple[File, Owners]], hyperparameters: Hyperparameters
) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Return what the LSTM is fitted to, and what the Gaussian is fitted to.

    Raises:
        SeriesError: If gaps leave nothing for one of them.
    """
    layout, files = hyperparameters.layout, list(training)
    fitting, calibration = [], []
    for file, owners in files:
        cut = _first_calibrating(file, hyperparameters)
        series = file.stretches(hyperparameters.longest_gap)
        shortest = layout.n_shortest if len(series) == 1 else n_worth_fitting(layout)
        for stretch in series:
            before = range(stretch.start, min(stretch.stop, cut))
            if len(before) >= shortest:
                fitting.append(Part(file, before.start, before.stop, owners))
            after = range(max(stretch.start, cut - layout.n_borrowed), stretch.stop)
            if stretch.stop > cut and len(after) > layout.n_unscored:
                calibration.append(Part(file, after.start, after.stop, owners))
    has_fitting = fitting or hyperparameters.warm_start == CALIBRATE
    if not has_fitting or not calibration:
        raise SeriesError(
            f"{_gaps(file for file, _ in files)} in the training files leave no "
            f"stretch that is long enough: at least {n_worth_fitting(layout)} rows are "
            f"needed to fit the LSTM, and {layout.n_unscored + 1} at the end of a file "
            f"to fit the Gaussian; a larger max-gap bridges longer gaps."
        )
    return _dealt(fitting), _dealt(calibration)


def _gaps(files: Iterable[File]) -> str:
    """Return what cuts files, at the start of a sentence."""
    is_off = any(file.off for file in files)
    return "The gaps and the rows in which a machine is off" if is_off else "The gaps"


def _stretches(
    validation: Sequence[File],
    labels: Mapping[str, FloatArray],
    hyperparameters: Hyperparameters,
    n_series: int,
) -> Mapping[str, Sequence[range]]:
    """Return the rows that validate, by file: all, or what labels say is normal.

    Raises:
        SeriesError: If the labels do not fit, or if gaps leave nothing.
    """
    layout = hyperparameters.layout
    series = {
        file.name: file.stretches(hyperparameters.longest_gap) for file in validation
    }
    if not labels:
        found = {
            name: [stretch for stretch in some if len(stretch) > layout.n_unscored]
            for name, some in series.items()
        }
        if validation and not any(found.values()):
            raise SeriesError(
                f"{_gaps(validation)} in the validation files leave no stretch of more "
                f"than {layout.n_unscored} rows; a larger max-gap bridges longer gaps."
            )
        return found
    n_timesteps = {file.name: file.n_timesteps for file in validation}
    n_unscored = hyperparameters.n_unscored(n_series)
    labelling.check(labels, n_timesteps, n_unscored)
    labelling.refuse_unscored(labels, series, n_unscored)
    normal: dict[str, list[range]] = {}
    for name, stretch in labelling.normal_stretches(labels, layout.n_unscored):
        for other in series[name]:
            both = range(max(stretch.start, other.start), min(stretch.stop, other.stop))
            if len(both) > layout.n_unscored:
                normal.setdefault(name, []).append(both)
    return normal


def _dealt(chosen: Iterable[Part]) -> tuple[Part, ...]:
    """Return parts with their scorers: the largest first, to who has least to do."""
    parts = list(chosen)
    load: dict[int, int] = {rank: 0 for part in parts for rank in part.owners}
    scorers = {}
    for index in sorted(range(len(parts)), key=lambda index: -len(parts[index])):
        scorer = min(parts[index].owners, key=lambda rank: load[rank])
        load[scorer] += len(parts[index])
        scorers[index] = scorer
    return tuple(
        dataclasses.replace(part, scorer=scorers[index])
        for index, part in enumerate(parts)
    )


def _labels(rows: Rows, listing: Listing, group: ProcessGroup) -> dict[str, FloatArray]:
    """Return the labels of every file, for all; each is sent by one owner."""
    mine = {
        file.name: np.array(rows.values(file))
        for file, owners in listing[LABELS]
        if owners[0] == group.rank
    }
    found = {name: column for one in group.gather(mine) for name, column in one.items()}
    validation = [file for file, _ in listing[VALIDATION]]
    found = labelling.divided(
        {file.name: found[file.name] for file, _ in listing[LABELS]}, validation
    )
    inserted = {file.name: file.inserted for file in validation}
    return {
        name: _with_inserted(column, inserted.get(name, ()))
        for name, column in found.items()
    }


def _with_inserted(
    labels: FloatArray, inserted: Sequence[tuple[int, int]]
) -> FloatArray:
    """Return labels with 0 for the rows that were inserted: they have no score."""
    for start, stop in inserted:
        labels = np.insert(labels, start, np.zeros((stop - start, 1)), axis=0)
    return labels


def _digest(files: Iterable[File]) -> str:
    """Return a digest that differs if any name, shape or value does."""
    digest = hashlib.sha256()
    for file in files:
        shape = (file.n_timesteps, file.n_series)
        line = f"{file.channel}/{file.name} {shape} {file.digest}\n"
        if file.schema != Schema.unnamed(file.n_series):
            line += f"{file.schema}\n"
        if file.off:
            line += f"off {file.off}\n"
        digest.update(line.encode(errors="surrogateescape"))  # names are bytes
    return digest.hexdigest()


def _log(files: Sequence[File], purpose: str) -> None:
    """Say what was found: few files one by one, many together."""
    if len(files) > MAX_LINES:
        rows = [file.n_timesteps for file in files]
        logger.info(
            "%s on %d files, from %s to %s: %d time series, %d time steps in all, "
            "from %d to %d per file.",
            purpose,
            len(files),
            files[0].name,
            files[-1].name,
            files[0].n_series,
            sum(rows),
            min(rows),
            max(rows),
        )
        return
    for file in files:
        logger.info(
            "%s on %s: %d time series of length %d.",
            purpose,
            file.name,
            file.n_series,
            file.n_timesteps,
        )
        if n_off := file.n_timesteps - file.n_on:
            logger.info("%s: %d of these rows are off or excluded.", file.name, n_off)
